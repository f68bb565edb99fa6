"""The gate's workflow and its composite action, step by step as a runner takes them: three jobs, and one result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

import harness
from harness.files import sha256
from harness.gate import setup
from harness.gate.result import GateResult
from harness.text import plain
from tests.gate.repository import File, Scratch, adapter, below
from tests.gate.runner import Expression, Job, Runner
from tests.papers.papers import folder, three

ROOT = Path(__file__).resolve().parent.parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCHEMA = json.loads((Path(harness.__file__).parent / "gate" / "gate.schema.json").read_text())

#: What `python` does on this runner: a venv is a folder whose pip writes down what it was asked for, and installs a
#: harness. The core has no torch; with [run] submissions are "played" by what stands in their code.
PYTHON = """#!/usr/bin/env bash
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$BIN/pip" "$3/bin/python" && exit 0
fi
exec @PYTHON@ "$@"
"""
PIP = """#!/usr/bin/env bash
echo "$@" >> "$RUNNER_TEMP/pip"
for last; do :; done
case "$last" in
  torch) exit 0 ;;
  *'[run]') kind=run ;;
  *) kind=core ;;
esac
printf '#!/usr/bin/env bash\\nexec @PYTHON@ -P "%s/%s.py" "$@"\\n' "$BIN" "$kind" > "$(dirname "$0")/harness"
chmod +x "$(dirname "$0")/harness"
"""
CORE = """
import sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None
from harness.cli import main
main()
"""
RUN = """
import os, signal, sys
from harness.cli import main
from harness.cli.options import DataOptions
from harness.gate import stages
from harness.report import formats
from tests.report.records import failing, passing

def behaviour(exported, kind, settings, home, stage, store, progress, *, resume):
    text = "".join(path.read_text() for path in sorted(exported.path.rglob("*.py")))
    if "DIES" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "CANCELLED" in text:
        os.kill(os.getpid(), signal.SIGTERM)
    made = failing() if "LEAKS" in text else passing()
    (home / stage).mkdir(parents=True, exist_ok=True)
    formats.save(made, home / stage)
    return stages.Made(made)

