"""What every HTML page shares: templates that escape, and files that are written whole or not at all."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import HarnessError
from harness.text import bpb, clean, label, number, prose

#: A page that fits a mail.
MAX_BYTES = 300_000


@functools.cache
def environment() -> Environment:
    """The templates of `harness/report/templates`: everything that enters them is escaped, nothing missing passes."""
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(clean=clean, prose=prose, number=number, label=label, bpb=bpb)
    return made


def write_text(path: Path, text: str) -> None:
    """Write a view to a file; an older one is gone first, and a half-written one never appears.

    Raises:
        HarnessError: the file cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", text=False)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
            os.chmod(name, 0o644)  # mkstemp's 0600 would keep a web server or a colleague from reading it
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HarnessError(f"cannot write the report {path}: {error.strerror or error}") from None
