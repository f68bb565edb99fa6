"""How often the statistics err: bets on a mixture's sum, the interval of a leak's price, tests of seeds.

    python benchmarks/levels.py                              # all four tables, some ten minutes on one core
    python benchmarks/levels.py mixtures --count 100000
    python benchmarks/levels.py price --trace runs/causal_slot/trace.npz
    python benchmarks/levels.py seeds
    python benchmarks/levels.py looks --count 2000

Everything is simulated with the harness's own functions and fixed generators; docs/deeper.md and docs/scripts.md quote
what comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.audit import looks, statistics
from harness.referee import price
from harness.referee.null import CERTAIN
from harness.scripts.checks.substitution import Source, Sum

Floats = NDArray[np.float64]

_VOCAB = 8
#: Each mixture's places are played this many at a time, to hold the arrays small.
_TOGETHER = 10_000


@dataclass(frozen=True)
class Play:
    """What a mixture may look at when it decides on a place in the second run; the lot of this place is not in it.

    Attributes:
        p: float64 [m, V], the first run's rows, of which token 0 came.
        q: float64 [m, V], what the mixtures charged in the first run, a distribution.
        ahead: float64 [m], log of what one bettor has won so far: everything that happened before.
        steady: float64 [m], a number in [0, 1] of each mixture's own.
        rng: for what the mixture draws itself.
    """

    p: Floats
    q: Floats
    ahead: Floats
    steady: Floats
    rng: np.random.Generator


def _drifted(play: Play, lost: Floats) -> Floats:
    """The first run's mixture with part `lost` [m] of what it had added and taken gone: between q and p."""
    return play.q + lost[:, None] * (play.p - play.q)


def _elsewhere(play: Play, lost: Floats) -> Floats:
    """The drifted gain, taken from one token that each mixture picks, and from the others only beyond that."""
    gain = _drifted(play, lost)[:, 0] - play.p[:, 0]
    made = play.p.copy()
    made[:, 0] += gain
    order = np.argsort(play.rng.random(made[:, 1:].shape), axis=1) + 1
    for column in order.T:
        at = np.arange(len(made)), column
        some = np.minimum(made[at], gain)
        made[at] -= some
        gain = gain - some
    return made


def _bold(play: Play) -> Floats:
    """Everything on one token: the largest payoff there is, if the lot falls on it."""
    made = np.full(play.p.shape, 1e-12)
    made[np.arange(len(made)), play.rng.integers(0, _VOCAB, len(made))] = 1.0
    return made


#: What a legal mixture does in the second run, float64 [m, V], rows that sum to 1.
LEGAL: dict[str, Callable[[Play], Floats]] = {
    "keeps all of its gains": lambda play: play.q,
    "loses 20 % of its gains": lambda play: _drifted(play, np.full(len(play.p), 0.2)),
    "loses 40 % of its gains": lambda play: _drifted(play, np.full(len(play.p), 0.4)),
    "loses all of its gains": lambda play: play.p,
    "loses 0 to 100 %, each its own": lambda play: _drifted(play, play.steady),
    "loses 0 to 100 %, at random": lambda play: _drifted(play, play.rng.random(len(play.p))),
    "loses 0 to 100 %, and takes from few": lambda play: _elsewhere(play, play.rng.random(len(play.p))),
    "gains more than before": lambda play: (
        np.maximum(_drifted(play, -play.steady), 0.0)
        / np.maximum(_drifted(play, -play.steady), 0.0).sum(1, keepdims=True)
    ),
    "keeps them while it loses bets": lambda play: _drifted(play, (play.ahead > 0).astype(float)),
    "keeps them while it wins bets": lambda play: _drifted(play, (play.ahead < 0).astype(float)),
    "charges something else": lambda play: play.rng.dirichlet(np.full(_VOCAB, 0.3), len(play.p)),
    "all on one token": _bold,
}


def _gated(play: Play, lost: Floats) -> Floats:
    """What came is charged as before, all others as the row has them: the sum is above 1 by the gain."""
    made = play.p.copy()
    made[:, 0] = _drifted(play, lost)[:, 0]
    return made


#: Mixtures that are none: hashed caches that only the realised token opens, undisturbed and with counts that change.
ILLEGAL: dict[str, Callable[[Play], Floats]] = {
    "sums to more than 1": lambda play: _gated(play, np.zeros(len(play.p))),
    "sums to more than 1, 10 % of the gains go": lambda play: _gated(
        play, (play.rng.random(len(play.p)) < 0.1).astype(float)
    ),
    "sums to more than 1, loses 20 % of its gains": lambda play: _gated(play, np.full(len(play.p), 0.2)),
}


