"""Times and bytes as they are printed: the strictest reading decides, each is shown, and what is admitted is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import rules
from harness.papers.linting import lint
from harness.record import Finding, Status
from tests.papers.papers import folder, three

RULES = rules.load()


def finding(path: Path, check: str) -> Finding:
    return next(found for found in lint(path, RULES).findings if found.id == check)


def with_lines(path: Path, *lines: str) -> Path:
    for log in path.glob("*.log"):
        log.write_text(log.read_text() + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("check", "line", "expected"),
    [
        ("eval-clock", "total evaluation wall time: 733.2 s", Status.INCONCLUSIVE),
        ("eval-clock", "EVAL_WALL 1467008ms", Status.INCONCLUSIVE),
        ("eval-clock", "EVAL_WALL 586.4s", Status.PASS),
        ("eval-clock", "ttt: compile warm-up total time: 733.2s", Status.PASS),  # a part, which has its own practice
        ("eval-clock", '    log(f"total eval time: 733.2s")', Status.PASS),  # source text
        ("train-clock", "artifact_production_wallclock: 1095.3s (must be < 600.0)", Status.INCONCLUSIVE),
        ("train-clock", "total training wall clock: 12.4 min", Status.INCONCLUSIVE),
        ("train-clock", "total training wall clock: 9.9 min", Status.PASS),
        ("train-clock", "elapsed remaining budget for training: 700s", Status.PASS),
    ],
)
def test_another_time_that_is_printed(tmp_path: Path, check: str, line: str, expected: Status) -> None:
    found = finding(with_lines(folder(tmp_path), line), check)
    assert found.status == expected, found.headline
    if expected == Status.INCONCLUSIVE:
        assert "a log also prints" in found.headline and found.value("readings")
        assert any(line in str(shown) for shown in found.value("evidence"))


def test_a_time_beside_the_claimed_score_is_the_time_of_its_pass(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in path.glob("*.log"):
        bpb = log.read_text().rsplit("val_bpb:", 1)[1].split()[0]
        log.write_text(log.read_text() + f"ttt:done val_bpb={bpb} elapsed=630.4s\n")
    found = finding(path, "eval-clock")
    assert found.status == Status.FAIL and "630.4 s by its own clock" in found.headline


def test_the_time_of_a_process_that_only_evaluates(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in path.glob("*.log"):
        kept = [line for line in log.read_text().splitlines() if "train_time" not in line]
        log.write_text("\n".join([*kept, "real\t12m13.4s", ""]))
    found = finding(path, "eval-clock")
    assert found.status == Status.INCONCLUSIVE and "733.4 s" in found.headline
    whole = finding(with_lines(folder(tmp_path / "b"), "real\t16m40.0s"), "eval-clock")
    assert whole.status == Status.PASS  # the process has trained as well


@pytest.mark.parametrize(
    ("words", "check", "said"),
    [
        ({"over_budget": True}, "size-limit", "over_budget = true"),
        ({"compliance": {"artifact_under_16mb": False}}, "size-limit", "artifact_under_16mb = false"),
        ({"compliance": {"train_under_600s": False}}, "train-clock", "train_under_600s = false"),
        ({"compliance": {"eval_under_600s": False}}, "eval-clock", "eval_under_600s = false"),
        ({"compliance": {"eval_under_600s": True, "over_budget": False}}, "eval-clock", None),
        ({"compliance": {"no_slot": False}}, "eval-clock", None),
    ],
)
def test_what_the_author_admits_is_quoted(tmp_path: Path, words: dict[str, object], check: str, said: str) -> None:
    found = finding(folder(tmp_path, claims=words), check)
    assert found.status == (Status.INCONCLUSIVE if said else Status.PASS), found.headline
    assert said is None or said in found.headline


def test_promises_stand_beside_what_the_logs_show(tmp_path: Path) -> None:
    words = {"compliance": {"eval_under_600s": True, "train_under_600s": True, "artifact_under_16mb": True}}
    path = folder(tmp_path, three(eval_ms=688_000, train_ms=655_000, model=16_020_000), claims=words)
    for check, field in (("eval-clock", "eval_"), ("train-clock", "train_"), ("size-limit", "artifact_")):
        found = finding(path, check)
        assert found.status == Status.FAIL and f"that the limit is kept ({field}under" in found.headline


def test_bytes_that_log_and_claim_both_have_over_the_limit(tmp_path: Path) -> None:
    """A smaller wrapper might fit; neither the log nor the author says that it does."""
    logs = three(model=15_936_227, code=100_000)
    script = "x = 1\n" * 16_000 + "".join(f"v{i} = {i * 7919 % 99991}\n" for i in range(3000))
    both = folder(tmp_path, logs, claims={"bytes_total": 16_001_154}, script=script)
    found = finding(both, "size-limit")
    assert found.status == Status.FAIL
    assert "16,036,227 as the log adds up" in found.headline and "16,001,154 as claimed" in found.headline
    one = folder(tmp_path / "b", logs, claims={"bytes_total": 15_990_000}, script=script)
    assert finding(one, "size-limit").status != Status.FAIL
