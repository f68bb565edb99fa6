"""The result of a run: plain data, one JSON file, the product that every view is rendered from.

Field order is part of the format. NaN and infinity never enter it: a number that does not exist is null and
the finding's status says why. Clocks and host facts live in `environment`, `clocks` and `timing`, outside the
part that the record's own digest covers, so the same inputs give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from harness import rules
from harness.errors import UsageError
from harness.rules import Ruleset, rulings
from harness.verdict import SEVERITY as SEVERITY
from harness.verdict import Answer, Answers, Question, decide, from_papers, in_papers, question_of
from harness.verdict import Status as Status
from harness.verdict import exit_code_of as exit_code_of
from harness.verdict import verdict_of as verdict_of

SCHEMA: Literal["harness.record/2"] = "harness.record/2"
#: Records from before the verdict answered three questions; they load everywhere, keep their verdict, and their digests
#: hold.
FIRST: Literal["harness.record/1"] = "harness.record/1"

#: Fields that describe the machine or the hour rather than the submission; the digest leaves them out.
VOLATILE = ("digest", "environment", "clocks", "timing")

#: In `environment`: paths of the record and its submission, from the folder in which the command was run.
PLACES = "places"
#: In `environment`: what one box was allowed, for a replay: "seconds" and "memory_bytes".
ALLOWED = "limits"

#: How much an audit tries; `options.PLANS` has the numbers.
Depth = Literal["quick", "standard", "deep"]

#: What a null stream is drawn from, see `harness.adapters.nulls`.
NullSource = Literal["model", "bigram", "permutation"]

#: What a submission computes on, in the box.
Device = Literal["cpu", "cuda"]

Number = Annotated[float, Field(allow_inf_nan=False)]
Scalar = None | bool | int | Number | str
Value = Scalar | list[Scalar] | list[list[Scalar]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


class Metric(_Model):
    """A number of a finding.

    Attributes:
        id: stable; `harness/audit/measures.toml` has them all. Views and programs read a number by it.
        value: the number, a text, or a list of them.
        unit: "bytes", "nats", "nats/token", "bits/byte", "s", ...; "1" for counts and shares, "" for what has none.
        label: its name for people.
    """

    id: str
    value: Value
    unit: str
    label: str


class _Measured(_Model):
    """What has numbers. Where they came as a mapping, as they once did, they are written as one: digests hold."""

    _mapped: set[str] = PrivateAttr(default_factory=set)

    @model_validator(mode="wrap")
    @classmethod
    def _lists(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        mapped = set()
        if isinstance(data, dict):
            mapped = {name for name in ("metrics", "power") if isinstance(data.get(name), dict)}
            data = {**data, **{name: _of_mapping(data[name]) for name in mapped}}
        made = handler(data)
        made._mapped |= mapped
        return made

    def as_they_came(self, body: dict[str, Any]) -> None:
        """Put the numbers of a written form of this back into mappings, where they came as such."""
        for name in self._mapped:
            body[name] = {one["label"]: one["value"] for one in body[name]}


def _of_mapping(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Numbers by label, as records held them before they had ids."""
    return [
        {"id": "_".join(re.findall(r"\w+", str(label).lower())) or "_", "value": value, "unit": "", "label": label}
        for label, value in values.items()
    ]


class Witness(_Model):
    """Evidence that anyone can replay: what was changed, where, and what moved.

    Attributes:
        kind: which replay reproduces it, see `harness.audit.replays` ("suffix", "rerun", "row", "bytes", ...).
        summary: one sentence for people.
        data: everything that the replay needs, and what it must observe again.
    """

    kind: str
    summary: str
    data: dict[str, Any] = Field(default_factory=dict)


class Part(_Measured):
    """What one source shows, where a check looks at more than one.

    Attributes:
        id: the check's id.
        source: "the run" or "the papers".
        question: which of the verdict's questions this part counts for.
        status: what was concluded from it alone.
        headline: its sentence.
        metrics: its numbers.
    """

    id: str
    source: str
    question: Question
    status: Status
    headline: str
    metrics: list[Metric] = Field(default_factory=list)


