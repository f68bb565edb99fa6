"""An unsigned in-toto Statement over what a run left behind, for whoever wants to sign it.

Format: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.record import PLACES, Record

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:golf-harness:verdict:v1"


def statement(run: Path) -> dict[str, Any]:
    """The statement about a run's folder: subjects are artifact (if the run has one), record and report, by sha256.

    The predicate holds the verdict, every finding's status, the ruleset, the harness and the environment, as the record
    has them. No time and no path enters, so the same folder gives the same bytes.

    Raises:
        UsageError: a file is missing, the record was changed after it was made, or the artifact is not the record's.
    """
    record = Record.load(run)
    if record.digest != record.computed_digest():
        raise UsageError(f"{run / 'record.json'} does not have the digest that it states; it was changed after the run")
    subjects = [_subject(run / "record.json"), _subject(run / "report.html")]
    if record.artifact is not None:
        artifact = next((p for p in (run / "artifact.bin", run.parent / "artifact.bin") if p.is_file()), None)
        if artifact is None:
            raise UsageError(f"no artifact.bin in {run} or above it; a statement covers what it has seen")
        subjects.insert(0, _subject(artifact))
        if subjects[0]["digest"]["sha256"] != record.artifact.sha256:
            raise UsageError(f"{artifact} is not the artifact that the record is about")
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "verdict": record.verdict.value,
            "answers": {question: answer.answer for question, answer in record.answers.items()},
            "findings": {found.id: found.status.value for found in record.findings},
            "record": {"schema": record.schema_, "digest": record.digest},
            "submission": {
                "name": record.submission.name,
                "kind": record.submission.kind,
                "sha256": record.submission.sha256,
            },
            "scale": record.scale,
            "seeds": record.seeds,
            "ruleset": record.ruleset.model_dump(exclude={"texts": True, "rulings": {"texts"}}, exclude_none=True),
            "harness": record.harness.model_dump(),
            "environment": {name: value for name, value in record.environment.items() if name != PLACES},
        },
    }


def to_bytes(statement: dict[str, Any]) -> bytes:
    """The statement as a file: keys in the order of the specification, two blanks of indentation, a last newline."""
    return (json.dumps(statement, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _subject(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError:
        raise UsageError(f"no {path.name} in {path.parent}; `harness report` renders it again from a record") from None
    return {"name": path.name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}
