"""What of a file is compared with the files of other submissions: shingles of code, measurements in logs.

A shingle is a run of tokens: names, numbers and signs of the unpacked source, without comments and blanks. Sets of them
are compared by MinHash, and those that come near in full. A measurement is a line of a log with a loss or a score and
at least two decimal fractions: two runs agree on one of them by chance, and hardly on twenty. Long numbers are those
with eight decimals and more (averages over chunks have six, and collide), wherever on such a line they stand.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from harness.source.unwrap import unwrap

Hashes = NDArray[np.uint64]

#: Tokens of a shingle, and hash functions of a sketch: a share is estimated to within 0.05.
TOKENS, PERMUTATIONS = 10, 256
#: Bytes of a script, and of a log, that are looked at.
MOST_CODE, MOST_LOG = 2_000_000, 8_000_000
#: Characters of a line of a log that are looked at; source text that a log embeds has longer ones.
LONGEST = 400
#: Measurements and long numbers that are kept of one log, those with the smallest hashes.
MOST_KEPT = 3_000

#: A text of fewer lines, or with a longer one, may be a wrapper or a stub.
_FEW_LINES, _PACKED = 200, 2_000

_COMMENT = re.compile(r"#[^\n]*")
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]")
_DECIMAL = re.compile(rb"\d\.\d")
_LONG = re.compile(rb"\d\.\d{8,}")


@dataclass(frozen=True)
class Code:
    """A script: how many different shingles it has, and their MinHash, uint32 [PERMUTATIONS]."""

    shingles: int
    signature: NDArray[np.uint32]

    def share_in(self, signatures: NDArray[np.uint32], shingles: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated share of its shingles that other scripts have, float64 [k].

        Args:
            signatures: uint32 [k, PERMUTATIONS] of the others.
            shingles: int64 [k], how many they have.
        """
        alike = (signatures == self.signature[None, :]).mean(axis=1)
        return np.asarray(np.minimum(1.0, alike * (self.shingles + shingles) / (1 + alike) / max(self.shingles, 1)))


@dataclass(frozen=True)
class Log:
    """A log: hashes of its measurements, and of the long numbers in them; sorted, each once."""

    measurements: Hashes
    numbers: Hashes


def source_of(content: bytes) -> str:
    """The text of a script without comments, unpacked by reading where it is packed."""
    text = content[:MOST_CODE].decode("utf-8", "replace")
    lines = text.split("\n")
    if len(lines) < _FEW_LINES or max(map(len, lines)) > _PACKED:
        text = unwrap(content[:MOST_CODE]).source  # a second for a long script, which a plain one need not cost
    return _COMMENT.sub("", text)


def shingles_of(source: str) -> Hashes:
    """Hashes of the shingles of a text without comments, uint64 [k], sorted, each once."""
    words: dict[str, int] = {}
    tokens = np.array([words.setdefault(word, _hash(word)) for word in _TOKEN.findall(source)], np.uint64)
    count = max(len(tokens) - TOKENS + 1, min(len(tokens), 1))
    made = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(min(TOKENS, len(tokens))):
            made = made * np.uint64(0x9E3779B97F4A7C15) + tokens[offset : offset + count]
            made ^= made >> np.uint64(29)
    return np.unique(made)


def code_of(content: bytes) -> Code:
    """The sketch of a script."""
    shingles = shingles_of(source_of(content))
    made = MinHash(num_perm=PERMUTATIONS, scheme="affine32", hashfunc=int)
    made.update_batch((shingles >> np.uint64(32)).tolist())
    return Code(len(shingles), np.asarray(made.hashvalues, np.uint32))


def log_of(content: bytes) -> Log:
    """The measurements of a log."""
    lines = {_hash64(line): line for line in measurements_of(content)}
    numbers = {_hash64(number[0]) for line in lines.values() for number in _LONG.finditer(line)}
    return Log(*(np.array(sorted(found)[:MOST_KEPT], np.uint64) for found in (lines, numbers)))


def measurements_of(content: bytes) -> list[bytes]:
    """Lines with a loss or a score and two decimal fractions or more, blanks made one."""
    found = []
    for line in content[:MOST_LOG].split(b"\n"):
        if len(line) <= LONGEST:
            small = line.lower()
            if (b"loss" in small or b"bpb" in small) and sum(1 for _ in _DECIMAL.finditer(small)) >= 2:
                found.append(b" ".join(small.split()))
    return found


def lines_apart(own: str, other: str) -> tuple[list[str], list[str]]:
    """Lines of code that only one of two texts has, in their order, blanks at their ends left out."""
    texts = [[line.strip() for line in text.split("\n") if line.strip()] for text in (own, other)]
    counts = [Counter(lines) for lines in texts]
    return _rest(texts[0], counts[0] - counts[1]), _rest(texts[1], counts[1] - counts[0])


def _rest(lines: list[str], left: Counter[str]) -> list[str]:
    found = []
    for line in lines:
        if left[line] > 0:
            left[line] -= 1
            found.append(line)
    return found


def _hash(word: str) -> int:
    data = word.encode("utf-8", "replace")
    return zlib.crc32(data) << 32 | zlib.crc32(data, 0x9E3779B9)


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
