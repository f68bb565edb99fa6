"""What the trusted side makes of runs: sources of known entropy, bytes, where to fork."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.scripts import collect, flips
from harness.scripts.play import streams
from harness.scripts.trace.reading import read
from tests.scripts.handmade import Story

STREAMS = streams.make(2048, 500, seed=3)
N = len(STREAMS.validation)


def run(*, before: str = "") -> tuple[object, Story]:
    story = Story()
    if before == "score":
        story.report(story.score(range(1, N), 9.0), place="train_gpt.py:1 diagnostic")
    if before == "train":
        story.score(range(1, N), 9.0)
        story.train(range(1, N), place="train_gpt.py:2 adapt")
    atoms = []
    for start in range(1, N, 64):
        part = range(start, min(start + 64, N))
        if before == "slot":
            story.score(part, 9.0, grad=True)
            story.train(part, place="train_gpt.py:3 slot")
        atoms.append(story.score(part, 8.5))
    value = story.report(np.concatenate(atoms), place="train_gpt.py:4 final")
    story.say(f"final val_loss:{value:.8f} val_bpb:3.0")
    return read(story.observed(), N), story


def test_a_permutation_has_the_entropy_that_it_has():
    trace, _ = run()
    made = collect.permutation_null(trace, STREAMS, None, 3)
    assert made is not None
    ids = STREAMS.vocab_size - 1 - STREAMS.train_ids[1]  # the largest is not drawn: it stands at the end
    assert made.source_nll == pytest.approx(sum(math.log(ids - i) for i in range(made.tokens)))
    assert made.reported_nll == pytest.approx(8.5 * (N - 1))
    uniform = math.log(ids) * made.tokens
    assert made.source_nll < uniform  # drawing without replacement tells something


def test_a_bpb_alone_is_enough():
    trace, story = run()
    story.say("final_mix bpb:0.5000")
    trace = read(story.observed(), N)
    text = streams.true_bytes(STREAMS)
    made = collect.permutation_null(trace, STREAMS, text, 3)
    assert made is not None
    assert made.reported_nll == pytest.approx(0.5 * math.log(2) * text.sum())
    assert made.saving > 0  # half a bit for each byte is less than the text holds


def test_bytes_of_the_made_up_text():
    text, wrong = streams.true_bytes(STREAMS), streams.miscounts(STREAMS)
    assert len(text) == N and text[0] == 0
    assert (text[STREAMS.bos_positions] == 0).all()
    double = next(counts for name, counts in wrong.items() if "twice" in name)
    assert (double >= text).all() and double.sum() > text.sum()
    assert streams.sidecar_bytes(STREAMS).sum() == streams.SIDECAR_BYTES * (N - len(STREAMS.bos_positions))


def test_forks_begin_before_the_pass_but_not_inside_training():
    def event(before: str) -> tuple[int, int]:
        trace, story = run(before=before)
        assert trace.main is not None
        return flips.fork_event(story.observed(), trace), int(trace.main.event.min())

    assert event("") == (0, 0)
    assert event("score") == (0, 1)  # the diagnostic's last batch may be edited, the pass's first may not be in flight
    assert event("train") == (1, 1)  # editing before a training's batch would train on half changed text
    assert event("slot") == (0, 1)  # the pass begins with the losses that its first adaptation is made of


def test_the_flip_of_a_whole_run_changes_what_was_trained_on_before_the_pass():
    """Of a text whose last part nothing is trained on, a flip inside that part would show nothing."""
    story = Story()
    value = story.report(story.score(range(1, N), 9.0), place="train_gpt.py:1 adapting")
    story.train(range(1, N // 2), place="train_gpt.py:2 adapt")
    atoms = [story.score(range(start, min(start + 32, N)), 8.5) for start in range(1, N, 32)]
    value = story.report(np.concatenate(atoms), place="train_gpt.py:4 final")
    story.say(f"final val_loss:{value:.8f} val_bpb:3.0")
    trace = read(story.observed(), N)
    assert trace.main is not None
    early = trace.ledger(trace.main).before
    behind = flips.later(trace.main, N - 30, N, STREAMS.bos_positions)
    assert early.sum() > N // 3 and not early[behind.replaced].any()
    chosen = flips._whole(trace, [behind], STREAMS)
    assert chosen is not None and chosen is not behind
    assert flips.MEANT * early.sum() <= early[chosen.replaced].sum() < early.sum()
