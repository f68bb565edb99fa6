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
#: Class of a token that is swapped in some way before the last one, to be held against that.
BEFORE_END = "before a document's end"


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
        return np.array(self.tokens[start:stop])


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
        others: swap: further (position, token) that are replaced in the same process, each far enough from the others
            that rows between them do not depend on the one before. Only rows before the first one are sure to hold.
        urgent: rows moved there already, in an evaluation that was lied to in more places; it is made before others.
        odds: swap: log-probability with which the token was drawn, where that is to be held against what is claimed for
            it, see `plan.guessed`.
    """

    kind: ProbeKind
    position: int
    token: int = -1
    shift: int = 0
    token_class: str = ""
    sampled: bool = False
    split: bool = True
    others: tuple[tuple[int, int], ...] = ()
    urgent: bool = False
    odds: float | None = None

    @property
    def swaps(self) -> tuple[tuple[int, int], ...]:
        """All (position, token) that a swap replaces, by position."""
        return ((self.position, self.token), *self.others)

    @property
    def needed(self) -> bool:
        """The probe measures something, and is made even where others have shown a leak."""
        return self.sampled or self.urgent or self.token_class in (ALTERNATIVE, DOCUMENT_END, BEFORE_END)


class Perturbed:
    """The real stream with a probe applied.

    Args:
        tokens: the real stream, uint16 [N].
        probe: what is replaced.
        replaced: bool [N], what of a suffix is replaced; None for all of it. Where positions are processed out of
            stream order, only tokens that come later in both orders are.
        bos: the token that starts a document. A suffix keeps every one where it is and adds none: a submission may
            choose its batches, and the order of its documents, by where documents begin. -1: it does not.
    """

    def __init__(
        self, tokens: Tokens, probe: Probe, replaced: NDArray[np.bool_] | None = None, *, bos: int = -1
    ) -> None:
        self._tokens = tokens
        self._probe = probe
        self._replaced = replaced
        self._bos = bos

    def __len__(self) -> int:
        return len(self._tokens)

    def read(self, start: int, stop: int) -> Tokens:
        """See `Source.read`."""
        out = np.array(self._tokens[start:stop])
        probe = self._probe
        if stop <= probe.position:
            return out
        if probe.kind == "swap":
            for position, token in probe.swaps:
                if start <= position < stop:
                    out[position - start] = token
            return out
        where = self._places(max(start, probe.position), stop)
        lie = self._tokens[(where + probe.shift) % len(self._tokens)]
        if self._bos >= 0:
            lie = np.where(lie == self._bos, self._tokens[(where + probe.shift + 1) % len(self._tokens)], lie)
            lie = np.where(lie == self._bos, out[where - start], lie)
        out[where - start] = lie
        return out

    def touches(self, ranges: NDArray[np.int64]) -> bool:
        """True when any of the ranges (int64 [k, 2]) contains a replaced token."""
        if self._probe.kind == "swap":
            at = np.array([position for position, _ in self._probe.swaps])
            return bool(((ranges[:, :1] <= at) & (at < ranges[:, 1:])).any())
        late = ranges[ranges[:, 1] > np.maximum(ranges[:, 0], self._probe.position)]
        return any(len(self._places(max(int(a), self._probe.position), int(b))) > 0 for a, b in late)

    def _places(self, begin: int, stop: int) -> NDArray[np.int64]:
        """Positions of a suffix that are replaced, from `begin` on, before `stop`."""
        where = np.arange(begin, stop)
        keep = np.ones(len(where), bool) if self._replaced is None else self._replaced[begin:stop]
        return where[keep & (self._tokens[begin:stop] != self._bos)] if self._bos >= 0 else where[keep]


class Beyond:
    """A source whose tokens from `frontier` on are other text: what nobody in this evaluation has been told yet.

    Args:
        source: for the tokens before.
        tokens: the real stream, uint16 [N].
        frontier: the first token that is other text.
        shift: which text, as in `Probe`.
        bos: the token that starts a document, see `Perturbed`.
    """

    def __init__(self, source: Source, tokens: Tokens, frontier: int, shift: int, bos: int) -> None:
        self._source = source
        self._frontier = frontier
        self._other = Perturbed(tokens, Probe("suffix", frontier, shift=shift), bos=bos)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, start: int, stop: int) -> Tokens:
        """See `Source.read`."""
        middle = min(max(start, self._frontier), stop)
        return np.concatenate([self._source.read(start, middle), self._other.read(middle, stop)])
