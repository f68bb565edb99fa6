"""The result of a run: plain data, one JSON file, the product that every view is rendered from.

Field order is part of the format. NaN and infinity never enter it: a number that does not exist is null and
the finding's status says why. Clocks and host facts live in `environment`, `clocks` and `timing`, outside the
part that the record's own digest covers, so the same inputs give the same digest.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA: Literal["harness.record/1"] = "harness.record/1"

#: Fields that describe the machine or the hour rather than the submission; the digest leaves them out.
VOLATILE = ("digest", "environment", "clocks", "timing")

#: How much an audit tries; `options.PLANS` has the numbers.
Depth = Literal["quick", "standard", "deep"]

Number = Annotated[float, Field(allow_inf_nan=False)]
Scalar = None | bool | int | Number | str
Metric = Scalar | list[Scalar] | list[list[Scalar]]


class Status(StrEnum):
    """What a check concluded. Only PASS says that the check ran to its end and found nothing."""

    FAIL = "FAIL"
    ERROR = "ERROR"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT_RUN"
    UNRULED = "UNRULED"
    PASS = "PASS"
    NOT_APPLICABLE = "NOT_APPLICABLE"


#: Worst first: the overall verdict is the first of these that any finding has.
SEVERITY = tuple(Status)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Witness(_Model):
    """Evidence that anyone can replay: what was changed, where, and what moved.

    Attributes:
        kind: which replay reproduces it ("suffix", "swap", "rerun", "row", "positions", "bytes", ...).
        summary: one sentence for people.
        data: everything that the replay needs, and what it must observe again.
    """

    kind: str
    summary: str
    data: dict[str, Any] = Field(default_factory=dict)


class Finding(_Model):
    """The outcome of one check.

    Attributes:
        id: the check's stable id, such as "causality".
        rule: the id of the rule in the ruleset that the check serves ("C1", "size", ...).
        title: the check's name for people.
        status: what was concluded.
        headline: one sentence with the decisive number in it.
        metrics: named numbers, in the order in which they should be read.
        witness: present on every FAIL.
        power: what the check would have caught: probes made, positions covered, smallest visible effect.
        not_covered: what this check did not look at, said plainly.
        remedy: what the author can do about it, from the ruleset.
        figures: data for figures, by name (for example "leak_matrix").
    """

    id: str
    rule: str
    title: str
    status: Status
    headline: str
    metrics: dict[str, Metric] = Field(default_factory=dict)
    witness: Witness | None = None
    power: dict[str, Metric] = Field(default_factory=dict)
    not_covered: list[str] = Field(default_factory=list)
    remedy: str | None = None
    figures: dict[str, Any] = Field(default_factory=dict)


class HarnessInfo(_Model):
    """Which harness judged: version, git commit if known, and whether the tree had uncommitted changes."""

    version: str
    commit: str | None = None
    dirty: bool | None = None


class RulesetInfo(_Model):
    """Which rules were applied."""

    name: str
    title: str
    sha256: str


class SubmissionInfo(_Model):
    """What was judged. `sha256` covers names and bytes of the folder's files, in order, without prose and logs."""

    name: str
    path: str
    kind: Literal["adapter", "script", "evidence"] = "adapter"
    track: Literal["A", "B"] | None = None
    author: str | None = None
    github_id: str | None = None
    sha256: str
    claims: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class ReferenceBpb(_Model):
    """Yardsticks on the same validation text: a unigram model of the tokens, and xz -9 on the bytes."""

    unigram: Number | None = None
    xz: Number | None = None


class DataInfo(_Model):
    """The text that was scored."""

    name: str
    sha256: str
    vocab_size: int
    tokenizer_sha256: str
    documents: int | None = None
    tokens: int
    bytes: int | None = None
    scored_tokens: int
    train_tokens: int
    facts: dict[str, Any] = Field(default_factory=dict)
    reference_bpb: ReferenceBpb = Field(default_factory=ReferenceBpb)


class SeedScore(_Model):
    """One training seed's score."""

    seed: int
    val_loss: Number
    val_bpb: Number
    artifact_sha256: str
    artifact_bytes: int


class Curve(_Model):
    """A few points of a curve, by x."""

    x: list[int]
    y: list[Number]


