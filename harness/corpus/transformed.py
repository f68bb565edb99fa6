"""Tokens that stand for other text than they decode to: letter case as marks or folded away, bytes in a side-car.

CaseOps (#1729) writes every word in small letters behind private-use characters that say how it was capitalised. The
marks are no text: who counts their three bytes each divides by 164.6 million bytes instead of 151.07 (#2071, #2138).
Such data comes with a side-car, a second shard that holds for each token the bytes of the original that it stands for.
Casefold (#1604) drops the case without a mark, and the original is gone. rules: B6 and B7.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from harness.corpus.documents import plain
from harness.corpus.shards import Tokens, read_shard
from harness.corpus.tokenbytes import SPACE
from harness.corpus.tokenizer import Tokenizer
from harness.errors import UsageError

#: The private-use area of the basic plane: no text, so what tokenizers take their marks from. Three bytes each.
FIRST_MARK, LAST_MARK, MARK_BYTES = "\ue000", "\uf8ff", 3


class Kept(StrEnum):
    """What tokens have kept of a document."""

    TEXT = "text"  #: its text, normalisation and white space aside
    MARKED = "marked"  #: its text, with letter case written as marks
    FOLDED = "folded"  #: its text without letter case
    OTHER = "other"  #: they are not this document, or hide it in a way that is not known here


def marks(text: str) -> int:
    """Characters of the private-use area."""
    return sum(FIRST_MARK <= character <= LAST_MARK for character in text)


def kept(decoded: str, document: str) -> Kept:
    """Compare what tokens decode to with the document that they should stand for.

    White space, invisible characters and marks are left out of the comparison, and both are taken in NFKC, so that what
    the contest's own tokenizers normalise makes no difference.
    """
    ours, theirs = ("".join(plain(text).split()) for text in (decoded, document))
    if ours == theirs:
        return Kept.TEXT
    if ours.casefold() != theirs.casefold():
        return Kept.OTHER
    return Kept.MARKED if marks(decoded) else Kept.FOLDED


def bounds(tokenizer: Tokenizer, document: str) -> tuple[int, int]:
    """The fewest and the most bytes that a document may count: as it is, and as the tokenizer normalises it."""
    normalised = str(tokenizer.processor.normalize(document)).replace(SPACE, " ")
    sizes = len(document.encode("utf-8")), len(normalised.encode("utf-8"))
    return min(sizes), max(sizes)


def read_sidecar(shards: Sequence[Path], validation: Sequence[Path], tokens: int) -> Tokens | None:
    """The bytes that each token of the validation stream stands for, where a side-car says so.

    Args:
        shards: the fineweb_val_bytes_*.bin files in order; none if there is no side-car.
        validation: the validation shards in order.
        tokens: how many tokens those hold.

    Returns:
        uint16 [tokens], entry i for x_i; None without a side-car.

    Raises:
        UsageError: the side-car does not belong to the tokens: other shards, or another length.
    """
    if not shards:
        return None
    numbers, expected = ([path.stem.rsplit("_", 1)[-1] for path in paths] for paths in (shards, validation))
    if numbers != expected:
        raise UsageError(
            f"the byte side-car in {shards[0].parent} has shards {', '.join(numbers)}, the tokens have "
            f"{', '.join(expected)}; every fineweb_val_*.bin needs its fineweb_val_bytes_*.bin"
        )
    counts: Tokens = np.concatenate([read_shard(path) for path in shards])
    if counts.size != tokens:
        raise UsageError(f"the byte side-car {shards[0]} counts {counts.size:,} tokens, the shards hold {tokens:,}")
    if not counts[1:].any():
        raise UsageError(f"the byte side-car {shards[0]} says that the tokens stand for no text at all")
    return counts
