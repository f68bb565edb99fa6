"""The ruleset's bars for a record: do new losses beat previous ones by more than chance, and by enough?

Pure functions of two sets of losses in bits per byte, for the check `significance` and for neighbours on a leaderboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.audit import statistics
from harness.audit.statistics import TTest
from harness.rules import Bar, Significance, Unit


@dataclass(frozen=True)
class Result:
    """One bar in one unit: its margin in BPB, the test, and whether p is small enough."""

    name: str
    bar: Bar
    unit: Unit
    margin: float
    test: TTest

    @property
    def met(self) -> bool:
        """Whether the improvement exceeds the margin at the bar's p."""
        return self.test.p_value < self.bar.p_value

    @property
    def missed(self) -> bool:
        """Whether it is decided that the bar is not met; neither is, where the spread of a single number would say."""
        return self.test.refuted(self.bar.p_value)


@dataclass(frozen=True)
class Reached:
    """Runs against the fixed loss of a bar: nats per token."""

    bar: Bar
    target: float
    mean: float
    test: TTest
    numbers: str

    @property
    def met(self) -> bool:
        """Whether the mean is below the target at the bar's p."""
        return self.test.p_value < self.bar.p_value

    @property
    def missed(self) -> bool:
        """Whether further runs like these would not help: their mean is above the target."""
        return self.mean > self.target

    @property
    def sentence(self) -> str:
        """What is shown, for a headline."""
        if self.met:
            return f"{self.numbers}, below at p < {self.bar.p_value:g}"
        return f"{self.numbers}; " + (
            "the mean is above it" if self.missed else f"p < {self.bar.p_value:g} is not shown, and further runs decide"
        )


def reached(losses: Sequence[float], bar: Bar) -> Reached:
    """Losses, nats per token, against the fixed loss that the bar asks for.

    Raises:
        ValueError: the bar names none; too few losses, a bad one, or no spread at all.
    """
    if bar.target_nats is None:
        raise ValueError("this bar is an improvement over a record, not a fixed loss")
    test, mean = statistics.reached(losses, bar.target_nats), statistics.mean(losses)
    numbers = f"{len(losses)} runs, mean {mean:.5f} nats per token against {bar.target_nats:g}: p = {test.p_value:.3g}"
    return Reached(bar, bar.target_nats, mean, test, numbers)


def results(
    losses: Sequence[float], previous: Sequence[float], width: float, wanted: Significance, *, seeds: int = 1
) -> list[Result]:
    """Every bar, in its own unit first; a bar with a margin in the other unit too.

    Args:
        losses: BPB of two or more seeds.
        previous: BPB of what is to be beaten; a single number borrows its spread, see `statistics.one_sample`.
        width: bytes per token of the new losses' tokenizer, for margins in nats per token.
        wanted: the ruleset's bars.
        seeds: of how many seeds a single previous number is said to be the mean.

    Raises:
        ValueError: too few losses, a bad one, or no spread at all.
    """
    found = []
    for name, bar in wanted.bar.items():
        other: Unit = "byte" if bar.margin_unit == "token" else "token"
        for unit in (bar.margin_unit, other) if bar.margin_nats else (bar.margin_unit,):
            margin = statistics.margin_bpb(bar.margin_nats, unit, width)
            test = statistics.improvement(losses, previous, margin, seeds)
            found.append(Result(name, bar, unit, margin, test))
    return found


def decisive(found: Sequence[Result], wanted: Significance) -> Result:
    """The bar that the ruleset decides by, in its own unit."""
    return next(one for one in found if one.name == wanted.decides and one.unit == one.bar.margin_unit)
