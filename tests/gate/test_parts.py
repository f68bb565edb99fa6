"""A gate in parts, without a box: papers alone, some folders alone, and one result of what several jobs left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

import harness
from harness import rules
from harness.cli import cli
from harness.environment import need_run
from harness.errors import HarnessError, UsageError
from harness.gate import run as gating
from harness.gate.parts import deal, join, to_json
from harness.gate.result import GateResult, Judged, Verdict
from harness.gate.run import Request, gate
from harness.gate.stages import Made, Settings
from harness.progress import Progress
from harness.record import Record
from harness.report import formats
from tests.gate.repository import File, Scratch, adapter, below
from tests.papers.papers import folder, three
from tests.report.records import failing, passing

SCHEMA = json.loads((Path(harness.__file__).parent / "gate" / "gate.schema.json").read_text())
TRACK = "records/track_10min_16mb"
SCRIPT: dict[str, File] = {"README.md": "# x\n", "train_gpt.py": "print('val_bpb: 1.0')\n"}


class Bench:
    """A repository, and gates over it in this process; nothing is played, adapters named "leak" fail."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.scratch = Scratch(home / "repo.git")
        self.base = self.scratch.commit({"README.md": "x"})
        self.asked: list[str] = []
        self.settings = Settings(data=lambda: self.asked.append("data"))  # type: ignore[arg-type, return-value]

    def head(self, files: Mapping[str, File]) -> str:
        return self.scratch.commit({"README.md": "x", **files}, self.base)

    def request(self, head: str, out: str, **more: Any) -> Request:
        return Request(self.scratch.path, self.base, head, self.home / out, **more)

    def gate(self, head: str, out: str = "out", **more: Any) -> GateResult:
        with Progress(quiet=True) as progress:
            return gate(self.request(head, out, **more), self.settings, progress)

    def left(self, out: str = "out") -> GateResult:
        body = json.loads((self.home / out / "gate.json").read_text())
        jsonschema.validate(body, SCHEMA)
        return GateResult.model_validate(body)

    def join(self, head: str, **more: Any) -> GateResult:
        made = join(self.request(head, "joined", **more), self.settings.ruleset, self.home / "parts")
        assert made == self.left("joined")
        return made


def behaviour(exported: Any, kind: str, settings: Settings, home: Path, stage: str, *_: Any, **__: Any) -> Made:
    made: Record = failing() if exported.path.name == "leak" else passing()
    (home / stage).mkdir(parents=True, exist_ok=True)
    formats.save(made, home / stage)
    return Made(made)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(gating.stages, "behaviour", behaviour)
    monkeypatch.setenv("CI", "true")
    return Bench(tmp_path)


@pytest.fixture
def many(bench: Bench, tmp_path: Path) -> str:
    """A head with papers that lie, one that cannot be read, two adapters and a script."""
    papers = folder(tmp_path, three(text_bytes=176_332_748), name="lying", script="print('else')\n")
    return bench.head({
        **below(f"{TRACK}/lying", {path.name: path.read_bytes() for path in papers.iterdir()}),
        **below(f"{TRACK}/plain", SCRIPT),
        **below("submissions/broken", adapter("\nclass Mine(Tiny:\n")),
        **below("submissions/leak", adapter()),
        **below("submissions/plain", adapter()),
    })  # fmt: skip


def test_papers_alone_run_nothing_and_leave_open_what_they_do_not_settle(bench: Bench, many: str) -> None:
    result = bench.gate(many, tier="papers")
    assert result == bench.left() and result.complete and bench.asked == [], "no data is prepared"
    verdicts = {one.path.rpartition("/")[2] + ("" if one.kind else "?"): one.verdict for one in result.submissions}
    assert verdicts == {"lying": "FAIL", "plain": "NOT_RUN", "broken": "BROKEN", "leak": "NOT_RUN"}
    assert result.exit_code == 1 and {"causality", "byte-accounting"} <= set(result.not_run)
    assert {stage.name for one in result.submissions for stage in one.stages} == {"papers", "static"}
    script = next(one for one in result.submissions if one.path == f"{TRACK}/plain")
    assert script.headline.startswith("its papers contradict nothing; limits UNDECIDED: ") and len(script.answers) == 3
    plain = next(one for one in result.submissions if one.path == "submissions/plain")
    assert (plain.headline, plain.answers) == ("its papers contradict nothing", []), "an adapter needs no logs"
    assert (plain.folder, script.folder) == ("plain-2", "plain")
    (quote, *_) = result.submissions[0].stages[0].findings[0].places
    assert quote.file == "train_seed0.log" and quote.line == 10 and quote.text == "val_tokens: 40540160"


