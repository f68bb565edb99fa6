"""Hunt: search a sealed artifact's evaluation for the smallest leak, and seal what was found as a record."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from harness.adapters.collect import gather, secret_of
from harness.adapters.options import Options, played
from harness.adapters.recording import record_of
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed
from harness.audit.checks import judge
from harness.audit.measures import metrics_of
from harness.corpus.dataset import Dataset, dealt
from harness.errors import UsageError
from harness.folder import Folder
from harness.progress import Progress
from harness.record import Record, Status, Value
from harness.referee.bench import Bench
from harness.referee.comparator import ROUNDING
from harness.referee.plan import token_classes
from harness.referee.search import SHRINKING, Search, hypothesis, search
from harness.referee.secret import Secret
from harness.referee.source import Real
from harness.report import formats

#: What can be hunted for.
CHECKS = ("causality",)

#: Noise above this hides what a hunt looks for (nats).
TOO_NOISY = 1e-2


@dataclass(frozen=True)
class Hunted:
    """A hunt's outcome.

    Attributes:
        status: FAIL with a witness; PASS where nothing was found by flips that had teeth; else INCONCLUSIVE.
        headline: one sentence.
        found: what the search showed.
        record: of the witness, made again in fresh boxes; None without one.
    """

    status: Status
    headline: str
    found: Search
    record: Record | None = None


def hunt(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    seed: int,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    examples: int,
) -> Hunted:
    """Hunt for a causality leak; a catch is made again by the audit's own machinery, and written to `out`.

    What `out` then holds is a record with one finding, whose witness `harness replay` reproduces.

    Args:
        folder: the submission.
        dataset: its validation stream is flipped.
        sealed: the artifact.
        seed: of the evaluation and of the search.
        out: for record, report and logs.
        options: scale, ruleset and limits; its checks are not looked at.
        progress: told what happens.
        examples: flips to make before giving up.

    Raises:
        SubmissionError: the unperturbed evaluation broke.
        UsageError: Hypothesis is not installed, or no flip was asked for.
    """
    hypothesis()
    if examples < 1:
        raise UsageError(f"--examples {examples}: at least one flip has to be made")
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    secret = secret_of(options, seed)
    options = dataclasses.replace(options, audit_seed=secret.audit_seed)  # the witness is made again on the same stream
    given, dataset = dataset, dealt(dataset, len(played(dataset, options.scale)), secret.rng("order"))
    found = _search(folder, dataset, sealed, secret, out, options, progress, examples)
    if found.catch is None:
        for stale in ("record.json", "report.html"):  # of an earlier hunt: this one has ended, and found nothing
            (out / stale).unlink(missing_ok=True)
        status, headline = _nothing(found)
        return Hunted(status, headline, found)
    options = dataclasses.replace(options, checks=["causality"])
    evidence = gather(folder, given, sealed, seed, out, options, progress, probes=[found.catch.probe])
    (finding,) = judge(evidence, options.checks)
    if finding.status != Status.FAIL:
        headline = f"a flip at {found.catch.probe.position:,} was caught and not seen again: {finding.headline}"
        return Hunted(Status.INCONCLUSIVE, headline, found)
    finding = finding.model_copy(update={"power": [*finding.power, *metrics_of(power(found))]})
    record = record_of(folder, dataset, sealed, seed, evidence, [finding], options, time.monotonic() - started)
    record = record.placed(out / "record.json", folder.path)
    formats.save(record, out)
    return Hunted(Status.FAIL, _caught(found), found, record)


def power(found: Search) -> dict[str, Value]:
    """What the hunt tried, for a finding or a line of text."""
    return {
        "hunt_probes": found.flips,
        "hunt_first_catch": found.searched,
        "hunt_positions": found.positions,
        "hunt_rows": found.compared,
        "probes_with_control": found.controls,
        "hunt_noise_floor": found.noise,
    }


def _search(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    secret: Secret,
    out: Path,
    options: Options,
    progress: Progress,
    examples: int,
) -> Search:
    tokens = played(dataset, options.scale)
    job = Job(
        folder, sealed, tokens, dataset.vocab_size, options.scale, secret.seed, options.sandbox, options.limits,
        prints=secret.number("prints"),
    )  # fmt: skip
    bench = Bench(tokens, bos=dataset.tokenizer.bos_id)
    with EvaluationBox(job, out / "hunt.log") as box:
        progress.phase("score", f"scoring {len(tokens) - 1:,} tokens, and leaving processes behind to be flipped")
        evaluation = box.start(Real(tokens), bench.base)
        try:
            box.run(evaluation, lambda: bench.run(evaluation, progress=progress.update))
            noise = bench.noise()
            progress.done(f"{bench.paused} processes wait")
            progress.phase("hunt", f"at most {examples} flips, and {SHRINKING} times as many to shrink what they find")
            found = search(
                bench.base,
                tokens,
                token_classes(dataset.tokenizer, dataset.table, tokens),
                bench.examine,
                examples=examples,
                seed=secret.number("hunt"),
                noise=max(noise, ROUNDING),
                tell=lambda flips, doing: progress.update(flips, None, note=doing),
            )
            progress.done(f"{found.flips} flips")
        finally:
            bench.close()
    return found


def _caught(found: Search) -> str:
    catch = found.catch
    assert catch is not None
    probe = catch.probe
    before, after = next((b, a) for p, b, a, _ in catch.result.violations if p == catch.position)
    what = f"token {probe.position:,}" if probe.kind == "swap" else f"the tokens from {probe.position:,} on"
    whose = "its own row" if not catch.distance else f"the row {catch.distance:,} before it, {catch.position:,},"
    return (
        f"replacing {what} moved {whose} by {abs(after - before):.3g} nats; "
        f"smallest of {found.flips:,} flips, the first catch was number {found.searched:,}"
    )


def _nothing(found: Search) -> tuple[Status, str]:
    tried = (
        f"{found.flips:,} flips at {found.positions:,} positions: {found.compared:,} rows compared, "
        f"{found.controls:,} flips with a positive control, changes up to {found.noise:.2g} nats taken for noise"
    )
    if found.noise > TOO_NOISY:
        return Status.INCONCLUSIVE, f"identical runs differ too much to see a leak in ({tried})"
    if found.broken:
        return Status.INCONCLUSIVE, f"{found.broken:,} flips broke the submission ({tried})"
    if not found.controls:
        return Status.INCONCLUSIVE, f"no flip had teeth: not one row after it moved ({tried})"
    return Status.PASS, f"no leak found in {tried}; positions that were not flipped are not covered"