class Finding(_Measured):
    """The outcome of one check.

    Attributes:
        id: the check's stable id, such as "causality".
        rule: the id of the rule in the ruleset that the check serves ("C1", "size", ...).
        question: which of the verdict's questions it counts for, by default that of its id.
        title: the check's name for people.
        status: what was concluded.
        headline: one sentence with the decisive number in it.
        metrics: its numbers, in the order in which they should be read.
        witness: present on every FAIL.
        power: what the check would have caught: probes made, positions covered, smallest visible effect.
        not_covered: what this check did not look at, said plainly.
        remedy: what the author can do about it, from the ruleset.
        figures: data for figures, by name (for example "leak_matrix").
        parts: what each source shows, where there is more than one; the status is the worst that counts for `question`.
    """

    id: str
    rule: str
    question: Question = Field(default_factory=lambda known: question_of(known["id"]))
    title: str
    status: Status
    headline: str
    metrics: list[Metric] = Field(default_factory=list)
    witness: Witness | None = None
    power: list[Metric] = Field(default_factory=list)
    not_covered: list[str] = Field(default_factory=list)
    remedy: str | None = None
    figures: dict[str, Any] = Field(default_factory=dict)
    parts: list[Part] = Field(default_factory=list)

    def value(self, name: str) -> Any:
        """A number of its metrics or its power by id, None without it."""
        return next((one.value for one in (*self.metrics, *self.power) if one.id == name), None)


class HarnessInfo(_Model):
    """Which harness judged: version, git commit if known, and whether the tree had uncommitted changes."""

    version: str
    commit: str | None = None
    dirty: bool | None = None


class RulingInfo(_Model):
    """A ruling that counted: its id, what it is about, and its sentence with who, when and where."""

    id: str
    outcome: str
    practice: str | None = None
    pull: int | None = None
    cited: str


class RulingsInfo(_Model):
    """Which rulings were at hand, and which of them counted for the submission.

    Attributes:
        sha256: over the texts, one after the other.
        texts: the rulings themselves, as TOML: the shipped file first. The digest leaves them out, as the rules' own.
        submitted: the day of the submission as YYYY-MM-DD; None where nothing says it.
        said: what says it.
        pull: the pull request that it is said to be.
        counting: the rulings that counted.
        waivers: how many of these are waivers.
    """

    sha256: str
    texts: list[str] = Field(default_factory=list)
    submitted: str | None = None
    said: str = ""
    pull: int | None = None
    counting: list[RulingInfo] = Field(default_factory=list)
    waivers: int = 0


class RulesetInfo(_Model):
    """Which rules were applied.

    Attributes:
        sha256: over the texts, one after the other.
        texts: the rules themselves, as TOML: the text of the ruleset, before it that of the one that it extends. Empty
            in records that are older than this field. The digest leaves them out: `sha256` is in it, and names them.
        rulings: beside the ruleset; None in records that are older than this field.
    """

    name: str
    title: str
    sha256: str
    texts: list[str] = Field(default_factory=list)
    rulings: RulingsInfo | None = None

    @classmethod
    def of(cls, ruleset: Ruleset) -> RulesetInfo:
        """What a record says of a ruleset."""
        made = cls(name=ruleset.name, title=ruleset.title, sha256=ruleset.sha256, texts=list(ruleset.texts))
        if not ruleset.ruling_texts:
            return made
        told = ruleset.submitted
        made.rulings = RulingsInfo(
            sha256=ruleset.rulings_sha256,
            texts=list(ruleset.ruling_texts),
            submitted=told.date.isoformat() if told.date else None,
            said=told.said,
            pull=told.pull,
            counting=[
                RulingInfo(id=key, outcome=one.outcome, practice=one.practice, pull=one.pull, cited=one.cited)
                for key, one in ((key, ruleset.ruling[key]) for key in ruleset.counting or ())
            ],
            waivers=len(ruleset.waivers),
        )
        return made

    @property
    def intact(self) -> bool:
        """Whether the texts, where there are any, are those whose digest is stated."""
        known = self.rulings
        same = known is None or not known.texts or rulings.digest(known.texts) == known.sha256
        return same and (not self.texts or rules.digest(self.texts) == self.sha256)

    def load(self) -> Ruleset:
        """The rules that were applied: those that the record holds, or of an older record the shipped ones.

        Raises:
            UsageError: they are neither in the record nor at hand, or are not those whose digest is stated.
        """
        if not self.intact:
            raise UsageError(f"the rules in the record are not those that it names ({self.name}, sha256 {self.sha256})")
        if self.texts:
            return self._judging(self.texts)
        found = rules.load(self.name) if self.name in rules.available() else None
        if found is None or found.sha256 != self.sha256:
            now = f"; {self.name} is {found.sha256} now" if found else ""
            raise UsageError(
                f"the record does not hold its rules ({self.name}, sha256 {self.sha256}){now}; name the rules to judge "
                "by with --ruleset"
            )
        return self._judging(found.texts)

    def _judging(self, texts: Sequence[str]) -> Ruleset:
        """The rules of these texts for the submission that was judged, with the rulings that counted for it then."""
        told = self.rulings or RulingsInfo(sha256="")
        known = told.texts or ([rulings.shipped()] if told.sha256 else [])
        if told.sha256 and rulings.digest(known) != told.sha256:
            raise UsageError(f"the record does not hold its rulings (sha256 {told.sha256}), and others ship now")
        ruleset = rules.parse(texts, self.name, known, recorded=True)
        day = rulings.day_in(told.submitted or "")
        return ruleset.of(rulings.Submitted(date=day, said=told.said, pull=told.pull)).judging()


