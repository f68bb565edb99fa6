"""What a mixture charges over the whole vocabulary, by lot instead of by adding.

A mixture charges q(x) for the token that came, and its row has p. Were both kept up for every token, q(x) at x and p
elsewhere, they would sum to 1 + g with g = q(x) - p(x). So the referee draws a token t at each of many places from

    m(x) = q(x) / (1 + g),    m(v) = p(v) / (1 + g) for all other v,

puts it into the text and runs again: a null stream, at single places, whose source is what the mixture seems to be.
Whatever a causal mixture q' does in that run, E[q'(t) / m(t)] is the sum of q' over the vocabulary, at most 1, given
everything before. So bets on q'(t) / m(t) - 1 are a supermartingale under every legal mixture, counts that change with
the replaced tokens included, and by Ville's inequality a wealth of 1e9 comes by chance once in 1e9. Nothing is taken
over from the first run but m, which was fixed before the lots fell. docs/scripts.md has the proof in full.

A mixture that charges q(x) to whatever came and p to whatever did not multiplies its wealth by nearly 1 + g each time.
More places may be added for as long as one likes: bets can stop at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scripts.checks.evidence import Recurring
from harness.scripts.play.vocabulary import BOS
from harness.scripts.trace.observed import Floats, Ints
from harness.scripts.trace.passes import Pass

#: Tokens between two places: the context of one ends before the next, at the orders that scripts use. That keeps the
#: power; the level does not depend on it.
APART = 12
#: Rows in bfloat16 sum to 1 within about 1e-2 at V = 8,192: what a legal mixture may sum to is 1 and this much more.
SLACK = 0.02
#: The largest ratio that counts. To pay less than was won is sound, and keeps infinite probabilities finite.
_MOST = 1e6
#: Places from which a balance says something, and the share of the gains that has to be seen paid at the least.
ENOUGH = 30
PAID = 0.75
_BETS = (0.2, 0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Sum:
    """What the lots say of the sum over the vocabulary.

    Attributes:
        places: int64 [n], where a lot was drawn; the first run charged less there than its row gives.
        gained: float64 [n], g = q(x) - p(x) of the first run: what the mixture added to the token that came.
        taken: float64 [n], q'(t) / q(x) - 1 where the token was kept, q'(t) / p(t) - 1 where another was put: at least
            -1, and 0 where the second run charges what the first one's charge or row says.
        drawn: int64 [n], the token t that stands there.
        strayed: without lots (`kept` None): share of the other lowered charges that lost half of their gain or more.
        kept: bool [n], the lot left the token that came. None where no lots were drawn, every place was replaced and
            nothing was seen of the gains in that run but `strayed`: half of each gain counts, less that share of the
            largest. That is sound on average as far as `strayed` is; `total` never does it.
    """

    places: Ints
    gained: Floats
    taken: Floats
    drawn: Ints
    strayed: float = 0.0
    kept: NDArray[np.bool_] | None = None

    @property
    def replaced(self) -> NDArray[np.bool_]:
        """Bool [n], where another token was put, or would have been if it could stand in a text."""
        return np.ones(len(self.places), bool) if self.kept is None else ~self.kept

    @property
    def payoffs(self) -> Floats:
        """Float64 [n], q'(t) / m(t) over 1 + SLACK: at least 0, and on average at most 1 for a legal mixture."""
        gained = self.gained
        if self.kept is None:
            gained = np.maximum(gained / 2 - self.strayed * float(gained.max(initial=0.0)), 0.0)
        return np.asarray((1 + gained) * (1 + self.taken) / (1 + SLACK))

    @property
    def excess(self) -> float:
        """How far the sum is above 1 at these places, on average.

        An estimate without bias, and mostly a little low: what is charged for tokens that the row thinks impossible is
        in the sum, and hardly any lot falls on them.
        """
        return float(self.payoffs.mean()) - 1 if len(self.places) else 0.0

    @property
    def wealth(self) -> float:
        """Log of what bets on a sum above 1 have won, nats; 21 or more comes by chance once in 1e9."""
        return _wealth(self.payoffs - 1)


@dataclass(frozen=True)
class Source:
    """m at the atoms of the first run, all [n].

    Attributes:
        gained: float64, g = q(x) - p(x).
        own: float64, q(x).
        other: float64, p(u) of the token u that was drawn from the row.
        usable: bool, the mixture charged less than the row gives, and all three numbers are known.
    """

    gained: Floats
    own: Floats
    other: Floats
    usable: NDArray[np.bool_]

    @property
    def keeps(self) -> Floats:
        """m(x), the probability that the lot leaves the token that came.

        Otherwise it puts u, which was drawn from p and is not x: each v with (1 - p(x)) / (1 + g) * p(v) / (1 - p(x)).
        """
        return self.own / (1 + self.gained)


def source(first: Pass, drawn_nll: Floats) -> Source:
    """What the lots are drawn from, by the first run; see `Recurring` for `drawn_nll`."""
    # Rows may be off 1 by rounding; tokens were drawn from the row divided by its sum.
    p = np.exp(-first.nll - np.where(first.logit, 0.0, first.lse))
    own, other = np.exp(-first.charged), np.exp(-drawn_nll)
    gained = own - p
    usable = first.lowered & (gained > 0) & np.isfinite(own) & np.isfinite(other) & (other > 0)
    return Source(gained, own, other, usable)


