"""What a list names: files, folders of folders, patterns, and folders of a git repository at a revision."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.batch import repository
from harness.batch.items import Item, listed
from harness.errors import UsageError
from tests.batch.batches import git, write_script
from tests.support import write_submission


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter, two scripts (one under another name), and what is none of these."""
    monkeypatch.chdir(tmp_path)
    write_submission(tmp_path / "all" / "adapter")
    write_script(tmp_path / "all" / "script")
    other = write_script(tmp_path / "all" / "other name")
    (other / "train_gpt.py").rename(other / "train_gpt_v5.py")
    (tmp_path / "all" / "notes").mkdir()
    (tmp_path / "all" / "notes" / "README.md").write_text("nothing here")
    return tmp_path


def labels(items: list[Item]) -> list[str]:
    return [item.label for item in items]


def test_a_list_has_comments_and_names_each_once(here: Path) -> None:
    (here / "list.txt").write_text("# two\n\nall/script\n  all/other name  \nall/script\nmissing/one\n")
    items = listed(["list.txt"], here / "sources")
    assert labels(items) == ["all/script", "all/other name", "missing/one"]
    assert [item.path is None for item in items] == [False, False, True]
    assert "nothing at missing/one" in items[2].problem


@pytest.mark.parametrize("text", ["all", "all/*", "*/*"])
def test_folders_and_patterns_give_submissions_only(here: Path, text: str) -> None:
    assert labels(listed([text], here / "sources")) == ["all/adapter", "all/other name", "all/script"]


def test_what_is_named_stays_even_if_it_is_no_submission(here: Path) -> None:
    (item,) = listed(["all/notes"], here / "sources")
    assert item.path == Path("all/notes")
    (item,) = listed(["no/*/match"], here / "sources")
    assert item.path is None and "no submission matches" in item.problem
    assert labels(listed(["all/script/train_gpt.py"], here / "sources")) == ["all/script/train_gpt.py"]


def test_an_empty_list_is_an_error(here: Path) -> None:
    (here / "empty.txt").write_text("# none yet\n")
    with pytest.raises(UsageError, match="nothing to judge in empty.txt"):
        listed(["empty.txt"], here / "sources")


@pytest.fixture
def contest(here: Path) -> Path:
    """A repository with a submission that would rather not be seen, and one on a branch only."""
    home = here / "contest"
    script = write_script(home / "records" / "first")
    (script / ".gitattributes").write_text("train_gpt.py export-ignore\nsubmission.json export-subst\n")
    (script / "logs" / "deep").mkdir(parents=True)
    (script / "logs" / "deep" / "söme log.txt").write_bytes(b"\x00\xff\n")
    os.symlink("/etc/passwd", script / "link")
    (home / "records" / "empty").mkdir()
    (home / "records" / "empty" / "README.md").write_text("no code")
    git(home, "init", "-q", "-b", "main")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "one")
    git(home, "checkout", "-q", "-b", "pull")
    write_script(home / "records" / "second")
    git(home, "add", "-A")
    git(home, "commit", "-q", "-m", "two")
    git(home, "update-ref", "refs/pull/7/head", "HEAD")
    git(home, "checkout", "-q", "main")
    return home


def test_a_revision_is_written_out_whole_and_without_links(contest: Path, here: Path) -> None:
    (item,) = listed(["contest@main:records/first/"], here / "sources")
    assert item.path is not None and item.path.parts[-2:] == ("records", "first"), "the track is said by its folder"
    files = {found.relative_to(item.path).as_posix() for found in item.path.rglob("*") if found.is_file()}
    assert files == {".gitattributes", "train_gpt.py", "submission.json", "logs/deep/söme log.txt"}
    for name in files:
        assert (item.path / name).read_bytes() == (contest / "records" / "first" / name).read_bytes()
    assert not [part for part in (here / "sources").rglob(".part-*")]


def test_a_revision_s_pattern_gives_submissions_only(contest: Path, here: Path) -> None:
    assert labels(listed(["contest@HEAD:records/*"], here / "sources")) == ["contest@HEAD:records/first"]
    found = labels(listed(["contest@refs/pull/7/head:records/*"], here / "sources"))
    assert found == [f"contest@refs/pull/7/head:records/{name}" for name in ("first", "second")]


def test_equal_content_is_written_once(contest: Path, here: Path) -> None:
    one, two = listed(["contest@main:records/first", "contest@pull:records/first"], here / "sources")
    assert one.path == two.path


def test_a_file_of_a_revision(contest: Path, here: Path) -> None:
    (item,) = listed(["contest@main:records/first/train_gpt.py"], here / "sources")
    assert item.path is not None and item.path.is_file() and item.path.name == "train_gpt.py"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("contest@main:records/nowhere", "has no records/nowhere at main"),
        ("contest@main:records/../../first", "without '..'"),
        ("contest@nobranch:records/first", "no commit 'nobranch' in contest"),
        ("contest@--output=x:records/first", "no commit '--output=x' in contest"),
        ("all@main:script", "is not a git repository"),
    ],
)
def test_what_a_repository_does_not_hold_is_said(contest: Path, here: Path, spec: str, says: str) -> None:
    (item,) = listed([spec], here / "sources")
    assert item.path is None and says in item.problem
    assert not (here / "x").exists()


def test_only_a_folder_s_name_makes_a_revision(here: Path) -> None:
    assert repository.parse("nowhere@main:path") is None
    assert repository.parse("all@main") is None
    assert repository.parse("all@refs/pull/7/head:a/b/") == (Path("all"), "refs/pull/7/head", "a/b")
