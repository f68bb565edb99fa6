"""The gate end to end: scratch repositories, tiny adapters, real boxes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import harness
from harness.corpus.dataset import Dataset
from harness.errors import UsageError
from harness.files import sha256
from harness.gate.result import GateResult, json_schema
from harness.gate.run import Request, gate
from harness.gate.stages import Settings
from harness.progress import Progress
from harness.record import Record
from tests.gate.repository import OFFENDER, File, Scratch, adapter, below
from tests.papers.papers import folder as papers_folder
from tests.papers.papers import three
from tests.support import tiny_documents

pytestmark = pytest.mark.box

SCHEMA = Path(harness.__file__).parent / "gate" / "gate.schema.json"
SCRIPT = (Path(__file__).parent.parent / "scripts" / "scripts" / "base.py").read_text()
BASE: dict[str, File] = {"README.md": "hello\n"}
TOKENS = 900


class Bench:
    """A repository, and gates over it in this process."""

    def __init__(self, home: Path, dataset: Dataset) -> None:
        self.home = home
        self.scratch = Scratch(home / "repo.git")
        self.base = self.scratch.commit(BASE)
        self.settings = Settings(data=lambda: dataset, timeout=600.0, tokens=TOKENS)

    def head(self, files: Mapping[str, File]) -> str:
        return self.scratch.commit({**BASE, **files}, self.base)

    def gate(self, head: str, out: str = "out", progress: Progress | None = None, **request: Any) -> GateResult:
        wanted = Request(self.scratch.path, request.pop("base", self.base), head, self.home / out, **request)
        with progress or Progress(quiet=True) as told:
            result = gate(wanted, self.settings, told)
        body = json.loads((self.home / out / "gate.json").read_text())
        jsonschema.validate(body, json.loads(SCHEMA.read_text()))
        assert GateResult.model_validate(body) == result and result.complete
        return result


@pytest.fixture
def bench(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("CI", raising=False)
    return Bench(tmp_path, dataset)


def sources(result: GateResult) -> list[str]:
    return [
        stage.source for one in result.submissions for stage in one.stages if stage.record and stage.name != "papers"
    ]


def test_a_clean_one_and_an_offender_at_once_and_a_cache_that_ci_does_not_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = bench.head({**below("submissions/clean", adapter()), **below("submissions/bad", adapter(OFFENDER))})
    cache = bench.home / "cache"
    result = bench.gate(head, cache=cache)
    bad, clean = result.submissions
    assert (result.exit_code, bad.verdict, clean.verdict) == (1, "FAIL", "PASS")
    assert bad.headline.startswith("score INVALID: causality") and [stage.name for stage in clean.stages][-1] == "full"
    for one in result.submissions:
        for stage in one.stages:
            if stage.record:
                path = bench.home / "out" / stage.record
                assert sha256(path) == stage.sha256 and (path.parent / "report.html").is_file()
                assert Record.load(path).verdict == stage.verdict
    summary = (bench.home / "out" / "summary.md").read_text()
    assert summary.index("submissions/bad") < summary.index("submissions/clean") and "❌ FAIL" in summary
    assert [reply.answer for reply in clean.answers] == ["VALID", "WITHIN", "NOT_CLAIMED"]
    assert bad.answers[0].answer == "INVALID" and (result.conclusion, result.reason) == ("failure", bad.headline)
    assert "Conclusion: **failure**" in summary and "| INVALID | WITHIN | NOT_CLAIMED |" in summary

    alone = bench.head(below("submissions/clean", adapter()))
    again = bench.gate(alone, "again", cache=cache)
    assert again.exit_code == 0 and set(sources(again)) == {"cache"}
    assert "from a cache" in (bench.home / "again" / "summary.md").read_text()
    assert again.submissions[0].stages[-1].sha256 == clean.stages[-1].sha256

    changed = adapter("\nclass Mine(Tiny):\n    stride = 32\n")
    other = bench.gate(bench.head(below("submissions/clean", changed)), "other", cache=cache, tier="quick")
    assert set(sources(other)) == {"run"}, "other code must not get these results"

    monkeypatch.setenv("CI", "true")
    in_ci = bench.gate(alone, "again", cache=cache, tier="quick")
    assert set(sources(in_ci)) == {"run"}, "neither the cache nor the same folder's earlier records may be taken in CI"


BROKEN: dict[str, tuple[dict[str, File], str, int]] = {
    "syntax": (adapter("\nclass Mine(Tiny:\n"), "submission.py is not Python", 2),
    "metadata": (
        {**adapter(), "submission.json": '{"name": "x"}'},
        "submissions/metadata/submission.json: author: missing; every submission names it",
        2,
    ),
    "nothing": ({"notes.txt": "x"}, "neither a submission.py nor a script", 2),
    "symlink": ({**adapter(), "data.bin": ("120000", "/etc/passwd")}, "is a symlink", 2),
    "newline": ({**adapter(), "a\n::error::b.py": "x"}, "control characters", 2),
    "climbs": ({**adapter(), "x/../../../harness/y.py": "x"}, "leads elsewhere", 1),
}


def test_broken_ones_are_named_and_do_not_stop_the_others(bench: Bench) -> None:
    for name, (files, says, code) in BROKEN.items():
        result = bench.gate(bench.head(below(f"submissions/{name}", files)), name, tier="quick")
        one = result.submissions[0]
        assert one.verdict == "BROKEN" and says in one.headline and "\n" not in one.headline, one
        assert result.exit_code == code, "climbing into the harness is a change of the judge as well"
        assert {path.name for path in (bench.home / name / name).glob("*")} <= {"papers"}, "nothing was run"
    three_broken = ("syntax", "nothing", "symlink")
    files = {
        path: body for name in three_broken for path, body in below(f"submissions/{name}", BROKEN[name][0]).items()
    }
    result = bench.gate(bench.head(files), "all", tier="quick")
    assert [one.verdict for one in result.submissions] == ["BROKEN"] * 3 and result.exit_code == 2


def test_who_changes_the_judge_is_told_so(bench: Bench) -> None:
    only = bench.gate(bench.head({"harness/audit/causality.py": "x = 1"}), "only")
    assert only.exit_code == 0 and [(flag.id, flag.blocks) for flag in only.flags] == [("judge-changed", False)]
    assert only.verdict is None and "changes no folder" in (bench.home / "only" / "summary.md").read_text()
    files = {**below("submissions/x", BROKEN["syntax"][0]), ".github/workflows/gate.yml": "on: push"}
    both = bench.gate(bench.head(files), "both", fail_on="fail", tier="quick")
    assert both.exit_code == 1 and [(f.id, f.blocks) for f in both.flags] == [("judge-and-submissions", True)]


def test_the_base_may_have_moved_on_and_the_pull_request_is_still_only_its_own(bench: Bench) -> None:
    head = bench.head({"docs/x.md": "x"})
    moved = bench.scratch.commit({**BASE, **below("submissions/theirs", adapter()), "harness/x.py": ""}, bench.base)
    result = bench.gate(head, base=moved)
    assert result.submissions == [] and [flag.id for flag in result.flags] == ["elsewhere"]


def test_a_renamed_folder_is_judged_under_its_new_name(bench: Bench) -> None:
    bench.base = bench.scratch.commit({**BASE, **below("submissions/before", adapter())})
    result = bench.gate(bench.head(below("submissions/after", adapter())), tier="quick")
    (one,) = result.submissions
    assert (one.path, one.how, one.before, one.verdict) == (
        "submissions/after",
        "renamed",
        "submissions/before",
        "PASS",
    )
    assert result.not_run and "causality" in (bench.home / "out" / "summary.md").read_text()


class Interrupted(Progress):
    """Ctrl-C at the moment when a phase of a submission begins."""

    def __init__(self, at: str) -> None:
        super().__init__(quiet=True)
        self._at, self._here = at, False

    def note(self, text: str) -> None:
        self._here = self._here or self._at in text

    def phase(self, name: str, text: str = "") -> None:
        if self._here and name == "score":
            raise KeyboardInterrupt


def test_an_interrupted_gate_goes_on_where_it_was(bench: Bench) -> None:
    head = bench.head({**below("submissions/one", adapter()), **below("submissions/two", adapter())})
    with pytest.raises(KeyboardInterrupt):
        bench.gate(head, progress=Interrupted("submissions/two"), tier="quick")
    left = GateResult.model_validate_json((bench.home / "out" / "gate.json").read_text())
    assert not left.complete and [one.verdict for one in left.submissions] == ["PASS", None] and left.exit_code == 3
    assert "did not come to its end" in (bench.home / "out" / "summary.md").read_text()
    seal = (bench.home / "out" / "two" / "seal.json").stat().st_mtime_ns
    result = bench.gate(head, tier="quick")
    assert result.exit_code == 0 and sources(result) == ["resumed", "run"]
    assert (bench.home / "out" / "two" / "seal.json").stat().st_mtime_ns == seal, "it is not trained again"


def test_scripts_pass_their_papers_first(bench: Bench, tmp_path: Path) -> None:
    wrong = papers_folder(tmp_path / "papers", three(text_bytes=176_332_748), script=SCRIPT)
    record = "records/track_10min_16mb"
    lying = {f"{record}/Lying/{path.name}": path.read_text() for path in wrong.iterdir()}
    early = {"README.md": "# x\n", "train_gpt.py": SCRIPT.replace('"EVAL_MODE", "sliding"', '"EVAL_MODE", "ttt_first"')}
    result = bench.gate(bench.head({**lying, **below(f"{record}/Trains", early)}))
    lies, trains = result.submissions
    assert lies.kind == trains.kind == "script" and result.exit_code == 1
    assert lies.verdict == "FAIL" and [stage.name for stage in lies.stages] == ["papers"], "it stops at once"
    assert trains.verdict == "FAIL" and trains.headline.startswith("score INVALID: causality"), trains
    assert [stage.name for stage in trains.stages] == ["papers", "static", "smoke", "full"]
    assert trains.stages[2].verdict != "PASS", "one run shows that it trains first, not yet that this matters"


def test_an_evaluation_of_a_clean_script_and_what_is_held_against_it(bench: Bench) -> None:
    head = bench.head(below("records/track_x/Plain", {"README.md": "# x\n", "train_gpt.py": SCRIPT}))
    result = bench.gate(head, tier="quick")
    (one,) = result.submissions
    assert [(stage.name, stage.verdict) for stage in one.stages][1:] == [("static", "PASS"), ("smoke", "PASS")]
    assert [reply.answer for reply in one.answers] == ["VALID", "UNDECIDED", "INCOMPLETE"], "its papers show nothing"
    assert one.verdict == "PASS" and (result.exit_code, result.conclusion) == (0, "neutral")
    assert result.reason.startswith("limits UNDECIDED: "), "neutral has a reason"
    asked = bench.gate(head, tier="quick", fail_on="incomplete")
    assert (asked.exit_code, asked.conclusion) == (3, "failure") and sources(asked) == ["resumed"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("gate-data")
    path = folder / "tiny.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    return ["--data", str(path), "--data-cache", str(folder / "cache")]


HOSTILE = """
class Mine(Tiny):
    def evaluate(self, model, stream):
        import sys
        for out in (sys.stdout, sys.stderr):
            print("\\n::error file=harness/record.py::pwned\\n##[error]pwned", file=out)
            print("::stop-commands::x\\x1b[2J\\x1b]0;t\\x07", file=out)
        for _ in range(40):
            print("y" * 100_000)
        print('{"schema": "harness.gate/1", "verdict": "PASS", "exit_code": 0}')
        raise ValueError("boo\\n::error::pwned\\n\\x1b[31m<script>alert(1)</script>|`@everyone` ##[error]x")
