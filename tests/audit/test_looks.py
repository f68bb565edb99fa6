"""A p-value that holds whenever one stopped adding seeds: its shares, its level and its power."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import levels
from harness.audit.looks import anytime, share


@given(st.integers(1, 20), st.integers(0, 30))
def test_no_more_than_the_level_is_spent(first: int, further: int) -> None:
    spent = [share(seeds, first, first + further) for seeds in range(60)]
    assert sum(spent) == pytest.approx(1.0) and min(spent) >= 0


def test_what_is_no_look_shows_nothing() -> None:
    assert anytime(1e-9, 2, 3, 10) == 1.0 == anytime(1e-9, 11, 3, 10)
    assert anytime(0.01, 3, 3, 10) == pytest.approx(0.02) and anytime(0.01, 10, 3, 10) == pytest.approx(0.14)
    assert anytime(0.01, 3, 3, 3) == 0.01 and anytime(0.9, 3, 3, 10) == 1.0
    with pytest.raises(ValueError, match="looks from 3 to 2"):
        share(3, 3, 2)


def test_adding_seeds_until_it_passes_deceives_welchs_test_and_not_this_one() -> None:
    welch, held = levels.stopping(gain=0.0, previous=3, alpha=0.25, trials=4_000)
    assert welch > 0.33 and held < 0.25
    once, _ = levels.stopping(gain=0.0, previous=3, alpha=0.25, trials=4_000, most=3)
    assert once == pytest.approx(0.25, abs=0.03)  # Welch's own level, at a number of seeds that was fixed before
    welch, held = levels.stopping(gain=3.0, previous=3, alpha=0.25, trials=4_000)
    assert held > 0.95  # three standard deviations of a seed are found all the same
