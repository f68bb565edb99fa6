"""Statistics of per-seed losses: means, spreads, one-sided t-tests and margins in every unit that the contest uses.

Pure functions of numbers. A loss is nats per token, nats per byte or bits per byte; a test wants both sides in one
unit, and nats per token are one unit only for one tokenizer. With B bytes per token,

    nats per byte = BPB * ln 2        nats per token = BPB * ln 2 * B        B = nats per token / (ln 2 * BPB)

so that the README's 0.005 nats are 0.00721 BPB per byte, and per token 0.00296 (SP1024) to 0.00194 BPB (SP8192).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: Spreads below this share of the mean are rounding, not differences between seeds.
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class TTest:
    """A one-sided t-test: how likely so large an improvement is, if there were none beyond the margin.

    Attributes:
        statistic: t; negative where the new losses are lower.
        degrees: degrees of freedom (Welch-Satterthwaite for two samples).
        error: standard error of the difference, in the unit of the losses.
        p_value: of the hypothesis that the new mean is not below the previous one less the margin.
        exact: what p would be if a single previous number had no error; None where its spread is known.
    """

    statistic: float
    degrees: float
    error: float
    p_value: float
    exact: float | None = None

    def refuted(self, p_value: float) -> bool:
        """Whether the improvement is not shown at that p, and would not be if the previous number were exact either.

        Where only the error that was borrowed for a single number makes the difference, nothing is decided.
        """
        return min(self.p_value, self.p_value if self.exact is None else self.exact) >= p_value

    def needed(self, p_value: float) -> float:
        """How far below the previous mean less the margin a new mean has to lie for that p, at this spread."""
        from scipy import stats  # a second of importing, here and below, that most commands have no use for

        return float(-stats.t.ppf(p_value, self.degrees)) * self.error


def sample(losses: Sequence[float], configurations: Mapping[int, str] | None = None) -> tuple[float, ...]:
    """Losses of one configuration, checked: what every function below works on.

    Args:
        losses: one per seed, any unit.
        configurations: what each seed ran with, in any words; they have to be the same for all (#2124).

    Raises:
        ValueError: no losses, one that is not a finite positive number, or more than one configuration.
    """
    if not losses:
        raise ValueError("there are no losses")
    for index, loss in enumerate(losses):
        if not (math.isfinite(loss) and loss > 0):
            raise ValueError(f"loss {index + 1} of {len(losses)} is {loss}, not a finite positive number")
    if configurations and len(set(configurations.values())) > 1:
        groups: dict[str, list[str]] = {}
        for seed, configuration in configurations.items():
            groups.setdefault(configuration, []).append(str(seed))
        named = "; ".join(f"{words} (seeds {', '.join(seeds)})" for words, seeds in groups.items())
        raise ValueError(f"the seeds are of {len(groups)} configurations: {named}")
    return tuple(float(loss) for loss in losses)


def mean(losses: Sequence[float]) -> float:
    """Mean of one or more losses, exactly rounded, so that the order of the seeds does not matter.

    Raises:
        ValueError: as `sample`.
    """
    checked = sample(losses)
    return math.fsum(checked) / len(checked)


def deviation(losses: Sequence[float], *, ddof: int = 1) -> float:
    """Standard deviation of the seeds: of the sample (ddof 1), or of the seeds as a population (ddof 0).

    Raises:
        ValueError: as `sample`, or not more than `ddof` losses.
    """
    checked = sample(losses)
    if len(checked) <= ddof:
        raise ValueError(f"{len(checked)} loss has no spread; at least {ddof + 1} are needed")
    middle = mean(checked)
    return math.sqrt(math.fsum((loss - middle) ** 2 for loss in checked) / (len(checked) - ddof))


def welch(new: Sequence[float], previous: Sequence[float], margin: float = 0.0) -> TTest:
    """Are the new losses lower than the previous ones by more than `margin`? One-sided Welch test.

    Variances may differ (Welch, Biometrika 34, 1947). The hypothesis that is tested is mean(new) >= mean(previous) -
    margin, so a small p says that the improvement exceeds the margin.

    Args:
        new: two or more losses, one per seed.
        previous: two or more losses of what is to be beaten, in the same unit.
        margin: improvement that is required, in that unit, at least 0.

    Raises:
        ValueError: too few losses, a bad one, a bad margin, or no spread at all.
    """
    from scipy import stats

    left, right = sample(new), sample(previous)
    _margin(margin)
    if min(len(left), len(right)) < 2:
        raise ValueError(f"a Welch test needs two losses on either side, not {len(left)} and {len(right)}")
    if _flat(left) and _flat(right):
        raise ValueError("neither side has any spread between its seeds; are they copies of one run?")
    result = stats.ttest_ind([loss + margin for loss in left], right, equal_var=False, alternative="less")
    error = math.sqrt(deviation(left) ** 2 / len(left) + deviation(right) ** 2 / len(right))
    return TTest(float(result.statistic), float(result.df), error, float(result.pvalue))


def one_sample(new: Sequence[float], previous: float, margin: float = 0.0, seeds: int = 1) -> TTest:
    """Are the new losses lower than one previous number by more than `margin`? One-sided t-test, its spread borrowed.

    Of the previous configuration only one number is known, which has an error of its own. Its seeds are taken to spread
    as the new ones do, so that the difference has the error s * sqrt(1/n + 1/k) with the n - 1 degrees of freedom
    of s: the two-sample test with equal variances and nothing to pool. The level is exact where the spreads are equal
    (docs/deeper.md has it where they are not). `exact` says what p would be if the number had no error: a bound from
    below and no test, since at 0.01 it errs in 0.036 (three seeds) to 0.10 (five) of the cases.

    Args:
        new: two or more losses, one per seed.
        previous: the loss to beat, in the same unit.
        margin: improvement that is required, in that unit, at least 0.
        seeds: k, of how many seeds the previous loss is said to be the mean; 1 where nothing is said.

    Raises:
        ValueError: too few losses or seeds, a bad loss, a bad margin, or no spread at all.
    """
    from scipy import stats

    left = sample(new)
    (target,) = sample([previous])
    _margin(margin)
    if seeds < 1:
        raise ValueError(f"a mean of {seeds} seeds is none")
    if len(left) < 2:
        raise ValueError("a t-test needs two losses, not 1")
    if _flat(left):
        raise ValueError("the seeds have no spread at all; are they copies of one run?")
    gap, degrees = mean(left) + margin - target, len(left) - 1
    alone = deviation(left) / math.sqrt(len(left))
    error = alone * math.sqrt(1 + len(left) / seeds)
    p, exact = (float(stats.t.cdf(gap / size, degrees)) for size in (error, alone))
    return TTest(gap / error, float(degrees), error, p, exact)


def reached(new: Sequence[float], target: float) -> TTest:
    """Is the mean of the new losses below a fixed number? One-sided one-sample t-test (Student, Biometrika 6, 1908).

    The hypothesis that is tested is mean(new) >= target, and the target is exact: it is written in a rule.

    Args:
        new: two or more losses, one per run.
        target: the number, in the same unit.

    Raises:
        ValueError: too few losses, a bad one, or no spread at all.
    """
    from scipy import stats

    left = sample(new)
    (goal,) = sample([target])
    if len(left) < 2:
        raise ValueError("a t-test needs two losses, not 1")
    if _flat(left):
        raise ValueError("the runs have no spread at all; are they copies of one run?")
    result = stats.ttest_1samp(left, goal, alternative="less")
    error = deviation(left) / math.sqrt(len(left))
    return TTest(float(result.statistic), float(len(left) - 1), error, float(result.pvalue))


def improvement(new: Sequence[float], previous: Sequence[float], margin: float = 0.0, seeds: int = 1) -> TTest:
    """The test that fits what is known of the previous losses: `welch` for two or more of them, `one_sample` for one.

    Args:
        new: two or more losses, one per seed.
        previous: losses of what is to be beaten, in the same unit, or one number of it.
        margin: improvement that is required, in that unit, at least 0.
        seeds: of how many seeds a single previous number is said to be the mean.

    Raises:
        ValueError: as the two tests; no previous loss.
    """
    before = sample(previous)
    if len(before) == 1:
        return one_sample(new, before[0], margin, seeds)
    return welch(new, before, margin)


def bytes_per_token(nats_per_token: float, bpb: float) -> float:
    """Bytes per token that a loss in nats per token and one in bits per byte imply.

    Raises:
        ValueError: one of them is not a finite positive number.
    """
    loss, bits = sample([nats_per_token, bpb])
    return loss / (math.log(2) * bits)


def nats_per_byte(bpb: float) -> float:
    """Bits per byte in nats per byte."""
    return bpb * math.log(2)


def nats_per_token(bpb: float, bytes_per_token: float) -> float:
    """Bits per byte in nats per token of a tokenizer with that many bytes per token."""
    return bpb * math.log(2) * bytes_per_token


def margin_bpb(nats: float, unit: Literal["token", "byte"], bytes_per_token: float) -> float:
    """A margin of nats per token or per byte, in bits per byte.

    Args:
        nats: the margin, at least 0.
        unit: of what.
        bytes_per_token: of the tokenizer that the margin is taken with; a margin per byte does not depend on it.

    Raises:
        ValueError: a negative margin or a bad number.
    """
    _margin(nats)
    (width,) = sample([bytes_per_token])
    return nats / (math.log(2) * (width if unit == "token" else 1.0))


def _margin(margin: float) -> None:
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"a margin of {margin} is not a finite number of at least 0")


def _flat(losses: Sequence[float]) -> bool:
    return max(losses) - min(losses) <= _NO_SPREAD * max(losses)
