"""A stranger's repository: whatever its configuration asks for, git starts nothing, and fetches nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness import git
from harness.batch import repository as batch_repository
from harness.errors import HarnessError, UsageError
from harness.git import Repository
from tests.batch.batches import git as run_git


class Trap:
    """A repository with a work tree and two commits, and a program that leaves a mark when something starts it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "repository"
        self.mark = folder / "SPRUNG"
        self.program = folder / "evil.sh"
        self.program.write_text(f"#!/bin/sh\ntouch {self.mark}\n")
        self.program.chmod(0o755)
        (self.home / "submissions" / "x").mkdir(parents=True)
        self.file = self.home / "submissions" / "x" / "submission.py"
        self.file.write_text("one\n")
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "one")
        self.file.write_text("two\n" * 100)
        self.git("commit", "-q", "-a", "-m", "two")

    def git(self, *words: str) -> str:
        return run_git(self.home, *words)

    def lose(self, name: str) -> str:
        """Remove an object from the repository."""
        found = self.git("rev-parse", name).strip()
        (self.home / ".git" / "objects" / found[:2] / found[2:]).unlink()
        return found

    def promise(self, url: str) -> None:
        """Say that missing objects are at `url`."""
        for name, value in {
            "remote.origin.url": url,
            "remote.origin.promisor": "true",
            "extensions.partialClone": "origin",
            "protocol.ext.allow": "always",
            "protocol.allow": "always",
        }.items():
            self.git("config", name, value)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


@pytest.mark.parametrize("lost", ["HEAD:submissions/x/submission.py", "HEAD:submissions/x", "HEAD^{tree}", "HEAD~1"])
@pytest.mark.parametrize("kind", ["ext", "vcs", "ssh"])
def test_a_missing_object_is_not_fetched(trap: Trap, kind: str, lost: str, tmp_path: Path) -> None:
    trap.promise("ssh://localhost/x" if kind == "ssh" else f"ext::{trap.program}")
    if kind == "vcs":
        trap.git("config", "remote.origin.vcs", f"ext::{trap.program}")
    trap.git("config", "core.sshCommand", str(trap.program))
    head = trap.git("rev-parse", "HEAD").strip()
    trap.lose(lost)
    with pytest.raises((HarnessError, UsageError)):
        repository = Repository(trap.home)
        repository.commit("HEAD")
        repository.changed(repository.commit("HEAD~1"), head)
        for entry in repository.entries(head, "submissions"):
            list(repository.blobs([entry.object]))
    with pytest.raises(UsageError):
        batch_repository.export(
            trap.home, "HEAD~0" if lost != "HEAD~1" else "HEAD~1", "submissions/x", tmp_path / "out"
        )
    assert not trap.mark.exists()


def test_the_trap_is_one(trap: Trap) -> None:
    trap.promise(f"ext::{trap.program}")
    lost = trap.lose("HEAD:submissions/x/submission.py")
    subprocess.run(["git", "-C", str(trap.home), "cat-file", "-p", lost], check=False, capture_output=True)
    assert trap.mark.exists()


def test_no_hook_monitor_filter_textconv_or_pager_is_started(trap: Trap, tmp_path: Path) -> None:
    evil = str(trap.program)
    for name in ("core.fsmonitor", "core.pager", "pager.diff-tree", "pager.ls-tree", "core.editor", "diff.external",
                 "diff.evil.command", "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge",
                 "filter.evil.process", "core.askPass", "credential.helper", "gpg.program", "core.sshCommand",
                 "core.alternateRefsCommand", "uploadpack.packObjectsHook", "alias.cat-file"):  # fmt: skip
        trap.git("config", name, evil if not name.startswith("alias") else f"!{evil}")
    (tmp_path / "hooks").mkdir()
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc"):
        (tmp_path / "hooks" / hook).symlink_to(trap.program)
    trap.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    (trap.home / ".git" / "info").mkdir(exist_ok=True)
    (trap.home / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    os.utime(trap.file, (1, 1))
    trap.mark.unlink(missing_ok=True)
    repository = Repository(trap.home)
    head, before = repository.commit("HEAD"), repository.commit("HEAD~1")
    assert repository.merge_base(before, head) == before
    assert [moved.path for moved in repository.changed(before, head)] == ["submissions/x/submission.py"]
    (entry,) = repository.entries(head, "submissions")
    assert list(repository.blobs([entry.object])) == [b"two\n" * 100] and entry.size == 400
    exported = batch_repository.export(trap.home, "HEAD", "submissions/x", tmp_path / "out")
    assert (exported.path / "submission.py").read_text() == "two\n" * 100
    assert not trap.mark.exists()


def test_variables_of_git_do_not_reach_it(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GIT_DIR": "/nowhere", "GIT_EXTERNAL_DIFF": str(trap.program), "GIT_SSH_COMMAND": str(trap.program),
        "GIT_ASKPASS": str(trap.program), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(trap.program), "GIT_ALLOW_PROTOCOL": "ext", "GIT_PAGER": str(trap.program),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    repository = Repository(trap.home)
    assert len(repository.changed(repository.commit("HEAD~1"), repository.commit("HEAD"))) == 1
    assert not trap.mark.exists()
    assert git.environment()["GIT_ALLOW_PROTOCOL"] == "none" and "GIT_DIR" not in git.environment()


def test_what_git_is_asked_is_told_where_that_is_asked_for(trap: Trap, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="harness"):
        Repository(trap.home).commit("HEAD")
    assert any(record.name == "harness.git" and "git rev-parse" in record.getMessage() for record in caplog.records)
