"""A stranger's folder: nothing in it is followed, waited for or read without end, and what was read is what runs."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import files
from harness.batch.items import listed
from harness.batch.judging import _plan
from harness.batch.outcome import Outcome
from harness.batch.tasks import Settings, Task
from harness.cli import cli
from harness.errors import UsageError
from harness.files import MOST_FILE_BYTES, Copy, read, start, walk
from harness.folder import is_adapter, open_folder
from harness.gate.stages import static
from harness.papers.reading import read as read_papers
from harness.scripts.opening import open_script
from tests.test_folder import make


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def bound(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # socket paths are limited to 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


OFFENDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out of the folder": (lambda path: path.symlink_to("/etc/passwd"), "is a symbolic link"),
    "a link within the folder": (lambda path: path.symlink_to("README.md"), "is a symbolic link"),
    "a link that leads nowhere": (lambda path: path.symlink_to("nowhere"), "is a symbolic link"),
    "a linked folder": (lambda path: path.symlink_to("/usr"), "is a symbolic link"),
    "a FIFO": (os.mkfifo, "is a FIFO"),
    "a socket": (bound, "is a socket"),
    "a sparse file of a terabyte": (sparse, "has 1,099,511,627,776 bytes"),
}


@pytest.fixture(params=OFFENDERS)
def offence(request: pytest.FixtureRequest) -> tuple[Callable[[Path], object], str]:
    return OFFENDERS[request.param]


def refused(says: str, path: Path, act: Callable[[Path], object]) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        act(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["x.py", "deep/x.bin", "submission.py", "submission.json", "train_gpt.py", "a.log"])
def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path: Path, offence, name: str) -> None:
    act, says = offence
    folder = make(tmp_path / "mine", README__md="words")
    if not name.startswith("submission"):
        (folder / "train_gpt.py").write_text("from harness import x\n")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    act(folder / name)
    refused(says, folder, open_folder)
    refused(says, folder, open_script)
    refused(says, folder, read_papers)
    refused(says, folder, walk)
    assert CliRunner().invoke(cli, ["lint", str(folder)], standalone_mode=False).exception is not None
    assert isinstance(is_adapter(folder), bool)  # it hangs on nothing


def test_a_script_folder_whose_entry_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "train_gpt.py").symlink_to("/etc/passwd")
    refused("is a symbolic link", tmp_path / "script", open_script)


def test_the_clean_neighbour_is_read(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", README__md="words", helper__py="y = 1\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "link").symlink_to("/etc/passwd")  # hidden: never shown to a box, never read
    linked = tmp_path / "by another name"
    linked.symlink_to(folder)
    assert open_folder(linked).sha256 == open_folder(folder).sha256
    assert static(folder, "adapter").startswith("2 Python files")
    assert [one.name for one in walk(folder)] == ["README.md", "helper.py", "submission.json", "submission.py"]


def test_too_many_files_too_many_bytes_too_deep(tmp_path: Path) -> None:
    folder = make(tmp_path / "many")
    for index in range(30):
        (folder / f"{index}.txt").touch()
    refused("more than 20 files|too many files", folder, lambda path: walk(path, most_files=20))
    assert len(walk(folder, most_files=32)) == 32
    deep = make(tmp_path / "deep")
    below = deep
    for _ in range(60):
        below = below / "d"
        below.mkdir()
    refused("too deep folders", deep, walk)
    large = make(tmp_path / "large")
    for index in range(5):
        with (large / f"{index}.bin").open("wb") as file:
            file.truncate(MOST_FILE_BYTES)
    refused("more than 400,000,000 bytes", large, walk)


def test_a_file_that_becomes_a_link_after_it_was_listed(tmp_path: Path) -> None:
    folder = make(tmp_path / "mine", helper__py="y = 1\n")
    assert read(folder, "helper.py") == b"y = 1\n"
    (folder / "helper.py").unlink()
    (folder / "helper.py").symlink_to("/etc/passwd")
    refused("is a symbolic link", folder, lambda path: read(path, "helper.py"))
    (folder / "sub").symlink_to("/etc")
    refused("cannot be read", folder, lambda path: read(path, "sub/passwd"))
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read(folder, "submission.py", most=3)
    assert start(folder, "submission.py", most=3) == b"x ="


def test_where_no_file_can_be_opened_below_a_folder_nothing_is_followed_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offence: tuple[Callable[[Path], object], str]
) -> None:
    """As on Windows."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    act, says = offence
    folder = make(tmp_path / "mine", helper__py="y = 1\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "data.bin").write_bytes(b"\r\n\x1a\xff")
    assert read(folder, "deep/data.bin") == b"\r\n\x1a\xff" and start(folder, "submission.py", most=3) == b"x ="
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read(folder, "submission.py", most=3)
    (folder / "helper.py").unlink()
    act(folder / "helper.py")
    (folder / "sub").symlink_to("/etc")
    if "bytes" not in says:  # `walk` looks at sizes, `read` at what it gets
        refused(says, folder, lambda path: read(path, "helper.py"))
    refused("lies below what is no plain folder", folder, lambda path: read(path, "sub/passwd"))
    refused("cannot be read", folder, lambda path: read(path, "gone.py"))


def test_a_file_that_changes_while_it_is_opened_and_a_junction_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "mine", helper__py="y = 1\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "x.py").write_text("")
    facts = Path.lstat
    monkeypatch.setattr(os, "supports_dir_fd", set())
    monkeypatch.setattr(Path, "lstat", lambda self: facts(folder / "submission.py" if self.suffix else self))
    refused("has changed while it was opened", folder, lambda path: read(path, "helper.py"))
    monkeypatch.setattr(Path, "lstat", facts)
    monkeypatch.setattr(files, "_is_junction", lambda facts: stat.S_ISDIR(facts.st_mode))
    refused("no plain folder", folder, lambda path: read(path, "deep/x.py"))
    refused("is a junction, which leads elsewhere", folder, walk)


def test_what_is_hashed_is_what_every_box_is_shown(tmp_path: Path) -> None:
    """A file is swapped for one of the same size between the hash and the copy, and between two copies."""
    folder = make(tmp_path / "mine", helper__py="y = 1\n", README__md="words", train__log="l")
    opened = open_folder(folder)
    (folder / "helper.py").write_text("y = 2\n")
    with opened.staged() as first:
        assert (first / "helper.py").read_text() == "y = 1\n"
        assert sorted(path.name for path in first.iterdir()) == ["helper.py", "submission.py"]
    (folder / "submission.py").unlink()
    with opened.staged() as second:
        assert second == first and (second / "submission.py").read_text() == "x = 1\n"
    assert opened.contents["helper.py"] == b"y = 1\n"
    (folder / "submission.py").write_text("x = 1\n")
    assert open_folder(folder).sha256 != opened.sha256


@pytest.mark.parametrize("change", [
    lambda copy: (copy / "helper.py").write_text("y = 2\n"),
    lambda copy: (copy / "new.py").write_text(""),
    lambda copy: (copy / "helper.py").unlink(),
])  # fmt: skip
def test_a_copy_that_was_changed_is_not_shown_again(tmp_path: Path, change) -> None:
    opened = open_folder(make(tmp_path / "mine", helper__py="y = 1\n"))
    with opened.staged() as copy:
        change(copy)
    with pytest.raises(UsageError, match="has changed while it was being judged"), opened.staged():
        pass


def test_a_copy_goes_with_its_owner_and_does_not_show_that_it_was_read(tmp_path: Path) -> None:
    copy = Copy("mine", {"deep/data.bin": b"1", "a.py": b"2"})
    folder = copy.folder()
    before = [(path, path.stat().st_atime_ns) for path in sorted(folder.rglob("*"))]
    assert copy.folder() == folder and (folder / "deep" / "data.bin").read_bytes() == b"1"
    assert before == [(path, path.stat().st_atime_ns) for path in sorted(folder.rglob("*"))]
    del copy
    assert not folder.exists()


def test_scripts_run_from_the_bytes_that_were_hashed(tmp_path: Path) -> None:
    folder = tmp_path / "script"
    (folder / "lib").mkdir(parents=True)
    (folder / "train_gpt.py").write_text("import lib.helper\n")
    (folder / "lib" / "helper.py").write_text("y = 1\n")
    script = open_script(folder)
    (folder / "lib" / "helper.py").write_text("y = 2\n")
    assert (script.kept() / "lib" / "helper.py").read_text() == "y = 1\n" and script.kept() == script.kept()
    assert script.text("lib/helper.py") == "y = 1\n" and open_script(folder).sha256 != script.sha256


def test_a_batch_lists_no_links_and_calls_broken_folders_unusable(tmp_path: Path) -> None:
    good, bad = make(tmp_path / "all" / "good"), make(tmp_path / "all" / "bad")
    (bad / "data.bin").symlink_to("/etc/passwd")
    (tmp_path / "all" / "linked").symlink_to(make(tmp_path / "elsewhere"))
    items = listed([str(tmp_path / "all")], tmp_path / "sources")
    assert (
        [Path(item.label).name for item in items]
        == ["bad", "good"]
        == [Path(item.label).name for item in listed([f"{tmp_path}/all/*"], tmp_path / "sources")]
    )
    how = Settings(lint=())
    plans = [_plan(item, how, tmp_path / "records", None) for item in items]
    assert isinstance(plans[0], Outcome) and plans[0].outcome == "UNUSABLE" and "symbolic link" in plans[0].headline
    assert isinstance(plans[1], Task) and plans[1].path == good
