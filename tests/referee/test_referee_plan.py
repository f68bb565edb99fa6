"""Where flips are planned, and what to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpus.dataset import Dataset
from harness.kit.windows import sliding
from harness.referee.null import Bigram
from harness.referee.plan import (
    DOCUMENT_START,
    alternatives,
    edges,
    guessed,
    in_batches,
    plan,
    sampled,
    spread,
    token_classes,
)
from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.source import Perturbed, Probe
from harness.referee.trace import Trace
from harness.sandbox.protocol import Purpose, Rows

CLASSES = {
    "low": np.arange(0, 5),
    "high": np.arange(5, 10),
    "one": np.array([3]),
    "even": np.arange(0, 10, 2),
}
INSIDE = {name: members[members != 0] for name, members in CLASSES.items()}  # where 0 starts documents


def ledger(tokens: int, *, length: int = 16, stride: int = 4, batch: int = 3, upto: int | None = None) -> Trace:
    """The trace of a sliding-window evaluation, without any scorer."""
    trace = Trace(tokens)
    windows = list(sliding((upto or tokens) - 1, length, stride))
    for start in range(0, len(windows), batch):
        group = windows[start : start + batch]
        trace.read(np.array([(w.start, w.start + w.size) for w in group], np.int64), Purpose.INPUT)
        positions = np.concatenate([np.arange(w.start + 1 + w.first, w.start + 1 + w.size) for w in group])
        zeros = np.zeros(len(positions))
        trace.commit(positions, Scored(zeros, zeros, np.zeros((len(positions), PROJECTIONS))), Rows.LOGITS)
    return trace


@given(st.integers(0, 50), st.integers(20, 120), st.integers(0, 2**31))
def test_probes_are_sound(stream_seed: int, size: int, seed: int) -> None:
    tokens = np.random.default_rng(stream_seed).integers(0, 10, size).astype(np.uint16)
    trace = ledger(size)
    probes = plan(trace, tokens, CLASSES, seed=seed)
    assert probes == plan(trace, tokens, CLASSES, seed=seed)
    assert probes and [p.position for p in probes] == sorted(p.position for p in probes)
    assert len({(p.position, p.kind) for p in probes}) == len(probes)
    for probe in probes:
        assert 1 <= probe.position < size - 1
        present = tokens[probe.position]
        new = Perturbed(tokens, probe).read(0, size)
        assert new[probe.position] != present
        if probe.kind == "swap":
            members = CLASSES[probe.token_class]
            assert probe.token in members and present not in members


def test_another_seed_gives_another_plan() -> None:
    tokens = np.arange(200, dtype=np.uint16) % 10
    plans = {tuple(plan(ledger(200), tokens, CLASSES, seed=seed)) for seed in range(5)}
    assert len(plans) == 5


def test_a_stream_of_one_token_has_no_suffix_to_try() -> None:
    assert plan(ledger(60), np.full(60, 7, np.uint16), CLASSES, seed=0) == []


def test_a_suffix_is_found_where_only_one_token_differs() -> None:
    tokens = np.full(500, 7, np.uint16)
    tokens[499] = 1
    assert len(plan(ledger(500), tokens, CLASSES, seed=3)) > 6


def test_swaps_make_and_remove_documents_starts() -> None:
    tokens = np.random.default_rng(0).integers(1, 10, 400).astype(np.uint16)
    tokens[[0, 100, 200, 300]] = 0
    classes = {**CLASSES, DOCUMENT_START: np.array([0])}
    swaps = [p for p in plan(ledger(400), tokens, classes, seed=1) if p.kind == "swap"]
    assert len(swaps) == 4 and all(p.token_class == DOCUMENT_START for p in swaps)
    assert sum(tokens[p.position] == 0 for p in swaps) == 2 == sum(p.token == 0 for p in swaps)


@pytest.mark.parametrize("seed", range(5))
def test_a_suffix_at_an_edge_begins_with_a_token_of_a_class(seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 10, 400).astype(np.uint16)
    classes = {"low": np.arange(0, 5), "high": np.arange(5, 10)}
    probes = [p for p in plan(ledger(400), tokens, classes, seed=seed) if p.kind == "suffix"]
    changed = [(int(tokens[p.position]), int(Perturbed(tokens, p).read(0, 400)[p.position])) for p in probes]
    assert len(changed) > 6 and all((old < 5) != (new < 5) for old, new in changed)


def test_edges_of_batches_are_probed() -> None:
    trace = ledger(60, batch=4)  # two commits of 28 and 16 positions, then the rest
    found = set(edges(trace, np.random.default_rng(0)))
    commits = [event for event in trace.events if hasattr(event, "low")]
    assert 1 < len(commits) <= 4
    for commit in commits:
        assert {commit.low, (commit.low + commit.high) // 2, commit.high} <= found
    probed = {p.position for p in plan(trace, np.arange(60, dtype=np.uint16) % 10, CLASSES, seed=0)}
    assert len(probed & found) >= 4 and probed - found  # others beside them
    assert {c.high for c in commits if c.high < 59} <= probed  # there the state before a commit can be compared


def test_edges_of_windows_inside_a_batch_are_probed() -> None:
    trace = ledger(60, batch=20)  # one commit: the ends of its windows are edges that it does not show
    ends = {int(stop) for _, stop in trace.events[0].ranges[:-1]}
    assert ends & set(edges(trace, np.random.default_rng(0)))


def test_batches_after_an_early_update_are_aimed_at() -> None:
    trace = Trace(401)
    for low in range(1, 401, 10):
        trace.read(np.array([[low - 1, low + 10]], np.int64), Purpose.INPUT)
        if low == 171:
            trace.update(1, 1)  # with the batch in hand
        zeros = np.zeros(10)
        trace.commit(np.arange(low, low + 10), Scored(zeros, zeros, np.zeros((10, PROJECTIONS))), Rows.LOGITS)
    tokens = np.arange(401, dtype=np.uint16) % 10
    for seed in range(10):
        assert any(171 <= p.position <= 180 for p in plan(trace, tokens, CLASSES, seed=seed))


def test_the_sample_for_the_price_is_spread_over_the_stream() -> None:
    tokens = np.arange(2000, dtype=np.uint16) % 10
    probes = sampled(ledger(2000), tokens, seed=0, count=8)
    assert all(p.kind == "suffix" and p.sampled for p in probes)
    assert [(p.position - 1) // 250 for p in probes] == pytest.approx(range(8), abs=1)


@given(st.integers(0, 2**31), st.integers(8, 60), st.integers(0, 300))
def test_swaps_are_far_apart_and_keep_documents(seed: int, distance: int, begin: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 10, 800).astype(np.uint16)
    classes = {**INSIDE, DOCUMENT_START: np.array([0])}
    probes = spread(tokens, classes, np.random.default_rng(seed), begin, 700, distance)
    places = [p.position for p in probes]
    assert probes and begin < places[0] and places[-1] < 700 and all(np.diff(places) >= distance)
    assert all(tokens[p.position] != 0 and p.token != int(tokens[p.position]) and not p.split for p in probes)
    assert not any(p.token == 0 for p in probes)


def test_swaps_fall_everywhere_and_are_of_every_class() -> None:
    tokens = np.random.default_rng(0).integers(1, 10, 2000).astype(np.uint16)
    classes = {**INSIDE, DOCUMENT_START: np.array([0])}
    runs = [spread(tokens, classes, np.random.default_rng(seed), 0, 2000, 40) for seed in range(60)]
    places = np.concatenate([[p.position for p in run] for run in runs])
    share = np.bincount(places // 100, minlength=20) / len(places)
    assert share.min() > 0.03 and share.max() < 0.07  # a twentieth each
    assert {p.token_class for run in runs for p in run} == {*INSIDE, "natural"}
    natural = [p for run in runs for p in run if p.token_class == "natural"]
    followed = {(int(a), int(b)) for a, b in zip(tokens[:-1], tokens[1:], strict=True)}
    assert all((int(tokens[p.position - 1]), p.token) in followed for p in natural)


def test_a_scorer_that_never_forgets_gets_many_swaps_in_each_of_some_batches() -> None:
    tokens = np.random.default_rng(0).integers(1, 10, 2000).astype(np.uint16)
    trace = ledger(2000, batch=40)
    probes = in_batches(trace, tokens, {**CLASSES, DOCUMENT_START: np.array([0])}, seed=1, distance=20, wanted=1000)
    commits = [event for event in trace.events if hasattr(event, "low")]
    for probe in probes:
        (home,) = [c for c in commits if c.low <= probe.position <= c.high]
        places = [position for position, _ in probe.swaps]
        assert all(home.low <= p <= home.high for p in places) and all(np.diff(places) >= 20) and probe.split
    assert len(probes) == len(commits) and sum(len(p.swaps) for p in probes) > 40


def test_where_order_follows_documents_no_probe_moves_their_starts() -> None:
    tokens = np.random.default_rng(0).integers(0, 10, 400).astype(np.uint16)
    trace = ledger(400)
    trace.order[200:] = trace.order[200:][::-1].copy()
    classes = {**CLASSES, DOCUMENT_START: np.array([0])}
    probes = plan(trace, tokens, classes, seed=0)
    assert not any(p.token_class == DOCUMENT_START for p in probes)
    assert all(tokens[p.position] != 0 for p in probes if not p.sampled)


def test_alternatives_ask_for_other_tokens_of_the_same_row() -> None:
    tokens = np.arange(400, dtype=np.uint16) % 10
    trace = ledger(400)
    assert alternatives(trace, tokens, 50, seed=1, positions=2, count=7) == []  # whole rows: nothing to ask for
    trace.prints[100:] = np.nan
    probes = alternatives(trace, tokens, 50, seed=1, positions=2, count=7)
    assert len(probes) == 14 and len({p.position for p in probes}) == 2
    for probe in probes:
        assert probe.needed and probe.token != tokens[probe.position] and 0 <= probe.token < 50
        assert probe.position >= 100
    assert len({(p.position, p.token) for p in probes}) == 14


def test_what_is_guessed_is_drawn_once_a_place_and_its_chance_is_known() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 12, 600).astype(np.uint16)
    bigram, taken = Bigram(tokens, 12), {}
    places = [Probe("swap", at, token=0, split=False) for at in range(20, 580, 7)]
    for _ in range(3):
        for probe in guessed(places, tokens, bigram, taken, 0, rng):
            before = taken[probe.position][:-1]
            assert probe.token not in before and not probe.split and probe.odds is not None
            allowed = np.setdiff1d(np.arange(12), before)
            weights = np.exp(bigram.log_p(np.full(len(allowed), int(tokens[probe.position - 1])), allowed))
            chance = weights[np.flatnonzero(allowed == probe.token)[0]] / weights.sum()
            assert probe.odds == pytest.approx(np.log(chance))
    assert all(len(drawn) == 5 for drawn in taken.values())


def test_only_scored_positions_are_probed() -> None:
    probes = plan(ledger(100, upto=40), np.arange(100, dtype=np.uint16) % 10, CLASSES, seed=0)
    assert probes and max(p.position for p in probes) < 39


def test_nothing_scored_gives_nothing_to_probe() -> None:
    assert plan(Trace(50), np.zeros(50, np.uint16), CLASSES, seed=0) == []


def test_classes_of_a_real_tokenizer(dataset: Dataset) -> None:
    stream = np.asarray(dataset.validation)
    processor = dataset.tokenizer.processor
    classes = token_classes(dataset.tokenizer, dataset.table, stream)
    assert list(classes) == ["word start", "continuation", "byte", "document start", "frequent", "rare"]
    assert all(members.dtype == np.int64 and len(members) for members in classes.values())
    assert classes["document start"].tolist() == [dataset.tokenizer.bos_id]
    assert len(classes["byte"]) == 256 and all(processor.is_byte(int(i)) for i in classes["byte"])
    assert all(processor.id_to_piece(int(i)).startswith("\u2581") for i in classes["word start"])
    assert not any(processor.id_to_piece(int(i)).startswith("\u2581") for i in classes["continuation"])
    kinds = [set(classes[name].tolist()) for name in ("word start", "continuation", "byte", "document start")]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    count = np.bincount(stream, minlength=dataset.vocab_size)
    assert not set(classes["rare"].tolist()) & set(classes["frequent"].tolist())
    assert count[classes["rare"]].max() <= count[classes["frequent"]].min() and count[classes["rare"]].min() > 0


def test_classes_without_members_are_left_out(dataset: Dataset) -> None:
    only_bos = np.full(10, dataset.tokenizer.bos_id, np.uint16)
    classes = token_classes(dataset.tokenizer, dataset.table, only_bos)
    assert "frequent" not in classes and "rare" not in classes and "word start" in classes


@pytest.mark.parametrize("seed", range(3))
def test_a_plan_on_real_text(dataset: Dataset, seed: int) -> None:
    stream = np.asarray(dataset.validation)[:500]
    classes = token_classes(dataset.tokenizer, dataset.table, stream)
    probes = plan(ledger(500), stream, classes, seed=seed)
    assert {p.kind for p in probes} == {"suffix", "swap"}
    firsts = {int(Perturbed(stream, p).read(p.position, p.position + 1)[0]) for p in probes if p.kind == "suffix"}
    kinds = {name for name, members in classes.items() if firsts & set(members.tolist())}
    assert len(kinds) >= 4
    assert all(p.token != stream[p.position] for p in probes if p.kind == "swap")
