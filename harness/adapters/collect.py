"""A submission's life in the order in which it happens: data, train, seal, score, audit, record."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.adapters.blind import BlindFlips
from harness.adapters.nulls import beside
from harness.adapters.options import Options, played
from harness.adapters.proof import proof_of
from harness.adapters.recording import record_of, score_of
from harness.adapters.retraining import retrain
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed, promote, train
from harness.adapters.weigh import weigh
from harness.audit import check
from harness.audit.check import Need
from harness.audit.checks import CHECKS, judge
from harness.audit.evidence import Clocks, Evidence
from harness.corpus.at_hand import AtHand, look
from harness.corpus.dataset import Dataset, dealt, default_cache
from harness.corpus.shards import Tokens
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.progress import Progress
from harness.record import (
    Record,
    SeedScore,
)
from harness.referee.comparator import ROUNDING, ProbeResult, starts_agree
from harness.referee.flips import FlipRun
from harness.referee.null import Bigram
from harness.referee.plan import (
    alternatives,
    boundaries,
    in_batches,
    plan,
    read_at_once,
    sampled,
    token_classes,
)
from harness.referee.secret import Secret
from harness.referee.session import full_trace
from harness.referee.source import Probe, Real
from harness.referee.trace import Trace, compare
from harness.referee.wholerow import Start, WholeRow, ask, chosen
from harness.report import formats
from harness.sandbox.protocol import Rows
from harness.sandbox.view import view

Ints = NDArray[np.int64]

#: Rows that all probes together may commit, in units of the stream. A batch each is usual; a submission that reads the
#: whole stream first has its process split there, and every probe goes all the way to its position.
PROBE_BUDGET = 12.0

#: CPU seconds of one probe at most, in units of the scored evaluation's; and what any may take. What is planned is to
#: be made: probes are limited by their rows, and a box that makes them gets the time that they can take.
PROBE_SHARE, PROBE_SECONDS = 2.0, 2.0
#: Purposes of probes, each with a budget of its own, see `FlipRun`.
_PURPOSES = 3


def run(
    folder: Folder,
    dataset: Dataset,
    seed: int,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    seal_in: Path | None = None,
    fresh: bool = False,
    artifact: Path | None = None,
) -> Record:
    """Everything for one seed: train (or resume), score, audit, and write the record and the report into `out`.

    What an earlier run has left in `out` stays until this one has ended: record, report, trace and artifact are put in
    their places at the end, together. Logs are of the last run that was started.

    Args:
        folder: the submission.
        dataset: what it is trained and scored on.
        seed: of training and evaluation.
        out: for record, report, trace and logs.
        options: the rest.
        progress: told what happens.
        seal_in: where the sealed artifact is, or is to be put; `out` by default.
        fresh: train again, even where a sealed artifact could be taken.
        artifact: a file to score instead of training one.

    Raises:
        SubmissionError: the submission's code broke; its log and a sealed artifact are left, and what was there before.
        HarnessError: the environment failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    home = seal_in or out
    home.mkdir(parents=True, exist_ok=True)
    progress.plan(*phases(folder, options))
    sealed = train(folder, dataset, seed, home, options, progress, fresh=fresh, given=artifact)
    evidence = gather(folder, dataset, sealed, seed, out, options, progress)
    findings = judge(evidence, options.checks)
    record = record_of(folder, evidence.dataset, sealed, seed, evidence, findings, options, time.monotonic() - started)
    record = record.placed(out / "record.json", folder.path)
    formats.save(record, out, {"trace.npz": evidence.trace.to_bytes()})
    promote(home, sealed)
    return record