class SubmissionInfo(_Model):
    """What was judged. `sha256` covers names and bytes of the folder's files, in order, without prose and logs."""

    name: str
    path: str
    kind: Literal["adapter", "script", "evidence", "library"] = "adapter"
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

    `payload` is what the artifact's own header says of its tensors, empty without one. `trained_by` is sha256 over
    what training may have read of the submission's code: all but what only its evaluation uses; None where that is not
    known, as of a file that was `given`.
    """

    sha256: str
    bytes: int
    payload: dict[str, Any] = Field(default_factory=dict)
    code: dict[str, int] = Field(default_factory=dict)
    total: dict[str, int] = Field(default_factory=dict)
    convention: str = "wrapped"
    limit: int
    trained_by: str | None = None
    given: bool = False


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


def _no_answers() -> Answers:
    """What stands in for answers until the findings are read."""
    none = Answer(answer="UNDECIDED", sentence="")
    return Answers(score=none, limits=none, claim=none)


class Record(_Model):
    """One run of one submission.

    Attributes:
        verdict: the answers in one word, see `harness.verdict`; in a first-format record its worst finding.
        answers: to the three questions, see `harness.verdict`; made from the findings where they are not given.
    """

    schema_: Literal["harness.record/1", "harness.record/2"] = Field(default=SCHEMA, alias="schema")
    verdict: Status
    exit_code: int
    digest: str = ""
    answers: Answers = Field(default_factory=_no_answers)
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

    @model_validator(mode="after")
    def _answered(self) -> Record:
        """Make what is missing: a first-format record has no answers, and its findings name no question."""
        if self.schema_ == FIRST:
            for finding in self.findings:
                finding.question = question_of(finding.id)
                if from_papers(finding.id, self.submission.kind):
                    finding.question = in_papers(finding.question, finding.status)
        if "answers" not in self.model_fields_set:
            self.answers = decide(self.findings, self.submission.kind).answers
        return self

    def _body(self, *, exclude: set[str] | None = None) -> dict[str, Any]:
        """As JSON data, in the record's own format."""
        body = self.model_dump(mode="json", by_alias=True, exclude=exclude)
        if not self.ruleset.texts:
            del body["ruleset"]["texts"]
        if self.ruleset.rulings is None:
            del body["ruleset"]["rulings"]
        for finding, written in zip(self.findings, body["findings"], strict=True):
            finding.as_they_came(written)
            for part, shown in zip(finding.parts, written["parts"], strict=True):
                part.as_they_came(shown)
            if self.schema_ == FIRST:
                del written["question"], written["parts"]
        if self.schema_ == FIRST:
            del body["answers"]
        return body

    def computed_digest(self) -> str:
        """sha256 over the canonical JSON of everything that does not depend on the machine or the hour."""
        body = self._body(exclude=set(VOLATILE))
        body["ruleset"].pop("texts", None)
        body["ruleset"].get("rulings", {}).pop("texts", None)
        if body["score"] and body["score"]["nll"] is None:
            del body["score"]["nll"]  # records that are older than this field keep their digest
        if body["artifact"] and body["artifact"]["trained_by"] is None and not body["artifact"]["given"]:
            del body["artifact"]["trained_by"], body["artifact"]["given"]  # likewise
        if body["audit"] is None:
            del body["audit"]
        else:  # whether a seed was drawn or given again does not change what was judged
            del body["audit"]["chosen"]
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def sealed(self) -> Record:
        """A copy whose `digest` field holds its own digest."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def placed(self, file: Path, submission: Path | None = None) -> Record:
        """A copy that knows where it is written and where its submission lies, seen from the folder of this process.

        That is what a replay is told, see `harness.report.view.replay`; the digest does not depend on it.
        """
        here = Path.cwd()
        seen = {name: path for name, path in (("record", file), ("submission", submission)) if path is not None}
        places = {name: os.path.relpath(path, here).encode(errors="replace").decode() for name, path in seen.items()}
        known = self.environment.get(PLACES)
        places = {**(known if isinstance(known, dict) else {}), **places}
        return self.model_copy(update={"environment": {**self.environment, PLACES: places}})

    def to_json(self) -> str:
        """The record as it is written: indented, field order kept, newline at the end."""
        body = self._body()
        return json.dumps(body, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read a record file or the folder that holds one.

        Raises:
            UsageError: the file is missing, is not JSON, or does not fit the schema.
        """
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


def json_schema() -> dict[str, Any]:
    """The JSON schema of a record, as published in `harness/record.schema.json`."""
    return Record.model_json_schema(by_alias=True, mode="serialization")