def mixtures(mixture: Callable[[Play], Floats], count: int, places: int = 240, seed: int = 0) -> Floats:
    """Log of what bets on `count` mixtures won, float64 [count], nats.

    Rows, hints and their weights differ from place to place; the first run is legal in all of them as far as it shows.
    """
    return np.concatenate([
        _played(mixture, min(_TOGETHER, count - done), places, np.random.default_rng([seed, done]))
        for done in range(0, count, _TOGETHER)
    ])  # fmt: skip


def _played(mixture: Callable[[Play], Floats], count: int, places: int, rng: np.random.Generator) -> Floats:
    gained, taken, kept = np.zeros((count, places)), np.zeros((count, places)), np.zeros((count, places), bool)
    ahead, every, steady = np.zeros(count), np.arange(count), rng.random(count)
    sharp = np.array([0.1, 0.5, 2.0])
    for place in range(places):
        p = rng.gamma(sharp[place % 3], size=(count, _VOCAB)) + 1e-9
        p /= p.sum(1, keepdims=True)
        weight = rng.uniform(0.1, 0.9, (count, 1))
        q = (1 - weight) * p
        q[:, 0] += weight[:, 0]
        charged = mixture(Play(p, q, ahead, steady, rng))
        known = Source(q[:, 0] - p[:, 0], q[:, 0], np.ones(count), np.ones(count, bool))
        stays = rng.random(count) < known.keeps
        others = np.cumsum(p[:, 1:], axis=1)
        token = 1 + np.minimum((others <= rng.random((count, 1)) * others[:, -1:]).sum(1), _VOCAB - 2)
        token[stays] = 0
        reference = np.where(stays, q[:, 0], p[every, token])
        gained[:, place], kept[:, place] = known.gained, stays
        taken[:, place] = charged[every, token] / reference - 1
        ahead = ahead + np.log1p(0.5 * ((1 + known.gained) * (1 + taken[:, place]) - 1))
    at = np.arange(places)
    return np.array([Sum(at, g, t, at, kept=k).wealth for g, t, k in zip(gained, taken, kept, strict=True)])


def everywhere(nll: Floats, strength: float) -> Floats:
    """Gaps of a leak that mixes the true token into every row with this weight, nats."""
    return np.asarray(nll + np.log((1 - strength) * np.exp(-nll) + strength))


def at_a_share(nll: Floats, share: float) -> Floats:
    """Gaps of a leak that gives the true token away, with weight 0.9, at this share of the positions."""
    hinted = np.random.default_rng(1).random(len(nll)) < share
    return np.where(hinted, nll + np.log(0.1 * np.exp(-nll) + 0.9), 0.0)


def covered(gaps: Floats, positions: int, trials: int) -> tuple[float, float, float]:
    """Of the price's interval: (coverage, share that lies below the truth, median width over the truth).

    One position is drawn from each stratum; only draws that met a leak count, as a price is only given then.
    """
    rng = np.random.default_rng([positions, trials])
    edges = np.linspace(0, len(gaps), positions + 1).astype(int)
    true, made = gaps.mean(), []
    while len(made) < trials:
        drawn = gaps[rng.integers(edges[:-1], edges[1:])]
        if np.abs(drawn).max() > 1e-5:
            made.append(price.interval(drawn))
    low, high = np.array(made).T
    return (
        float(((low <= true) & (true <= high)).mean()),
        float((high < true).mean()),
        float(np.median(high - low) / true),
    )


def level(new: int, previous: int, spread: float, alpha: float, trials: int) -> tuple[float, float]:
    """How often p < alpha without an improvement: (spread borrowed, number taken as exact).

    Args:
        new: seeds of the new configuration, of standard deviation 1.
        previous: seeds that the previous number is the mean of.
        spread: their standard deviation.
        alpha: the bar.
        trials: how many.
    """
    rng = np.random.default_rng([new, previous])
    ours = 1 + 1e-3 * rng.standard_normal((trials, new))
    theirs = 1 + 1e-3 * spread * rng.standard_normal((trials, previous)).mean(1)
    tests = [
        statistics.one_sample(row.tolist(), float(one), seeds=previous) for row, one in zip(ours, theirs, strict=True)
    ]
    exact = [test.exact for test in tests if test.exact is not None]
    return float(np.mean([test.p_value < alpha for test in tests])), float(np.mean(np.array(exact) < alpha))


