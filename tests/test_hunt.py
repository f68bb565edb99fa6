"""Hunts: the smallest witness of a planted leak, nothing where there is none, and what is found can be replayed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harness.adapters import hunt as hunting
from harness.adapters.hunt import hunt
from harness.adapters.options import Options
from harness.adapters.replay import replay
from harness.adapters.training import train
from harness.cli.hunt import command as hunt_command
from harness.corpus.dataset import Dataset
from harness.errors import UsageError
from harness.kit.stream import Stream
from harness.progress import Progress
from harness.record import Record, Status
from harness.referee import search as searching
from harness.referee.bench import Bench
from harness.referee.comparator import ProbeResult
from harness.referee.search import Search, search
from harness.referee.source import Probe, Tokens
from tests.audit.evidence_builder import clean_trace
from tests.referee.scripted import VOCAB, Scorer, evaluating, tokens_of
from tests.support import shipped, write_submission

CLASSES = {"low": np.arange(4), "high": np.arange(4, VOCAB)}
Moved = Callable[[Probe], list[int]]


def searched(tokens: Tokens, moved: Moved, *, examples: int = 200, seed: int = 0, chunk: int = 50) -> Search:
    """A search among scripted answers."""

    def examine(probe: Probe) -> ProbeResult:
        rows = [(p, 2.0, 2.5, 0.1) for p in moved(probe)]
        return ProbeResult(
            probe, ran=True, compared=10, control=1, control_size=1.0, violations=rows, violated=len(rows)
        )

    return search(clean_trace(len(tokens), chunk), tokens, CLASSES, examine, examples=examples, seed=seed, noise=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("first", "reach"), [(1, 0), (2, 1), (17, 20), (64, 3), (149, 0), (150, 20)])
def test_a_leak_shrinks_to_its_first_position_and_nearest_row(first: int, reach: int, seed: int) -> None:
    def moved(probe: Probe) -> list[int]:
        return list(range(max(1, probe.position - 30), probe.position - reach + 1)) if probe.position >= first else []

    found = searched(tokens_of(200), moved, seed=seed)
    assert found.catch is not None
    # No row stands before the first one, so the reach pushes the first flip that is seen back.
    assert found.catch.probe.kind == "swap" and found.catch.probe.position == max(first, reach + 1)
    assert found.catch.distance == reach


def test_a_suffix_is_kept_only_where_no_swap_leaks() -> None:
    tokens = tokens_of(200)
    both = searched(tokens, lambda probe: [probe.position] if probe.position >= 20 else [])
    only = searched(tokens, lambda probe: [probe.position] if probe.position >= 20 and probe.kind == "suffix" else [])
    assert both.catch is not None and both.catch.probe.kind == "swap" and both.catch.probe.position == 20
    assert only.catch is not None and only.catch.probe.kind == "suffix" and only.catch.probe.position == 20


def test_a_leak_of_one_class_is_found() -> None:
    found = searched(tokens_of(200), lambda probe: [probe.position] if probe.token_class == "high" else [])
    assert found.catch is not None and found.catch.probe.token_class == "high" and found.catch.probe.position == 1


def test_a_leak_at_the_edges_of_batches_alone_is_found() -> None:
    """1 in 100 positions leaks: it is the last of a commit."""
    found = searched(tokens_of(1001), lambda p: [p.position] if p.position % 100 == 0 else [], chunk=100)
    assert found.catch is not None and found.catch.probe.position % 100 == 0


def test_the_same_seed_hunts_the_same_way() -> None:
    tokens = tokens_of(300)
    one, two, other = (
        searched(tokens, lambda p: [p.position] if p.position % 7 == 0 and p.position > 90 else [], seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == two
    assert other.catch is not None and one.catch is not None and other.first != one.first


@pytest.mark.parametrize("examples", [1, 25])
def test_without_a_leak_a_search_ends_when_its_flips_are_made(examples: int) -> None:
    found = searched(tokens_of(200), lambda probe: [], examples=examples)
    assert found.catch is None and found.first is None
    assert 0 < found.flips == found.searched <= examples and found.controls == found.flips
    assert found.compared == 10 * found.flips and 0 < found.positions <= found.flips


def test_shrinking_is_bounded() -> None:
    calls: list[Probe] = []

    def moved(probe: Probe) -> list[int]:
        calls.append(probe)
        return [probe.position] if hash((probe.position, probe.token, probe.shift)) % 3 else []

    found = searched(tokens_of(2000), moved, examples=10)
    assert found.catch is not None
    assert len(calls) == len(set(calls)) <= found.searched + searching.SHRINKING * 10


def test_changes_within_the_noise_are_none() -> None:
    tokens = tokens_of(100)

    def examine(probe: Probe) -> ProbeResult:
        return ProbeResult(probe, ran=True, violations=[(probe.position, 2.0, 2.0 + 1e-6, 0.0)], violated=1)

    assert search(clean_trace(100), tokens, CLASSES, examine, examples=20, seed=0, noise=1e-5).catch is None
    assert search(clean_trace(100), tokens, CLASSES, examine, examples=20, seed=0, noise=1e-7).catch is not None


def test_nothing_scored_leaves_nothing_to_hunt() -> None:
    found = search(
        clean_trace(1), tokens_of(1), CLASSES, lambda probe: pytest.fail("flipped"), examples=5, seed=0, noise=0.0
    )
    assert found.catch is None and found.flips == 0
    status, _ = hunting._nothing(found)
    assert status == Status.INCONCLUSIVE


def test_without_hypothesis_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(searching.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"golf-harness\[hunt\]"):
        searching.hypothesis()


# The bench: live processes


def leaking(start: int, chunk: int = 10) -> Scorer:
    """Rows that depend on the token before, and from `start` on also on the token that they predict."""

    def scorer(stream: Stream) -> None:
        for low in range(1, stream.tokens, chunk):
            high = min(low + chunk, stream.tokens)
            seen = stream.read(low - 1, high)
            rows = torch.zeros(high - low, VOCAB)
            rows[torch.arange(high - low), seen[:-1]] = 1.0
            for position in range(max(low, start), high):
                rows[position - low, seen[position - low + 1]] += 2.0
            stream.commit(torch.arange(low, high), rows)

    return scorer


def on_a_bench(scorer: Scorer, tokens: Tokens, *, most: int = 24, examples: int = 60) -> tuple[Search, Bench]:
    bench = Bench(tokens, bos=0, most=most)
    with evaluating(scorer, tokens, bench.base) as evaluation:
        bench.run(evaluation)
        noise = bench.noise()
        found = search(bench.base, tokens, CLASSES, bench.examine, examples=examples, seed=1, noise=max(noise, 1e-5))
        waiting = bench.paused
        bench.close()
    assert noise == 0.0 and 0 < waiting <= most
    return found, bench


@pytest.mark.parametrize("most", [1, 3, 24])
def test_a_live_leak_shrinks_to_the_first_position_that_leaks(most: int) -> None:
    found, bench = on_a_bench(leaking(33), tokens_of(120), most=most)
    assert found.catch is not None
    assert (found.catch.probe.kind, found.catch.probe.position, found.catch.position) == ("swap", 33, 33)
    before, after = next((b, a) for p, b, a, _ in found.catch.result.violations)
    assert before == bench.base.nll[33] and before < after


def test_a_live_scorer_without_a_leak_is_left_alone() -> None:
    found, _ = on_a_bench(leaking(10_000), tokens_of(120), examples=30)
    assert found.catch is None and found.controls > 0.8 * found.flips and found.broken == 0
    status, headline = hunting._nothing(found)
    assert status == Status.PASS and "not covered" in headline


def test_a_scorer_without_context_gives_flips_no_teeth() -> None:
    def constant(stream: Stream) -> None:
        stream.read(0, stream.tokens)
        stream.commit(torch.arange(1, stream.tokens), torch.zeros(stream.tokens - 1, VOCAB))

    found, _ = on_a_bench(constant, tokens_of(60), examples=10)
    status, headline = hunting._nothing(found)
    assert found.catch is None and status == Status.INCONCLUSIVE and "teeth" in headline


def test_a_scorer_that_breaks_under_flips_is_not_cleared() -> None:
    tokens = tokens_of(60)

    def brittle(stream: Stream) -> None:
        seen = stream.read(0, stream.tokens)
        if seen.tolist() != tokens.tolist():
            os._exit(1)
        stream.commit(torch.arange(1, stream.tokens), torch.zeros(stream.tokens - 1, VOCAB))

    found, _ = on_a_bench(brittle, tokens, examples=10)
    status, headline = hunting._nothing(found)
    assert found.broken == found.flips > 0 and status == Status.INCONCLUSIVE and "broke" in headline


# Whole submissions


def hunted(name: str, dataset: Dataset, home: Path, examples: int = 40) -> tuple[hunting.Hunted, Path]:
    folder = write_submission(home / name, code=shipped(name))
    options = Options(timeout=300.0)
    with Progress(quiet=True) as progress:
        sealed = train(folder, dataset, 1, home / "run", options, progress)
        result = hunt(folder, dataset, sealed, 1, home / "run" / "hunt", options, progress, examples=examples)
    return result, folder.path


@pytest.mark.parametrize("name", ["causal_slot_batched", "scored_slot"])
def test_a_shipped_offenders_smallest_witness_can_be_replayed(name: str, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    result, path = hunted(name, dataset, tmp_path)
    assert result.status == Status.FAIL and result.found.catch is not None
    assert result.found.catch.probe.kind == "swap" and result.found.catch.probe.position < 64
    record = Record.load(tmp_path / "run" / "hunt")
    (finding,) = record.findings
    assert finding.id == "causality" and finding.value("hunt_probes") == result.found.flips
    with Progress(quiet=True) as progress:
        from harness.folder import open_folder

        again = replay(
            record, tmp_path / "run" / "artifact.bin", "causality", open_folder(path), dataset,
            Options(timeout=300.0), progress,
        )  # fmt: skip
    assert again.reproduced, again.why
    assert (tmp_path / "run" / "hunt" / "report.html").is_file()


def test_the_command_says_that_nothing_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import tiny_dataset

    monkeypatch.chdir(tmp_path)
    tiny_dataset(tmp_path)
    write_submission(tmp_path / "mine")
    arguments = ["mine", "--data", "tiny.jsonl", "--cache", "cache", "--examples", "12", "--quiet"]
    result = CliRunner().invoke(hunt_command, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("PASS: no leak found in 12 flips at ")
    assert not (tmp_path / "runs" / "mine" / "hunt" / "record.json").exists()
    refused = CliRunner().invoke(hunt_command, [*arguments, "--examples", "0"])
    assert isinstance(refused.exception, UsageError)
