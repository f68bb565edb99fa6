"""The workflows as data: who may write, what is checked out, and where text of a pull request could become code."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.paths import is_judge, submission_of

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
FILES = [*sorted(WORKFLOWS.glob("*.yml")), ROOT / "action.yml"]


def load(path: Path) -> dict[Any, Any]:
    body = yaml.safe_load(path.read_text())
    assert isinstance(body, dict)
    return body


def steps(body: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    if "runs" in body:
        yield from body["runs"]["steps"]
    for job in body.get("jobs", {}).values():
        yield from job["steps"]


def triggers(body: dict[Any, Any]) -> set[str]:
    on = body.get("on", body.get(True))  # YAML 1.1 reads a bare `on` as true
    return {on} if isinstance(on, str) else set(on)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_expression_is_pasted_into_a_command(path: Path) -> None:
    found = list(steps(load(path)))
    assert found
    for step in found:
        assert "${{" not in step.get("run", ""), step
        assert "github-script" not in step.get("uses", ""), "its script would be one more place for expressions"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    for step in steps(load(path)):
        if used := step.get("uses"):
            assert used == "./" or re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", used), used


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_no_workflow_mixes_a_token_that_writes_with_code_of_a_pull_request(path: Path) -> None:
    body = load(path)
    assert "pull_request_target" not in triggers(body) and "pull_request_target" not in path.read_text()
    granted = [body["permissions"], *(job["permissions"] for job in body["jobs"].values() if "permissions" in job)]
    writes = any(level == "write" for one in granted for level in one.values())
    uses = [step.get("uses", "") for step in steps(body)]
    if "pull_request" in triggers(body):
        assert granted == [{"contents": "read"}]
        for step in steps(body):
            assert "secrets." not in str(step) and "github.token" not in str(step)
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    if writes:
        assert triggers(body) == {"workflow_run"} and not any(uses), "no checkout, no artifact action, no action at all"


def test_the_gate_takes_the_harness_from_the_base() -> None:
    jobs = load(WORKFLOWS / "gate.yml")["jobs"]
    revisions = {
        "base": "${{ github.event.pull_request.base.sha }}",
        "head": "${{ github.event.pull_request.head.sha }}",
    }
    more = {
        "papers": {"part": "papers"},
        "audit": {
            "part": "audit", "shard": "${{ matrix.shard.name }}", "folders": "${{ toJSON(matrix.shard.folders) }}",
        },
        "gate": {"part": "result"},
    }
    assert list(jobs) == list(more), "the check to require is called gate, as it always was"
    for name, job in jobs.items():
        checkout, *_, last = job["steps"]
        assert checkout["with"]["ref"] == revisions["base"] and checkout["with"]["fetch-depth"] == 0
        assert last["uses"] == "./" and last["with"] == {**revisions, **more[name]}
        assert not any(
            re.search(r"\b(checkout|switch|worktree|reset|merge|pull)\b", step.get("run", "")) for step in job["steps"]
        )


def test_a_required_check_is_never_skipped_and_each_job_has_an_end() -> None:
    """A skipped job counts as passed where it is required: the last one runs whatever became of the others."""
    jobs = load(WORKFLOWS / "gate.yml")["jobs"]
    assert jobs["gate"]["if"] == "${{ always() }}" and jobs["gate"]["needs"] == ["papers", "audit"]
    assert jobs["audit"]["needs"] == "papers" and jobs["audit"]["strategy"]["fail-fast"] is False
    assert jobs["papers"]["outputs"] == {"shards": "${{ steps.papers.outputs.shards }}"}
    assert all(0 < job["timeout-minutes"] <= 180 for job in jobs.values()) and jobs["papers"]["timeout-minutes"] <= 15


def test_the_commenting_workflow_reads_just_the_files_that_it_imports() -> None:
    body = load(WORKFLOWS / "gate-comment.yml")
    assert body["permissions"] == {}
    (job,) = body["jobs"].values()
    assert job["permissions"] == {"actions": "read", "contents": "read", "pull-requests": "write"}
    assert job["if"] == "${{ github.event.workflow_run.event == 'pull_request' }}"
    fetched = set(re.findall(r"harness/[\w/.]+", job["steps"][0]["run"]))
    needed, todo = {"harness/gate/gate.schema.json"}, ["harness.gate.comment"]
    while todo:
        parts = todo.pop().split(".")
        needed |= {"/".join(parts[:depth]) + "/__init__.py" for depth in range(1, len(parts))}
        path = "/".join(parts) + ".py"
        needed.add(path)
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("harness."):
                todo += [node.module] if "/".join(node.module.split(".")) + ".py" not in needed else []
    assert fetched == needed


def test_the_action_takes_its_inputs_as_environment_and_offers_what_the_command_has() -> None:
    body = load(ROOT / "action.yml")
    text = (ROOT / "action.yml").read_text()
    for name in body["inputs"]:
        assert text.count("${{ inputs." + name + " }}") == 1, name
    run = next(step for step in body["runs"]["steps"] if step.get("id") == "gate")["run"]
    from harness.cli.gate import command as gate

    options = {option for parameter in gate.params for option in parameter.opts}
    assert set(re.findall(r" (--[a-z-]+) ", run)) <= options
    assert body["inputs"]["fail-on"]["default"] == "fail" and body["inputs"]["tier"]["default"] == "full"


def test_the_hook_runs_on_files_of_submissions() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "harness precommit" and hook["language"] == "python"
    for path in (
        "submissions/x/submission.py",
        "records/track_10min_16mb/X/train_gpt.py",
        "harness/cli/__init__.py",
        "README.md",
    ):
        assert bool(re.search(hook["files"], path)) == (submission_of(path) is not None)
        assert not (is_judge(path) and re.search(hook["files"], path))


def shell(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does: bash -e."""
    path = f"{cwd / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=cwd, env={"PATH": path, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def stub(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n" + body)
    path.chmod(0o755)