@pytest.mark.parametrize(("fail_on", "code"), [("fail", 0), ("inconclusive", 3), ("incomplete", 3), ("unruled", 3)])
def test_what_papers_leave_open_is_undecided(bench: Bench, fail_on: str, code: int) -> None:
    result = bench.gate(bench.head(below(f"{TRACK}/plain", SCRIPT)), tier="papers", fail_on=fail_on)
    assert result.exit_code == code and result.conclusion == ("failure" if code else "neutral")


def test_what_is_left_is_dealt_evenly(bench: Bench, many: str) -> None:
    result = bench.gate(many, tier="papers")
    assert to_json(deal(result, 8)) == json.dumps([
        {"name": "1-of-3", "folders": [f"{TRACK}/plain"]},
        {"name": "2-of-3", "folders": ["submissions/leak"]},
        {"name": "3-of-3", "folders": ["submissions/plain"]},
    ])  # fmt: skip
    assert [len(shard["folders"]) for shard in deal(result, 2)] == [2, 1] and len(deal(result, 1)) == 1
    result.submissions = [one for one in result.submissions if one.verdict != "NOT_RUN"]
    assert deal(result, 8) == []


def test_some_folders_alone(bench: Bench, many: str) -> None:
    result = bench.gate(many, only=("submissions/plain",), tier="quick")
    (one,) = result.submissions
    assert (one.path, one.folder, one.verdict) == ("submissions/plain", "plain-2", "PASS"), "it is named as among all"
    assert result.exit_code == 0 and bench.asked == ["data"]
    with pytest.raises(UsageError, match="--only submissions/gone: no submission that has changed"):
        bench.gate(many, only=("submissions/plain", "submissions/gone"))
    assert "submissions/gone" in bench.left().unfinished


def parts(bench: Bench, head: str, *shards: tuple[str, ...], **more: Any) -> None:
    """What the jobs of a gate leave, as artifacts that lie side by side."""
    bench.gate(head, "parts/gate-part-papers", tier="papers", **more)
    for index, folders in enumerate(shards):
        bench.gate(head, f"parts/gate-part-{index + 1}-of-{len(shards)}", only=folders, **more)


def test_one_result_is_made_of_what_all_left(bench: Bench, many: str) -> None:
    parts(bench, many, (f"{TRACK}/plain", "submissions/plain"), ("submissions/leak",))
    result = bench.join(many)
    assert result.complete and result.unfinished == "" and (result.exit_code, result.conclusion) == (1, "failure")
    seen = {one.path: (one.verdict, one.part) for one in result.submissions}
    assert seen == {
        f"{TRACK}/lying": ("FAIL", "papers"),
        f"{TRACK}/plain": ("PASS", "1-of-2"),
        "submissions/broken": ("BROKEN", "papers"),
        "submissions/leak": ("FAIL", "2-of-2"),
        "submissions/plain": ("PASS", "1-of-2"),
    }
    whole = bench.gate(many, "whole")
    assert list(map(bare, result.submissions)) == list(map(bare, whole.submissions)), "as in one job"
    kept = {path.relative_to(bench.home / "joined") for path in (bench.home / "joined").rglob("*.*")}
    assert kept == {path.relative_to(bench.home / "whole") for path in (bench.home / "whole").rglob("*.*")}
    assert bench.join(many).submissions == result.submissions, "and again, over what is there"


def bare(one: Judged) -> Judged:
    """Without what tells where it was judged: records name their place."""
    stages = [stage.model_copy(update={"sha256": None}) for stage in one.stages]
    return one.model_copy(update={"part": "", "stages": stages})


