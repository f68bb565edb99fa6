"""From what an audit of a script gathered to its findings: every check in order, and what the evidence part adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.audit.guard import guarded, settled
from harness.record import Finding
from harness.scripts.checks import (
    artifact_independence,
    byte_accounting,
    causality,
    determinism,
    isolation,
    normalization,
    null_stream,
    score_before_update,
    single_pass,
)
from harness.scripts.checks.evidence import ScriptEvidence

#: The dynamic checks by id, in the order in which a report should be read.
CHECKS: dict[str, Callable[[ScriptEvidence], Finding | None]] = {
    "determinism": determinism.check,
    "causality": causality.check,
    "null-stream": null_stream.check,
    "normalization": normalization.check,
    "score-before-update": score_before_update.check,
    "single-pass": single_pass.check,
    "artifact-independence": artifact_independence.check,
    "warm-up": artifact_independence.check_warm_up,
    "byte-accounting": byte_accounting.check,
    "isolation": isolation.check,
}


def judge(evidence: ScriptEvidence, names: Sequence[str] | None = None) -> list[Finding]:
    """Run the checks. One that breaks is an ERROR, and the others go on."""
    findings = []
    for name in names or CHECKS:
        if name in CHECKS:
            finding = guarded(name, CHECKS[name], evidence)
            if finding is not None:
                findings.append(settled(finding, evidence.ruleset))
    return findings


def merge(dynamic: Sequence[Finding], static: Sequence[Finding]) -> list[Finding]:
    """The findings of the run, then those of the evidence part; of two with one id, the second is named apart."""
    taken = {finding.id for finding in dynamic}
    renamed = [
        finding.model_copy(update={"id": f"{finding.id} (evidence)"}) if finding.id in taken else finding
        for finding in static
    ]
    return [*dynamic, *renamed]
