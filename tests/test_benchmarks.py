"""The speed benchmarks' arithmetic and their page; never their times."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import kept, measure, papers, quantizer, real_submissions, results, trainer
from harness.kit.config import ModelConfig, record_model
from harness.kit.gptq import Gptq, gptq
from harness.kit.model import GPT
from tests.papers.papers import folder, three


def _run(commit: str, median: float, **more: Any) -> dict[str, Any]:
    row = {"group": "training, smoke", "name": "kit over contest", "unit": "x", "median": median, "low": median / 2,
           "high": median * 2, "rounds": 3, "goal": 1.0, "better": "more", "note": ""}  # fmt: skip
    speed = row | {
        "name": "kit <tokens>",
        "unit": "tokens/s",
        "median": 12345.6,
        "rounds": 1,
        "goal": None,
        "better": "",
    }
    return {
        "date": "2026-01-02", "commit": commit, "command": "python benchmarks/trainer.py", "rows": [speed, row],
        "machine": {"cpu": "A CPU", "cores": 2, "gpu": "none", "software": "torch"}, "left_out": ["a GPU"], **more,
    }  # fmt: skip


def test_page_and_plot_of_kept_runs(tmp_path: Path) -> None:
    for run in (
        _run("aaa", 0.5),
        _run("bbb", 1.5),
        _run("ccc", 1.5, command="python benchmarks/trainer.py --rounds 9"),
    ):
        kept.append(tmp_path / "trainer.json", "trainer", run)
    runs = results.read(tmp_path)
    assert [run.commit for run in runs] == ["aaa", "bbb", "ccc"]
    written = results.page(runs)
    assert "commit bbb" in written and "commit ccc" in written and "commit aaa" not in written
    assert "| kit over contest | 1.5 (0.75 .. 3) | x | at least 1: met |" in written
    assert "| kit <tokens> | 12,346 | tokens/s |  |" in written
    assert "A CPU, 2 logical CPUs, no GPU" in written and "Left out: a GPU." in written
    assert "Figures of a GPU: none so far" in written
    assert results.history(runs) == {"trainer: python benchmarks/trainer.py": pytest.approx([2.0, 1 / 1.5])}
    drawn = results.plot(runs)
    ElementTree.fromstring(drawn)
    assert drawn.count('class="f-limit"') == 2 and drawn.count("<polyline") == 1


def test_a_broken_file_of_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "growth.json").write_text(json.dumps({"benchmark": "growth", "runs": [{"rows": [{}]}]}))
    with pytest.raises(ValueError, match="growth.json is no file of results"):
        results.read(tmp_path)


def test_verdicts() -> None:
    report = kept.Report("x")
    assert report.add("g", "n", "x", [1.3, 1.0, 1.2], goal=1.1, better="less").verdict == "at most 1.1: missed"
    assert report.add("g", "n", "x", 1.0, goal=1.0, better="more").verdict == "at least 1: met"
    assert report.add("g", "n", "s", 2).verdict == ""


def test_the_command_says_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "/home/me/benchmarks/trainer.py",
        "--contest",
        "/home/me/clone",
        "--json=/tmp/x",
        "--date",
        "d",
        "--rounds",
        "2",
    ]
    monkeypatch.setattr("sys.argv", words)
    assert kept.command() == "python benchmarks/trainer.py --contest REPO --rounds 2"
    monkeypatch.setattr("sys.argv", ["benchmarks/script_cost.py", "/some/place/2026-03-17_A", "--depth", "quick"])
    assert kept.command() == "python benchmarks/script_cost.py 2026-03-17_A --depth quick"
    assert set(kept.machine()) == {"cpu", "cores", "gpu", "software"}


def test_a_quick_run_is_kept_only_where_asked(tmp_path: Path) -> None:
    report = kept.Report("x")
    report.save(argparse.Namespace(json=None, quick=True, date=""))
    report.save(argparse.Namespace(json=tmp_path / "x.json", quick=True, date="2026-01-02"))
    assert json.loads((tmp_path / "x.json").read_text())["runs"][0]["date"] == "2026-01-02"


def test_slope_is_the_exponent() -> None:
    sizes = [10.0, 30.0, 100.0]
    assert measure.slope(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_operations_against_a_count_by_hand() -> None:
    # q and proj 4 x 4, k and v 4 x 2, up 4 x 8, down 8 x 4: 112 weights, and 16 x 4 of the head. A token of a sequence
    # of 3 attends to 2 on average, with 4 products each for scores and for values.
    small = ModelConfig(vocab_size=16, layers=1, dim=4, heads=2, kv_heads=1)
    assert measure.forward_flops(small, 3) == 2 * (112 + 64) + 2 * 2 * 4 * 2
    assert measure.train_flops(small, 3) == 3 * measure.forward_flops(small, 3)
    record = record_model()
    matrices = sum(p.numel() for n, p in GPT(record).named_parameters() if n.endswith(".weight"))
    assert measure.forward_flops(record, 1) == 2 * matrices + 9 * 2 * 512 * 2


def test_gptq_agrees_with_the_derivation() -> None:
    weight, hessian = quantizer.layer(24, 40)
    scale = (weight.abs().amax(dim=1) / 7).half()
    ours, theirs = gptq(weight, hessian, scale, 7, block=16), quantizer.reference(weight, hessian, scale, 7)
    assert (ours != theirs).float().mean() < 0.01  # ties of rounding
    steps = scale.float()[:, None]
    nearest = (weight / steps).round().clamp(-7, 7)
    error = [quantizer.error(weight, grid.float() * steps, hessian) for grid in (ours, theirs, nearest)]
    assert error[0] == pytest.approx(error[1], rel=1e-3) and error[0] < 0.8 * error[2]


def test_one_factorization_serves_all_grids() -> None:
    weight, hessian = quantizer.layer(24, 40)
    ready = Gptq(weight, hessian, block=16)
    for limit in (7, 31, 7):
        scale = (weight.abs().amax(dim=1) / limit).half()
        assert torch.equal(ready.round(scale, limit), gptq(weight, hessian, scale, limit, block=16))
    with pytest.raises(ValueError, match="24 steps, got"):
        ready.round(torch.ones(3), 7)


def test_step_times_are_read_from_what_the_script_prints() -> None:
    lines = [f"step:{step}/4 train_loss:6.9 train_time:{1000 * step + 7}ms step_avg:1ms" for step in range(1, 5)]
    assert trainer.step_seconds(["warming up", *lines], warm=2) == pytest.approx(1.0)
    with pytest.raises(RuntimeError, match="printed no step times"):
        trainer.step_seconds(["Traceback", "ValueError: no"], warm=2)


def test_the_survey_counts_and_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "17", name="fine")
    folder(tmp_path / "18", three(text_bytes=176_332_748), name="inflated")
    monkeypatch.setattr("sys.argv", ["papers", str(tmp_path)])
    papers.main()
    output = capsys.readouterr().out
    assert "2 folders." in output and "| #18 inflated | byte-accounting FAIL |" in output and "#17 fine" not in output


def test_pull_requests_are_drawn_by_the_seed_and_only_those_with_a_script(tmp_path: Path) -> None:
    repo, work = tmp_path / "repo", tmp_path / "work"

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *who, *words], cwd=repo, check=True, capture_output=True)

    repo.mkdir()
    git("init", "-q")
    (repo / "README.md").write_text("contest\n")
    git("add", "-A")
    git("commit", "-qm", "main")
    for number in range(1, 7):
        git("checkout", "-q", "--detach", "main")
        home = repo / "records" / "track_10min_16mb" / f"2026-04-0{number}_Try"
        home.mkdir(parents=True)
        (home / "README.md").write_text(f"{number}\n")
        if number != 4:
            (home / "train_gpt.py").write_text(f"print({number})\n")
        git("add", "-A")
        git("commit", "-qm", f"try {number}")
        git("update-ref", f"refs/pull/{number}/head", "HEAD")
    git("checkout", "-q", "main")
    one, other = (real_submissions.drawn(repo, 3, seed, work) for seed in (1, 2))
    assert (
        [s.name for s in one] == [s.name for s in real_submissions.drawn(repo, 3, 1, work)] != [s.name for s in other]
    )
    everything = real_submissions.drawn(repo, 99, 1, work)
    assert sorted(s.name for s in everything) == [f"random/{n}-2026-04-0{n}_Try" for n in (1, 2, 3, 5, 6)]
    assert [s.name for s in everything][:3] == [s.name for s in one]