def edit(bench: Bench, part: str, change: Callable[[dict[str, Any]], Any]) -> None:
    file = bench.home / "parts" / f"gate-part-{part}" / "gate.json"
    body = json.loads(file.read_text())
    change(body)
    file.write_text(json.dumps(body))


BROKEN: dict[str, tuple[Callable[[Bench], Any], str]] = {
    "lost": (lambda bench: shutil.rmtree(bench.home / "parts" / "gate-part-1-of-1"),
             "submissions/plain: no job that audits has left a result of it"),
    "empty": (lambda bench: (bench.home / "parts" / "gate-part-1-of-1" / "gate.json").unlink(),
              "1-of-1: it left no result"),
    "no JSON": (lambda bench: (bench.home / "parts" / "gate-part-1-of-1" / "gate.json").write_text("{"),
                "1-of-1: its result cannot be read"),
    "another head": (lambda bench: edit(bench, "1-of-1", lambda body: body["revisions"].update(head="a" * 40)),
                     "1-of-1: it is about other commits, or by another harness"),
    "another harness": (lambda bench: edit(bench, "1-of-1", lambda body: body["harness"].update(sha256="a" * 64)),
                        "1-of-1: it is about other commits, or by another harness"),
    "other rules": (lambda bench: edit(bench, "1-of-1", lambda body: body["ruleset"].update(sha256="a" * 64)),
                    "1-of-1: it judged by other rules"),
    "damaged": (lambda bench: (bench.home / "parts/gate-part-1-of-1/plain/full/record.json").write_text("{}"),
                "submissions/plain: its records are not those of its result"),
    "a record lost": (lambda bench: (bench.home / "parts/gate-part-1-of-1/plain/full/record.json").unlink(),
                      "submissions/plain: its records are not those of its result"),
    "stopped": (lambda bench: edit(bench, "1-of-1", lambda body: (body.update(complete=False, unfinished="too late"),
                                                                  body["submissions"][0].update(verdict=None))),
                "1-of-1: too late"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_what_a_job_did_not_leave_makes_the_gate_unfinished(bench: Bench, how: str) -> None:
    head = bench.head(below("submissions/plain", adapter()))
    parts(bench, head, ("submissions/plain",))
    assert bench.join(head).exit_code == 0
    act, says = BROKEN[how]
    act(bench)
    result = bench.join(head)
    assert not result.complete and (result.exit_code, result.conclusion) == (3, "failure")
    assert says in result.unfinished and result.reason == result.unfinished
    assert [one.verdict for one in result.submissions] == [None]
    summary = (bench.home / "joined" / "summary.md").read_text()
    assert summary.startswith("### Gate: not finished\n") and says in summary


def test_without_any_part_nothing_passes_but_a_pull_request_without_submissions(bench: Bench, many: str) -> None:
    result = bench.join(many)
    assert (result.complete, result.exit_code) == (False, 3) and len(result.submissions) == 5
    assert result.unfinished.startswith(f"{TRACK}/lying: no job has left a result of it; ")
    nothing = bench.join(bench.head({"docs/x.md": "x"}))
    assert (nothing.complete, nothing.exit_code, nothing.conclusion) == (True, 0, "success")


@pytest.mark.parametrize(
    ("first", "second", "kept"), [("PASS", "FAIL", "FAIL"), ("INCONCLUSIVE", "PASS", "INCONCLUSIVE")]
)
def test_of_two_shards_that_judged_one_folder_the_worse_counts(
    bench: Bench, first: Verdict, second: Verdict, kept: Verdict
) -> None:
    head = bench.head(below("submissions/plain", adapter()))
    parts(bench, head, ("submissions/plain",), ("submissions/plain",))
    for part, verdict in (("1-of-2", first), ("2-of-2", second)):
        edit(bench, part, lambda body, verdict=verdict: body["submissions"][0].update(verdict=verdict))
    assert [one.verdict for one in bench.join(head).submissions] == [kept]


def test_a_part_cannot_bring_folders_or_submissions_of_its_own(bench: Bench) -> None:
    head = bench.head(below("submissions/plain", adapter()))
    parts(bench, head, ("submissions/plain",))
    more = Judged(path="submissions/other", folder="../../other", how="added", verdict="PASS").model_dump(mode="json")
    edit(bench, "1-of-1", lambda body: body["submissions"].append(more))
    assert [one.path for one in bench.join(head).submissions] == ["submissions/plain"]
    edit(bench, "1-of-1", lambda body: body["submissions"][0].update(folder="../elsewhere"))
    assert not bench.join(head).complete and not (bench.home / "elsewhere").exists()


def test_the_strictness_is_that_of_whoever_joins(bench: Bench) -> None:
    head = bench.head(below("submissions/plain", adapter()))
    parts(bench, head, ("submissions/plain",))
    edit(bench, "1-of-1", lambda body: body["submissions"][0].update(verdict="INCONCLUSIVE"))
    assert bench.join(head).exit_code == 0 and bench.join(head, fail_on="inconclusive").exit_code == 3
    quick = bench.join(head, tier="quick")
    assert quick.tier == "quick" and "causality" in quick.not_run
    assert "quick tier: causality was not run" in (bench.home / "joined" / "summary.md").read_text().splitlines()[0]


def test_why_a_gate_could_not_begin_is_in_its_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    many = dict.fromkeys((f"submissions/s{index}/submission.py" for index in range(65)), "")
    with pytest.raises(UsageError, match="65 submissions"):
        bench.gate(bench.head(many))
    left = bench.left()
    assert not left.complete and left.exit_code == 3 and left.unfinished.startswith("65 submissions have changed")
    summary = (bench.home / "out" / "summary.md").read_text()
    assert "65 submissions have changed" in summary and "no submission to judge" not in summary

    head = bench.head(below("submissions/plain", adapter()))
    monkeypatch.setattr(gating, "need_run", lambda: (_ for _ in ()).throw(HarnessError("running needs torch")))
    with pytest.raises(HarnessError, match="running needs torch"):
        bench.gate(head, "no torch")
    assert bench.left("no torch").unfinished == "running needs torch"
    assert bench.gate(head, "papers", tier="papers").complete, "papers do without"
    monkeypatch.setattr(gating, "need_run", need_run)

    def prepared() -> Any:
        raise RuntimeError("boo")

    bench.settings = Settings(data=prepared)
    with pytest.raises(RuntimeError):
        bench.gate(head, "no data")
    assert bench.left("no data").unfinished == "internal error (RuntimeError)"


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, ["--config", "none", "gate", *map(str, words)])


def test_the_command_line_reads_papers_and_joins(bench: Bench, many: str) -> None:
    common = ("--repo", bench.scratch.path, "--base", bench.base, "--head", many)
    done = invoke(*common, "--tier", "papers", "--shards", 2, "--out", bench.home / "parts" / "gate-part-papers", "-q")
    assert done.exit_code == 1 and "the papers tier does not look at: determinism, causality" in done.output
    text = (bench.home / "parts" / "gate-part-papers" / "shards.json").read_text()
    shards = json.loads(text)
    assert text.count("\n") == 1 and [shard["name"] for shard in shards] == ["1-of-2", "2-of-2"]
    joined = invoke(*common, "--join", bench.home / "parts", "--out", bench.home / "joined")
    assert joined.exit_code == 1 and "not finished: " in joined.output and "no job that audits" in joined.output
    assert not bench.left("joined").complete and bench.left("joined").ruleset.name == rules.DEFAULT


@pytest.mark.parametrize(
    ("words", "option", "says"),
    [
        (("--tier", "papers", "--data", "stdlib"), "--data", "does not go with --tier papers, which runs nothing"),
        (("--tier", "papers", "--memory", "2"), "--memory", "which runs nothing"),
        (("--tier", "papers", "--cache", "x"), "--cache", "which runs nothing"),
        (("--join", "x", "--timeout", "3"), "--timeout", "does not go with --join, which judges nothing"),
        (("--join", "x", "--only", "y"), "--only", "which judges nothing"),
        (("--join", "x", "--shards", "3"), "--shards", "which judges nothing"),
        (("--shards", "3"), "--shards", "goes with --tier papers"),
    ],
)
def test_options_without_a_use_are_refused(words: tuple[str, ...], option: str, says: str) -> None:
    done = invoke("--base", "a", "--head", "b", *words)
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.exit_code == 2 and line.startswith(f"Error: {option} (") and says in line
