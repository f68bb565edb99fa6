"""State that knows an unscored token: caught where no row moves, and its clean neighbour left alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import rules
from harness.adapters.replay import replay
from harness.audit import causality, score_before_update
from harness.corpus.dataset import Dataset
from harness.kit.stream import Stream
from harness.record import Record, Status
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe
from harness.referee.trace import Trace
from tests.audit.evidence_builder import clean_trace, evidence, probe_result, settled
from tests.referee.scripted import VOCAB, Scorer, flipped, tokens_of
from tests.support import Options, Progress, finding, judge, write_submission

PARAMETERS, OTHER, REGISTERED = ("parameters",), ("buffers and optimizer state",), ("registered state",)


def counting(*, early: bool, registered: bool = True, chunk: int = 10) -> Scorer:
    """A cache of counts; the counts of a chunk enter before its commit, or after. Its rows use older chunks only."""

    def scorer(stream: Stream) -> None:
        counts = torch.ones(VOCAB, VOCAB)
        if registered:
            stream.register_state("counts", counts)
        for low in range(1, stream.tokens, chunk):
            high = min(low + chunk, stream.tokens)
            seen = stream.read(low - 1, high)
            rows = counts[seen[:-1]].log()
            for step in range(2):
                if step == (0 if early else 1):
                    counts.index_put_((seen[:-1], seen[1:]), torch.tensor(1.0), accumulate=True)
                else:
                    stream.commit(torch.arange(low, high), rows)

    return scorer


def probed(scorer: Scorer) -> tuple[list[ProbeResult], Trace, Trace]:
    tokens = tokens_of(60)
    swaps = [Probe("swap", t, token=(int(tokens[t]) + 1) % VOCAB) for t in (10, 20, 25, 30)]
    return flipped(scorer, tokens, [*swaps, Probe("suffix", 40, shift=7)])


def test_a_cache_that_is_written_before_the_commit_moves() -> None:
    results, base, again = probed(counting(early=True))
    assert base.states == again.states and len(base.states) > 4
    moved = {result.probe.position: result.state_moved for result in results}
    # 25 stands inside a commit, whose later rows may depend on it; the others are the last of theirs.
    assert moved[10] == [(1, 10, REGISTERED)] and moved[20] == [(11, 20, REGISTERED)] and not moved[25]
    assert moved[40] == [(31, 40, REGISTERED)]
    assert not any(result.violated for result in results)


@pytest.mark.parametrize("scorer", [counting(early=False), counting(early=True, registered=False)])
def test_a_cache_that_is_written_after_it_or_not_shown_does_not(scorer: Scorer) -> None:
    results, _, _ = probed(scorer)
    assert not any(result.state_moved for result in results)
    assert sum(result.states for result in results) >= 4


def test_without_telemetry_all_states_are_one() -> None:
    trace = clean_trace(30, 10)
    assert trace.states == [] and trace.state_at(5) == (0, 0, 0)
    assert trace.state_before(np.arange(11, 21)) == (0, 0, 0)
    for other in (np.arange(11, 20), np.arange(5, 15), np.arange(20, 10, -1)):
        assert trace.state_before(other) is None


def test_a_state_holds_until_the_next() -> None:
    trace = Trace(30)
    for start, digests in ((1, (1, 0, 0)), (11, None), (21, (2, 0, 0))):
        if digests:
            trace.state(digests)
        chunk = clean_trace(30, 10)
        positions = np.arange(start, min(start + 10, 30))
        from harness.referee.rows import Scored
        from harness.sandbox.protocol import Rows

        rows = Scored(chunk.nll[positions], chunk.excess[positions], chunk.prints[positions])
        trace.commit(positions, rows, Rows.LOGITS)
    assert trace.state_before(np.arange(1, 11)) == trace.state_before(np.arange(11, 21)) == (1, 0, 0)
    assert trace.state_before(np.arange(21, 30)) == (2, 0, 0)


# The check


def moving(*moved: tuple[int, int, tuple[str, ...]], position: int = 50, probe: Probe | None = None) -> ProbeResult:
    swap = probe or Probe("swap", position, token=7)
    return probe_result(position, probe=swap, states=3, state_moved=list(moved))


@pytest.mark.parametrize("parts", [PARAMETERS, REGISTERED, PARAMETERS + OTHER])
def test_state_that_knew_the_token_fails(dataset: Dataset, parts: tuple[str, ...]) -> None:
    probes = [moving((61, 70, parts), position=70), moving((41, 50, parts))]
    made = evidence(dataset, probes=probes)
    found = settled(score_before_update.check(made), Status.FAIL)
    assert found.witness is not None and found.witness.data["position"] == 50
    assert found.witness.data["before_rows"] == [41, 50] and OTHER[0] not in found.headline
    settled(causality.check(made), Status.PASS)


def test_buffers_and_optimizer_state_accuse_nobody(dataset: Dataset) -> None:
    found = settled(score_before_update.check(evidence(dataset, probes=[moving((41, 50, OTHER))])), Status.PASS)
    assert found.value("states_moved_early") == 1


def test_flips_that_move_documents_accuse_nobody(dataset: Dataset) -> None:
    """Batches that are cut at documents may have another shape then, and digests see the last bit."""
    bos = dataset.tokenizer.bos_id
    starts = np.flatnonzero(dataset.validation == bos)
    for probe in (
        Probe("swap", 50, token=bos),
        Probe("swap", int(starts[1]), token=7),
    ):
        probes = [moving((1, 40, PARAMETERS), probe=probe)]
        found = settled(score_before_update.check(evidence(dataset, probes=probes)), Status.PASS)
        assert found.value("states_compared") == 0


def test_states_that_identical_runs_do_not_share_say_nothing(dataset: Dataset) -> None:
    again = clean_trace(len(dataset.validation))
    again.state((1, 2, 3))
    made = evidence(dataset, again=again, probes=[moving((41, 50, PARAMETERS))])
    found = settled(score_before_update.check(made), Status.PASS)
    assert found.value("states_repeat") is False
    assert found.value("states_compared") == 0


def test_state_that_changes_with_scored_tokens_passes_and_is_said(dataset: Dataset) -> None:
    trace = Trace(len(dataset.validation))
    trace.state((1, 0, 0))
    trace.events, trace.order = clean_trace(len(dataset.validation)).events, clean_trace(len(dataset.validation)).order
    trace.state((2, 0, 0))
    trace.state((2, 9, 0))
    found = settled(score_before_update.check(evidence(dataset, trace, probes=[moving()])), Status.PASS)
    assert found.value("state_changes") == 1 and "changed 1 times" in found.headline
    strict = evidence(dataset, trace, probes=[moving()], ruleset=rules.load("strict"))
    refused = settled(score_before_update.check(strict), Status.FAIL)
    assert "Track A" in refused.headline and refused.witness is not None
    assert refused.witness.data == {"changes": 1, "before_commit": 1}
    still = evidence(dataset, ruleset=rules.load("strict"))
    settled(score_before_update.check(still), Status.PASS)


def test_state_that_changed_and_that_no_flip_could_have_moved_is_no_pass(dataset: Dataset) -> None:
    """A flip under which no state was compared decides nothing."""
    trace = Trace(len(dataset.validation))
    trace.state((1, 0, 0))
    trace.events, trace.order = clean_trace(len(dataset.validation)).events, clean_trace(len(dataset.validation)).order
    trace.state((2, 0, 0))
    for probes in ([], [probe_result(probe=Probe("suffix", 50, shift=1))]):
        found = settled(score_before_update.check(evidence(dataset, trace, probes=probes)), Status.INCONCLUSIVE)
        assert "nothing says" in found.headline and found.value("states_compared") == 0


# A whole submission

CACHE = """
    def evaluate(self, model, stream):
        counts = torch.zeros(stream.vocab_size, stream.vocab_size)
        stream.register_state("counts", counts)
        with torch.no_grad():
            for batch in stream.windows(self.length, self.stride, 1):
                rows = (model(batch.inputs)[batch.scored].softmax(-1) * 0.9).add(0.1 / stream.vocab_size)
                cached = counts[batch.inputs[batch.scored]]
                total = cached.sum(-1, keepdim=True)
                rows = torch.where(total > 0, 0.9 * rows + 0.1 * cached / total.clamp(min=1), rows)
                {first}
                {second}

    def write(self, counts, stream, batch):
        low, high = int(batch.positions[0]), int(batch.positions[-1]) + 1
        seen = stream.read(low - 1, high)
        counts.index_put_((seen[:-1], seen[1:]), torch.tensor(1.0), accumulate=True)
