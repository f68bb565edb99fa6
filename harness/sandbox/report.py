"""What start-up tells the parent, one JSON object a line, through a pipe that the box's own code never holds."""

from __future__ import annotations

import json
import os


def report(fd: int, **facts: object) -> None:
    """Write one line; a parent that is gone is not an error.

    The keys in use: `fault` (text: why there is no box), `ready` (what is enforced), `ended` (the wait status of the
    process in the box) with `cpu_seconds` and `max_rss_bytes`.
    """
    try:
        os.write(fd, json.dumps(facts).encode() + b"\n")
    except OSError:
        pass


def reason(error: BaseException) -> str:
    """An error in one line, as the value of `fault`."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return f"{type(error).__name__}: {error}"
