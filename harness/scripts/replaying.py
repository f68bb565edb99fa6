"""The witness of a recorded finding of a script, made again: the runs that show it, and no others.

The base run is always among them: it says where the pass that counts begins, and it is what everything is compared
with. A witness from the papers runs nothing.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.audit.replays import Again, Replay, outcome, unchanged, wanted
from harness.papers.replaying import replay_papers
from harness.progress import Progress
from harness.record import ALLOWED, Finding, Record, Witness
from harness.referee.comparator import ROUNDING
from harness.scripts import atlength, choices, recurring
from harness.scripts.checks import judging
from harness.scripts.checks.evidence import AT_LENGTH, RECURS, Flip, ScriptEvidence, Variant
from harness.scripts.checks.explaining import with_quotes
from harness.scripts.collect import Gathered, Prepared, ScriptOptions, gather, null_run, prepare, sources_of
from harness.scripts.flips import forked, text
from harness.scripts.play import streams as data
from harness.scripts.play.running import Played, Runner
from harness.scripts.play.streams import data_sha256
from harness.scripts.trace import reading
from harness.scripts.trace.decided import decisions


@dataclass(frozen=True)
class _Keeping(Runner):
    """A runner that keeps what it has played, by name."""

    made: dict[str, Played] = field(default_factory=dict)

    def play(self, name: str, *args: Any, **more: Any) -> Played:
        """As `Runner.play`."""
        self.made[name] = super().play(name, *args, **more)
        return self.made[name]


@dataclass(frozen=True)
class _Bench:
    """What a witness is made again on: the runner, what the base run left, the seed, and what is to be seen again.

    `plan`: of the pass at the submitted sequence length.
    """

    runner: _Keeping
    gathered: Gathered
    seed: int
    finding: Finding
    witness: Witness
    plan: atlength.Plan | None = None

    @property
    def evidence(self) -> ScriptEvidence:
        """What the checks look at."""
        return self.gathered.evidence

    @property
    def base(self) -> Played:
        """The base run as it was played."""
        return self.runner.made["base"]


def replay_script(record: Record, finding_id: str, path: Path, options: ScriptOptions, progress: Progress) -> Replay:
    """Make one finding's witness again as the record says, and compare.

    Args:
        record: the record that holds the finding.
        finding_id: the check's id.
        path: the script or its folder; its sha256 must be the recorded one.
        options: ruleset and sandbox; settings, seed, ranks, length and limits come from the record.
        progress: told what happens.

    Raises:
        UsageError: no such finding, no witness, or the script has changed.
        SandboxError: no box can be built here.
    """
    recorded, witness, again = wanted(record, finding_id)
    if again is Again.PAPERS:
        return replay_papers(record, finding_id, path, options.ruleset)
    options = _as_recorded(record, options)
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as scratch:
        progress.phase("read", "source and settings")
        prepared = prepare(path, options, Path(scratch), progress)
        options = dataclasses.replace(options, ruleset=prepared.ruleset)
        remedy = "give the judged version with --submission"
        unchanged(str(path), record.submission.sha256, prepared.script.sha256, remedy)
        made = data_sha256(prepared.runner.streams)
        unchanged("the text that the harness makes", record.data.sha256, made, "replay with the harness that judged")
        progress.done(f"{len(prepared.settings.submitted)} settings differ from the defaults")
        progress.phase("run", again.value)
        now = _played(prepared, options, again, recorded, witness)
        progress.done(now.status.value if now else "nothing")
    return outcome(recorded, now)


def _as_recorded(record: Record, options: ScriptOptions) -> ScriptOptions:
    """The options of the recorded audit."""
    settings, limits = record.submission.settings, record.environment.get(ALLOWED)
    limits = limits if isinstance(limits, dict) else {}
    return dataclasses.replace(
        options,
        env=dict(settings.get("overrides") or {}),
        seed=record.seeds[0] if record.seeds else 0,
        tokens=record.data.tokens,
        ranks=int(settings.get("ranks") or 1),
        timeout=float(limits["seconds"]) if "seconds" in limits else options.timeout,
        memory_bytes=int(limits.get("memory_bytes", options.memory_bytes)),
    )


def _played(
    prepared: Prepared, options: ScriptOptions, again: Again, recorded: Finding, witness: Witness
) -> Finding | None:
    """The finding now, after the runs that show its witness."""
    runner, plan = _keeping(prepared.runner), prepared.plan
    if plan is not None and plan.runner is not None:
        plan = dataclasses.replace(plan, runner=_keeping(plan.runner))
    adapted = len(prepared.small.changed)

    def judged(evidence: ScriptEvidence) -> Finding | None:
        found = judging.judge(evidence, [recorded.id])
        return with_quotes(found[0], sources_of(prepared.script)) if found else None

    text = prepared.text
    base = gather(runner, options.ruleset, seed=options.seed, adapted=adapted, text=text)
    assert isinstance(base.runner, _Keeping)
    runner = base.runner
    bench = _Bench(runner, base, options.seed, recorded, witness, plan)
    if again is Again.RULED:
        now = judged(base.evidence)
        if outcome(recorded, now).reproduced:
            return now
        needs = judging.needs()
        more = gather(runner, options.ruleset, needs, seed=options.seed, adapted=adapted, text=text, plan=plan)
        return judged(more.evidence)
    _MORE[again](bench)
    return judged(base.evidence)


def _keeping(runner: Runner) -> _Keeping:
    return _Keeping(**{item.name: getattr(runner, item.name) for item in dataclasses.fields(Runner)})


def _flip(bench: _Bench) -> None:
    """The tokens of the witness replaced, in a fork at the pass that counts or in a whole run, as they were then."""
    evidence, witness, runner = bench.evidence, bench.witness, bench.runner
    if evidence.main is None:
        return
    if witness.data.get("text") == AT_LENGTH:
        if bench.plan is not None:
            atlength.gather(bench.plan, evidence, only=(str(witness.data["scope"]), int(witness.data["position"])))
        return
    replaced, trained = (
        np.concatenate([np.zeros(0, np.int64), *(np.arange(first, end) for first, end in witness.data.get(name, []))])
        for name in ("replaced", "trained")
    )
    if witness.data.get("text") == RECURS:
        evidence.recurring = recurring.gather(
            runner.play, evidence, bench.base, runner.streams, bench.seed, only=replaced
        )
        return
    kind: Literal["suffix", "swap"] = "swap" if witness.kind == "swap" else "suffix"
    variant = Variant(kind, int(witness.data["position"]), replaced, trained=trained)
    whole = witness.data["scope"] == "run"
    noisy = float(witness.data["tolerance"]) > ROUNDING
    flips: list[Flip] = []
    if runner.ranks > 1:
        if noisy:
            evidence.again = reading.read(runner.play("again", runner.streams).observed, evidence.base.tokens)
    elif not whole or noisy or bench.finding.id == "artifact-independence":
        # Noise is what unchanged runs differ by; that a cause lies before the pass, a clean fork shows.
        evidence.again, flips, _ = forked(runner, evidence.base, bench.base, [variant])
    if whole:
        changed = runner.play("changed", data.with_validation(runner.streams, text(runner.streams, variant)))
        flips.append(Flip(variant, "run", reading.read(changed.observed, evidence.base.tokens)))
    evidence.flips = flips


def _null(bench: _Bench) -> None:
    """The text that was drawn: that of the base run itself, or another."""
    evidence, runner = bench.evidence, bench.runner
    if any(null.source == bench.witness.data["source"] for null in evidence.nulls):
        return
    made, _ = null_run(runner, bench.seed)
    evidence.nulls = [made] if made else []


def _recurring(bench: _Bench) -> None:
    """The same text in which phrases recur, and the same lots."""
    bench.evidence.recurring = recurring.gather(
        bench.runner.play, bench.evidence, bench.base, bench.runner.streams, bench.seed
    )


def _turned(bench: _Bench) -> None:
    """The decision of the witness, turned as it was then."""
    evidence, data = bench.evidence, bench.witness.data
    if evidence.main is None:
        return
    for decision in decisions(evidence.base, evidence.main):
        if all(data[name] == value for name, value in decision.told.items()):
            evidence.turned = (choices.turned(bench.runner, evidence, decision, "turned"),)
            return


def _nothing(bench: _Bench) -> None:
    """The base run shows it, or the one at the submitted sequence length."""
    if bench.witness.data.get("text") == AT_LENGTH and bench.plan is not None:
        atlength.gather(bench.plan, bench.evidence, only=("none", -1))


#: What is played beyond the base run.
_MORE: dict[Again, Callable[[_Bench], None]] = {
    Again.RUN: _nothing,
    Again.FLIP: _flip,
    Again.NULL: _null,
    Again.RECURRING: _recurring,
    Again.TURNED: _turned,
}
