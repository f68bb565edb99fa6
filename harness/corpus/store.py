"""Folders that exist whole or not at all, safe against crashes and against two processes preparing the same data."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError, UsageError

#: Written last; its presence is what makes a folder of the store whole.
META = "meta.json"


def materialise(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, built first if it does not exist.

    Args:
        target: the folder; its parents are created.
        build: fills the empty folder that it is given and writes META into it. It runs in a scratch folder beside
            the target, which is then renamed; whoever renames first wins, and the content is the same anyway.

    Raises:
        UsageError: the place cannot be written, or something else lies at `target`.
    """
    if (target / META).is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UsageError(f"cannot write prepared data to {target.parent}: {error.strerror}") from None
    try:
        scratch.chmod(0o755)  # the box may run as another user
        build(scratch)
        if not (scratch / META).is_file():
            raise HarnessError(f"preparing {target.name} wrote no {META}")
        try:
            os.replace(scratch, target)
        except OSError as error:
            if not (target / META).is_file():
                raise UsageError(f"{target} is in the way ({error.strerror}); remove it and try again") from None
    except OSError as error:
        raise UsageError(f"cannot write prepared data to {target.parent}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where links do not reach."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
