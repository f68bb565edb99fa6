"""A record as JUnit XML, for CI systems that show tests: one case for each check.

FAIL is a failure. What could not decide (INCONCLUSIVE, ERROR) is an error, so that no CI takes it for a pass; what did
not run or does not apply is skipped, and so is what papers do not show, which fails nothing. UNRULED passes and says
why in its output, as the exit code does.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from harness.record import Finding, Record, Status
from harness.report import view
from harness.text import brief, clean, finite, number, prose

_ELEMENTS = {
    Status.FAIL: "failure",
    Status.ERROR: "error",
    Status.INCONCLUSIVE: "error",
    Status.NOT_RUN: "skipped",
    Status.NOT_APPLICABLE: "skipped",
}


def render(record: Record) -> str:
    """The <testsuites> document; every text in it is visible, on one line, and legal XML 1.0."""
    findings = view.worst_first(record)
    counts = {name: sum(_element(record, one) == name for one in findings) for name in ("failure", "error", "skipped")}
    totals = {
        "name": "golf-harness",
        "tests": str(len(findings)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
    }
    seconds = finite(record.timing.get("seconds")) or 0.0
    root = ET.Element("testsuites", {**totals, "time": f"{seconds:.3f}"})
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            **totals,
            "name": brief(record.submission.name, 120),
            "skipped": str(counts["skipped"]),
            "time": f"{seconds:.3f}",
        },
    )
    if view.run_date(record) is not None:
        suite.set("timestamp", clean(record.timing["started"], 19)[:19])
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("verdict", record.verdict.value),
        ("exit_code", str(record.exit_code)),
        *((question, answer.answer) for question, answer in record.answers.items()),
        *((f"{reply.question}_sentence", reply.sentence) for reply in view.replies(record)),
        ("val_bpb", f"{record.score.val_bpb:.6f}" if record.score else "none"),
        ("track", record.submission.track or "none"),
        ("scale", clean(record.scale, 40)),
        ("ruleset", clean(record.ruleset.name, 60)),
        ("digest", clean(record.digest, 80)),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for finding in findings:
        _case(suite, record, finding)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, record: Record, finding: Finding) -> None:
    path = brief(record.submission.path, 120)
    case = ET.SubElement(suite, "testcase", {"name": brief(finding.id, 80), "classname": path, "time": "0"})
    said = prose(finding.headline, 600)
    if (element := _element(record, finding)) is not None:
        made = ET.SubElement(case, element, {"message": said})
        if element != "skipped":
            made.set("type", finding.status.value)
        made.text = "\n".join(_evidence(record, finding))
    elif finding.status == Status.UNRULED:
        ET.SubElement(case, "system-out").text = f"UNRULED: {said}"


def _element(record: Record, finding: Finding) -> str | None:
    """What a finding is in JUnit; None for a plain pass."""
    gap = finding.question == "claim" or (finding.question == "limits" and record.submission.kind != "adapter")
    return "skipped" if gap and finding.status == Status.INCONCLUSIVE else _ELEMENTS.get(finding.status)


def _evidence(record: Record, finding: Finding) -> list[str]:
    lines = [f"{view.called(one)}: {_flat(one.value)}" for one in finding.metrics[:30]]
    if finding.witness:
        lines.append(f"witness: {prose(finding.witness.summary)}")
        if command := view.replay(record, finding):
            lines.append(f"replay: {command}")
    lines += [f"not covered: {prose(item, 300)}" for item in finding.not_covered[:10]]
    return [*lines, f"what to do: {prose(finding.remedy)}"] if finding.remedy else lines


def _flat(value: object) -> str:
    return clean(value, 200) if isinstance(value, list | str) else number(value)
