"""The default data: public domain texts of four centuries that ship with the harness; see texts/SOURCES.md.

They lie in the package, which the box hides or never shows, and nowhere else in what a box can read.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

from harness.errors import HarnessError

NAME = "commons"
FILE = Path(__file__).resolve().parent / "texts" / "commons.jsonl.xz"


def commons_documents() -> list[str]:
    """The texts, in the file's order.

    Raises:
        HarnessError: the file is missing or damaged.
    """
    try:
        lines = lzma.decompress(FILE.read_bytes()).decode("utf-8").splitlines()
        return [str(json.loads(line)["text"]) for line in lines]
    except (OSError, lzma.LZMAError, ValueError, KeyError) as error:
        raise HarnessError(f"the default data in {FILE} cannot be read ({error}); install the harness again") from None


def commons_address() -> str:
    """Digest of the file, for the cache's address.

    Raises:
        HarnessError: the file is missing.
    """
    try:
        return hashlib.sha256(FILE.read_bytes()).hexdigest()
    except OSError as error:
        raise HarnessError(f"the default data in {FILE} cannot be read ({error}); install the harness again") from None
