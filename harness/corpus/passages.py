"""Passages that two texts share, whatever the case and the spacing, in a gigabyte within seconds.

Text is compared by its letters and digits: case folded, white space and ASCII punctuation dropped, so that neither
line breaks, indentation nor quoting hide a passage. Every passage of RUN such characters (about 13 words, the
customary length for finding test text elsewhere) is found for certain: a file's characters are cut into blocks of
BLOCK, each block's hash is looked up among those of the text that is sought at every offset, and what is hit is
compared byte for byte and grown to both sides. Nothing shorter counts.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Characters of one block, and of the shortest passage that counts: a run of that many holds a whole block.
BLOCK = 32
RUN = 2 * BLOCK - 1

#: Equal blocks of what is sought that one hash stands for, at most: a text of one letter has as many as it is long.
_EQUAL = 16

_DROPPED = bytes(ord(c) for c in string.whitespace + string.punctuation) + bytes([0, 127])
_FOLDED = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
#: Stands between documents; no folded text holds it.
_BETWEEN = b"\n"

_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
#: Bits of a hash that a first look asks for, in a table of that many bits: most blocks end there.
_FIRST = 24

Hashes = NDArray[np.uint64]

#: A passage: start and end in what is sought.
Span = tuple[int, int]


def folded(text: bytes) -> bytes:
    """What of a text in UTF-8 (or ASCII of any width) is compared: no white space, no punctuation, no capitals."""
    return text.translate(_FOLDED, _DROPPED)


def _mixed(words: Sequence[Hashes]) -> Hashes:
    total = words[0] * _MIX[0]
    for word, factor in zip(words[1:], _MIX[1:], strict=True):
        total = (total ^ (total >> np.uint64(29))) * factor + word * _MIX[0]
    mixed: Hashes = (total ^ (total >> np.uint64(32))) * _MIX[1]
    return mixed


def _everywhere(data: bytes) -> Hashes:
    """The hash of the block at every offset: uint64 [len - BLOCK + 1]."""
    count = len(data) - BLOCK + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    words = np.empty(len(data) - 7, np.uint64)
    for shift in range(8):
        part = np.frombuffer(data, "<u8", (len(data) - shift) // 8, shift)
        words[shift::8] = part
    return _mixed([words[8 * i : 8 * i + count] for i in range(4)])


def _in_blocks(data: bytes) -> Hashes:
    """The hash of every block, one after the other: uint64 [len // BLOCK]."""
    words = np.frombuffer(data, "<u8", len(data) // BLOCK * 4).reshape(-1, 4)
    return _mixed([words[:, i] for i in range(4)])


def _agreement(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """How many bytes two texts have in common from their starts on."""
    done, step = 0, 256
    while True:
        mine, theirs = one[done : done + step], other[done : done + step]
        size = min(len(mine), len(theirs))
        different = np.flatnonzero(mine[:size] != theirs[:size])
        if len(different) or size < step:
            return done + (int(different[0]) if len(different) else size)
        done, step = done + step, 2 * step


@dataclass(frozen=True)
class Sought:
    """What is looked for, ready to be looked up.

    Attributes:
        data: documents, with a byte between them that is in none of what they are compared with.
        starts: int64 [documents], where each begins.
        originals: the documents before folding, where they were folded.
        numbers: what each document is called; its place by default.
    """

    data: bytes
    starts: NDArray[np.int64]
    originals: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @staticmethod
    def texts(documents: Iterable[str], numbers: Iterable[int] = ()) -> Sought:
        """Documents as their folded characters, and what they are called."""
        originals = tuple(documents)
        parts = [folded(_encoded(text)) for text in originals]
        ends = np.cumsum([len(part) + len(_BETWEEN) for part in parts], dtype=np.int64)
        return Sought(
            _BETWEEN.join(parts), np.concatenate([np.zeros(1, np.int64), ends])[: len(parts)], originals, tuple(numbers)
        )

    @property
    def size(self) -> int:
        """Bytes without those between documents."""
        return len(self.data) - max(0, len(self.starts) - 1) * len(_BETWEEN)

    @cached_property
    def digest(self) -> str:
        """What names this, for a cache."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def _hashes(self) -> tuple[Hashes, NDArray[np.int64]]:
        hashes = _everywhere(self.data)
        order = np.argsort(hashes, kind="stable").astype(np.int64)
        return hashes[order], order

    @cached_property
    def _first(self) -> NDArray[np.bool_]:
        table = np.zeros(1 << _FIRST, np.bool_)
        table[self._hashes[0] >> np.uint64(64 - _FIRST)] = True
        return table

    def find(self, data: bytes) -> list[tuple[int, int, int]]:
        """Passages of at least RUN bytes that `data` shares with this.

        Returns:
            (start in this, end in this, start in `data`), in the order of `data`.
        """
        hashes, order = self._hashes
        if not len(hashes):
            return []
        blocks = _in_blocks(data)
        hits = np.flatnonzero(self._first[blocks >> np.uint64(64 - _FIRST)])
        low = np.searchsorted(hashes, blocks[hits], "left")
        high = np.searchsorted(hashes, blocks[hits], "right")
        found: list[tuple[int, int, int]] = []
        reached: dict[int, int] = {}  # by the distance of the two texts: how far a passage has been compared
        for block, first, last in zip(hits.tolist(), low.tolist(), high.tolist(), strict=True):
            theirs = block * BLOCK
            for ours in order[first : min(last, first + _EQUAL)].tolist():
                if reached.get(theirs - ours, -1) > theirs:
                    continue
                passage = self._grown(data, ours, theirs)
                if passage is None:
                    continue
                reached[theirs - ours] = passage[1] + theirs - ours
                if passage[1] - passage[0] >= RUN:
                    found.append((*passage, passage[0] + theirs - ours))
        return found

    def _grown(self, data: bytes, ours: int, theirs: int) -> tuple[int, int] | None:
        """The passage around a block that two texts share, as start and end in this; None for a mere equal hash."""
        if self.data[ours : ours + BLOCK] != data[theirs : theirs + BLOCK]:
            return None
        mine, other = np.frombuffer(self.data, np.uint8), np.frombuffer(data, np.uint8)
        before = _agreement(mine[:ours][::-1], other[:theirs][::-1])
        after = _agreement(mine[ours + BLOCK :], other[theirs + BLOCK :])
        return ours - before, ours + BLOCK + after

    def document(self, position: int) -> int:
        """The number of the document that a position of `data` is in."""
        place = self._place(position)
        return self.numbers[place] if self.numbers else place

    def _place(self, position: int) -> int:
        return int(np.searchsorted(self.starts, position, "right")) - 1

    def original(self, start: int, end: int) -> str:
        """The passage of a folded document as it was written, from its first character that is compared to its last."""
        place = self._place(start)
        text = np.frombuffer(_encoded(self.originals[place]), np.uint8)
        kept = np.flatnonzero(~np.isin(text, np.frombuffer(_DROPPED, np.uint8)))
        first, last = kept[start - self.starts[place]], kept[end - 1 - self.starts[place]]
        return text[first : last + 1].tobytes().decode("utf-8", errors="ignore")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")