stages.behaviour = behaviour
DataOptions.prepare = lambda *_: None
main()
"""
TRACK = "records/track_10min_16mb"
NASTY = "a b $(touch pwned) `touch pwned` \"q\" 'q' ü %0A::error::x"


@dataclass
class Bench:
    """A repository, and runs of the workflow over its pull requests."""

    home: Path
    scratch: Scratch
    base: str

    def gate(self, files: Mapping[str, File], workflow: str | None = None) -> tuple[dict[str, list[Job]], Runner]:
        head = self.scratch.commit({"README.md": "a contest", **files}, self.base)
        self.scratch.git("update-ref", "refs/pull/1/head", head)
        event = {"pull_request": {"base": {"sha": self.base}, "head": {"sha": head}}}
        binaries = self.home / "bin"
        env = {"BIN": str(binaries), "PYTHONPATH": str(ROOT), "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        runner = Runner(
            self.home / f"run-{len(list(self.home.glob('run-*')))}", self.scratch.path, {"event": event},
            {"someone/golf-harness": ROOT}, [binaries], env,
        )  # fmt: skip
        return runner.run(workflow or written()), runner


def written(**options: str) -> str:
    """The workflow that `harness init gate` writes."""
    return setup.gate(setup.Source("someone/golf-harness", COMMIT), **options)[".github/workflows/gate.yml"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "bin").mkdir()
    texts = {"python": PYTHON, "pip": PIP, "core.py": CORE, "run.py": RUN}
    for name, text in texts.items():
        (tmp_path / "bin" / name).write_text(text.replace("@PYTHON@", sys.executable))
        (tmp_path / "bin" / name).chmod(0o755)
    scratch = Scratch(tmp_path / "contest.git")
    base = scratch.commit({"README.md": "a contest"})
    scratch.git("update-ref", "refs/heads/main", base)
    return Bench(tmp_path, scratch, base)


def lying(tmp_path: Path) -> dict[str, File]:
    """Papers that contradict themselves."""
    made = folder(tmp_path, three(text_bytes=176_332_748), name="lying", script="print('else')\n")
    return below(f"{TRACK}/lying", {path.name: path.read_bytes() for path in made.iterdir()})


def final(runner: Runner) -> GateResult:
    body = json.loads((runner.artifacts / "gate-summary" / "gate.json").read_text())
    jsonschema.validate(body, SCHEMA)
    return GateResult.model_validate(body)


def test_papers_come_first_then_shards_and_at_the_end_one_result(bench: Bench, tmp_path: Path) -> None:
    good = adapter("\nclass Mine(Tiny):\n    pass\n")
    files = {
        **lying(tmp_path),
        **below("submissions/broken", adapter("\nclass Mine(Tiny:\n")),
        **below("submissions/leak", adapter("\n# LEAKS\nclass Mine(Tiny):\n    pass\n")),
        **below("submissions/one", good),
        **below(f"submissions/{NASTY}", good),
        **below(f"{TRACK}/one", {"README.md": "# x\n", "train_gpt.py": "print('val_bpb: 1.0')\n"}),
    }
    workflow = written(tier="quick", torch_index="https://example.org/cpu")
    jobs, runner = bench.gate(files, workflow.replace("part: papers", 'part: papers\n          shards: "2"'))
    (papers,), audits, (gate,) = jobs["papers"], jobs["audit"], jobs["gate"]
    assert (papers.result, gate.result) == ("failure", "failure"), gate.steps[-1]
    shards = json.loads(papers.outputs["shards"])
    nasty = f"submissions/{plain(NASTY)}"
    left = sorted(["submissions/leak", "submissions/one", nasty, f"{TRACK}/one"])
    assert [shard["name"] for shard in shards] == ["1-of-2", "2-of-2"] and papers.outputs["shards"].isascii()
    assert sorted(sum((shard["folders"] for shard in shards), [])) == left, "what the papers settle is not audited"
    assert [job.name for job in audits] == ["audit 1-of-2", "audit 2-of-2"]
    assert sorted(job.result for job in audits) == ["failure", "success"]

    result = final(runner)
    verdicts = {one.path: (one.verdict, one.part) for one in result.submissions}
    assert verdicts[f"{TRACK}/lying"] == ("FAIL", "papers") and verdicts["submissions/broken"] == ("BROKEN", "papers")
    assert verdicts["submissions/leak"][0] == "FAIL"
    assert {verdicts[path][0] for path in left if path != "submissions/leak"} == {"PASS"} and len(verdicts) == 6
    assert {verdicts[path][1] for path in left} == {"1-of-2", "2-of-2"}
    assert (result.complete, result.exit_code, result.conclusion) == (True, 1, "failure")
    kept = runner.artifacts / "gate-records"
    records = [stage for one in result.submissions for stage in one.stages if stage.record]
    assert len(records) >= 9 and all(sha256(kept / str(stage.record)) == stage.sha256 for stage in records)
    assert all((kept / str(stage.record)).with_name("report.html").is_file() for stage in records)
    assert {one.folder for one in result.submissions} >= {"one", "one-2"}, "names do not clash across shards"

    names = {path.name for path in runner.artifacts.iterdir()}
    parts = {"gate-part-papers", "gate-part-1-of-2", "gate-part-2-of-2"}
    assert names == {"gate-summary", "gate-records", *parts}
    assert "papers only: nothing was run" in papers.summary.splitlines()[0]
    assert "quick tier: causality was not run" in gate.summary.splitlines()[0] and "❌ FAIL" in gate.summary
    assert not list(bench.home.rglob("pwned"))
    for job in (papers, *audits, gate):
        for step in job.steps:
            assert not re.search(r"^::(?!stop-commands::|[0-9a-f]{32}::$)", step.out, re.M), step.out


def test_each_job_installs_what_it_needs(bench: Bench) -> None:
    good = below("submissions/one", adapter())
    jobs, runner = bench.gate(good, written(tier="quick", torch_index="https://example.org/cpu"))
    assert {job.result for several in jobs.values() for job in several} == {"success"}, jobs
    constraints = f"-m pip install -q -c {ROOT}/constraints.txt"
    asked = {
        name: (runner.home / "jobs" / f"{name}-0" / "temp" / "pip").read_text().splitlines()
        for name in ("papers", "audit", "gate")
    }
    assert asked["papers"] == asked["gate"] == [f"{constraints} {ROOT}"], "no torch, whatever the index"
    assert asked["audit"] == [
        f"{constraints} --index-url https://example.org/cpu torch",
        f"{constraints} {ROOT}[run]",
    ]
    assert final(runner).submissions[0].verdict == "PASS"


def test_nothing_is_run_where_papers_settle_it_or_nothing_has_changed(bench: Bench, tmp_path: Path) -> None:
    jobs, runner = bench.gate(lying(tmp_path))
    assert [jobs[name][0].result for name in ("papers", "audit", "gate")] == ["failure", "skipped", "failure"]
    assert final(runner).exit_code == 1 and "byte-accounting" in jobs["gate"][0].summary
    jobs, runner = bench.gate({"docs/x.md": "x"})
    assert [jobs[name][0].result for name in ("papers", "audit", "gate")] == ["success", "skipped", "success"]
    assert final(runner).conclusion == "success" and "no submission to judge" in jobs["gate"][0].summary


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("DIES", "2-of-2: it was stopped from outside"),
        ("CANCELLED", "2-of-2: it was interrupted, as a job is that is cancelled or runs out of time"),
    ],
)
def test_a_shard_that_does_not_end_leaves_the_gate_unfinished(bench: Bench, how: str, says: str) -> None:
    files = {
        **below("submissions/a", adapter()),
        **below("submissions/b", adapter(f"\n# {how}\nclass Mine(Tiny):\n    pass\n")),
    }
    jobs, runner = bench.gate(files)
    assert [job.result for job in jobs["audit"]] == ["success", "failure"] and jobs["gate"][0].result == "failure"
    result = final(runner)
    assert (result.complete, result.exit_code, result.conclusion) == (False, 3, "failure")
    assert [one.verdict for one in result.submissions] == ["PASS", None] and says in result.unfinished
    summary = jobs["gate"][0].summary
    assert summary.startswith("### Gate: not finished, so far ✅ PASS") and says in summary
    assert "1 of 2 submissions was judged; the next is `submissions/b` (static done)." in summary


def test_parts_that_are_lost_are_missed(bench: Bench) -> None:
    """The papers' job could not install the harness: what the pull request changes is known all the same."""
    (bench.home / "bin" / "pip").write_text('#!/usr/bin/env bash\n[[ "$RUNNER_TEMP" != *papers* ]] || exit 1\n' + PIP)
    text = (bench.home / "bin" / "pip").read_text().replace("@PYTHON@", sys.executable)
    (bench.home / "bin" / "pip").write_text(text)
    jobs, runner = bench.gate(below("submissions/a", adapter()))
    assert [jobs[name][0].result for name in ("papers", "audit", "gate")] == ["failure", "skipped", "failure"]
    result = final(runner)
    assert not result.complete and result.exit_code == 3
    assert result.unfinished == "submissions/a: no job has left a result of it"


