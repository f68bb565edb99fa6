"""What is read out of logs, submission.json and code, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import rules
from harness.errors import UsageError
from harness.papers import headline, logs
from harness.papers.code import read_code
from harness.papers.linting import lint
from harness.papers.logs import read_log, read_logs
from harness.papers.metadata import read_claims
from harness.papers.reading import Paper, read
from harness.record import Status
from tests.papers.papers import Log, folder, three

#: What a script that prints its own source leaves in a log: f-strings that look like log lines.
SOURCE = """
    log0(f"step:{step}/{total} val_loss:{val_loss:.4f} val_bpb:{val_bpb:.4f} train_time:{ms:.0f}ms")
        f"final_int8_zlib_roundtrip_exact val_loss:{q_loss:.8f} val_bpb:{q_bpb:.8f}"
    log(f"Total submission size quantized+brotli: {size} bytes")
        # stopping_early: wallclock_cap train_time:1ms step:1/2
"""


def written(tmp_path: Path, text: str | bytes) -> Paper:
    path = tmp_path / "train.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Paper(path.name, path.stat().st_size, path.parent)


@pytest.mark.parametrize("grammar", ["new", "old"])
def test_a_log_gives_its_numbers_with_their_lines(tmp_path: Path, grammar: str) -> None:
    log = Log(source=SOURCE, seed=1337)
    text = getattr(log, grammar)
    (run,) = read_log(written(tmp_path, text))
    assert run.seed is not None and run.seed.value == 1337
    assert run.val_tokens is not None and run.val_tokens.value == log.tokens
    assert run.train_ms is not None and run.train_ms.value == log.train_ms
    assert run.total is not None and run.total.bytes.value == log.model + log.code
    assert run.results[-1].bpb.value == pytest.approx(log.bpb, abs=1e-8)
    quote = run.results[-1].bpb.quote
    assert text.split("\n")[quote.line - 1].strip() == quote.text
    assert len(run.steps) == 1 and not any(metric.diagnostic for metric in run.results)


@pytest.mark.parametrize(
    "prefix",
    [
        "[rank0]: ",
        "[default0]:",
        "2026-04-13 10:11:12,345 - INFO - ",
        "[2026-04-19 11:28:15] ",
        "1776081234.123 ",
        "[2026-03-25 11:17:32] INFO: ",
        "2026-04-13 10:11:12,345 INFO ",
        "INFO:root:",
        "INFO - ",
        "[INFO]  ",
    ],
)
def test_what_launchers_put_in_front_is_left_out(tmp_path: Path, prefix: str) -> None:
    plain = read_log(written(tmp_path, Log().new))[0]
    prefixed = "\n".join(prefix + line if line.strip() else line for line in Log().new.split("\n"))
    run = read_log(written(tmp_path, prefixed))[0]
    assert run.results[-1].bpb.value == plain.results[-1].bpb.value
    assert run.total is not None and plain.total is not None and run.total.bytes.value == plain.total.bytes.value


def test_a_line_of_a_logger_is_one_that_the_code_can_print(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in path.glob("*.log"):
        lines = log.read_text().split("\n")
        log.write_text("\n".join(f"[2026-03-25 11:17:32] INFO: {line}" if line.strip() else line for line in lines))
    assert lint(path, rules.load()).verdict == Status.PASS


def test_a_file_of_several_runs_and_other_encodings(tmp_path: Path) -> None:
    both = read_log(written(tmp_path, Log(seed=1).new + Log(seed=2, loss=2.8).new))
    assert [run.seed.value for run in both if run.seed] == [1, 2]
    (run,) = read_log(written(tmp_path, Log().old.encode("utf-16")))
    assert run.results
    coloured = Log().new.replace("quantized_ttt", "\x1b[32mquantized_ttt\x1b[0m")
    assert read_log(written(tmp_path, coloured))[0].results[-1].label == "quantized_ttt"


def test_lines_of_underway_are_no_results() -> None:
    for line in ("ttt_chunk [1/9] bpb=1.08 time=2.0s", "running_bpb=1.1", "step:5/9 train_loss:2.1 bpb:1.2"):
        match = logs.SCORE.match(line)
        assert match is None or logs.UNDERWAY.search(line)
    match = logs.SCORE.match("ppm_mix bytes=27048621 mix_bpb=0.901871 ppm_only=2.07 nn_only=0.97")
    assert match is not None and match["bpb"] == "0.901871"


@pytest.mark.parametrize(
    ("body", "score", "seeds"),
    [
        (
            {"val_bpb": 1.1, "seed_results": {"42": {"val_bpb": 1.09}, "7": {"val_bpb": 1.11}}},
            1.1,
            {"42": 1.09, "7": 1.11},
        ),
        ({"val_bpb": "1.1000", "seeds": {"seed_42": 1.09, "seed_7": 1.11}}, 1.1, {"42": 1.09, "7": 1.11}),
        ({"mean_val_bpb": 1.1, "seed_results": [{"seed": 42, "ttt_val_bpb": 1.09}]}, 1.1, {"42": 1.09}),
        ({"val_bpb_mean": 1.1, "seeds": [42, 7], "val_bpb_seeds": [1.09, 1.11]}, 1.1, {"42": 1.09, "7": 1.11}),
        ({"val_bpb_3seed_mean": 1.1, "val_bpb_per_seed": {"42": 1.09}}, 1.1, {"42": 1.09}),
        ({"results": {"val_bpb": 1.1}}, 1.1, {}),
        ({"val_bpb": None, "seeds": "three"}, None, {}),
        ({"val_bpb": True, "seed_results": {"42": True}}, None, {}),
    ],
)
def test_spellings_of_submission_json(
    tmp_path: Path, body: dict[str, Any], score: float | None, seeds: dict[str, float]
) -> None:
    (tmp_path / "submission.json").write_text(json.dumps(body, indent=1))
    claims = read_claims(read(tmp_path))
    assert (claims.val_bpb.value if claims.val_bpb else None) == score
    assert {one.seed: one.val_bpb.value for one in claims.per_seed if one.val_bpb} == seeds
    for one in [claims.val_bpb, *(seed.val_bpb for seed in claims.per_seed)]:
        if one is not None:
            assert f"{one.value:g}" in one.text.replace("1.1000", "1.1")


def test_units_of_claimed_times(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"train_time_ms": 596195, "eval_time_seconds": 408.5}')
    claims = read_claims(read(tmp_path))
    assert claims.train_seconds is not None and claims.train_seconds.value == 596.195
    assert claims.eval_seconds is not None and claims.eval_seconds.value == 408.5


def test_the_headline_is_found_by_its_number_not_by_its_label(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in path.glob("*.log"):  # what leaderboard parsers look for, printed after the result
        log.write_text(log.read_text() + "final_int8_zlib_roundtrip_exact val_loss:2.90000000 val_bpb:1.12300000\n")
    papers = read(path)
    found = headline.find(read_claims(papers), read_logs(papers.logs))
    assert found.how == "mean" and {one.metric.label for one in found.carried} == {"quantized_ttt"}


def test_reruns_of_a_seed_beside_the_claimed_runs(tmp_path: Path) -> None:
    path = folder(tmp_path)
    for log in three(loss=2.7935, train_ms=592_000):
        (path / f"rerun_{log.seed}.log").write_text(log.new)
    papers = read(path)
    found = headline.find(read_claims(papers), read_logs(papers.logs))
    assert found.how == "mean" and len(found.carried) == 3
    assert all(run.file.startswith("train_seed") for run in found.runs)


def test_files_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (tmp_path / "secret.log").write_text(Log(seed=9).new)
    (path / "linked.log").symlink_to(tmp_path / "secret.log")
    with pytest.raises(UsageError, match="'linked.log' is a symbolic link"):
        read(path)
    (path / "linked.log").unlink()
    assert "train_gpt.py" in {paper.name for paper in read(path).files}


def test_code_that_cannot_be_parsed_is_weighed_and_never_run(tmp_path: Path) -> None:
    path = folder(tmp_path, script="import os; os.abort()\nthis is no python\n")
    code = read_code(read(path))
    assert code.shipped == len((path / "train_gpt.py").read_bytes()) and code.same == ""


def test_a_word_may_stand_before_the_score(tmp_path: Path) -> None:
    line = "final_int8_zlib_roundtrip_exact sliding val_loss:2.02050108 sliding val_bpb:1.19665674"
    text = f"seed:1337\nfinal_int8_zlib_roundtrip_exact val_loss:2.05641610 val_bpb:1.21792545\n{line}\n"
    (tmp_path / "train.log").write_text(text)
    (run,) = read_log(Paper("train.log", len(text), tmp_path))
    assert [(one.kind, one.loss.value if one.loss else None, one.bpb.value) for one in run.results] == [
        ("final_int8_zlib_roundtrip", 2.0564161, 1.21792545),
        ("final_int8_zlib_roundtrip_exact sliding", 2.02050108, 1.19665674),
    ]