def phases(folder: Folder, options: Options) -> list[str]:
    """What a run will report of, in its order; some of it only where what came before asks for it."""
    needs = check.needs(options.checks, CHECKS)
    wanted = {
        "train": True,
        "retrain": folder.reads_validation and Need.RETRAINING in needs,
        "score": True,
        "blind": Need.FLIPS in needs,
        "audit": Need.SECOND_RUN in needs,
        "null": Need.NULL_RUN in needs,
        "encode": Need.PROOF in needs,
        "decode": Need.PROOF in needs,
        "search": Need.AT_HAND in needs,
    }
    return [name for name, asked in wanted.items() if asked]


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

    Some are told lies from their start, one is told the truth and split for probes, and one plays a null stream.

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
    secret = secret_of(options, seed)
    given, dataset = dataset, dealt(dataset, len(played(dataset, options.scale)), secret.rng("order"))
    tokens = played(dataset, options.scale)
    job = Job(
        folder, sealed, tokens, dataset.vocab_size, options.scale, seed, options.sandbox, options.limits,
        options.ranks, options.device, prints=secret.number("prints"),
    )  # fmt: skip
    unsplit = _unsplit(options)
    gate = any(b"smear" in content.lower() for content in folder.contents.values())
    needs = check.needs(options.checks, CHECKS)
    again: Trace | None = None
    results: list[ProbeResult] = []
    retraining = None
    rows: list[WholeRow] = []
    no_row = ""
    if folder.reads_validation and Need.RETRAINING in needs and not sealed.given:
        # as it was trained: the order is drawn when the artifact is sealed
        retraining = retrain(folder, given, sealed, seed, out, options, progress)
    classes = token_classes(dataset.tokenizer, dataset.table, tokens)
    bos = dataset.tokenizer.bos_id
    blind = (
        BlindFlips(
            job, bos, classes, out, secret, options.plan, probes, alone=bool(unsplit),
            bigram=functools.cache(lambda: Bigram.of_shards(dataset.train_shards, dataset.vocab_size)),
        )
        if needs & {Need.FLIPS, Need.CLAIMS}
        else None
    )  # fmt: skip
    with beside(job, dataset, out, options.null_source, secret, wanted=Need.NULL_RUN in needs) as null:
        with EvaluationBox(job, out / "evaluation.log") as box:
            trace, clock = _whole_run(box, tokens, progress, "score", f"scoring {len(tokens) - 1:,} tokens")
            level = box.box.level
        ended = box.box.exit
        peak, spent = (ended.max_rss_bytes, ended.cpu_seconds) if ended else (0, 0.0)
        claims = Rows.REALISED in trace.kinds and Need.CLAIMS in needs
        if blind and not claims and Need.FLIPS not in needs:
            blind = None
        if blind:
            blind.play(trace, progress)
        if Need.SECOND_RUN in needs or claims and not unsplit:
            wanted: Sequence[Probe] = ()
            if not unsplit:
                wanted = (
                    _probes(trace, tokens, dataset, secret, options, needs, blind, classes, gate)
                    if probes is None
                    else probes
                )
            with EvaluationBox(_with_room(job, len(wanted), spent), out / "audit.log") as box:
                if unsplit:
                    again, _ = _whole_run(box, tokens, progress, "audit", "second run in a fresh box")
                else:
                    again, results, unsplit = _split_run(box, trace, tokens, dataset, secret, progress, wanted)
        if claims and not unsplit and probes is None:
            rows, no_row = _whole_rows(job, out, trace, dataset, secret, options, progress)
        nulls = null(progress)
    evidence = Evidence(
        ruleset=options.ruleset.judging(folder.metadata.date or "", folder.name),
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
        given=sealed.given,
        rows=rows,
        no_row=no_row,
        ranks=options.ranks,
        unsplit=unsplit,
        audit_seed=secret.audit_seed,
        chosen=secret.chosen,
        depth=options.depth,
        forgets=blind.forgets if blind else True,
        gate=gate,
        planned=blind.least if probes is None and blind else 0,
    )
    evidence.probes = starts_agree([result.above(evidence.flip_tolerance) for result in results])
    if blind:
        if unsplit or evidence.tolerance > ROUNDING:
            blind.alone(trace, progress)
        evidence.probes += blind.results(trace, progress)
    if again and any(result.violated for result in evidence.probes) and probes is None and not unsplit:
        count = options.plan.priced
        sampled_probes = sampled(trace, tokens, seed=secret.number("price"), count=count, bos=dataset.tokenizer.bos_id)
        with EvaluationBox(_with_room(job, count, spent), out / "price.log") as box:
            _, priced, _ = _split_run(box, trace, tokens, dataset, secret, progress, sampled_probes, what="pricing")
        evidence.probes += [result.above(evidence.flip_tolerance) for result in priced]
    if again and secret.rng("score").random() < 0.5:  # both were told the truth; which one counts was open until now
        evidence.trace, evidence.again = again, trace
    loss, bpb, _, _ = score_of(evidence.trace, dataset)
    evidence.seeds = [
        *options.earlier,
        SeedScore(seed=seed, val_loss=loss, val_bpb=bpb, artifact_sha256=sealed.sha256, artifact_bytes=sealed.bytes),
    ]
    same = f"{folder.sha256} {dataset.sha256} {options.scale}"
    evidence.configurations = {score.seed: same for score in evidence.seeds}
    evidence.previous = options.previous
    evidence.claims = folder.claims
    if Need.PROOF in needs:
        evidence.proof = proof_of(folder, dataset, sealed, seed, options, progress, rng=secret.rng("proof"))
    if Need.AT_HAND in needs:
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