def test_all_in_one_job_is_what_it_was(bench: Bench) -> None:
    workflow = written(tier="quick")
    head, _, _ = workflow.partition("\n  audit:")
    alone = head.replace("          part: papers\n", "").replace("outputs:\n      shards", "outputs:\n      code")
    alone = alone.replace("steps.papers.outputs.shards", "steps.papers.outputs.conclusion")
    jobs, runner = bench.gate(below("submissions/one", adapter()), alone)
    assert jobs["papers"][0].result == "success" and jobs["papers"][0].outputs == {"code": "success"}
    assert {path.name for path in runner.artifacts.iterdir()} == {"gate-summary", "gate-records"}
    assert final(runner).submissions[0].part == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("part: papers", "part: everything"), "part is all, papers, audit or result"),
        (("shard: ${{ matrix.shard.name }}", "shard: ../x"), "shard is none that papers gave"),
        (("folders: ${{ toJSON(matrix.shard.folders) }}", 'folders: "[]"'), "a shard has folders"),
        (("folders: ${{ toJSON(matrix.shard.folders) }}", "folders: '[\"submissions/no\"]'"), "--only submissions/no"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(bench: Bench, change: tuple[str, str], says: str) -> None:
    jobs, _ = bench.gate(below("submissions/one", adapter()), written().replace(*change))
    told = [step.err for several in jobs.values() for job in several for step in job.steps if step.code]
    assert says in "".join(told) and jobs["gate"][0].result == "failure"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b == 'X' && !c.d", True),
        ("a.b != 'x' || 'else'", "else"),
        ("always() && (a.b == '' || success())", False),
        ("fromJSON(e).n", None),
        ("'it''s'", "it's"),
        ("a.gone.deep == ''", True),
    ],
)
def test_expressions_mean_what_they_mean_on_github(text: str, value: object) -> None:
    functions = {"always": lambda: True, "success": lambda: False, "fromJSON": json.loads}
    if "fromJSON" in text:
        text = "fromJSON(e)"
        assert Expression(text, {"e": '[{"n": 1}]'}, functions).value() == [{"n": 1}]
        return
    assert Expression(text, {"a": {"b": "x"}, "c": {}}, functions).value() == value
