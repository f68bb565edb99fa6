"""What a pull request changes, and what of it can be exported: the law is git's own tree, and nobody gets out of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.changes import Change, find
from harness.errors import UsageError
from harness.gate.export import export, refuse
from harness.git import Entry, Repository
from harness.paths import is_judge, submission_of
from tests.gate.repository import Scratch, adapter, below

BASE = {
    "README.md": "hello\n",
    "harness/record.py": "print(1)\n",
    **below("submissions/old", adapter()),
    **below("records/track_10min_16mb/2026-01-01_Old", {"train_gpt.py": "print(2)\n" * 20, "README.md": "old\n" * 20}),
}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "repo.git")


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("submissions/mine/submission.py", "submissions/mine"),
        ("submissions/mine/deep/down.txt", "submissions/mine"),
        ("submissions/README.md", None),
        ("records/track_10min_16mb/2026_X/train_gpt.py", "records/track_10min_16mb/2026_X"),
        ("records/track_non_record_16mb/X/a/b.log", "records/track_non_record_16mb/X"),
        ("records/track_10min_16mb/README.md", None),
        ("records/other/X/train_gpt.py", None),
        ("docs/submissions/x/y", None),
    ],
)
def test_which_folder_a_file_belongs_to(path: str, folder: str | None) -> None:
    assert submission_of(path) == folder


def test_added_changed_renamed_and_removed_are_told_apart(scratch: Scratch) -> None:
    base = scratch.commit(BASE)
    files = dict(BASE)
    record = "records/track_10min_16mb/2026-01-01_Old"
    moved = {name: files.pop(name) for name in list(files) if name.startswith(record)}
    files |= {name.replace("_Old", "_New"): content for name, content in moved.items()}
    files["submissions/old/README.md"] = "now with words"
    files |= below("submissions/fresh", adapter())
    files["README.md"] = "bye\n"
    found = find(Repository(scratch.path), base, scratch.commit(files, base))
    assert found.submissions == (
        Change("records/track_10min_16mb/2026-01-01_New", "renamed", record),
        Change("submissions/fresh", "added"),
        Change("submissions/old", "changed"),
    )
    assert found.removed == () and found.judge == () and found.elsewhere == 1
    without = {name: content for name, content in BASE.items() if not name.startswith("submissions/")}
    gone = find(Repository(scratch.path), base, scratch.commit(without, base))
    assert gone.removed == ("submissions/old",) and gone.submissions == ()


def test_a_file_moved_between_two_submissions_concerns_both(scratch: Scratch) -> None:
    files = {**BASE, **below("submissions/other", {"submission.json": "{}", "big.py": "x = 1\n" * 50})}
    base = scratch.commit(files)
    files["submissions/old/big.py"] = files.pop("submissions/other/big.py")
    found = find(Repository(scratch.path), base, scratch.commit(files, base))
    assert [change.path for change in found.submissions] == ["submissions/old", "submissions/other"]


@pytest.mark.parametrize(
    "path",
    ["harness/audit/causality.py", ".github/workflows/gate.yml", "action.yml", "harness/rules/strict.toml",
     "tests/support.py", "pyproject.toml", ".gitattributes"],
)  # fmt: skip
def test_what_judges_is_told_from_the_rest(path: str) -> None:
    assert is_judge(path) and not is_judge(f"docs/{path}") and not is_judge(f"submissions/x/{path}")


def test_a_path_that_climbs_into_the_harness_is_the_judges(scratch: Scratch) -> None:
    base = scratch.commit(BASE)
    head = scratch.commit({**BASE, "submissions/x/../../harness/record.py": "evil"}, base)
    found = find(Repository(scratch.path), base, head)
    assert found.judge == ("submissions/x/../../harness/record.py",)
    with pytest.raises(UsageError, match="leads elsewhere"):
        export(Repository(scratch.path), head, found.submissions[0].path, scratch.path.parent / "out")


def test_the_export_is_the_bytes_of_the_commit_whatever_its_attributes_say(scratch: Scratch, tmp_path: Path) -> None:
    files = {
        ".gitattributes": "* export-ignore\n",
        "submissions/x/.gitattributes": "hidden.py export-ignore\n*.py export-subst eol=crlf filter=evil\n",
        "submissions/x/hidden.py": "# $Format:%H$\nprint('$Id$')\n",
        "submissions/x/deep/er.bin": b"\0\xff\r\n",
    }
    scratch.git("config", "filter.evil.smudge", "touch evil; cat")
    head = scratch.commit(files)
    made = export(Repository(scratch.path), head, "submissions/x", tmp_path / "out")
    assert (made.path / "hidden.py").read_bytes() == str(files["submissions/x/hidden.py"]).encode()
    assert (made.path / "deep" / "er.bin").read_bytes() == files["submissions/x/deep/er.bin"]
    assert sorted(p.name for p in made.path.rglob("*") if p.is_file()) == [".gitattributes", "er.bin", "hidden.py"]
    assert not list(tmp_path.rglob("evil"))
    again = export(Repository(scratch.path), scratch.commit({**files, "else": ""}), "submissions/x", tmp_path / "two")
    assert again.sha256 == made.sha256
    files["submissions/x/deep/er.bin"] = b"\0\xff\n"
    other = export(Repository(scratch.path), scratch.commit(files), "submissions/x", tmp_path / "three")
    assert other.sha256 != made.sha256


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (b"link", ("120000", "/etc/passwd"), "is a symlink"),
        (b"line\nbreak.py", "x", "control characters"),
        (b"\xff\xfe.py", "x", "not UTF-8"),
        (b"back\\slash.py", "x", "backslashes"),
        (b"bidi\xe2\x80\xae.py", "x", "control characters"),
        (b"a/../../../../etc/cron.d/x", "x", "leads elsewhere"),
        (b".git/config", "x", "leads elsewhere"),
        (b"deep/.GIT/hooks/post-checkout", "x", "leads elsewhere"),
        (b"n" * 220, "x", "too long"),
        (b"device", ("20000", "x"), "plain file|is a|failed"),
    ],
)
def test_tricks_are_refused_by_name_and_write_nothing(
    scratch: Scratch, tmp_path: Path, name: bytes, content: object, why: str
) -> None:
    files = {b"submissions/x/submission.py": "x", b"submissions/x/" + name: content}
    head = scratch.commit_tree(scratch.tree(files))  # type: ignore[arg-type]
    with pytest.raises(Exception, match=why) as caught:
        export(Repository(scratch.path), head, "submissions/x", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(UsageError, match="2,001 files"):
        refuse([Entry("100644", "0" * 40, 1, f"s/x/{i}") for i in range(2001)], "s/x")
    with pytest.raises(UsageError, match="bytes"):
        refuse([Entry("100644", "0" * 40, 90_000_000, f"s/x/{i}") for i in range(5)], "s/x")
    with pytest.raises(UsageError, match="below a file"):
        refuse([Entry("100644", "0" * 40, 1, "s/x/a"), Entry("100644", "0" * 40, 1, "s/x/a/b")], "s/x")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["100644", "100755", "120000", "160000", "040000"]))
def test_whatever_passes_stays_below_its_folder(name: str, mode: str) -> None:
    root = Path("/somewhere")
    try:
        refuse([Entry(mode, "0" * 40, 1, f"s/x/{name}")], "s/x")
    except UsageError:
        return
    path = root / f"s/x/{name}"
    assert mode in ("100644", "100755")
    assert Path(str(path).replace("/./", "/")).resolve().is_relative_to(root / "s" / "x") and name.isprintable()


def test_revisions_that_are_not_there_are_named(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(scratch.path)
    one, two, text = scratch.commit(BASE), scratch.commit({"a": "b"}), scratch.blob("text")
    assert repository.commit(one) == one
    for wrong in ("nowhere", "--help", "-h", "HEAD; ls", "a" * 40, f"{one}:README.md", ""):
        with pytest.raises(UsageError, match="no commit"):
            repository.commit(wrong)
    with pytest.raises(UsageError, match="no common ancestor"):
        repository.merge_base(one, two)
    with pytest.raises(UsageError, match="not a git repository"):
        Repository(tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as in a hook of another repository
    assert repository.commit(two) == two
    blob = next(repository.blobs([text]))
    assert hashlib.sha256(blob).hexdigest() == hashlib.sha256(b"text").hexdigest()