def stopping(
    gain: float, previous: int, alpha: float, trials: int, first: int = 3, most: int = 10
) -> tuple[float, float]:
    """How often somebody gets to p < alpha who adds a seed after each look: (by Welch's p, by `looks.anytime`).

    Args:
        gain: the true improvement, in standard deviations of a seed; 0 for the level.
        previous: seeds of the previous record, two or more, which spread as the new ones do.
        alpha: the bar.
        trials: how many.
        first: seeds at the first look.
        most: seeds at the last.
    """
    rng = np.random.default_rng([previous, most])
    ours = 1 - 1e-3 * gain + 1e-3 * rng.standard_normal((trials, most))
    theirs = 1 + 1e-3 * rng.standard_normal((trials, previous))
    passed = np.zeros((2, trials), bool)
    for seeds in range(first, most + 1):
        # `statistics.welch` of many at once.
        p = stats.ttest_ind(ours[:, :seeds], theirs, axis=1, equal_var=False, alternative="less").pvalue
        passed |= np.array([p < alpha, p / looks.share(seeds, first, most) < alpha])
    return float(passed[0].mean()), float(passed[1].mean())


def _mixtures(count: int) -> None:
    print(
        f"| mixture ({count:,} of each, 240 places) | wealth of 20 or more | 1e9 or more | largest |\n|---|---|---|---|"
    )
    for kinds in (LEGAL, ILLEGAL):
        for name, mixture in kinds.items():
            won = mixtures(mixture, count)
            many, certain = int((won >= np.log(20)).sum()), int((won >= CERTAIN).sum())
            print(f"| {name} | {many / count:.2%} | {certain:,} | e^{won.max():.1f} |", flush=True)


def _price(trace: Path | None, trials: int) -> None:
    nll = np.random.default_rng(0).gamma(2.5, 1.43, 20_000)
    if trace is not None:
        with np.load(trace) as held:
            nll = held["nll"][1:]
    cases = {f"everywhere, {strength:g}": everywhere(nll, strength) for strength in (0.5, 0.1, 1e-2, 1e-3)}
    cases |= {f"0.9 at {share:.0%}": at_a_share(nll, share) for share in (0.3, 0.1, 0.05, 0.02)}
    print(f"| leak ({len(nll):,} positions) | " + " | ".join(f"n = {n}" for n in (8, 16, 64, 400)) + " |")
    print("|---|---|---|---|---|")
    for name, gaps in cases.items():
        told = [covered(gaps, n, trials) for n in (8, 16, 64, 400)]
        print(
            f"| {name} | " + " | ".join(f"{c:.1%} ({b:.1%} below, width {w:.2g})" for c, b, w in told) + " |",
            flush=True,
        )


def _seeds(trials: int) -> None:
    print("| new seeds | previous number | spread of its seeds | p < 0.01 | p < 0.25 | p < 0.01 were it exact |")
    print("|---|---|---|---|---|---|")
    for new in (3, 5):
        for previous in (1, 3):
            for spread in (0.3, 1.0, 2.0, 3.0):
                small, exact = level(new, previous, spread, 0.01, trials)
                large, _ = level(new, previous, spread, 0.25, trials)
                what = "one seed" if previous == 1 else f"mean of {previous}"
                print(f"| {new} | {what} | {spread:g} x | {small:.4f} | {large:.3f} | {exact:.4f} |", flush=True)


def _looks(trials: int) -> None:
    print("| improvement | bar | Welch, 3 seeds | until it passes | any look, 3 seeds | until it passes |")
    print("|---|---|---|---|---|---|")
    for alpha in (0.25, 0.01):
        for gain in (0.0, 0.5, 1.0, 2.0, 3.0, 5.0):
            until = stopping(gain, 3, alpha, trials)
            once = [stopping(gain, 3, alpha * part, trials, most=3)[0] for part in (1.0, looks.share(3, 3, 10))]
            told = [once[0], until[0], once[1], until[1]]
            print(f"| {gain:g} | {alpha:g} | " + " | ".join(f"{one:.3f}" for one in told) + " |", flush=True)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("mixtures", "price", "seeds", "looks"))
    parser.add_argument("--count", type=int, default=10_000, help="mixtures of each kind, or trials of each row")
    parser.add_argument("--trace", type=Path, help="a run's trace.npz, for the NLL of real rows")
    args = parser.parse_args()
    if args.what in (None, "mixtures"):
        _mixtures(args.count)
    if args.what in (None, "price"):
        _price(args.trace, args.count)
    if args.what in (None, "seeds"):
        _seeds(args.count)
    if args.what in (None, "looks"):
        _looks(args.count)


if __name__ == "__main__":
    main()
