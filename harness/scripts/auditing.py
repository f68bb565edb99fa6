"""The audit of one unmodified script: its evidence judged, and the record and report of that."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.audit import recording
from harness.audit.check import Need
from harness.audit.recording import Ran, Terms
from harness.environment import need_run
from harness.papers import linting
from harness.progress import Progress
from harness.record import DataInfo, Finding, Record, Status, SubmissionInfo
from harness.report import formats
from harness.scripts.checks import coverage, followed, judging
from harness.scripts.checks.evidence import AtLength, OtherWorld
from harness.scripts.checks.explaining import explain, with_quotes
from harness.scripts.collect import Gathered, Prepared, ScriptOptions, gather, phases, prepare, sources_of
from harness.scripts.opening import Script
from harness.scripts.play.streams import Streams, data_sha256
from harness.scripts.play.vocabulary import sentencepiece_model
from harness.scripts.scale import Tiny
from harness.scripts.settings.submitted import Settings
from harness.scripts.settings.unstated import worlds
from harness.scripts.trace import lines

SCALE = "tiny"


@dataclass(frozen=True)
class Audited:
    """A record, and the quotations for its failures (`--explain`)."""

    record: Record
    explanations: tuple[str, ...]


def audit_script(path: Path, options: ScriptOptions, out: Path, progress: Progress) -> Audited:
    """Audit the script at `path`; record.json, report.html, observed.npz and logs go into `out`.

    Raises:
        UsageError: there is no script, or an override names a setting that it does not read.
        SandboxError: no box can be built here.
    """
    need_run()
    started = time.monotonic()
    progress.plan(*phases(options.needs))
    progress.phase("read", "source, settings and evidence")
    prepared = prepare(path, options, out, progress)
    options = dataclasses.replace(options, ruleset=prepared.ruleset)
    script, case, settings, small = prepared.script, prepared.case, prepared.settings, prepared.small
    made = prepared.runner.streams
    out.mkdir(parents=True, exist_ok=True)
    static = linting.judge(case).findings if case is not None else []
    progress.done(f"{len(settings.submitted)} settings differ from the defaults, {len(small.changed)} made small")
    gathered = gather(
        prepared.runner,
        options.ruleset,
        options.needs,
        seed=options.seed,
        adapted=len(small.changed),
        text=prepared.text,
        plan=prepared.plan,
    )
    progress.phase("judge", "what was seen")
    sources = sources_of(script)
    gathered.evidence.unseen = script.unseen
    gathered.evidence.stub_ran = any(layer.ran for layer in script.unwrapped.layers)
    checks = options.checks
    if script.unseen and checks is not None and coverage.CHECK not in checks:
        checks = (*checks, coverage.CHECK)  # whatever was asked for: of code that nobody has seen nothing is known
    found = _judged(path, prepared, gathered, dataclasses.replace(options, checks=checks), out, progress)
    findings = [with_quotes(item, sources) for item in found if checks is None or item.id in checks]
    wanted = [item for item in static if options.checks is None or item.id in options.checks]
    findings = judging.merge(findings, wanted)
    record = _record(script, settings, small, made, gathered, findings, options, time.monotonic() - started)
    record = record.placed(out / "record.json", script.path)
    arrays = gathered.observed.to_arrays()
    observed = io.BytesIO()
    np.savez_compressed(observed, *arrays)
    formats.save(record, out, {"observed.npz": observed.getvalue()})
    progress.done(record.verdict.value)
    return Audited(record, tuple(line for item in findings for line in explain(item, sources)))


def _judged(
    path: Path, prepared: Prepared, gathered: Gathered, options: ScriptOptions, out: Path, progress: Progress
) -> list[Finding]:
    """The findings; where a switch is a question that nothing answers, with what its other value comes to."""
    evidence = gathered.evidence
    evidence.unstated = prepared.unstated
    found = judging.judge(evidence, judging.first(options.checks))
    if Need.OTHER_SETTINGS not in options.needs:
        return found
    if prepared.unstated and not any(one.status == Status.FAIL and one.question == "score" for one in found):
        evidence.other = _other_world(path, worlds(prepared.unstated), found, options, out, progress)
    return [*found, *judging.judge(evidence, judging.last(options.checks))]


def _other_world(
    path: Path,
    turned: Mapping[str, str],
    here: Sequence[Finding],
    options: ScriptOptions,
    out: Path,
    progress: Progress,
) -> OtherWorld:
    """The same audit with some switches turned."""
    progress.note("again with " + " ".join(f"{name}={value}" for name, value in turned.items()))
    prepared = prepare(path, options, out / "other settings", progress, turned)
    needs = judging.needs([one.id for one in here])
    gathered = gather(
        prepared.runner,
        options.ruleset,
        needs if options.most is None else needs & options.most,
        seed=options.seed,
        adapted=len(prepared.small.changed),
        text=prepared.text,
    )
    evidence = gathered.evidence
    findings = judging.judge(evidence, [one.id for one in here])
    unclaimed = followed.unclaimed(evidence)
    error = None if unclaimed or evidence.main is not None else followed.why_not(evidence)
    return OtherWorld(turned, findings, here, error, unclaimed)


def _record(
    script: Script,
    settings: Settings,
    small: Tiny,
    made: Streams,
    gathered: Gathered,
    findings: list[Finding],
    options: ScriptOptions,
    seconds: float,
) -> Record:
    evidence = gathered.evidence
    adapts = evidence.main is not None and bool(evidence.base.ledger(evidence.main).trained.any())
    claims = {name: value for name, value in script.claims.items() if _plain(value)}
    if script.claimed_bpb is not None:
        claims["val_bpb"] = script.claimed_bpb
    return recording.build(
        SubmissionInfo(
            name=script.title or script.name,
            path=recording.shown(script.path),
            kind="script",
            track=None if evidence.main is None else "B" if adapts else "A",
            author=script.author,
            github_id=script.github_id,
            sha256=script.sha256,
            claims=claims,
            settings=_settings(script, settings, small, gathered, options),
        ),
        findings,
        Terms(options.ruleset, options.strict, options.fail_on_incomplete),
        DataInfo(
            name="synthetic stream of unique tokens",
            sha256=data_sha256(made),
            vocab_size=made.vocab_size,
            tokenizer_sha256=hashlib.sha256(sentencepiece_model(made.vocab_size)).hexdigest(),
            documents=len(made.bos_positions),
            tokens=len(made.validation),
            bytes=int(evidence.token_bytes.sum()) if evidence.token_bytes is not None else None,
            scored_tokens=evidence.main.unique() if evidence.main else 0,
            train_tokens=len(made.train),
            facts={"passes": _passes(gathered), **_facts(gathered)},
        ),
        scale=SCALE,
        seeds=[options.seed],
        ran=Ran(
            gathered.level,
            seconds,
            {"base run": evidence.peak_bytes, "highest": max(peak for _, peak in gathered.runner.spent.values())},
            {"seconds": options.limits.cpu_seconds, "memory_bytes": options.limits.memory_bytes},
            timing={**evidence.seconds, "cpu": {name: cpu for name, (cpu, _) in gathered.runner.spent.items()}},
        ),
    )


def _settings(
    script: Script, settings: Settings, small: Tiny, gathered: Gathered, options: ScriptOptions
) -> dict[str, Any]:
    """What was audited: submitted settings with where they are said, and what was made small for the run."""
    sleep = gathered.evidence.sleep
    return {
        "entry": script.entry,
        "wrappers": [
            f"{layer.how}, opened by running its stub in the box" if layer.ran else layer.how
            for layer in script.unwrapped.layers
        ],
        "overrides": dict(options.env),
        "ranks": options.ranks,
        "submitted": [
            {"name": name, "value": value, "said in": _where(settings, name)}
            for name, value in settings.submitted.items()
        ],
        "made small": [
            {"name": item.name, "real": item.real, "tiny": item.tiny, "why": item.why} for item in small.changed
        ]
        + [
            {
                "name": f"{one.test} ({one.place})",
                "real": f"{one.real:g}",
                "tiny": f"{one.threshold[1]:g}",
                "why": "code that runs at full size slept behind this threshold",
            }
            for one in (sleep.woken if sleep else ())
            if one.threshold is not None
        ],
        "constants in the source, not scaled": [str(item) for item in small.unscaled],
        "sources that disagree": [
            {
                "name": item.name,
                "used": item.used,
                "said": "; ".join(f"{value} ({where})" for value, where in item.values),
            }
            for item in settings.conflicts
        ],
        "stages": [dict(stage) for stage in small.stages],
        "notes": [*script.notes, *settings.notes],
    }


def _where(settings: Settings, name: str) -> str:
    item = settings.values[name]
    return f"{item.origin}" + (f", {item.file}:{item.line}" if item.file else "")


def _passes(gathered: Gathered) -> list[dict[str, Any]]:
    base = gathered.evidence.base
    return [
        {
            "pass": made.name + (" (counts)" if index == base.headline else ""),
            "positions": made.unique(),
            "loss": round(made.mean, 6),
            "printed": made.printed.loss if made.printed else None,
            "place": made.place,
        }
        for index, made in enumerate(base.passes)
    ]


def _facts(gathered: Gathered) -> dict[str, Any]:
    base = gathered.evidence.base
    reason = followed.not_traced(gathered.evidence)
    return {
        "ended": base.ended,
        "not traced": None if reason is None else reason.told,
        "error": lines.tidy(str(base.facts.get("error") or ""))[-600:],
        "stand-ins used": dict(base.facts.get("standins") or {}),
        "without a stand-in": [str(item) for item in base.facts.get("missing") or []],
        "not followed": [f"{item.get('name')} x {item.get('count')} at {item.get('place')}" for item in base.unknown],
        "files opened": [str(item.get("name")) for item in base.facts.get("files") or [] if isinstance(item, dict)][
            :20
        ],
        **_at_length(gathered.evidence.at_length),
        "last lines": [line.text for line in base.printed[-6:]],
    }


def _at_length(made: AtLength | None) -> dict[str, Any]:
    """How the pass at the submitted sequence length was made."""
    if made is None:
        return {}
    told = {"window": made.window, "tokens": made.tokens, "not as submitted": list(made.reduced), "not shown": made.why}
    return {"at the submitted length": told}


def _plain(value: object) -> bool:
    """A claim that fits a record: no NaN, nothing huge."""
    if isinstance(value, float):
        return bool(np.isfinite(value))
    if isinstance(value, Mapping):
        return all(_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return True
