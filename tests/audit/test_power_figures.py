"""What checks say they would have seen, and what the record keeps for figures, against statements of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness import rules
from harness.adapters.recording import nll_curve
from harness.audit import bars, causality, statistics
from harness.audit.null_stream import power_figure
from harness.corpus.dataset import Dataset
from harness.referee.null import CERTAIN, Saving
from harness.referee.price import price
from harness.referee.source import Probe
from tests.audit.evidence_builder import clean_trace, evidence, probe_result

FRONT, NEXT = [1.0801, 1.0803, 1.0799], [1.0810, 1.0812, 1.0808]


def test_the_chance_of_meeting_a_rare_leak_is_the_binomials(dataset: Dataset) -> None:
    swaps = [probe_result(40 + n, probe=Probe("swap", 40 + n, token=3), still=[40 + n]) for n in range(15)]
    batch = probe_result(70, probe=Probe("swap", 70, token=3, others=((75, 4), (80, 4))), still=[70, 54])
    found = causality.check(evidence(dataset, probes=[*swaps, batch, probe_result(90)]))
    assert found.value("own_rows_compared") == 16
    half = found.value("unseen_share")
    assert stats.binom.sf(0, 16, half) == pytest.approx(0.5, abs=1e-3)
    (curve,) = found.figures["power"]["series"]
    expected = stats.binom.sf(0, 16, np.minimum(curve["x"], 1.0))
    assert curve["y"] == pytest.approx(expected, abs=1e-4) and curve["x"][0] == 1e-4 and curve["x"][-1] == 1.0
    none = causality.check(evidence(dataset, probes=[probe_result(90)]))
    assert "power" not in none.figures


@settings(deadline=None)
@given(st.floats(-1e4, 1e3), st.integers(1, 10**6))
def test_a_further_leak_shows_from_where_the_finding_says(saved: float, tokens: int) -> None:
    """The curve crosses 21 nats at the leak that `Saving.visible` calls the smallest seen for certain."""
    ours, bound = power_figure(saved, tokens)["series"]
    visible = Saving(saved, tokens, 0).visible
    assert bound["y"] == [CERTAIN, CERTAIN] and bound["x"] == [ours["x"][0], ours["x"][-1]]
    if visible > 0:
        assert np.interp(visible, ours["x"], ours["y"]) == pytest.approx(CERTAIN, rel=1e-3, abs=0.05)


def test_the_curve_along_the_stream_averages_to_the_loss() -> None:
    trace = clean_trace(1001)
    trace.nll[1:] = np.random.default_rng(0).exponential(3.0, 1000)
    curve = nll_curve(trace, stretches=100)
    assert curve.x == list(range(1, 1001, 10)) and np.mean(curve.y) == pytest.approx(trace.nll[1:].mean(), abs=1e-5)
    assert len(nll_curve(clean_trace(5)).x) == 4


def test_the_price_keeps_the_gap_of_each_position() -> None:
    made = [
        probe_result(50 + n, probe=Probe("suffix", 50 + n, shift=3, sampled=True), own=(2.0, 2.0 + gap))
        for n, gap in enumerate([0.1, 0.4])
    ]
    found = price(made)
    assert found and found.gaps == ((50, pytest.approx(0.1)), (51, pytest.approx(0.4)))
    assert found.honest_bpb(1.0, tokens=1000, size=2000)["gaps"] == [[50, pytest.approx(0.1)], [51, pytest.approx(0.4)]]


def test_the_bar_that_decides_is_the_rulesets() -> None:
    """Until 28 April 0.005 nats at p < 0.01 decided, and since then any improvement at p < 0.25."""
    for name, margin, p in (("2026-04-28", 0.0, 0.25), ("2026-03-18", 0.005, 0.01)):
        wanted = rules.load(name).significance
        found = bars.decisive(bars.results(FRONT, NEXT, 3.7, wanted), wanted)
        assert (found.bar.margin_nats, found.bar.p_value) == (margin, p)
        bpb = statistics.margin_bpb(margin, "token", 3.7)
        reference = stats.ttest_ind(np.add(FRONT, bpb), NEXT, equal_var=False, alternative="less")
        assert found.test.p_value == pytest.approx(reference.pvalue) and found.met == (reference.pvalue < p)
    one = bars.results(FRONT, [1.081], 3.7, rules.load("2026-04-28").significance)
    pooled = stats.ttest_ind(FRONT, [1.081], equal_var=True, alternative="less")
    assert one[0].test.p_value == pytest.approx(pooled.pvalue)