class Score(_Model):
    """Validation loss in nats per token and in bits per byte, computed by the referee from committed rows.

    Attributes:
        val_loss: mean NLL over the scored positions, nats per token.
        val_bpb: the same in bits per byte.
        tokens: positions scored.
        bytes: of text that they stand for.
        per_seed: the scores of all seeds so far.
        honest_bpb: the score without the leak, where one could be priced: "estimate", 95 % interval "low" to "high",
            "positions" sampled, and their "gaps" as [position, honest minus claimed NLL in nats].
        nll: mean NLL in nats per token of consecutive stretches of scored positions, by their first position.
    """

    val_loss: Number
    val_bpb: Number
    tokens: int
    bytes: int
    per_seed: list[SeedScore] = Field(default_factory=list)
    honest_bpb: dict[str, Any] | None = None
    nll: Curve | None = None


class ArtifactInfo(_Model):
    """The sealed artifact. `code` and `total` hold bytes by counting convention; the ruleset rules by `convention`.

    `payload` is what the artifact's own header says of its tensors (`harness.payload.describe`), empty without one.
    """

    sha256: str
    bytes: int
    payload: dict[str, Any] = Field(default_factory=dict)
    code: dict[str, int] = Field(default_factory=dict)
    total: dict[str, int] = Field(default_factory=dict)
    convention: str = "wrapped"
    limit: int


class AuditInfo(_Model):
    """How the audit was drawn: what `--audit-seed` and `--depth` do again.

    Attributes:
        seed: the nonce that positions, tokens, draws and the order of the documents follow from.
        chosen: it was named on the command line. Only one that was drawn after the artifact was sealed is a secret that
            the submission cannot have known.
        depth: how much was tried.
    """

    seed: int
    chosen: bool
    depth: Depth


class Record(_Model):
    """One run of one submission."""

    schema_: Literal["harness.record/1"] = Field(default=SCHEMA, alias="schema")
    verdict: Status
    exit_code: int
    digest: str = ""
    harness: HarnessInfo
    ruleset: RulesetInfo
    submission: SubmissionInfo
    scale: str
    seeds: list[int]
    data: DataInfo
    score: Score | None = None
    artifact: ArtifactInfo | None = None
    audit: AuditInfo | None = None
    findings: list[Finding]
    clocks: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    timing: dict[str, Any] = Field(default_factory=dict)

    model_config = ConfigDict(extra="forbid", populate_by_name=True, ser_json_inf_nan="null")

    def computed_digest(self) -> str:
        """sha256 over the canonical JSON of everything that does not depend on the machine or the hour."""
        body = self.model_dump(mode="json", by_alias=True, exclude=set(VOLATILE))
        if body["score"] and body["score"]["nll"] is None:
            del body["score"]["nll"]  # records that are older than this field keep their digest
        if body["audit"] is None:
            del body["audit"]
        else:  # whether a seed was drawn or given again does not change what was judged
            del body["audit"]["chosen"]
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def sealed(self) -> Record:
        """A copy whose `digest` field holds its own digest."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def to_json(self) -> str:
        """The record as it is written: indented, field order kept, newline at the end."""
        body = self.model_dump(mode="json", by_alias=True)
        return json.dumps(body, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read a record file or the folder that holds one.

        Raises:
            UsageError: the file is missing, is not JSON, or does not fit the schema.
        """
        from harness.errors import UsageError

        if path.is_dir():
            path = path / "record.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"no record at {path}; `harness run SUBMISSION --out DIR` writes one") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise UsageError(f"{path} is not a {SCHEMA} record: {where}: {first['msg']}") from None
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None


def verdict_of(findings: list[Finding]) -> Status:
    """The worst status among the findings; INCONCLUSIVE when there is nothing to judge by."""
    present = {finding.status for finding in findings} - {Status.NOT_APPLICABLE}
    if not present:
        return Status.INCONCLUSIVE
    return next(status for status in SEVERITY if status in present)


def exit_code_of(verdict: Status, *, strict: bool = False) -> int:
    """The process exit code for a verdict (DESIGN: 0 pass, 1 violated, 3 incomplete evidence, 4 harness failed)."""
    return {
        Status.FAIL: 1,
        Status.ERROR: 4,
        Status.INCONCLUSIVE: 3,
        Status.NOT_RUN: 3,
        Status.UNRULED: 1 if strict else 0,
        Status.PASS: 0,
        Status.NOT_APPLICABLE: 3,
    }[verdict]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a record, as published in `harness/record.schema.json`."""
    return Record.model_json_schema(by_alias=True, mode="serialization")
