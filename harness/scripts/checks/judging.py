"""From what an audit of a script gathered to its findings: every check in order, and what the evidence part adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.audit import check
from harness.audit.check import Need, Provider
from harness.audit.measures import metrics_of
from harness.record import Finding, Metric, Part, Status
from harness.scripts.checks import (
    artifact_independence,
    byte_accounting,
    causality,
    coverage,
    determinism,
    document_boundary,
    followed,
    isolation,
    normalization,
    null_stream,
    score_before_update,
    settings,
    single_pass,
)
from harness.scripts.checks.evidence import FINISHED, ScriptEvidence

_SECOND = frozenset({Need.SECOND_RUN})
_FLIPS = frozenset({Need.SECOND_RUN, Need.FLIPS})
_WHOLE = _FLIPS | {Need.OTHER_TEXT}
_RECURRING = frozenset({Need.RECURRING})

#: The checks of a script's run by id, in the order in which a report should be read.
CHECKS: dict[str, Provider[ScriptEvidence]] = {
    "determinism": Provider(determinism.check, _SECOND),
    "causality": Provider(causality.check, _WHOLE, _RECURRING | {Need.TURNED, Need.AT_LENGTH}),
    "null-stream": Provider(null_stream.check, frozenset({Need.NULL_RUN})),
    "normalization": Provider(normalization.check, uses=_RECURRING | {Need.TURNED}),
    "score-before-update": Provider(score_before_update.check, uses=_FLIPS),
    "single-pass": Provider(single_pass.check, uses=frozenset({Need.TURNED})),
    "artifact-independence": Provider(artifact_independence.check, _WHOLE, frozenset({Need.TURNED})),
    "warm-up": Provider(artifact_independence.check_warm_up, _WHOLE),
    "document-boundary": Provider(document_boundary.check, frozenset({Need.BOUNDARIES})),
    "byte-accounting": Provider(byte_accounting.check),
    "isolation": Provider(isolation.check),
    "coverage": Provider(coverage.check),
    "settings": Provider(
        settings.check, frozenset({Need.OTHER_SETTINGS}), _WHOLE | _RECURRING | {Need.NULL_RUN, Need.TURNED}
    ),
}

#: Checks that are about the script itself, not about the evaluation that it made.
_WHATEVER_IS_CLAIMED = ("isolation",)


def needs(names: Sequence[str] | None = None) -> frozenset[Need]:
    """What has to be gathered for the checks that were asked for, or for all."""
    return check.needs(_made(names), CHECKS)


def judge(evidence: ScriptEvidence, names: Sequence[str] | None = None) -> list[Finding]:
    """Run the checks that were asked for, or all."""
    findings = check.judge(evidence, _made(names), CHECKS)
    return [_if_claimed(_with_cause(found, evidence), evidence) for found in findings]


def _made(names: Iterable[str] | None) -> list[str]:
    """Of the checks that were asked for those that are made of a run; others are made of the papers."""
    return [name for name in names or CHECKS if name in CHECKS]


def _with_cause(found: Finding, evidence: ScriptEvidence) -> Finding:
    """Why a check that needs a second run did not run: that was ended (time, memory, ...), or not asked for."""
    if found.status != Status.NOT_RUN or Need.SECOND_RUN not in CHECKS[found.id].needs or evidence.main is None:
        return found
    again = evidence.again
    if again is None:
        why = "a second run was not asked for"
    elif again.ended not in FINISHED:
        why = f"the second run did not come to its end: {again.facts.get('error') or again.ended}"[:400]
    elif again.main is None:
        why = "the second run scored nothing"
    else:
        return found
    return found.model_copy(update={"headline": why, "not_covered": [*found.not_covered, why]})


def _if_claimed(found: Finding, evidence: ScriptEvidence) -> Finding:
    """Not an accusation where the run printed no line that the claim stands on: what it evaluated was not submitted.

    A feature that is on by default and was off in the logged runs (the n-gram pass of #1143) accuses nobody. What a
    script does to the box it does whatever it evaluates.
    """
    why = followed.unclaimed(evidence)
    if found.status != Status.FAIL or why is None or found.id in _WHATEVER_IS_CLAIMED:
        return found
    return found.model_copy(
        update={
            "status": Status.INCONCLUSIVE,
            "headline": f"{found.headline}; but {why}",
            "witness": None,
            "metrics": [
                *found.metrics,
                *metrics_of({"seen": found.witness.summary if found.witness else found.headline}),
            ],
            "not_covered": [*found.not_covered, "the evaluation that is claimed (give its settings with --env)"],
            "remedy": None,
        }
    )


def first(names: Sequence[str] | None = None) -> list[str]:
    """Of the checks that were asked for those that need no audit with other settings; of that alone, all of these."""
    made = _made(names)
    return [name for name in (CHECKS if made and made == last(made) else made) if name not in last(CHECKS)]


def last(names: Iterable[str] | None = None) -> list[str]:
    """Of the checks that were asked for those that hold the findings of two audits against each other."""
    return [name for name in _made(names) if Need.OTHER_SETTINGS in CHECKS[name].needs]


def merge(dynamic: Sequence[Finding], static: Sequence[Finding]) -> list[Finding]:
    """The findings of the run, then those of the papers; where both make a check, it is one finding of two parts."""
    papers = {finding.id: finding for finding in static}
    found = [joined(finding, papers.pop(finding.id)) if finding.id in papers else finding for finding in dynamic]
    return [*found, *papers.values()]


def joined(run: Finding, papers: Finding) -> Finding:
    """One finding from what the run and the papers show of the same check.

    The run's conclusion stands, unless the papers contradict themselves: that is a violation whatever was run; or they
    show what no rule settles, and the run nothing amiss. What the papers do not show counts for the claim, and stays a
    part.
    """
    parts = [
        Part(id=one.id, source=source, question=one.question, status=one.status, headline=one.headline,
             metrics=one.metrics)
        for source, one in (("the run", run), ("the papers", papers))
    ]  # fmt: skip
    leads = papers.status == Status.FAIL != run.status or (papers.status, run.status) == (Status.UNRULED, Status.PASS)
    first, second = (papers, run) if leads else (run, papers)
    names = {id(run): "in the run", id(papers): "in the papers"}
    return first.model_copy(
        update={
            "question": run.question,
            "headline": f"{names[id(first)]}, {first.headline}; {names[id(second)]}, {second.headline}",
            "metrics": [*first.metrics, *_further(first.metrics, second.metrics)],
            "power": [*first.power, *_further(first.power, second.power)],
            "not_covered": [*first.not_covered, *second.not_covered],
            "figures": {**second.figures, **first.figures},
            "parts": parts,
        }
    )


def _further(first: Sequence[Metric], second: Sequence[Metric]) -> list[Metric]:
    """What the second has and the first does not; numbers that both have are in the parts."""
    known = {one.id for one in first}
    return [one for one in second if one.id not in known]
