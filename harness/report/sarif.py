"""A record as SARIF 2.1.0, for code scanning: only what has a file and a line.

Most findings are about behaviour and stand at no line; they are in the other views. What is here comes from witnesses
that quote a file of the submission: evidence that contradicts itself, and lines of a script that a FAIL was traced to.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from harness.record import Finding, Record, Status
from harness.report import view
from harness.report.places import places
from harness.text import brief, clean, prose

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS = {Status.FAIL: "error", Status.UNRULED: "warning", Status.INCONCLUSIVE: "warning"}


def render(record: Record) -> str:
    """The SARIF log as JSON: one run, one rule for each check that has a result."""
    found = [
        (finding, file, line, said)
        for finding in view.worst_first(record)
        if finding.status in _LEVELS
        for file, line, said in places(finding)
    ]
    rules = list(dict.fromkeys(finding.id for finding, *_ in found))
    by_id = {finding.id: finding for finding, *_ in reversed(found)}
    run = {
        "tool": {
            "driver": {
                "name": "golf-harness",
                _version_name(record.harness.version): clean(record.harness.version, 40),
                "rules": [_rule(by_id[name]) for name in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(record, finding, rules.index(finding.id), file, line, said) for finding, file, line, said in found
        ],
        "properties": {
            "verdict": record.verdict.value,
            "answers": {
                reply.question: {"answer": answer.answer, "sentence": reply.sentence}
                for reply, (_, answer) in zip(view.replies(record), record.answers.items(), strict=True)
            },
            "digest": clean(record.digest, 80),
            "ruleset": clean(record.ruleset.name, 60),
        },
    }
    body = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _version_name(version: str) -> str:
    return "semanticVersion" if re.fullmatch(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]{1,40})?", version) else "version"


def _rule(finding: Finding) -> dict[str, Any]:
    rule = {
        "id": brief(finding.id, 80),
        "name": brief(finding.title, 120),
        "shortDescription": {"text": brief(finding.title, 240)},
    }
    return {**rule, "help": {"text": prose(finding.remedy, 1000)}} if finding.remedy else rule


def _result(record: Record, finding: Finding, index: int, file: str, line: int, said: str) -> dict[str, Any]:
    message = prose(finding.headline, 800) + (f" ({said})" if said else "")
    uri = _uri(record.submission.path, file)
    # What a line says names it better than its number, which moves with every edit above it.
    mark = hashlib.sha256("\0".join((finding.id, uri, said or str(line))).encode(errors="replace")).hexdigest()
    return {
        "ruleId": brief(finding.id, 80),
        "ruleIndex": index,
        "level": _LEVELS.get(finding.status, "note"),
        "message": {"text": message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": line},
                }
            }
        ],
        "partialFingerprints": {"place/v1": mark[:32]},
        "properties": {"replay": view.replay(record, finding)},
    }


def _uri(folder: str, file: str) -> str:
    """A relative reference below the repository's root: no scheme, no way up, percent-encoded."""
    parts = [*PurePosixPath(folder.replace("\\", "/")).parts, *PurePosixPath(file.replace("\\", "/")).parts]
    kept = [clean(part, 120) for part in parts if part not in ("/", "..", ".")]
    return "/".join(quote(part, safe="") for part in kept) or "unknown"
