"""One reader of submission.json: each kind of broken file, by itself and through every door that reads it."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.errors import UsageError
from harness.files import MOST_FILE_BYTES
from harness.folder import open_folder
from harness.papers.linting import lint
from harness.papers.metadata import claimed_bpb, read_claims
from harness.papers.reading import read as read_papers
from harness.record import Record, Status
from harness.scripts.opening import open_script
from harness.source import submission_json
from harness.source.submission_json import MOST_BYTES, MOST_DEPTH, Unreadable, author, find, github_id, title
from tests.batch.batches import CODE
from tests.batch.test_batch_judging import lint as batch

GOOD = '{"name": "Mine", "author": "A", "github_id": "a", "val_bpb": 1.25}'


def with_field(field: str) -> bytes:
    return f"{GOOD[:-1]}, {field}}}".encode()


def nested(levels: int) -> bytes:
    return with_field('"other": ' + "[" * levels + "]" * levels)


#: What nothing can be read of, and what every door says of it behind the file's name.
UNREADABLE = {
    "empty": (b"", "is not JSON: Expecting value"),
    "cut off": (GOOD[:-1].encode(), "is not JSON: Expecting ',' delimiter"),
    "two of them": (2 * GOOD.encode(), "is not JSON: Extra data"),
    "a list": (b"[1]", "must hold an object with name, author and github_id"),
    "a text": (b'"Mine"', "must hold an object with name, author and github_id"),
    "a word": (b"NaN", "must hold an object with name, author and github_id"),
    "too deep": (nested(MOST_DEPTH + 1), "nests objects or lists too deep for metadata"),
    "deeper than a parser goes": (b"[" * 100_000, "is not JSON: maximum recursion depth"),
    "too large": (with_field(f'"blurb": "{"x" * MOST_BYTES}"'), "bytes; that is no metadata file"),
    "no text": (b"\x93\x94 \x00", "is not JSON: it is no "),
}
#: What can be read, though a strict reader would refuse it: the bytes, what is said of it, and what is read.
ODD = {
    "a number that is none": (with_field('"other": NaN'), "NaN is not a number that JSON knows", {"other": "NaN"}),
    "infinity": (with_field('"other": -Infinity'), "-Infinity is not a number", {"other": "-Infinity"}),
    "a fraction out of range": (with_field('"other": 1e999'), "Out of range is '1e999'", {"other": "1e999"}),
    "an integer out of range": (
        with_field('"other": ' + "9" * 5_000), "Out of range is an integer of 5,000 digits", {"other": "9" * 5_000},
    ),
    "half a character": (with_field('"other": ["\\ud83d"]'), "lone surrogates", {"other": ["\ufffd"]}),
    "half a character in a name": (with_field('"\\udc00": 1'), "lone surrogates", {"\ufffd": 1}),
    "a field twice": (with_field('"val_bpb": 1.5'), "says 'val_bpb' twice, 1.25 and 1.5", {"val_bpb": 1.5}),
    "a field twice, further down": (
        with_field('"seeds": [{"7": 1, "7": {}}]'), "says '7' twice, 1 and an object", {"seeds": [{"7": {}}]},
    ),
    "another encoding": (with_field('"other": "caf\u00e9"').replace(b"\xc3\xa9", b"\xe9"), "no UTF-8 text at byte 80",
                         {"other": "caf\ufffd"}),
}  # fmt: skip
#: Clean neighbours: none of these is odd.
CLEAN = {
    "plain": GOOD.encode(),
    "with a mark in front": codecs.BOM_UTF8 + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "Windows": GOOD.replace(", ", ",\r\n").encode() + b"\r\n",
    "letters": with_field('"blurb": "\u00e9 \\u00e9 \\ud83d\\ude00"'),
    "deep": nested(MOST_DEPTH - 1),
    "large numbers": with_field('"other": [1e308, ' + "9" * 300 + "]"),
    "a field twice with one value": with_field('"val_bpb": 1.25'),
}

KINDS = pytest.mark.parametrize("kind", [*UNREADABLE, *ODD])


def content_of(kind: str) -> tuple[bytes, str]:
    return UNREADABLE[kind] if kind in UNREADABLE else ODD[kind][:2]


def contest(home: Path, content: bytes) -> Path:
    home.mkdir(parents=True)
    (home / "train_gpt.py").write_text(CODE)
    (home / "submission.json").write_bytes(content)
    return home


def adapter(home: Path, content: bytes) -> Path:
    home.mkdir(parents=True)
    (home / "submission.py").write_text("from harness.kit import Submission\n")
    (home / "submission.json").write_bytes(content)
    return home


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_files_are_read_through_every_door(tmp_path: Path, kind: str) -> None:
    said = submission_json.read(CLEAN[kind])
    assert said.odd == () and said.data["val_bpb"] == 1.25
    assert open_folder(adapter(tmp_path / "adapter", CLEAN[kind])).claims["val_bpb"] == 1.25
    folder = contest(tmp_path / "contest", CLEAN[kind])
    script, claims = open_script(folder), read_claims(read_papers(folder))
    assert script.claims == said.data and script.notes == () and script.claimed_bpb == 1.25
    assert claims.problem is None and claims.val_bpb is not None and claims.val_bpb.value == 1.25
    assert (script.title, script.author, script.github_id) == (claims.name, claims.author, claims.github_id)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_one_line(kind: str) -> None:
    content, says = UNREADABLE[kind]
    with pytest.raises(Unreadable, match=says) as caught:
        submission_json.read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_is_read_and_named(kind: str) -> None:
    content, says, read = ODD[kind]
    said = submission_json.read(content)
    assert len(said.odd) == 1 and says in said.odd[0] and said.odd[0].isprintable()
    assert said.data == {**json.loads(GOOD), **read}
    json.dumps(said.data, allow_nan=False, ensure_ascii=False).encode()


@KINDS
def test_an_adapter_is_refused(tmp_path: Path, kind: str) -> None:
    content, says = content_of(kind)
    with pytest.raises(UsageError) as caught:
        open_folder(adapter(tmp_path / "mine", content))
    assert str(caught.value).startswith(f"{tmp_path / 'mine' / 'submission.json'} ") and says in str(caught.value)


@KINDS
def test_a_script_has_a_note_and_what_can_be_read(tmp_path: Path, kind: str) -> None:
    content, says = content_of(kind)
    script = open_script(contest(tmp_path / "mine", content))
    (note,) = script.notes
    assert note.startswith("submission.json ") and says in note and script.metadata_file == "submission.json"
    assert script.claims == (submission_json.read(content).data if kind in ODD else {})
    assert "submission.json" not in script.side


@KINDS
def test_papers_ask(tmp_path: Path, kind: str) -> None:
    content, says = content_of(kind)
    linted = lint(contest(tmp_path / "mine", content), rules.load())
    assert linted.claims.problem is not None and says in linted.claims.problem
    assert (linted.claims.val_bpb is None) == (kind in UNREADABLE)
    (found,) = [found for found in linted.findings if found.id == "claims"]
    assert found.status == Status.INCONCLUSIVE and says in found.headline
    assert Status.ERROR not in {found.status for found in linted.findings}


def test_a_batch_says_the_same(tmp_path: Path) -> None:
    """Of folders that are linted; an adapter's one line is the last that its own process says."""
    odd, broken = ODD["a field twice"], UNREADABLE["too deep"]
    folders = [contest(tmp_path / "odd", odd[0]), contest(tmp_path / "broken", broken[0])]
    outcomes, _ = batch(list(folders), tmp_path / "out")
    for outcome, says in zip(outcomes, (odd[1], broken[1]), strict=True):
        assert outcome.kind == "evidence" and outcome.claim == "INCOMPLETE" and outcome.home is not None
        record = Record.load(tmp_path / "out" / outcome.home)
        assert says in next(found.headline for found in record.findings if found.id == "claims")


