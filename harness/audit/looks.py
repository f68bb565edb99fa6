"""Seeds that were added until a test passed: a p-value that holds whenever one stopped.

A Welch test at p < 0.01 errs in one of a hundred cases if it is made once, at a number of seeds that was fixed before.
Whoever tests after three seeds, adds one and tests again, errs more often. So the level is spent over the looks that a
ruleset allows, from `first` seeds to `most`: half of it on the first, the other half in equal shares on the others. By
the union bound the chance that any look passes without an improvement stays below the level, whatever made somebody
stop, and the intervals at those levels are a confidence sequence. Nothing else is assumed than that each single test
keeps its level, so it goes for Welch's test as for one against a single number. An e-process would say less here: the
likelihood ratio of a t-statistic of three seeds against an improvement of d standard deviations is never more than
2 (3 d^2 + 1), which is 56 for d = 3, where p < 0.01 asks for 100. docs/deeper.md has the level and the power.
"""

from __future__ import annotations


def share(seeds: int, first: int, most: int) -> float:
    """The part of the level that is spent on the look at this many seeds; 0 where none is made.

    Args:
        seeds: how many there are at that look.
        first: seeds at the first look, at least 1.
        most: seeds at the last look that the rules allow, at least `first`.

    Raises:
        ValueError: no such looks.
    """
    if not 1 <= first <= most:
        raise ValueError(f"looks from {first} to {most} seeds are none")
    if not first <= seeds <= most:
        return 0.0
    if first == most:
        return 1.0
    return 0.5 if seeds == first else 0.5 / (most - first)


def anytime(p: float, seeds: int, first: int, most: int) -> float:
    """A p-value at this many seeds that may be looked at after each seed; 1 where the rules allow no such look.

    Args:
        p: of a test that keeps its level at a fixed number of seeds.
        seeds: how many there are now.
        first: seeds at the first look.
        most: seeds at the last look.

    Raises:
        ValueError: as `share`.
    """
    part = share(seeds, first, most)
    return min(1.0, p / part) if part else 1.0
