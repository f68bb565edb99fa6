"""The registry of witnesses: whoever makes one of a new kind must say how it is shown again, and what is refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from harness.audit.check import REGISTRY as CHECKS
from harness.audit.replays import REGISTRY, Again, Door, outcome, table, typed, unchanged, wanted
from harness.errors import UsageError
from harness.record import Finding, Record, Status, Witness
from harness.referee.source import Probe
from harness.scripts.checks.evidence import Kind as FlipKind
from harness.scripts.replaying import _MORE
from tests.report import records

ROOT = Path(__file__).resolve().parents[2]

#: Where witnesses are made, the way in that they come by, and expressions that may stand for a kind there.
ROOMS: dict[str, Door] = {
    "audit": "adapter", "scripts/checks": "script", "papers": "evidence", "library": "library",
}  # fmt: skip
FLIPS = {"probe.kind", "result.probe.kind", "flip.variant.kind"}


def made_in(tree: ast.AST) -> Iterator[str]:
    """What is given as the kind wherever a module makes a witness: a constant, or the text of an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == "Witness":
            given = next((word.value for word in node.keywords if word.arg == "kind"), None)
            yield given.value if isinstance(given, ast.Constant) else ast.unparse(given) if given else "no kind"


def witnesses() -> Iterator[tuple[str, str]]:
    """(path below harness, kind) of every witness that the code makes."""
    for path in sorted((ROOT / "harness").rglob("*.py")):
        for kind in made_in(ast.parse(path.read_text())):
            yield path.relative_to(ROOT / "harness").as_posix(), kind


def problems(made: Iterator[tuple[str, str]]) -> list[str]:
    """Witnesses that no replay is known of."""
    found = []
    for path, kind in made:
        door = next((door for room, door in ROOMS.items() if path.startswith(room)), None)
        kinds = {"suffix", "swap"} if kind in FLIPS else {kind}
        found += [f"{path}: {one}" for one in kinds if door is None or door not in REGISTRY.get(one, _NONE).again]
    return found


_NONE = type(next(iter(REGISTRY.values())))("", {}, ())


def test_every_witness_that_is_made_can_be_replayed() -> None:
    made = list(witnesses())
    assert len(made) > 25 and {kind for _, kind in made} >= {"null", "evidence", "probe.kind", "rule"}
    assert problems(iter(made)) == []
    assert set(get_args(Probe.__annotations__["kind"]) or ("suffix", "swap")) <= set(REGISTRY)
    assert set(get_args(FlipKind)) - {"same"} <= set(REGISTRY)


def test_a_new_kind_without_a_replay_is_noticed() -> None:
    made = list(
        made_in(ast.parse("x = record.Witness(kind='smell', summary='s')\ny = Witness('s')\nz = Witness(kind=k)"))
    )
    assert made == ["smell", "no kind", "k"]
    assert problems(iter([("audit/x.py", "smell"), ("gate/x.py", "null"), ("scripts/checks/x.py", "draws")])) == [
        "audit/x.py: smell", "gate/x.py: null", "scripts/checks/x.py: draws",
    ]  # fmt: skip


def test_the_registry_is_used_and_nothing_in_it_is_made_up() -> None:
    made = {kind for _, kind in witnesses()}
    assert {kind for kind in REGISTRY if kind not in made} == {"suffix", "swap"} - made
    assert {check for kind in REGISTRY.values() for check in kind.made_by} <= set(CHECKS)
    played = {kind.again["script"] for kind in REGISTRY.values() if "script" in kind.again}
    assert played == set(_MORE) | {Again.RULED, Again.PAPERS}


def test_the_documentation_has_the_table() -> None:
    assert table() in (ROOT / "docs" / "replay.md").read_text()


def test_records_of_the_shipped_submissions_can_all_be_replayed() -> None:
    seen = 0
    for path in sorted((ROOT / "reports" / "records").glob("*.json")):
        record = Record.load(path)
        for finding in record.findings:
            if finding.witness is not None:
                wanted(record, finding.id)
                seen += 1
    assert seen


def finding(kind: str = "row", status: Status = Status.FAIL, summary: str = "s", **data: object) -> Finding:
    witness = Witness(kind=kind, summary=summary, data=data)
    return Finding(id="normalization", rule="C2", title="t", status=status, headline="h", witness=witness)


def test_what_is_the_same_to_the_last_digit_is_reproduced_and_nothing_else() -> None:
    recorded = finding(position=1, sum=1.5, pairs=[[1, 2]])
    assert outcome(recorded, finding(position=1, sum=1.5, pairs=[(1, 2)], summary="another sentence")).reproduced
    other = outcome(recorded, finding(position=1, sum=1.25))
    assert not other.reproduced and other.why.startswith("the same offence, with other numbers")
    for now in (None, finding("kraft", position=1, sum=1.5), finding(status=Status.UNRULED, position=1, sum=1.5)):
        gone = outcome(recorded, now)
        assert not gone.reproduced and gone.why.startswith("not seen again")
    assert not outcome(recorded, recorded.model_copy(update={"witness": None})).reproduced


def test_where_there_are_no_numbers_the_sentence_has_to_be_the_same() -> None:
    assert outcome(finding("rule", summary="3 gaps"), finding("rule", summary="3 gaps")).reproduced
    assert not outcome(finding("rule", summary="3 gaps"), finding("rule", summary="4 gaps")).reproduced


def test_a_clock_is_never_the_same_twice_and_being_over_again_is_enough() -> None:
    assert outcome(finding("clock", seconds=601.0), finding("clock", seconds=603.0)).reproduced
    assert not outcome(finding("clock", seconds=601.0), finding("clock", Status.PASS, seconds=599.0)).reproduced


def test_what_cannot_be_replayed_is_refused_in_a_line() -> None:
    bare = Finding(id="determinism", rule="noise", title="t", status=Status.PASS, headline="h")
    record = records.record([finding(position=1), bare, finding("smell").model_copy(update={"id": "claims"})])
    assert wanted(record, "normalization")[2] is Again.RUN
    for name, said in (
        ("determinism", "determinism is PASS and has no witness; there is nothing to replay"),
        ("nonsense", "no finding 'nonsense'; those with a witness: normalization, claims"),
        ("claims", "a witness of the kind 'smell', which this harness cannot replay for a submission of the kind"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            wanted(record, name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="x has changed since: sha256 aa in the record, bb now; do this"):
        unchanged("x", "aa", "bb", "do this")
    unchanged("x", "aa", "aa", "do this")


def test_a_witness_has_what_its_kind_always_has() -> None:
    assert typed(Witness(kind="row", summary="s", data={"position": 3})).data["position"] == 3
    for kind, data in (("row", {}), ("row", {"position": "3"}), ("smell", {"position": 3})):
        with pytest.raises(ValueError, match="a witness of the"):
            typed(Witness(kind=kind, summary="s", data=data))
