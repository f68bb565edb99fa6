"""`harness init`: it writes what the harness's own repository has, pinned, and that works where there is no harness."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import UsageError
from harness.gate import setup
from tests.gate.repository import File, Scratch, below
from tests.papers.papers import folder, three

ROOT = Path(__file__).resolve().parent.parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHERE = ("--harness", "someone/golf-harness", "--commit", COMMIT)


def init(*words: object) -> Result:
    return CliRunner().invoke(cli, ["--config", "none", "init", *map(str, words)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def test_our_own_workflows_are_what_the_templates_say() -> None:
    for name, text in setup.own().items():
        assert (ROOT / name).read_text() == text, name


def test_both_workflows_are_written_and_name_the_harness_by_commit(home: Path) -> None:
    done = init("gate", "--repo", home, *WHERE, "--tier", "quick", "--torch-index", "https://example.org/cpu")
    assert done.exit_code == 0, done.output
    gate, comment = (yaml.safe_load((home / ".github/workflows" / name).read_text()) for name in
                     ("gate.yml", "gate-comment.yml"))  # fmt: skip
    (wanted,) = (yaml.safe_load((ROOT / "action.yml").read_text())["inputs"],)
    more = {"papers": (None, None), "audit": ("quick", "https://example.org/cpu"), "gate": ("quick", None)}
    for name, job in gate["jobs"].items():
        last = job["steps"][-1]
        assert last["uses"] == f"someone/golf-harness@{COMMIT}" and set(last["with"]) <= set(wanted)
        assert (last["with"].get("tier"), last["with"].get("torch-index")) == more.pop(name)
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", f"a/b@{COMMIT}"))
    assert not more
    assert gate["permissions"] == {"contents": "read"} and comment["permissions"] == {}
    (job,) = comment["jobs"].values()
    assert (job["steps"][0]["env"]["CODE"], job["steps"][0]["env"]["COMMIT"]) == ("someone/golf-harness", COMMIT)
    for text in ("check `gate` a required one", "code owner", COMMIT):
        assert text in done.output
    assert (
        init("gate", "--repo", home, *WHERE, "--tier", "quick", "--torch-index", "https://example.org/cpu").exit_code
        == 0
    )


def test_what_is_there_is_not_overwritten_unasked(home: Path) -> None:
    (home / ".github" / "workflows").mkdir(parents=True)
    (home / ".github" / "workflows" / "gate-comment.yml").write_text("theirs\n")
    refused = init("gate", "--repo", home, *WHERE)
    assert isinstance(refused.exception, UsageError) and "--force replaces it" in str(refused.exception)
    assert not (home / ".github" / "workflows" / "gate.yml").exists()
    assert init("gate", "--repo", home, *WHERE, "--force").exit_code == 0
    assert "theirs" not in (home / ".github" / "workflows" / "gate-comment.yml").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--harness", "someone", "--commit", COMMIT), "write it as OWNER/NAME"),
        (("--harness", "a/b", "--commit", "main"), "a tag or branch can be moved"),
        (("--harness", "a/b\n  evil: x", "--commit", COMMIT), "write it as OWNER/NAME"),
        ((*WHERE, "--torch-index", "x y"), "begins with https://"),
    ],
)
def test_what_cannot_be_pinned_is_refused(words: tuple[str, ...], says: str, home: Path) -> None:
    refused = init("gate", "--repo", home, *words)
    assert isinstance(refused.exception, UsageError) and says in str(refused.exception)
    assert not (home / ".github").exists()


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for place in (tmp_path, tmp_path / "below"):
        assert isinstance(init("gate", "--repo", place, *WHERE).exception, UsageError)


def test_the_hook_is_written_or_shown(home: Path) -> None:
    assert init("pre-commit", "--repo", home, *WHERE).exit_code == 0
    (one,) = yaml.safe_load((home / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert one == {
        "repo": "https://github.com/someone/golf-harness", "rev": COMMIT, "hooks": [{"id": hook["id"]}],
    }  # fmt: skip
    (home / ".pre-commit-config.yaml").write_text("repos: []\n")
    refused = str(init("pre-commit", "--repo", home, *WHERE).exception)
    assert "or add to its list" in refused and f"rev: {COMMIT}" in refused


def test_where_the_harness_came_from_is_read_from_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    note = {"url": "https://github.com/someone/golf-harness.git", "vcs_info": {"commit_id": COMMIT, "vcs": "git"}}

    class Installed:
        def read_text(self, name: str) -> str | None:
            return json.dumps(note) if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert setup.source(None, None) == setup.Source("someone/golf-harness", COMMIT)
    note["url"] = "file:///somewhere"
    with pytest.raises(UsageError, match="--harness OWNER/NAME"):
        setup.source(None, None)


def test_the_gate_judges_a_repository_that_does_not_hold_the_harness(tmp_path: Path) -> None:
    """The composite action's judging step, executed as a runner would, on a scratch repository."""
    contest = Scratch(tmp_path / "contest")
    track = "records/track_10min_16mb"
    base = contest.commit({"README.md": "a contest"})
    papers = folder(tmp_path, three(text_bytes=176_332_748), name="lying", script="print('else')\n")
    lying: dict[str, File] = {path.name: path.read_bytes() for path in papers.iterdir()}
    head = contest.commit({"README.md": "a contest", **below(f"{track}/lying", lying)}, base)
    step = next(step for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
                if step.get("id") == "gate")  # fmt: skip
    binary = tmp_path / "harness-venv" / "bin" / "harness"
    binary.parent.mkdir(parents=True)
    binary.write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -P -m harness "$@"\n')
    binary.chmod(0o755)
    said = {"BASE": base, "HEAD": head, "REPO": str(contest.path), "TIER": "quick", "FAIL_ON": "fail",
            "RULESET": "2026-04-28", "DATA": "commons", "PART": "all", "SHARDS": "8", "FOLDERS": ""}  # fmt: skip
    assert set(said) == set(step["env"])
    files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, text=True,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
             "RUNNER_TEMP": str(tmp_path), **said, **files},
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "conclusion=failure" in (tmp_path / "output").read_text()
    summary = (tmp_path / "summary").read_text()
    assert "lying" in summary and "byte-accounting" in summary
    body = json.loads((tmp_path / "gate" / "gate.json").read_text())
    assert body["complete"] and [one["verdict"] for one in body["submissions"]] == ["FAIL"]
