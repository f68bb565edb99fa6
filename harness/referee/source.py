"""The streams that the referee plays to a submission: the real one, and lies about its future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]
ProbeKind = Literal["suffix", "swap"]

#: Class of a token that is swapped in to learn what is claimed for it, see `plan.alternatives`.
ALTERNATIVE = "alternative"

#: Class of a token that is swapped in for the last one of a document, see `plan.boundaries`.
DOCUMENT_END = "document end"


class Source(Protocol):
    """Something that tokens can be read from."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Tokens:
        """Tokens x_start .. x_{stop-1}, uint16; a fresh array."""
        ...


@dataclass(frozen=True)
class Real:
    """The validation stream as it is."""

    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, start: int, stop: int) -> Tokens:
        """See `Source.read`."""
        return self.tokens[start:stop].astype(np.uint16)


@dataclass(frozen=True)
class Probe:
    """One lie: what is replaced, and by what.

    Attributes:
        kind: "suffix" replaces everything from `position` on that is not yet processed, "swap" that token only.
        position: the first replaced token; its own row must not move.
        token: swap: the token that takes its place.
        shift: suffix: token u is replaced by x_{(u + shift) mod N}, so that the lie is natural text.
        token_class: swap: the class of the new token, named in reports.
        sampled: the position is one of a uniform sample of the stream, which the price of a leak is estimated from.
        split: made in a process that was split off the evaluation for it; else in a whole evaluation of its own, which
            is never split and starts with the lie in place (see `blind`).
    """

    kind: ProbeKind
    position: int
    token: int = -1
    shift: int = 0
    token_class: str = ""
    sampled: bool = False
    split: bool = True

    @property
    def needed(self) -> bool:
        """The probe measures something, and is made even where others have shown a leak."""
        return self.sampled or self.token_class in (ALTERNATIVE, DOCUMENT_END)


class Perturbed:
    """The real stream with a probe applied.

    Where positions are processed out of stream order, a suffix replaces only tokens that come later in both orders:
    `replaced` (bool [tokens]) says which; None stands for plain stream order. Such a submission has chosen its order by
    the documents' lengths, so there a suffix keeps every `bos` where it is and adds none.
    """

    def __init__(
        self, tokens: Tokens, probe: Probe, replaced: NDArray[np.bool_] | None = None, *, bos: int = -1
    ) -> None:
        self._tokens = tokens
        self._probe = probe
        self._replaced = None if replaced is None else replaced & (tokens != bos)
        self._bos = bos

    def __len__(self) -> int:
        return len(self._tokens)

    def read(self, start: int, stop: int) -> Tokens:
        """See `Source.read`."""
        out = self._tokens[start:stop].astype(np.uint16)
        probe = self._probe
        if stop <= probe.position:
            return out
        if probe.kind == "swap":
            if start <= probe.position:
                out[probe.position - start] = probe.token
            return out
        begin = max(start, probe.position)
        where = np.arange(begin, stop)
        if self._replaced is not None:
            where = where[self._replaced[begin:stop]]
        lie = self._tokens[(where + probe.shift) % len(self._tokens)]
        if self._replaced is not None:
            lie = np.where(lie == self._bos, self._tokens[(where + probe.shift + 1) % len(self._tokens)], lie)
            lie = np.where(lie == self._bos, out[where - start], lie)
        out[where - start] = lie
        return out

    def touches(self, ranges: NDArray[np.int64]) -> bool:
        """True when any of the ranges (int64 [k, 2]) contains a replaced token."""
        position = self._probe.position
        if self._probe.kind == "swap":
            return bool(((ranges[:, 0] <= position) & (position < ranges[:, 1])).any())
        late = ranges[ranges[:, 1] > np.maximum(ranges[:, 0], position)]
        if self._replaced is None:
            return len(late) > 0
        return any(bool(self._replaced[max(int(a), position) : int(b)].any()) for a, b in late)
