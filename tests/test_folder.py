"""A submission's folder as data: identity, metadata, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.folder import is_adapter, open_folder, safe_name
from harness.scripts.opening import is_script

GOOD = {"name": "Mine", "author": "A", "github_id": "a"}


def make(folder: Path, metadata: object = GOOD, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    (folder / "submission.json").write_text(text)
    (folder / "submission.py").write_text("x = 1\n")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def refused(folder: Path, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_good_folder(tmp_path: Path) -> None:
    claims = {**GOOD, "val_bpb": 1.1, "seeds": [1, 2], "track": None}
    folder = open_folder(make(tmp_path / "mine", claims, helper__py="y", README__md="r", train__log="l", data__npy="d"))
    assert folder.name == "mine" and folder.path == (tmp_path / "mine").resolve()
    assert folder.metadata.val_bpb == 1.1
    assert folder.claims == {**GOOD, "val_bpb": 1.1, "seeds": [1, 2]}
    assert folder.code == ["data.npy", "helper.py", "submission.py"]
    assert dict(folder.files)["train.log"] == 1


def test_the_sha256_is_of_content_and_not_of_place(tmp_path: Path) -> None:
    left, right = (open_folder(make(tmp_path / name, helper__py="y")) for name in ("one", "two"))
    assert left.sha256 == right.sha256 and len(left.sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "submission.py").write_text("x = 2\n"),
        lambda f: (f / "submission.json").write_text(json.dumps({**GOOD, "x": 1})),
        lambda f: (f / "helper.py").write_text(""),
        lambda f: (f / "helper.py").rename(f / "helpers.py"),
        lambda f: (f / "helper.py").unlink(),
        lambda f: (f / "empty.txt").touch(),
        lambda f: ((f / "deep").mkdir(), (f / "deep" / "x.py").write_text("")),
        lambda f: ((f / "helper.py").write_text("1"), (f / "submission.py").write_text("x = \n")),
    ],
)
def test_the_sha256_changes_with_any_file(tmp_path: Path, change) -> None:
    folder = make(tmp_path / "mine", helper__py="y")
    before = open_folder(folder).sha256
    change(folder)
    assert open_folder(folder).sha256 != before


def test_bytes_cannot_move_between_files_unseen(tmp_path: Path) -> None:
    left = open_folder(make(tmp_path / "l", a__py="12", b__py="3")).sha256
    right = open_folder(make(tmp_path / "r", a__py="1", b__py="23")).sha256
    assert left != right


def test_pycache_is_not_part_of_a_submission(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine")
    before = open_folder(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "submission.cpython-311.pyc").write_bytes(b"x")
    assert open_folder(folder).sha256 == before.sha256 and open_folder(folder).files == before.files


def test_a_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no submission at .*; `harness list`")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    make(tmp_path)
    refused(tmp_path / "submission.py", "is a file; give the folder")


@pytest.mark.parametrize("needed", ["submission.json", "submission.py"])
def test_a_missing_part(tmp_path: Path, needed: str) -> None:
    (make(tmp_path) / needed).unlink()
    refused(tmp_path, f"has no {needed}; `harness new")
    (tmp_path / needed).mkdir()
    refused(tmp_path, f"has no {needed}")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("", "is not JSON"),
        ('{"name": "x"', "is not JSON"),
        ("[1]", "must hold an object"),
        ('"text"', "must hold an object"),
        ({}, "name: missing"),
        ({**GOOD, "name": ""}, "name: .*at least 1 character"),
        ({**GOOD, "author": 3}, "author: .*got 3"),
        ({"name": "x", "author": "y"}, "github_id: missing; every submission names it"),
        ({**GOOD, "val_bpb": "good"}, 'val_bpb: .*got "good"'),
        ({**GOOD, "val_bpb": -1}, "val_bpb: .*greater than 0"),
        ({**GOOD, "bytes_total": 1.5}, "bytes_total: .*got 1.5"),
        ('{"name": "x", "author": "y", "github_id": "z", "val_bpb": NaN}', "NaN is not a number"),
        ('{"name": "x", "author": "y", "github_id": "z", "other": Infinity}', "Infinity is not a number"),
        ('{"name": "x", "author": "y", "github_id": "z", "other": 1e999}', "is not JSON: Out of range"),
        ('{"name": "x", "author": "y", "github_id": "z", "other": "\\ud800"}', "is not JSON: .*surrogates"),
        ("[" * 100_000, "is not JSON"),
        ({**GOOD, "other": json.loads("[" * 300 + "]" * 300)}, "nests objects or lists too deep"),
        ('{"name": "x", "author": "y", "github_id": "z", "o": ' + "[" * 900 + "]" * 900 + "}", "too deep|is not JSON"),
        ('{"name": "' + "x" * (1 << 20) + '"}', "that is no metadata file"),
    ],
)
def test_bad_metadata(tmp_path: Path, metadata: object, says: str) -> None:
    refused(make(tmp_path, metadata), says)


def test_metadata_that_is_not_utf8(tmp_path: Path) -> None:
    (make(tmp_path) / "submission.json").write_bytes(b'{"name": "\xff\xfe\x00"}')
    refused(tmp_path, "is not JSON")


@pytest.mark.parametrize("name", [b"\xff.py", b"two\nlines.py", b"\x1b[2J.py"])
def test_file_names_that_cannot_be_shown(tmp_path: Path, name: bytes) -> None:
    make(tmp_path)
    open(os.path.join(os.fsencode(tmp_path), name), "w").close()
    refused(tmp_path, "a file with an unreadable name")


@pytest.mark.parametrize(
    ("text", "name"), [("Ünder / weight", "_nder_weight"), ("", "submission"), ("a.b-c_1", "a.b-c_1")]
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name and len(safe_name("x" * 500)) == 80


def test_words_about_a_submission_do_not_change_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", helper__py="y")
    before = open_folder(folder).sha256
    (folder / "README.md").write_text("Now with numbers.\n")
    (folder / "train.log").write_text("step:1\n")
    assert open_folder(folder).sha256 == before


def test_a_contest_folder_with_a_stub_of_that_name_is_a_script(tmp_path: Path) -> None:
    """Some pull requests bring a submission.py that only unpacks and starts their script."""
    (tmp_path / "submission.py").write_text("import lzma\nexec(lzma.decompress(open('code.lzma', 'rb').read()))\n")
    assert is_adapter(tmp_path)  # alone it is at least meant to be one
    (tmp_path / "train_gpt.py").write_text("print(1)\n")
    assert not is_adapter(tmp_path) and is_script(tmp_path)
    (tmp_path / "submission.py").write_text("from harness.kit import Submission\n")
    assert is_adapter(tmp_path) and not is_script(tmp_path)
