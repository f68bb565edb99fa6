"""Passes, names, the headline and the ledger, from hand-made runs."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scripts.trace import lines
from harness.scripts.trace.reading import read
from tests.scripts.handmade import Story

N = 257
ALL = range(1, N)


def losses(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(5, 12, N)


def test_a_mean_is_one_pass_with_its_line():
    story = Story()
    nll = losses()
    value = story.report(story.score(ALL, nll[1:]))
    story.say(f"final_int8_zlib_roundtrip val_loss:{value:.4f} val_bpb:{value / 2:.4f}")
    story.say(f"final_int8_zlib_roundtrip_exact val_loss:{value:.8f} val_bpb:{value / 2:.8f}")
    trace = read(story.observed(), N)
    (made,) = trace.passes
    assert made.name == "after quantization"
    assert made.error == 0
    assert made.printed is not None and made.printed.loss_digits == 8
    assert made.print_error < 1e-8
    assert trace.headline == 0
    np.testing.assert_array_equal(made.position, list(ALL))


def test_running_totals_are_no_passes_and_the_bpb_is_no_loss():
    story = Story()
    nll = losses()
    first, second = story.score(range(1, 129), nll[1:129]), story.score(range(129, N), nll[129:])
    story.report(first)
    both = np.concatenate([first, second])
    story.report(both, value=float(nll[1:].mean()) / math.log(2) * 0.41)
    story.report(both)
    (made,) = read(story.observed(), N).passes
    assert made.reports == 1
    assert made.error < 1e-12
    assert made.value == float(nll[1:].mean())


def test_fragments_of_a_python_float_are_one_pass_until_positions_start_over():
    story = Story()
    nll = losses()
    for _ in range(2):
        for start in range(1, N, 32):
            story.report(story.score(range(start, start + 32), nll[start : start + 32]))
    trace = read(story.observed(), N)
    assert [made.reports for made in trace.passes] == [8, 8]
    assert all(made.unique() == N - 1 for made in trace.passes)
    np.testing.assert_allclose([made.value for made in trace.passes], nll[1:].mean())


def test_a_tail_that_is_scored_again_stays_in_its_pass():
    story = Story()
    nll = losses()
    for start in (*range(1, N, 32), 225, 241):
        stop = min(start + 32, N)
        story.report(story.score(range(start, stop), nll[start:stop]))
    (made,) = read(story.observed(), N).passes
    assert made.reports == 10
    assert len(made.position) == N - 1 + 32 + 16


def test_training_losses_that_are_printed_are_no_headline():
    story = Story()
    nll = losses()
    value = story.report(story.score(ALL, nll[1:]))
    story.say(f"sliding val_loss:{value:.6f} val_bpb:3.3")
    probe = story.score(range(1, 20), nll[1:20], grad=True)
    story.report(probe, place="train_gpt.py:70 adapt")
    trace = read(story.observed(), N)
    assert len(trace.passes) == 1
    assert trace.main is not None and trace.main.name == "sliding window"


def test_the_headline_is_the_pass_of_the_last_printed_loss():
    story = Story()
    first = story.report(story.score(ALL, losses(1)[1:]), place="train_gpt.py:90 eval_val_ttt")
    second = story.report(story.score(ALL, losses(2)[1:]), place="train_gpt.py:91 eval_val")
    story.say(f"val_loss:{second:.6f} val_bpb:3.0")
    story.say(f"final legal_ttt val_loss:{first:.6f} val_bpb:2.9")
    trace = read(story.observed(), N)
    assert trace.headline == 0
    assert trace.main is not None and trace.main.name == "test-time training"


def test_a_common_factor_is_no_mixture_and_a_mixture_is():
    nll = losses()[1:]
    for charged, modified in ((nll / len(nll), 0), (np.where(nll > 9.001, 9.0, nll), int((nll > 9.001).sum()))):
        story = Story()
        story.report(story.score(ALL, nll), charged=charged, value=float(charged.sum()))
        (made,) = read(story.observed(), N).passes
        assert made.modified == modified
        assert made.error < 1e-12


def test_the_ledger_tells_score_first_from_train_first():
    nll = losses()
    for score_first in (True, False):
        story = Story()
        atoms = []
        for start in range(1, N, 64):
            chunk = range(start, start + 64)
            if not score_first:
                story.train(chunk)
            atoms.append(story.score(chunk, nll[start : start + 64]))
            if score_first:
                story.train(chunk)
        story.report(np.concatenate(atoms))
        trace = read(story.observed(), N)
        assert trace.main is not None
        ledger = trace.ledger(trace.main)
        # The very first training of the second kind comes before anything is scored, and belongs to the pass.
        assert int(ledger.early.sum()) == (0 if score_first else N - 1)
        assert not ledger.before.any()
        assert bool(ledger.early_places) is not score_first


def test_training_before_the_pass_is_told_from_training_in_it():
    nll = losses()
    story = Story()
    story.train(range(1, 33), place="train_gpt.py:20 warm_up")
    story.train(ALL, place="train_gpt.py:30 adapt_to_validation")
    story.report(story.score(ALL, nll[1:]))
    trace = read(story.observed(), N)
    assert trace.main is not None
    ledger = trace.ledger(trace.main)
    assert int(ledger.before.sum()) == N - 1
    assert not ledger.early.any()
    assert ledger.first_before is not None and ledger.first_before.place.endswith("warm_up")


def test_masked_targets_of_a_root_are_not_trained_on():
    story = Story()
    atoms = story.score(ALL, losses()[1:])
    story.report(atoms)
    early = Story()
    early.score(ALL, losses()[1:], grad=True)
    early.train(ALL, what="backward")
    early.train(range(1, 65), what="nll_loss_backward", place="torch")
    early.report(early.score(ALL, losses()[1:]))
    trace = read(early.observed(), N)
    (training,) = trace.trainings
    assert len(training.position) == 64
    assert training.place == "train_gpt.py:70 adapt"
    assert read(story.observed(), N).trainings == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, N - 1), min_size=0, max_size=12, unique=True), st.booleans(), st.integers(0, 99))
def test_however_a_pass_is_cut_its_atoms_are_all_there(cuts, totals, seed):
    nll = losses(seed)
    story = Story()
    seen = []
    for low, high in zip([1, *sorted(cuts)], [*sorted(cuts), N], strict=True):
        if low == high:
            continue
        atoms = story.score(range(low, high), nll[low:high])
        seen.append(atoms)
        story.report(np.concatenate(seen) if totals else atoms)
    (made,) = read(story.observed(), N).passes
    np.testing.assert_array_equal(made.position, list(ALL))
    np.testing.assert_allclose(made.charged, nll[1:])
    assert made.error < 1e-9


def test_lines():
    line = lines.read("step:100/2000 val_loss:3.2841 val_bpb:1.9450 train_time:10ms", 3)
    assert line is not None
    assert (line.loss, line.loss_digits, line.bpb) == (3.2841, 4, 1.945)
    assert lines.read("step:100 train_loss:3.21", 1) is None
    assert lines.read("nothing here", 1) is None
    assert lines.agrees(3.28414, 3.2841, 4) and not lines.agrees(3.2843, 3.2841, 4)
    assert lines.name_of("final_slot val_loss:1") == "SLOT"
    assert lines.name_of("x", "y") is None


def _evaluations(*labels: str) -> Story:
    """A run that prints an evaluation under each label, every one with a loss of its own unless the label repeats."""
    story, made = Story(), {}
    for turn, label in enumerate(labels):
        name, _, same = label.partition("=")
        if not same:
            made[name] = story.report(story.score(ALL, losses(turn)[1:]), place=f"train_gpt.py:{90 + turn} eval_val")
        value = made[same or name]
        story.say(f"{name} val_loss:{value:.8f} val_bpb:{value / 2:.8f}")
    return story


def test_the_line_that_the_logs_claim_counts_and_not_a_later_one():
    """A stride that was made smaller is no longer the one for which a script skips its second evaluation."""
    story = _evaluations("final_roundtrip", "final_window+adapt4steps_exact", "final_window_s64+adapt4steps_exact")
    assert read(story.observed(), N).headline == 2
    claimed = frozenset({lines.plain("final_window+adapt32steps")})
    trace = read(story.observed(), N, claimed)
    assert trace.headline == 1 and trace.claimed == ()
    assert trace.last is not None and trace.last.text.startswith("final_window+adapt4steps")


def test_of_lines_with_one_label_the_one_with_more_of_the_claimed_labels_counts():
    story = _evaluations("window", "legacy=window", "window_s64", "legacy=window_s64")
    assert read(story.observed(), N, frozenset({"window", "legacy"})).headline == 0


def test_a_claimed_line_that_never_comes_is_told():
    trace = read(_evaluations("final_roundtrip").observed(), N, frozenset({"final adapted"}))
    assert trace.claimed == ("final adapted",) and trace.headline == 0
