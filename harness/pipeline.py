"""A submission's life in the order in which it happens: data, train, seal, score, audit, record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import audit
from harness.audit.evidence import Clocks, Evidence
from harness.blind import BlindFlips
from harness.corpus.at_hand import AtHand, look
from harness.corpus.dataset import Dataset, default_cache
from harness.corpus.shards import Tokens
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.nulls import beside
from harness.options import Options, played
from harness.progress import Progress
from harness.proof import proof_of
from harness.record import (
    Record,
    SeedScore,
)
from harness.recording import record_of, score_of
from harness.referee.comparator import ProbeResult
from harness.referee.flips import FlipRun
from harness.referee.plan import alternatives, boundaries, plan, token_classes
from harness.referee.session import Evaluation, full_trace
from harness.referee.source import Probe, Real, Source
from harness.referee.trace import Trace, compare
from harness.referee.wholerow import WholeRow, ask, chosen
from harness.report import html
from harness.retraining import retrain
from harness.sandbox.protocol import Rows
from harness.sandbox.view import view
from harness.scoring import EvaluationBox, Job
from harness.training import Sealed, train, write_atomically
from harness.weigh import weigh

#: Checks that flips decide.
FLIPS = {"causality", "score-before-update"}

#: Rows that all probes together may commit, in units of the stream.
PROBE_BUDGET = 3.0

#: Flips where processes cannot be split: whole evaluations.
WHOLE_FLIPS = 6


def run(
    folder: Folder,
    dataset: Dataset,
    seed: int,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    seal_in: Path | None = None,
) -> Record:
    """Everything for one seed: train (or resume), score, audit, and write the record and the report into `out`.

    Args:
        folder: the submission.
        dataset: what it is trained and scored on.
        seed: of training and evaluation.
        out: for record, report, trace and logs.
        options: the rest.
        progress: told what happens.
        seal_in: where the sealed artifact is, or is to be put; `out` by default.

    Raises:
        SubmissionError: the submission's code broke; nothing but its log and a sealed artifact is left in `out`.
        HarnessError: the environment failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stale in ("record.json", "report.html", "trace.npz"):
        (out / stale).unlink(missing_ok=True)
    started = time.monotonic()
    (seal_in or out).mkdir(parents=True, exist_ok=True)
    sealed = train(folder, dataset, seed, seal_in or out, options, progress)
    evidence = gather(folder, dataset, sealed, seed, out, options, progress)
    evidence.trace.save(out / "trace.npz")
    findings = audit.judge(evidence, options.checks)
    record = record_of(folder, dataset, sealed, seed, evidence, findings, options, time.monotonic() - started)
    write_atomically(out / "record.json", record.to_json().encode())
    html.write(record, out / "report.html", {name: rule.text for name, rule in options.ruleset.rule.items()})
    return record


def gather(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    seed: int,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    probes: Sequence[Probe] | None = None,
) -> Evidence:
    """Evaluate a sealed artifact: the scored run, and where a check needs them, runs that are lied to.

    One of them is split for probes, one is told a lie from its start, and one plays a null stream.

    Args:
        folder: the submission.
        dataset: the validation stream belongs to it.
        sealed: the artifact.
        seed: of the evaluation and of the probes.
        out: for the evaluation's log.
        options: scale, checks and limits.
        progress: told what happens.
        probes: flips to make instead of planned ones.
    """
    tokens = played(dataset, options.scale)
    job = Job(
        folder, sealed, tokens, dataset.vocab_size, options.scale, seed, options.sandbox, options.limits,
        options.ranks, options.device,
    )  # fmt: skip
    unsplit = _unsplit(options)
    second = bool(audit.NEED_SECOND_RUN.intersection(options.checks))
    again: Trace | None = None
    results: list[ProbeResult] = []
    retraining = None
    row: WholeRow | str | None = None
    if folder.reads_validation and "artifact-independence" in options.checks:
        retraining = retrain(folder, dataset, sealed, seed, out, options, progress)
    blind = None
    if FLIPS & set(options.checks):
        flips = WHOLE_FLIPS if unsplit else 1
        blind = BlindFlips(job, dataset.tokenizer.bos_id, out, probes, progress, flips)
    with beside(job, dataset, out, options.null_source, wanted="null-stream" in options.checks) as null:
        if blind and blind.first:
            blind.play()
        with EvaluationBox(job, out / "evaluation.log") as box:
            trace, clock = _whole_run(box, tokens, progress, "score", f"scoring {len(tokens) - 1:,} tokens")
            level = box.box.level
        peak = box.box.exit.max_rss_bytes if box.box.exit else 0
        if blind and not blind.first:
            blind.play()
        if unsplit:
            if second:
                with EvaluationBox(job, out / "audit.log") as box:
                    again, _ = _whole_run(box, tokens, progress, "audit", "second run in a fresh box")
        elif second or ("normalization" in options.checks and Rows.REALISED in trace.kinds):
            with EvaluationBox(job, out / "audit.log") as box:
                again, results = _split_run(box, trace, tokens, dataset, seed, options, progress, probes)
                row = _whole_row(box, trace, tokens, dataset, seed, options, progress)
        nulls = null(progress)
    evidence = Evidence(
        ruleset=options.ruleset,
        dataset=dataset,
        trace=trace,
        sizes=weigh(folder, sealed.bytes),
        clocks=Clocks(sealed.clocks, clock, options.device, comparable=False),
        level=level,
        scale=options.scale,
        again=again,
        difference=compare(trace, again) if again else None,
        null=nulls,
        retraining=retraining,
        row=None if isinstance(row, str) else row,
        no_row=row if isinstance(row, str) else "",
        ranks=options.ranks,
        unsplit=unsplit,
    )
    evidence.probes = [result.above(evidence.flip_tolerance) for result in results]
    if blind:
        evidence.probes += blind.results(trace, evidence.difference)
    loss, bpb, _, _ = score_of(trace, dataset)
    evidence.seeds = [
        *options.earlier,
        SeedScore(seed=seed, val_loss=loss, val_bpb=bpb, artifact_sha256=sealed.sha256, artifact_bytes=sealed.bytes),
    ]
    same = f"{folder.sha256} {dataset.sha256} {options.scale}"
    evidence.configurations = {score.seed: same for score in evidence.seeds}
    evidence.previous = options.previous
    evidence.claims = folder.claims
    if "proof" in options.checks:
        evidence.proof = proof_of(folder, dataset, sealed, seed, options, progress)
    if {"artifact-independence", "isolation"}.intersection(options.checks):
        evidence.at_hand = _at_hand(folder, dataset, sealed, progress)
    evidence.peak_bytes = {"training": sealed.peak_bytes, "evaluation": peak}
    return evidence


