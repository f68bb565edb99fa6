"""The price of a leak: the laws of its interval, how often it covers, and which positions count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import levels
from harness.audit import causality
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee import price
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe
from tests.audit.evidence_builder import evidence, probe_result, settled

#: NLL of a small model's honest rows: mean 3.6 nats, standard deviation 2.3.
NLL = np.random.default_rng(0).gamma(2.5, 1.43, 20_000)


def told(gaps: np.ndarray, first: int = 50) -> list[ProbeResult]:
    """Sampled probes at positions from `first` on that found these gaps."""
    return [
        probe_result(first + i, probe=Probe("suffix", first + i, shift=3, sampled=True), own=(2.0, 2.0 + float(gap)))
        for i, gap in enumerate(gaps)
    ]


@pytest.mark.parametrize("strength", [0.5, 0.1, 1e-2, 1e-3])
def test_the_interval_covers_the_price_of_a_leak_that_is_everywhere(strength: float) -> None:
    coverage, below, width = levels.covered(levels.everywhere(NLL, strength), 64, 1000)
    assert coverage >= 0.93 and below <= 0.05 and width < 3
    assert levels.covered(levels.everywhere(NLL, strength), 16, 1000)[0] >= 0.88


@pytest.mark.parametrize("share", [0.3, 0.1, 0.05, 0.02])
def test_the_interval_covers_the_price_of_a_rare_leak_that_was_met(share: float) -> None:
    assert levels.covered(levels.at_a_share(NLL, share), 64, 1000)[0] >= 0.93


def test_students_t_did_not_cover() -> None:
    """The strength for which the interval was rebuilt: t errs towards understating."""
    gaps, rng = levels.everywhere(NLL, 1e-3), np.random.default_rng(0)
    drawn = rng.choice(gaps, (2000, 16))
    high = drawn.mean(1) + 2.1314 * drawn.std(1, ddof=1) / 4
    assert 0.1 < (high < gaps.mean()).mean() < 0.4


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 20), min_size=2, max_size=64),
    st.floats(0.1, 10),
    st.floats(-3, 3),
)
def test_the_interval_holds_the_mean_and_moves_with_its_unit(values: list[float], factor: float, shift: float) -> None:
    gaps = np.array(values)
    low, high = price.interval(gaps)
    assert low <= gaps.mean() + 1e-9 and gaps.mean() - 1e-9 <= high
    assert price.interval(gaps) == (low, high)
    moved = price.interval(factor * gaps + shift)
    scale = 1e-6 * (1 + np.abs(gaps).max()) * factor
    assert moved == (pytest.approx(factor * low + shift, abs=scale), pytest.approx(factor * high + shift, abs=scale))


@pytest.mark.parametrize("positions", [8, 16, 64, 400])
def test_more_positions_say_more(positions: int) -> None:
    gaps = levels.everywhere(NLL, 0.1)[:positions]
    found = price.price(told(gaps))
    assert found is not None and found.positions == positions and found.leaking >= positions - 1
    assert found.mean == pytest.approx(gaps.mean())
    width = found.high - found.low
    assert 3.5 < width * math.sqrt(positions) / gaps.std(ddof=1) < 24  # 3.9 where the mean is normal


def test_the_price_in_bits_per_byte() -> None:
    found = price.price([*told(np.array([0.1, 0.2, 0.3, 0.4])), probe_result(90)])  # the last was not sampled
    assert found is not None and found.positions == 4 and found.mean == pytest.approx(0.25)
    assert found.low < 0.25 < found.high
    honest = found.honest_bpb(1.0, tokens=1000, size=2000)
    assert honest["estimate"] == pytest.approx(1.0 + 0.25 * 1000 / (math.log(2) * 2000))
    assert price.price([probe_result(90)]) is None


def test_a_row_that_never_came_is_no_gap_of_zero() -> None:
    probe = Probe("suffix", 90, shift=3, sampled=True)
    withheld = probe_result(90, probe=probe, own=None, by_construction=89)  # all but its own row came before
    before = probe_result(90, probe=probe, own=None, by_construction=90)
    broken = probe_result(90, probe=probe, own=(1.0, 9.0), error="it broke")
    gaps = np.array([0.1, 0.2, 0.3])
    for other, expected in ((withheld, [*gaps]), (broken, [*gaps]), (before, [*gaps, 0.0])):
        found = price.price([*told(gaps), other])
        assert found is not None and [gap for _, gap in found.gaps] == pytest.approx(expected)


def test_a_leak_that_no_sampled_position_has_is_not_priced_at_nothing(dataset: Dataset) -> None:
    leak = probe_result(70, violations=[(69, 2.0, 1.0, 0.0)], violated=1)
    missed = causality.check(evidence(dataset, probes=[*told(np.zeros(16)), leak]))
    assert settled(missed, Status.FAIL).value("price") is None
    assert any("none of 16 sampled positions has it" in line for line in missed.not_covered)


def test_a_rare_leak_is_said_to_look_dearer_than_it_is(dataset: Dataset) -> None:
    gaps = np.zeros(64)
    gaps[7] = 3.0
    leak = probe_result(58, violations=[(57, 2.0, 1.0, 0.0)], violated=1)
    found = causality.check(evidence(dataset, probes=[*told(gaps), leak]))
    assert found.value("positions_leaking") == 1
    assert any("too high, on average by a factor of about 1.6" in line for line in found.not_covered)
    dense = causality.check(evidence(dataset, probes=[*told(levels.everywhere(NLL, 0.1)[:64]), leak]))
    assert not any("too high" in line for line in dense.not_covered)


def test_the_factor_is_that_of_the_simulated_selection() -> None:
    rng, share, positions = np.random.default_rng(0), 0.02, 16
    met = rng.binomial(positions, share, 200_000)
    expected = met[met > 0].mean() / (positions * share)
    assert expected == pytest.approx(1 / (1 - (1 - share) ** positions), rel=0.01)
    assert price.Price(50, 1.0, 0.0, 2.0, leaking=1).selection == pytest.approx(1 / (1 - 0.98**50))
