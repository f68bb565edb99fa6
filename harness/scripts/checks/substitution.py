"""What a mixture gives to the tokens that did not come: its sum over the vocabulary, by drawing instead of adding.

A mixture charges q(x) for the token that came, and its row has p(x). That q is a distribution means that what it adds
here it takes elsewhere: q(x) - p(x) <= sum over v of max(p(v) - q(v), 0) = E[max(1 - q(u)/p(u), 0)] for u drawn from p.
So D = q(x) - p(x) + min(q(u)/p(u) - 1, 0) lies in [-1, 1] and its mean is not above 0, whatever the mixture: bets on D
are a supermartingale, and by Ville's inequality a wealth of 1e9 comes by chance once in 1e9.

q(u) is seen by putting u into the text and running again; many places at once, far apart. Counts change a little by
that, so the share of other charges that lost their gain, times the largest gain, is taken off every D; and so is the
share of draws that cannot be put into a text (where documents start, the last token), as if they were given nothing.
More places may be added for as long as one likes: bets can stop at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scripts.checks.evidence import Recurring, Substituted
from harness.scripts.observed import Floats, Ints
from harness.scripts.passes import Pass
from harness.scripts.vocabulary import BOS

#: Tokens between two replaced ones: the context of one ends before the next, at the orders that scripts use.
APART = 12
_BETS = (0.2, 0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Sum:
    """What the substitutions say of the sum over the vocabulary.

    Attributes:
        places: int64 [n], where a token was replaced whose charge was below its row's.
        gained: float64 [n], q(x) - p(x), probability that the mixture added to the token that came.
        taken: float64 [n], min(q(u)/p(u) - 1, 0) for the drawn token.
        drawn: int64 [n], the token.
        strayed: share of the other lowered charges that lost half of their gain or more; 1 where there are no others.
        special: share of the draws that cannot stand in a text.
    """

    places: Ints
    gained: Floats
    taken: Floats
    drawn: Ints
    strayed: float
    special: float = 0.0

    @property
    def discount(self) -> float:
        """What is taken off for mixtures that other replaced tokens changed, and for tokens that were not tried."""
        return self.strayed * float(self.gained.max(initial=0.0)) + self.special

    @property
    def excess(self) -> float:
        """By how much the sum is above 1 at these places, at least, on average."""
        return float((self.gained + self.taken).mean()) - self.discount if len(self.places) else 0.0

    @property
    def wealth(self) -> float:
        """Log of what bets on a sum above 1 have won, nats; 21 or more comes by chance once in 1e9."""
        return _wealth((self.gained + self.taken - self.discount) / (1 + self.discount))


def total(recurring: Recurring) -> Sum:
    """The sum over the vocabulary of what is charged on recurring text, as far as the substitutions show it."""
    first = recurring.scored
    parts: list[tuple[Ints, Floats, Floats, Ints]] = []
    lost = others = 0
    for made in recurring.substituted:
        rank = first.rank(len(recurring.text))
        other = made.scored.rank(len(recurring.text))
        places = made.places[(rank[made.places] >= 0) & (other[made.places] >= 0)]
        before, after = rank[places], other[places]
        lower = first.lowered[before]
        places, before, after = places[lower], before[lower], after[lower]
        gained = np.exp(-first.charged[before]) - np.exp(-first.nll[before])
        with np.errstate(over="ignore"):
            ratio = np.exp(made.scored.nll[after] - made.scored.charged[after])
        parts.append((places, gained, np.clip(np.nan_to_num(ratio, nan=0.0) - 1, -1.0, 0.0), _tokens(made, places)))
        still = _others(first, rank, made.places)
        both = still[other[still] >= 0]
        was = first.nll[rank[both]] - first.charged[rank[both]]
        now = made.scored.nll[other[both]] - made.scored.charged[other[both]]
        lost += int((~(now >= 0.5 * was)).sum()) + len(still) - len(both)
        others += len(still)
    if not parts:
        nothing = np.zeros(0)
        return Sum(nothing.astype(np.int64), nothing, nothing, nothing.astype(np.int64), 1.0)
    places, gained, taken, drawn = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sum(places, gained, taken, drawn, (lost + 1) / (others + 1), _special(recurring))


def _special(recurring: Recurring) -> float:
    """Share of the draws at lowered charges that are special tokens."""
    drawn = recurring.scored.drawn[recurring.scored.lowered]
    drawn = drawn[drawn >= 0]
    return float(special(drawn, recurring.text).mean()) if len(drawn) else 0.0


def special(tokens: Ints, text: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Bool, where tokens are those that only stand where documents start, or at the end of a text."""
    return (tokens <= BOS) | (tokens >= int(text[-1]))


def _others(scored: Pass, rank: Ints, replaced: Ints) -> Ints:
    """Lowered charges as the replaced ones were: behind the first, and no replaced token right before them."""
    if not len(replaced):
        return np.zeros(0, np.int64)
    known = np.setdiff1d(np.flatnonzero(rank > rank[replaced].min()), replaced)
    last = np.searchsorted(replaced, known) - 1
    far = (last < 0) | (known - replaced[last] >= APART)
    return known[far & scored.lowered[rank[known]]]


def _tokens(made: Substituted, places: Ints) -> Ints:
    return made.tokens[np.searchsorted(made.places, places)].astype(np.int64)


def _wealth(values: Floats) -> float:
    """Log of the mean wealth of bettors who stake fixed shares of it on each value in [-1, 1]; 0 without values."""
    logs = [float(np.log1p(bet * values).sum()) for bet in _BETS]
    peak = max(logs)
    return peak + math.log(sum(math.exp(value - peak) for value in logs) / len(logs))
