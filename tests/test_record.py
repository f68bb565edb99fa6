"""The record: its digest, its schema, what it refuses, and the verdict."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

import harness
from harness import rules
from harness.errors import UsageError
from harness.record import (
    SEVERITY,
    VOLATILE,
    ArtifactInfo,
    AuditInfo,
    DataInfo,
    Finding,
    HarnessInfo,
    Metric,
    Record,
    RulesetInfo,
    Score,
    SeedScore,
    Status,
    SubmissionInfo,
    Witness,
    exit_code_of,
    json_schema,
    verdict_of,
)

SCHEMA_FILE = Path(harness.__file__).parent / "record.schema.json"


def found(status: Status = Status.PASS, **fields: Any) -> Finding:
    return Finding(id="causality", rule="C1", title="Causal", status=status, headline="h", **fields)


def number(name: str, value: Any) -> Metric:
    return Metric(id=name, value=value, unit="1", label=name)


def sample() -> Record:
    score = SeedScore(seed=1, val_loss=2.0, val_bpb=1.2, artifact_sha256="a", artifact_bytes=9)
    witness = Witness(kind="swap", summary="s", data={"position": 7, "affected": [{"position": 7, "before": 0.5}]})
    return Record(
        verdict=Status.FAIL,
        exit_code=1,
        harness=HarnessInfo(version="0", commit=None, dirty=None),
        ruleset=RulesetInfo(name="r", title="R", sha256="c"),
        submission=SubmissionInfo(name="n", path="p", sha256="d", claims={"val_bpb": 1.1}),
        scale="smoke",
        seeds=[1],
        data=DataInfo(
            name="t", sha256="e", vocab_size=320, tokenizer_sha256="f", tokens=10, scored_tokens=9, train_tokens=5
        ),
        score=Score(val_loss=2.0, val_bpb=1.2, tokens=9, bytes=15, per_seed=[score]),
        artifact=ArtifactInfo(
            sha256="a", bytes=9, code={"wrapped": 3}, total={"wrapped": 12}, limit=16_000_000, convention="wrapped"
        ),
        audit=AuditInfo(seed=7, chosen=False, depth="standard"),
        findings=[
            found(
                Status.FAIL,
                metrics=[number("rows", 3), number("nats", 0.5), number("pairs", [[1, 0.5]])],
                witness=witness,
            ),
            found(),
        ],
        clocks={"train": {"loop": 1.0}},
        environment={"cpus": 2},
        timing={"seconds": 3.0},
    ).sealed()


def changed(record: Record, path: list[str | int], value: Any) -> Record:
    body = json.loads(record.to_json())
    place: Any = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return Record.model_validate(body)


@pytest.mark.parametrize("field", VOLATILE)
def test_the_digest_ignores_the_machine_and_the_hour(field: str) -> None:
    record = sample()
    other = changed(record, [field], "x" if field == "digest" else {"cpus": 64, "train": {"loop": 9.0}})
    assert other.computed_digest() == record.digest == record.computed_digest()


CHANGES: list[tuple[list[str | int], Any]] = [
    (["verdict"], "PASS"),
    (["answers", "score", "answer"], "VALID"),
    (["answers", "claim", "sentence"], "s"),
    (["exit_code"], 0),
    (["harness", "version"], "1"),
    (["harness", "dirty"], True),
    (["ruleset", "sha256"], "x"),
    (["submission", "claims", "val_bpb"], 1.2),
    (["submission", "sha256"], "x"),
    (["scale"], "record"),
    (["seeds"], [2]),
    (["data", "scored_tokens"], 8),
    (["score", "val_bpb"], math.nextafter(1.2, 2.0)),
    (["score", "per_seed", 0, "seed"], 2),
    (["score"], None),
    (["artifact", "total", "wrapped"], 13),
    (["audit", "seed"], 8),
    (["audit", "depth"], "deep"),
    (["findings", 0, "metrics", 2, "value", 0, 1], 0.25),
    (["findings", 0, "witness", "data", "affected", 0, "before"], 0.25),
    (["findings", 1, "status"], "NOT_RUN"),
    (["findings", 1, "headline"], "H"),
    (["findings", 1, "question"], "claim"),
]


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=lambda v: ".".join(map(str, v)) if isinstance(v, list) else "")
def test_the_digest_changes_with_everything_else(path: list[str | int], value: Any) -> None:
    record = sample()
    assert changed(record, path, value).computed_digest() != record.digest


def test_an_audit_that_is_done_again_has_the_same_digest() -> None:
    """`--audit-seed` gives the same record but for the word that says that the nonce was named."""
    record = sample()
    assert changed(record, ["audit", "chosen"], True).computed_digest() == record.digest


def test_the_text_of_the_rules_is_named_by_its_digest_and_does_not_change_the_records(tmp_path: Path) -> None:
    """Records from before the text travelled with them keep their digest, and are written as they were."""
    record = sample()
    assert "texts" not in json.loads(record.to_json())["ruleset"]
    ruleset = rules.load("strict")
    named = record.model_copy(update={"ruleset": RulesetInfo.of(ruleset)}).sealed()
    body = json.loads(named.to_json())
    assert body["ruleset"]["texts"] == list(ruleset.texts)
    loaded = Record.model_validate(body)
    assert loaded.ruleset.load() == ruleset.judging() and loaded.ruleset.intact
    bare = loaded.model_copy(update={"ruleset": loaded.ruleset.model_copy(update={"texts": []})})
    assert (
        bare.computed_digest() == named.digest and bare.ruleset.load() == ruleset.judging()
    )  # shipped, with the same sha256
    other = loaded.ruleset.model_copy(update={"texts": ["", *ruleset.texts[:-1], ruleset.texts[-1] + "# more"]})
    assert not other.intact
    with pytest.raises(UsageError, match="are not those that it names"):
        other.load()
    for name, said in (("strict", "strict is "), ("mine", "does not hold its rules")):
        with pytest.raises(UsageError, match=said):
            RulesetInfo(name=name, title="t", sha256="0" * 64).load()


def test_every_field_is_volatile_or_covered_by_the_digest() -> None:
    covered = {str(path[0]) for path, _ in CHANGES}
    assert covered | set(VOLATILE) | {"schema"} == set(json.loads(sample().to_json()))


def test_a_record_survives_being_written_and_read(tmp_path: Path) -> None:
    record = sample()
    (tmp_path / "record.json").write_text(record.to_json())
    for path in (tmp_path, tmp_path / "record.json"):
        loaded = Record.load(path)
        assert loaded == record and loaded.to_json() == record.to_json() and loaded.computed_digest() == record.digest


def test_the_order_of_fields_is_part_of_the_format() -> None:
    text = sample().to_json()
    names = list(json.loads(text))
    assert names[:5] == ["schema", "verdict", "exit_code", "digest", "answers"] and text.endswith("}\n")
    assert names == list(json_schema()["properties"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        found(metrics=[Metric(id="x", value=value, unit="1", label="x")])
    with pytest.raises(ValidationError):
        found(power=[Metric(id="x", value=[[value]], unit="1", label="x")])
    with pytest.raises(ValidationError):
        SeedScore(seed=1, val_loss=value, val_bpb=1.0, artifact_sha256="", artifact_bytes=1)
    hidden = sample().model_copy(update={"findings": [found(witness=Witness(kind="k", summary="", data={"x": value}))]})
    written = json.loads(hidden.to_json(), parse_constant=pytest.fail)  # deep inside free data it is written as null
    assert written["findings"][0]["witness"]["data"] == {"x": None}
    assert len(hidden.computed_digest()) == 64


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        changed(sample(), ["surprise"], 1)
    with pytest.raises(ValidationError):
        found(surprise=1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Invalid JSON"),
        ("{}", "schema|Field required"),
        ('{"schema": "harness.record/3"}', "schema: Input should be 'harness.record/1' or 'harness.record/2'"),
        ("[]", "the file: Input should be an object"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        Record.load(tmp_path)
    assert "record.json is not a harness.record/2 record" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_record_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record at .*record.json; `harness run"):
        Record.load(tmp_path)
    (tmp_path / "record.json").mkdir()
    with pytest.raises(UsageError, match="cannot read .*record.json: Is a directory"):
        Record.load(tmp_path / "record.json" / "..")


def test_the_published_schema_is_the_present_one() -> None:
    regenerate = (
        'regenerate it: python -c "import json; from harness.record import json_schema; '
        'print(json.dumps(json_schema(), indent=2))" > harness/record.schema.json'
    )
    assert SCHEMA_FILE.read_text() == json.dumps(json_schema(), indent=2) + "\n", regenerate


def test_a_record_fits_the_published_schema_and_a_broken_one_does_not() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    body = json.loads(sample().to_json())
    jsonschema.validate(body, schema)
    for path, value in ((["verdict"], "GREAT"), (["findings", 0, "status"], 1), (["surprise"], 1)):
        broken = json.loads(sample().to_json())
        place: Any = broken
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_the_verdict_is_the_worst_finding_on_the_score() -> None:
    """What did not run is INCONCLUSIVE: the verdict says what is known, the finding says why."""
    worst_first = ["FAIL", "ERROR", "INCONCLUSIVE", "NOT_RUN", "UNRULED", "PASS"]
    assert [str(status) for status in SEVERITY] == [*worst_first, "NOT_APPLICABLE"]
    for worse, better in combinations(worst_first, 2):
        for pair in ([worse, better], [better, worse]):
            assert verdict_of([found(Status(name)) for name in pair]) == worse.replace("NOT_RUN", "INCONCLUSIVE")
    for name in worst_first:
        expected = name.replace("NOT_RUN", "INCONCLUSIVE")
        assert verdict_of([found(Status.NOT_APPLICABLE), found(Status(name))]) == expected


def test_nothing_to_judge_by_is_not_a_pass() -> None:
    assert verdict_of([]) == verdict_of([found(Status.NOT_APPLICABLE)]) == Status.INCONCLUSIVE


@pytest.mark.parametrize("strict", [False, True])
def test_exit_codes(strict: bool) -> None:
    table = {"PASS": 0, "FAIL": 1, "UNRULED": int(strict), "INCONCLUSIVE": 3, "NOT_RUN": 3, "ERROR": 4}
    assert {str(s): exit_code_of(s, strict=strict) for s in Status} == {**table, "NOT_APPLICABLE": 3}
