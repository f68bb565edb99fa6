import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kit.config import TrainConfig
from harness.kit.schedule import lr_scale, muon_momentum, run_fraction
from tests.kit.tiny_training import SHORT, changed


def test_warm_down_by_steps():
    cfg = TrainConfig(steps=100, seconds=0.0, schedule="steps", warmdown=20.0)
    scales = [lr_scale(cfg, step, 1e9) for step in range(100)]
    assert scales[:81] == [1.0] * 81
    assert scales[81:] == pytest.approx([(100 - step) / 20 for step in range(81, 100)])
    fraction = changed(cfg, warmdown=0.2)
    assert [lr_scale(fraction, step, 0.0) for step in range(100)] == scales
    floored = changed(cfg, min_lr=0.1)
    assert [lr_scale(floored, step, 0.0) for step in range(100)] == pytest.approx([max(s, 0.1) for s in scales])


def test_warm_down_by_the_clock():
    # 100 s in all; 50 steps so far took 0.5 s each, so that 40 steps of warm-down are the last 20 s
    cfg = TrainConfig(steps=10**6, seconds=100.0, schedule="clock", warmdown=40.0)
    assert lr_scale(cfg, 50, 25.0) == 1.0
    assert lr_scale(cfg, 160, 80.0) == 1.0
    assert lr_scale(cfg, 180, 90.0) == pytest.approx(0.5)
    assert lr_scale(cfg, 220, 110.0) == 0.0
    assert lr_scale(cfg, 0, 0.0) == 1.0
    fraction = changed(cfg, warmdown=0.25)
    assert [lr_scale(fraction, 7, at) for at in (0.0, 75.0, 90.0, 100.0)] == pytest.approx([1.0, 1.0, 0.4, 0.0])


def test_warm_up_is_linear():
    cfg = changed(SHORT, steps=50, warmup_steps=10)
    assert [lr_scale(cfg, step, 0.0) for step in (0, 4, 9, 30)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_momentum_warms_up():
    cfg = changed(SHORT, muon_momentum=0.95, muon_momentum_start=0.85, muon_momentum_steps=500)
    assert [muon_momentum(cfg, step) for step in (0, 250, 500, 9999)] == pytest.approx([0.85, 0.90, 0.95, 0.95])
    assert muon_momentum(changed(cfg, muon_momentum_steps=0), 0) == 0.95


def test_a_reserve_is_a_shorter_run():
    whole = TrainConfig(seconds=90.0, warmdown=0.25)
    kept = TrainConfig(seconds=100.0, reserve_seconds=10.0, warmdown=0.25)
    assert kept.budget == 90.0
    for elapsed in (0.0, 60.0, 70.0, 89.0, 90.0, 95.0):
        assert lr_scale(kept, 7, elapsed) == lr_scale(whole, 7, elapsed)
        assert run_fraction(kept, 7, elapsed) == run_fraction(whole, 7, elapsed)
    assert lr_scale(kept, 7, 90.0) == 0.0 < lr_scale(changed(kept, reserve_seconds=0.0), 7, 90.0)


@pytest.mark.parametrize(("seconds", "reserve"), [(100.0, 100.0), (100.0, 101.0), (100.0, -1.0), (0.0, 5.0)])
def test_a_reserve_that_leaves_nothing_is_refused(seconds, reserve):
    with pytest.raises(ValueError, match="reserve_seconds"):
        TrainConfig(seconds=seconds, reserve_seconds=reserve, schedule="clock" if seconds else "steps")


@given(st.integers(1, 10**6), st.floats(0.1, 1e4), st.integers(0, 10**6), st.floats(0, 1e5))
def test_the_fraction_is_that_of_the_schedule(steps, seconds, step, elapsed):
    by_steps = TrainConfig(steps=steps, seconds=seconds, schedule="steps")
    by_clock = TrainConfig(steps=steps, seconds=seconds, schedule="clock")
    assert run_fraction(by_steps, step, elapsed) == min(step / steps, 1.0)
    assert run_fraction(by_clock, step, elapsed) == min(elapsed / seconds, 1.0)