def secret_of(options: Options, seed: int) -> Secret:
    """The nonce that was asked for, or a new one: this is called when the artifact is sealed, never before."""
    return Secret.drawn(seed) if options.audit_seed is None else Secret(options.audit_seed, seed)


def _probes(
    trace: Trace,
    tokens: Tokens,
    dataset: Dataset,
    secret: Secret,
    options: Options,
    needs: frozenset[Need],
    blind: BlindFlips | None,
    classes: Mapping[str, Ints],
    gate: bool,
) -> list[Probe]:
    """What is to be tried in processes that are split off the second run; `gate`: the code names a SmearGate."""
    probes: list[Probe] = []
    if blind:
        probes += blind.suspects()
        # Where all of a stream is read at once, one process tells of one position, and suffixes are all there is.
        at_once = not blind.forgets and read_at_once(trace)
        splits = max(options.plan.splits, 2 * blind.least) if at_once else options.plan.splits
        probes += plan(trace, tokens, classes, seed=secret.number("splits"), splits=splits)
        if not blind.forgets:
            probes += in_batches(
                trace, tokens, classes, seed=secret.number("batches"), distance=blind.distance,
                wanted=options.plan.own_rows,
            )  # fmt: skip
    if Need.BOUNDARIES in needs:
        probes += boundaries(trace, tokens, classes, seed=secret.number("boundaries"), before=gate)
    if Rows.REALISED in trace.kinds and Need.CLAIMS in needs:
        probes += alternatives(trace, tokens, dataset.vocab_size, seed=secret.number("alternatives"))
    return probes


def _with_room(job: Job, probes: int, spent: float) -> Job:
    """The job in a box that can make so many probes of an evaluation that took `spent` CPU seconds."""
    whole = min(probes, _PURPOSES * (PROBE_BUDGET + 1))
    more = whole * (PROBE_SHARE * spent + PROBE_SECONDS)
    return dataclasses.replace(job, limits=job.limits.with_more(more)) if more else job


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
    secret: Secret,
    progress: Progress,
    probes: Sequence[Probe],
    what: str = "second run in a fresh box",
) -> tuple[Trace, list[ProbeResult], str]:
    """An evaluation that is told the truth, and split for probes: its trace, what they showed, why it was not split."""
    probes = [probe for probe in probes if probe.split]
    progress.phase("audit", f"{what}, with {len(probes)} flips")
    again = Trace(len(tokens))
    budget = int(PROBE_BUDGET * len(tokens))
    flips = FlipRun(trace, tokens, probes, budget=budget, bos=dataset.tokenizer.bos_id, seed=secret.number(what))
    evaluation = box.start(Real(tokens), again)
    box.run(evaluation, lambda: flips.run(evaluation, progress=progress.update))
    made = sum(result.ran for result in flips.results)
    progress.done(f"{made} flips made")
    return full_trace(evaluation, again), flips.results, flips.whole


def _whole_rows(
    job: Job, out: Path, trace: Trace, dataset: Dataset, secret: Secret, options: Options, progress: Progress
) -> tuple[list[WholeRow], str]:
    """Rows in full, where only realised probabilities were claimed; and why not, where one was asked for in vain."""
    rows: list[WholeRow] = []
    for index in range(options.plan.whole_rows):
        where = chosen(trace, dataset.vocab_size, dataset.tokenizer.bos_id, job.tokens, secret.rng(f"row {index}"))
        if where is None:
            break
        progress.phase("row", f"asking for {dataset.vocab_size:,} probabilities of one row")
        try:
            with EvaluationBox(job, out / "row.log") as box:
                start: Start = lambda source, sink, targets: box.start(source, sink, targets=targets)  # noqa: E731
                row = ask(
                    start, box.run, trace, job.tokens, dataset.vocab_size, where,
                    bos=dataset.tokenizer.bos_id, seed=secret.number(f"row {index}"),
                )  # fmt: skip
        except SubmissionError as error:
            progress.done(f"no row came: {error}")
            return rows, str(error)
        progress.done(f"they sum to {row.total:.6f}" if row else "no row came")
        if row:
            rows.append(row)
    return rows, ""