@dataclass(frozen=True)
class Balance:
    """How much of what a mixture adds to the tokens that came it takes from the others: all of it in a distribution.

    Attributes:
        places: where another token was put, and both runs charged one.
        share: what the others lost there, as a share of what the token that came had gained.
        least: the lower end of that share's one-sided interval at 99.9 %.
    """

    places: int
    share: float
    least: float

    @property
    def even(self) -> bool:
        """Enough places, and the gains were paid for by the other tokens."""
        return self.places >= ENOUGH and self.least >= PAID


def balance(recurring: Recurring) -> Balance | None:
    """Gains against losses at the places where the lots put another token; None where there are too few to say.

    With x the token that came and u another, drawn from the row: a distribution has (1 - p(x)) q(u) / p(u) = 1 - q(x)
    on average over u. q(u) / p(u) is taken from the run in which u stands there, row and charge alike, so that a row
    that changed with the tokens before it does not count as loss. Tokens that could not be put count as having lost
    nothing. That is the direction which clears nobody by chance; whom it does not clear it does not accuse either: a
    legal mixture whose counts went another way in the second run looks the same (`total` is the bet that accuses).
    """
    from scipy import stats  # a second of importing that only scripts with mixtures have a use for

    first, size = recurring.scored, len(recurring.text)
    known, rank = source(first, recurring.drawn_nll), first.rank(size)
    row = np.exp(-first.nll - np.where(first.logit, 0.0, first.lse))
    gained, left = [np.zeros(0)], [np.zeros(0)]
    for made in recurring.substituted:
        at = made.scored.rank(size)
        put = made.places[known.usable[rank[made.places]] & (at[made.places] >= 0)]
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = np.exp(made.scored.nll[at[put]] - made.scored.charged[at[put]])
        ratio = np.concatenate([ratio, np.ones(len(made.untried))])
        places = rank[np.concatenate([put, made.untried])]
        gained.append(known.gained[places])
        left.append((1 - row[places]) * ratio - (1 - known.own[places]))
    g, excess = np.concatenate(gained), np.concatenate(left)
    finite = np.isfinite(excess)
    g, excess, n = g[finite], excess[finite], int(finite.sum())
    if n < 2 or g.mean() <= 0:
        return None
    over = float(excess.mean() / g.mean())
    error = float((excess - over * g).std(ddof=1) / math.sqrt(n) / g.mean())
    return Balance(n, 1 - over, 1 - over - float(stats.t.ppf(0.999, n - 1)) * error)


def total(recurring: Recurring) -> Sum:
    """The sum over the vocabulary of what is charged on recurring text, as far as the lots show it.

    Nothing is said where a run was lost: what it would have paid is not known, and to leave out a run that may have
    been lost because of the lots would be no fair bet.
    """
    first, size = recurring.scored, len(recurring.text)
    known, rank = source(first, recurring.drawn_nll), first.rank(size)
    parts: list[Sum] = []
    for made in () if recurring.lost else recurring.substituted:
        put = made.places[known.usable[rank[made.places]]]
        for places, kept in ((made.kept, True), (put, False), (made.untried, False)):
            before = rank[places]
            reference = known.own if kept else known.other
            charged = np.zeros(len(places)) if places is made.untried else _given(made.scored, places, size)
            taken = np.minimum(charged / reference[before], _MOST) - 1
            drawn = recurring.text[places].astype(np.int64) if kept else first.drawn[before]
            parts.append(Sum(places, known.gained[before], taken, drawn, kept=np.full(len(places), kept)))
    none = np.zeros(0)
    return Sum(
        np.concatenate([none.astype(np.int64), *(part.places for part in parts)]),
        np.concatenate([none, *(part.gained for part in parts)]),
        np.concatenate([none, *(part.taken for part in parts)]),
        np.concatenate([none.astype(np.int64), *(part.drawn for part in parts)]),
        kept=np.concatenate([none.astype(bool), *(~part.replaced for part in parts)]),
    )


def _given(scored: Pass, places: Ints, size: int) -> Floats:
    """The probability that a run charged at these places, 0 where it charged nothing that is a number."""
    at = scored.rank(size)[places]
    with np.errstate(over="ignore"):
        charged = np.exp(-scored.charged[at])
    return np.where((at >= 0) & ~np.isnan(charged), charged, 0.0)


def special(tokens: Ints, text: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Bool, where tokens are those that only stand where documents start, or at the end of a text."""
    return (tokens <= BOS) | (tokens >= int(text[-1]))


def _wealth(values: Floats) -> float:
    """Log of the mean wealth of bettors who stake fixed shares of it on each value of at least -1; 0 without values."""
    logs = [float(np.log1p(bet * values).sum()) for bet in _BETS]
    peak = max(logs)
    return peak + math.log(sum(math.exp(value - peak) for value in logs) / len(logs))