def _at_hand(folder: Folder, dataset: Dataset, sealed: Sealed, progress: Progress) -> AtHand:
    """Hold the validation text against what every box shows, and against what this submission's boxes show besides."""
    progress.phase("search", "files that a box can read, for validation text (the first time on a machine: a minute)")
    shown = view([])
    with folder.staged() as code:
        files = {name: code / name for name in folder.code} | {"the artifact": sealed.path}
        found = look(dataset, shown.read, files, default_cache(), hide=shown.hide)
    progress.done(f"{found.scanned_files:,} files hold {found.share:.1%} of it")
    return found


def _unsplit(options: Options) -> str:
    """Why evaluations cannot be split for flips, in words; "" where they can."""
    if options.ranks > 1:
        return "several ranks, which talk to each other, cannot be split alike"
    return "" if options.device == "cpu" else "a process that uses a GPU cannot be split"


def _whole_run(
    box: EvaluationBox, tokens: Tokens, progress: Progress, phase: str, what: str
) -> tuple[Trace, dict[str, float]]:
    """An evaluation that is told the truth and never split: its trace, and seconds on the parent's clock."""
    progress.phase(phase, what)
    started = time.monotonic()
    trace = Trace(len(tokens))
    evaluation = box.start_ranks(Real(tokens), trace)
    greeted = time.monotonic()
    box.run(evaluation, lambda: evaluation.run(progress=progress.update))
    clock = {"loop": time.monotonic() - greeted, "from process start": time.monotonic() - started}
    if not len(trace.scored):
        raise SubmissionError("evaluation failed: evaluate() ended without committing a row")
    progress.done(f"{np.nanmean(trace.nll):.4f} nats per token in {clock['loop']:.1f} s")
    return full_trace(evaluation, trace), clock


def _split_run(
    box: EvaluationBox,
    trace: Trace,
    tokens: Tokens,
    dataset: Dataset,
    seed: int,
    options: Options,
    progress: Progress,
    probes: Sequence[Probe] | None,
) -> tuple[Trace, list[ProbeResult]]:
    wanted = FLIPS.intersection(options.checks)
    if probes is None:
        classes = token_classes(dataset.tokenizer, dataset.table, tokens)
        probes = plan(trace, tokens, classes, seed=seed) if wanted else []
        if "document-boundary" in options.checks:
            probes += boundaries(trace, tokens, classes, seed=seed)
        if Rows.REALISED in trace.kinds and "normalization" in options.checks:
            probes += alternatives(trace, tokens, dataset.vocab_size, seed=seed)
    probes = [probe for probe in probes if probe.split]
    progress.phase("audit", f"second run in a fresh box, with {len(probes)} flips")
    again = Trace(len(tokens))
    budget = int(PROBE_BUDGET * len(tokens)) * (2 if Rows.REALISED in trace.kinds else 1)
    flips = FlipRun(trace, tokens, probes, budget=budget, bos=dataset.tokenizer.bos_id, seed=seed)
    evaluation = box.start(Real(tokens), again)
    box.run(evaluation, lambda: flips.run(evaluation, progress=progress.update))
    made = sum(result.ran for result in flips.results)
    progress.done(f"{made} flips made")
    return full_trace(evaluation, again), flips.results


def _whole_row(
    box: EvaluationBox, trace: Trace, tokens: Tokens, dataset: Dataset, seed: int, options: Options, progress: Progress
) -> WholeRow | str | None:
    """One row in full, where only realised probabilities were claimed; why not, where it was asked for in vain."""
    where = chosen(tokens, dataset.vocab_size, dataset.tokenizer.bos_id, seed)
    if where is None or Rows.REALISED not in trace.kinds or "normalization" not in options.checks:
        return None
    progress.phase("row", f"asking for {dataset.vocab_size:,} probabilities of one row")

    def start(source: Source, sink: Trace, targets: Tokens) -> Evaluation:
        return box.start(source, sink, targets=targets)

    try:
        row = ask(start, box.run, tokens, dataset.vocab_size, where, bos=dataset.tokenizer.bos_id, seed=seed)
    except SubmissionError as error:
        progress.done(f"no row came: {error}")
        return str(error)
    progress.done(f"they sum to {row.total:.6f}" if row else "no row came")
    return row