"""
WRITE, SCORE = "self.write(counts, stream, batch)", "stream.score(batch, rows.log(), kind='log_probs')"


@pytest.mark.box
def test_a_cache_written_early_is_caught_in_its_box_and_can_be_replayed(dataset: Dataset, tmp_path: Path) -> None:
    short = dataclasses.replace(dataset, validation=dataset.validation[:400], texts=None)
    checks = ["causality", "score-before-update"]
    offender = write_submission(tmp_path / "early", CACHE.format(first=WRITE, second=SCORE))
    neighbour = write_submission(tmp_path / "late", CACHE.format(first=SCORE, second=WRITE))
    clean = judge(neighbour, short, tmp_path / "out-late", checks=checks)
    assert {found.id: found.status for found in clean.findings} == dict.fromkeys(checks, Status.PASS)
    ledger = finding(clean, "score-before-update")
    assert int(str(ledger.value("state_changes"))) > 10
    record = judge(offender, short, tmp_path / "out-early", checks=checks)
    assert finding(record, "causality").status == Status.PASS
    found = finding(record, "score-before-update")
    assert found.status == Status.FAIL and "registered state" in found.headline, found
    with Progress(quiet=True) as progress:
        again = replay(
            Record.load(tmp_path / "out-early"), tmp_path / "out-early" / "artifact.bin", "score-before-update",
            offender, short, Options(timeout=120.0), progress,
        )  # fmt: skip
    assert again.reproduced, again.why