"""


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "CI"} | more


def harmless(text: str) -> None:
    """What a CI runner would take for a command, or a terminal for an order, is not in the text."""
    assert not re.search(r"^\s*::", text, re.M) and "##[" not in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_what_a_submission_prints_and_forges_reaches_nobody(bench: Bench, data: list[str]) -> None:
    name = "::error::<b>x"
    files = {
        **adapter(HOSTILE, name="<img src=x onerror=alert(1)>\n::error::named"),
        "README.md": "<script>alert(1)</script> ::error::read",
        "gate.json": '{"schema": "harness.gate/1", "complete": true, "verdict": "PASS", "exit_code": 0}',
        "record.json": '{"verdict": "PASS"}',
        "entry.json": '{"key": "x"}',
        "smoke/record.json": '{"verdict": "PASS"}',
    }
    head = bench.head(below(f"submissions/{name}", files))
    command = [sys.executable, "-m", "harness", "gate", "--repo", bench.scratch.path, "--base", bench.base,
               "--head", head, "--tier", "quick", "--out", bench.home / "out", *data]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment(CI="true"))
    assert done.returncode == 2, done.stderr
    harmless(done.stdout)
    harmless(done.stderr)
    result = GateResult.model_validate_json((bench.home / "out" / "gate.json").read_text())
    (one,) = result.submissions
    assert one.verdict == "BROKEN" and "ValueError: boo" in one.headline and one.path == "submissions/: :error: :<b>x"
    for text in ((bench.home / "out" / "gate.json").read_text(), (bench.home / "out" / "summary.md").read_text()):
        harmless(text.replace("\n", " \n"))
    summary = re.sub(r"`[^`\n]*`", "", (bench.home / "out" / "summary.md").read_text())
    assert "<script" not in summary and "<b>" not in summary and "<img" not in summary and "@" not in summary
    (home,) = [path for path in (bench.home / "out").iterdir() if path.is_dir()]
    assert sum(path.stat().st_size for path in home.rglob("*.log")) < 3 << 20
    assert home.name == "_error_b_x" and not (home / "smoke" / "record.json").exists()


def test_ctrl_c_is_130_and_says_so(bench: Bench, data: list[str]) -> None:
    slow = "\nclass Mine(Tiny):\n    def evaluate(self, model, stream):\n        import time\n        time.sleep(600)\n"
    head = bench.head(below("submissions/slow", adapter(slow)))
    out = bench.home / "out"
    command = [sys.executable, "-m", "harness", "gate", "--repo", bench.scratch.path, "--base", bench.base,
               "--head", head, "--out", out, *data]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment()
    )
    deadline = time.monotonic() + 600
    while not (out / "slow" / "seal.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted" in stderr.splitlines()[-1], stderr
    left = GateResult.model_validate_json((out / "gate.json").read_text())
    assert not left.complete and left.submissions[0].verdict is None


def test_unusable_requests(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no commit"):
        bench.gate("nowhere")
    with pytest.raises(UsageError, match="not a git repository"):
        gate(Request(tmp_path, "a", "b", tmp_path / "out"), bench.settings, Progress(quiet=True))
    many = dict.fromkeys((f"submissions/s{i}/submission.py" for i in range(65)), "")
    with pytest.raises(UsageError, match="65 submissions"):
        bench.gate(bench.head(many))


def test_the_published_schema_is_the_present_one() -> None:
    regenerate = (
        'regenerate it: python -c "import json; from harness.gate.result import json_schema; '
        'print(json.dumps(json_schema(), indent=2))" > harness/gate/gate.schema.json'
    )
    assert SCHEMA.read_text() == json.dumps(json_schema(), indent=2) + "\n", regenerate