def test_a_size_is_looked_at_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (adapter(tmp_path / "adapter", b""), contest(tmp_path / "contest", b"")):
        with (folder / "submission.json").open("wb") as file:
            file.truncate(MOST_FILE_BYTES)  # zeros that take no room
    monkeypatch.setattr("harness.folder.read", None)
    monkeypatch.setattr("harness.papers.reading.start", None)
    with pytest.raises(UsageError, match="has 100,000,000 bytes; that is no metadata file"):
        open_folder(tmp_path / "adapter")
    assert "100,000,000 bytes" in str(read_claims(read_papers(tmp_path / "contest")).problem)
    assert open_script(tmp_path / "contest").notes == (
        "submission.json has 100,000,000 bytes; that is no metadata file",
    )


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ('"val_bpb": "good"', 'val_bpb: .*got "good"'),
        ('"val_bpb": [1]', r"val_bpb: .*got \[1\]"),
        ('"name": {}', r"name: .*got \{\}"),
        ('"reads_validation": 1', "reads_validation: .*got 1"),
    ],
)
def test_wrong_types_are_refused_of_an_adapter_and_left_alone_elsewhere(tmp_path: Path, field: str, says: str) -> None:
    content = b"{" + GOOD.encode()[1:-1].replace(field.split(":")[0].encode(), b'"other"') + f", {field}}}".encode()
    with pytest.raises(UsageError, match=says):
        open_folder(adapter(tmp_path / "adapter", content))
    folder = contest(tmp_path / "contest", content)
    assert open_script(folder).notes == () and read_claims(read_papers(folder)).problem is None
    assert Status.ERROR not in {found.status for found in lint(folder, rules.load()).findings}


def test_the_file_nearest_to_the_top_is_taken(tmp_path: Path) -> None:
    names = ["runs/submission.json", "submission_v2.json", "Submission.json", "submissions.json", "my_submission.json"]
    assert find(names) == ["Submission.json", "submission_v2.json", "submissions.json", "runs/submission.json"]
    assert find([*names, "submission.json"])[0] == "submission.json" and find(["train_gpt.py"]) == []
    folder = contest(tmp_path / "mine", b"{}")
    (folder / "submission.json").rename(folder / "Submission-final.json")
    assert open_script(folder).metadata_file == read_claims(read_papers(folder)).file == "Submission-final.json"


def test_people_and_scores_are_the_same_for_scripts_and_papers(tmp_path: Path) -> None:
    data = {"authors": [{"name": "B", "login": "b"}], "submission_name": "Mine", "val_bpb": {"mean": 1.2, "std": 0.1}}
    assert (author(data), github_id(data), title(data), claimed_bpb(data)) == ("B", "b", "Mine", 1.2)
    claims = read_claims(read_papers(contest(tmp_path / "mine", json.dumps(data, indent=1).encode())))
    assert (claims.author, claims.github_id) == ("B", "b")
    assert claims.val_bpb is not None and claims.val_bpb.text == '"mean": 1.2,'
    assert claimed_bpb({"results": {"val_bpb": "1.1"}}) == 1.1 and claimed_bpb({"val_bpb": 1e9}) is None
    assert claimed_bpb({"val_bpb": True, "score": 3}) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet='{}[]",:0159eE+-.\\udNaInfity \u00e9', max_size=300).map(str.encode))
def test_whatever_it_is_something_is_said_or_it_fits_a_record(content: bytes) -> None:
    try:
        said = submission_json.read(content)
    except Unreadable as problem:
        assert str(problem).isprintable()
    else:
        json.dumps(said.data, allow_nan=False, ensure_ascii=False).encode()