@pytest.mark.parametrize(("code", "conclusion"), [(0, "success"), (0, "neutral"), (1, "failure"), (130, "failure")])
def test_the_judging_step_hands_on_exit_code_conclusion_and_summary(tmp_path: Path, code: int, conclusion: str) -> None:
    step = next(step for step in steps(load(ROOT / "action.yml")) if step.get("id") == "gate")
    said = (
        f'printf "%s\\n" "$@" > args; mkdir -p gate; echo "# done" > gate/summary.md; echo "::error::x"\n'
        f"echo '{json.dumps({'conclusion': conclusion})}' > gate/gate.json; exit {code}\n"
    )
    stub(tmp_path / "harness-venv" / "bin" / "harness", said)
    nasty = "$(touch pwned) `touch pwned`; touch pwned"
    env = {name: nasty if name in ("HEAD", "DATA") else name for name in step["env"]}
    files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    done = shell(step["run"], tmp_path, RUNNER_TEMP=str(tmp_path), **env, **files)
    assert done.returncode == code, done.stderr
    first, middle, last = done.stdout.splitlines()
    token = first.removeprefix("::stop-commands::")
    assert middle == "::error::x" and re.fullmatch("[0-9a-f]{32}", token) and last == f"::{token}::"
    assert (tmp_path / "output").read_text().splitlines() == [
        f"results={tmp_path}/gate",
        f"exit-code={code}",
        f"conclusion={conclusion}",
    ]
    assert (tmp_path / "summary").read_text() == "# done\n" and not (tmp_path / "pwned").exists()
    assert (tmp_path / "args").read_text().splitlines().count(nasty) == 2


def test_the_commenting_step_asks_for_whole_files_and_stops_at_the_first_that_is_not_there(tmp_path: Path) -> None:
    (job,) = load(WORKFLOWS / "gate-comment.yml")["jobs"].values()
    stub(tmp_path / "bin" / "gh", 'echo "$@" >> "$RUNNER_TEMP/asked"; [[ "$*" != *conform* ]] && echo "text of $4"\n')
    done = shell(job["steps"][0]["run"], tmp_path, RUNNER_TEMP=str(tmp_path), CODE="o/r", COMMIT="a" * 40)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert done.returncode != 0 and asked[-1].endswith("repos/o/r/contents/harness/gate/conform.py?ref=" + "a" * 40)
    assert (tmp_path / "code" / "harness" / "gate" / "comment.py").read_text().startswith("text of repos/o/r/contents/")
