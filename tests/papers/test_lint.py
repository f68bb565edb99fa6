"""`harness lint`'s checks: for each an offender that it must catch and a clean neighbour that it must leave alone."""

from __future__ import annotations

import base64
import json
import lzma
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.audit import statistics
from harness.corpus.tokenizer import load_tokenizer
from harness.errors import UsageError
from harness.papers import known
from harness.papers.linting import CHECKS, Linted, lint, lint_all, record_of
from harness.papers.replaying import replay_papers
from harness.record import Finding, Record, Status
from tests.corpus.folding import ALL, CASE, folding_model
from tests.papers.papers import SCRIPT, Log, folder, three

RULES = rules.load()


def finding(linted: Linted, check: str) -> Finding:
    return next(found for found in linted.findings if found.id == check)


def status(path: Path, check: str) -> Status:
    return finding(lint(path, RULES), check).status


@pytest.mark.parametrize("grammar", ["new", "old"])
def test_a_clean_folder_has_nothing_to_explain(tmp_path: Path, grammar: str) -> None:
    linted = lint(folder(tmp_path, grammar=grammar), RULES)
    assert linted.verdict == Status.PASS, [(f.id, f.headline) for f in linted.findings]
    assert linted.case.headline.how == "mean"
    assert [found.id for found in linted.findings] == [name for name in CHECKS if name != "copies"]  # with --against


def test_every_fail_quotes_file_line_and_text(tmp_path: Path) -> None:
    path = folder(tmp_path, three(text_bytes=176_300_000))
    for found in lint(path, RULES).findings:
        if found.status == Status.FAIL:
            assert found.witness is not None
            for quote in found.witness.data["quotes"]:
                lines = (path / quote["file"]).read_text().splitlines()
                assert quote["text"] in lines[quote["line"] - 1]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (Log(), Status.PASS),
        (Log(text_bytes=176_332_748), Status.FAIL),  # a space counted twice
        (Log(text_bytes=151_180_268), Status.INCONCLUSIVE),
        (Log(tokens=47_851_520, text_bytes=164_594_399), Status.FAIL),  # case markers counted as text
        (Log(tokens=47_851_520, text_bytes=151_074_499, loss=2.33), Status.PASS),
        (Log(tokens=62_363_648, text_bytes=182_811_140, loss=1.93), Status.FAIL),  # a private tokenizer
        (Log(tokens=9_662_464, text_bytes=30_505_000, loss=2.4), Status.FAIL),  # a fifth of the text
        (Log(tokens=40_540_160, text_bytes=130_000_000), Status.INCONCLUSIVE),  # counts too little: no advantage
        (Log(tokens=63_779_840, text_bytes=155_769_746, loss=2.07), Status.PASS),  # the first export
    ],
)
def test_bytes_that_a_score_divides_by(tmp_path: Path, log: Log, expected: Status) -> None:
    logs = [replace(log, seed=seed, loss=log.loss + seed * 1e-5) for seed in (1, 2, 3)]
    assert status(folder(tmp_path, logs), "byte-accounting") == expected


def test_bytes_of_one_odd_evaluation_are_a_question(tmp_path: Path) -> None:
    logs = [replace(log, printed_bpb=0.9 + log.seed * 1e-6) for log in three()]
    found = finding(lint(folder(tmp_path, logs), RULES), "byte-accounting")
    assert found.status == Status.INCONCLUSIVE
    assert "other evaluations of the run" in found.headline


def test_logs_with_other_bytes_than_the_claim_convict_nobody(tmp_path: Path) -> None:
    logs = three(tokens=47_851_520, text_bytes=164_594_399, loss=2.33)
    honest = {"val_bpb": 1.0654, "seed_results": None, "val_loss": 2.33}
    linted = lint(folder(tmp_path, logs, claims=honest), RULES)
    assert finding(linted, "byte-accounting").status == Status.INCONCLUSIVE
    assert Status.FAIL not in {found.status for found in linted.findings}


def test_no_record_is_not_failed_for_another_text(tmp_path: Path) -> None:
    path = folder(tmp_path, three(text_bytes=176_332_748), claims={"track": "non-record"})
    assert status(path, "byte-accounting") == Status.INCONCLUSIVE
    assert status(path, "train-clock") == Status.NOT_APPLICABLE


@settings(max_examples=60, deadline=None)
@given(
    export=st.sampled_from(known.EXPORTS),
    total=st.floats(*map(float, known.TEXT_BYTES)),
    loss=st.floats(0.5, 8.0),
)
def test_implied_bytes_are_the_bytes_that_were_divided_by(export: known.Export, total: float, loss: float) -> None:
    log = Log(tokens=export.tokens, text_bytes=total, loss=loss)
    assert known.implied_width(loss, log.bpb) * export.tokens == pytest.approx(total, rel=1e-12)
    assert known.export_by_width(total / export.tokens) is not None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train_ms": 599_900, "hessians": 0.1}, Status.PASS),
        ({"train_ms": 600_137, "hessians": 0.0}, Status.PASS),  # the last step ends after the cap
        ({"train_ms": 600_600, "hessians": 0.0}, Status.UNRULED),
        ({"train_ms": 601_153, "hessians": 0.0}, Status.FAIL),
        ({"train_ms": 599_600, "hessians": 4.7}, Status.UNRULED),
        ({"train_ms": 1_200_000, "world_size": 4}, Status.INCONCLUSIVE),
    ],
)
def test_train_clock(tmp_path: Path, change: dict[str, object], expected: Status) -> None:
    assert status(folder(tmp_path, three(**change)), "train-clock") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"eval_ms": 598_000}, Status.PASS),
        ({"eval_ms": 598_000, "warmup": 90.5}, Status.UNRULED),
        ({"eval_ms": 688_000}, Status.FAIL),
        ({"eval_ms": 300_000, "warmup": 90.5}, Status.PASS),
    ],
)
def test_eval_clock(tmp_path: Path, change: dict[str, object], expected: Status) -> None:
    assert status(folder(tmp_path, three(**change)), "eval-clock") == expected


def test_sizes_over_the_limit_by_every_count(tmp_path: Path) -> None:
    assert status(folder(tmp_path, three(model=16_020_000)), "size-limit") == Status.FAIL
    assert status(folder(tmp_path / "b", three(model=15_990_000)), "size-limit") == Status.PASS


def test_a_log_that_counts_the_raw_source_of_a_packed_script_is_tolerated(tmp_path: Path) -> None:
    source = "\n".join(f"value_{index} = {random.Random(index).random()}" for index in range(2000))
    packed = base64.b85encode(lzma.compress(source.encode())).decode()
    wrapper = f"import lzma,base64\nexec(lzma.decompress(base64.b85decode({packed!r})))\n"
    logs = three(model=16_000_000 - len(wrapper) - 100, code=len(source) + 30_000)
    found = finding(lint(folder(tmp_path, logs, script=wrapper), RULES), "size-limit")
    assert found.status == Status.PASS
    assert "as the log adds up" in found.headline and "as shipped" in found.headline


def test_a_stub_that_runs_another_file_is_weighed_with_it(tmp_path: Path) -> None:
    stub = "exec(open(__file__.replace('train_gpt.py', 'real_code.py')).read())\n"
    path = folder(tmp_path, three(model=15_960_000, code=len(stub)), script=stub)
    (path / "real_code.py").write_text(
        "".join(f"x{index} = {random.Random(index).random()!r}\n" for index in range(4000))
    )
    linted = lint(path, RULES)
    assert linted.facts["code"]["shipped"] > 60_000
    assert finding(linted, "size-limit").status in (Status.UNRULED, Status.INCONCLUSIVE)
    assert "only runs another file: real_code.py" in str(finding(linted, "claims").value("to_be_explained"))


def test_side_files_that_the_script_imports_are_counted(tmp_path: Path) -> None:
    path = folder(tmp_path, three(model=15_990_000), script="import side_kernel\n" + SCRIPT)
    (path / "side_kernel.py").write_text("# " + "x" * 20_000)
    (path / "prepare_data.py").write_text("# " + "x" * 20_000)
    found = finding(lint(path, RULES), "size-limit")
    assert found.status == Status.UNRULED
    assert "every file that the script names" in found.headline


def test_a_seed_claim_below_its_own_log_is_a_contradiction(tmp_path: Path) -> None:
    logs = three()
    results = {str(log.seed): {"val_bpb": round(log.bpb - 0.0145, 5)} for log in logs}
    claims = {"val_bpb": round(sum(log.bpb for log in logs) / 3 - 0.0145, 5), "seed_results": results}
    found = finding(lint(folder(tmp_path, logs, claims=claims), RULES), "claims")
    assert found.status == Status.FAIL
    assert found.witness is not None and {q["file"] for q in found.witness.data["quotes"]} >= {"submission.json"}


def test_a_claim_above_its_log_is_only_a_question(tmp_path: Path) -> None:
    logs = three()
    results = {str(log.seed): {"val_bpb": round(log.bpb + 0.0145, 5)} for log in logs}
    claims = {"val_bpb": round(sum(log.bpb for log in logs) / 3 + 0.0145, 5), "seed_results": results}
    assert status(folder(tmp_path, logs, claims=claims), "claims") == Status.INCONCLUSIVE


def test_runs_of_other_configurations_in_one_mean(tmp_path: Path) -> None:
    logs = three()
    logs[2] = replace(logs[2], settings={"matrix_lr": 0.026, "run_id": "other"})
    found = finding(lint(folder(tmp_path, logs), RULES), "claims")
    assert found.status == Status.INCONCLUSIVE
    assert "matrix_lr" in found.headline and "run_id" not in found.headline
    # a reference run beside the claimed ones is no part of the claim
    mean = round((logs[0].bpb + logs[1].bpb) / 2, 6)
    beside = folder(tmp_path / "b", logs, claims={"val_bpb": mean, "seeds": [42, 0], "seed_results": None})
    assert "configurations" not in str(finding(lint(beside, RULES), "claims").value("to_be_explained"))


def test_two_seeds_with_the_same_score(tmp_path: Path) -> None:
    logs = [replace(log, loss=2.79) for log in three()]
    assert "same score to the last digit" in finding(lint(folder(tmp_path, logs), RULES), "claims").headline


def test_a_repeated_log_counts_once(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "train.log").write_bytes((path / "train_seed42.log").read_bytes())
    linted = lint(path, RULES)
    assert len(linted.case.runs) == 3
    assert linted.verdict == Status.PASS


def test_a_log_named_after_another_seed(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "train_seed0.log").rename(path / "train_seed7.log")
    assert "is a log of seed 0" in finding(lint(path, RULES), "claims").headline


def test_copies_are_seen_among_several_folders(tmp_path: Path) -> None:
    first = folder(tmp_path, name="first")
    same = folder(tmp_path, name="same", script=SCRIPT)
    layout = folder(
        tmp_path, name="layout", script="# another comment\n" + SCRIPT.replace("\n    print", "\n\n    print")
    )
    other = folder(tmp_path, name="other", script=SCRIPT + "print(1)\n")
    linted = lint_all([first, same, layout, other], RULES)
    assert dict(linted[0].case.copies) == {"same": "byte for byte", "layout": "but for comments and layout"}
    assert linted[3].case.copies == {} and finding(linted[3], "claims").status == Status.PASS
    assert finding(linted[1], "claims").status == Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ln -s data/fineweb_val_000000.bin alias/fineweb_train_000000.bin", Status.INCONCLUSIVE),
        ("cp -r data/fineweb_val_000000.bin alias/fineweb_val_000000.bin", Status.PASS),
        ("ln -s data/fineweb_train_000000.bin alias/fineweb_train_000000.bin", Status.PASS),
    ],
)
def test_a_validation_shard_under_a_training_shards_name_is_named(
    tmp_path: Path, command: str, expected: Status
) -> None:
    path = folder(tmp_path)
    readme = path / "README.md"
    readme.write_text(f"{readme.read_text()}\n```bash\n{command}\n```\n")
    found = finding(lint(path, RULES), "data-split")
    assert found.status == expected
    if expected == Status.INCONCLUSIVE:
        assert any("README.md:" in str(line) and command in str(line) for line in found.value("evidence"))


@pytest.mark.parametrize(("shards", "expected"), [(80, Status.PASS), (1499, Status.INCONCLUSIVE)])
def test_marks_of_an_overlap(tmp_path: Path, shards: int, expected: Status) -> None:
    logs = three(tokens=47_851_520, text_bytes=151_074_499, loss=2.33, shards=shards)
    assert status(folder(tmp_path, logs), "data-split") == expected


def test_a_command_that_holds_out_too_few_documents(tmp_path: Path) -> None:
    path = folder(tmp_path, three(tokens=47_851_520, text_bytes=151_074_499, loss=2.33))
    readme = (path / "README.md").read_text()
    (path / "README.md").write_text(readme + "\nDo not use the default --val-docs=10000 here.\n")
    assert status(path, "data-split") == Status.PASS
    (path / "README.md").write_text(readme + "\n    python prepare.py --docs all.jsonl --val-docs=10000\n")
    assert status(path, "data-split") == Status.INCONCLUSIVE


def test_significance_wants_seeds_and_beats_a_previous_record(tmp_path: Path) -> None:
    assert status(folder(tmp_path, three()[:1]), "significance") == Status.INCONCLUSIVE
    path = folder(tmp_path / "b")
    bpb = [log.bpb for log in three()]
    assert finding(lint(path, RULES), "significance").status == Status.NOT_APPLICABLE
    better = lint(path, RULES, previous=("before", [score + 0.002 for score in bpb]))
    worse = lint(path, RULES, previous=("before", [score - 0.002 for score in bpb]))
    assert finding(better, "significance").status == Status.PASS
    assert finding(worse, "significance").status == Status.FAIL
    again = replay_papers(record_of(worse, RULES), "significance", path, RULES)
    assert again.reproduced and again.now == finding(worse, "significance")


def test_a_single_previous_score_has_an_error_of_its_own(tmp_path: Path) -> None:
    """The same statistics as the audit's: a FAIL only where an exact number would not have been beaten either."""
    path = folder(tmp_path)
    bpb = [log.bpb for log in three()]
    middle, error = statistics.mean(bpb), statistics.deviation(bpb) / math.sqrt(len(bpb))
    for above, expected in ((-1.0, Status.FAIL), (1.0, Status.INCONCLUSIVE), (9.0, Status.PASS)):
        found = finding(lint(path, RULES, previous=("before", [middle + above * error])), "significance")
        assert found.status == expected, found.headline
        assert any("one number is known" in line for line in found.not_covered)


def test_strict_rules_hold_what_is_unruled_against_the_folder(tmp_path: Path) -> None:
    path = folder(tmp_path, three(eval_ms=598_000, warmup=90.5))
    found = finding(lint(path, rules.load("strict")), "eval-clock")
    assert found.status == Status.FAIL and found.witness is not None


def test_a_tokenizer_of_the_folder_that_folds_text_is_caught_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    wanted = {"all": Status.FAIL, "case": Status.UNRULED, "none": Status.PASS}
    for name, fold in (("all", ALL), ("case", CASE), ("none", {})):
        path = folder(tmp_path / name)
        folding_model(path / "own.model", fold)
        found = finding(lint(path, RULES), "byte-accounting")
        assert found.status == wanted[name], found.headline
        if name == "all":
            assert found.witness is not None
            data = found.witness.data
            processor = load_tokenizer(path / "own.model").processor
            assert processor.encode(data["document"]) == processor.encode(data["other"]) == data["tokens"]
    path = folder(tmp_path / "two")
    folding_model(path / "used.model", {})
    folding_model(path / "tried.model", ALL)  # no word or code names it
    (path / "README.md").write_text("With used.model.\n")
    found = finding(lint(path, RULES), "byte-accounting")
    assert found.status == Status.PASS and any("tried.model" in line for line in found.not_covered)
    (path / "caps.py").write_text(
        "def encode_caps(text):\n    return text\n\n\ndef decode_caps(text):\n    return text\n"
    )
    found = finding(lint(path, RULES), "byte-accounting")
    assert found.status == Status.PASS and any("caps.py" in line for line in found.not_covered)


def test_a_folder_without_evidence_is_never_a_pass(tmp_path: Path) -> None:
    path = folder(tmp_path, [])
    linted = lint(path, RULES)
    assert linted.verdict == Status.INCONCLUSIVE
    assert {f.status for f in linted.findings} <= {
        Status.INCONCLUSIVE, Status.NOT_RUN, Status.NOT_APPLICABLE
    }  # fmt: skip
    with pytest.raises(UsageError, match="no folder"):
        lint(tmp_path / "nowhere", RULES)
    with pytest.raises(UsageError, match="is a file"):
        lint(path / "README.md", RULES)


@pytest.mark.parametrize(
    "broken",
    ["", "[]", "{", '{"val_bpb": "PENDING"}', '{"val_bpb": 1e999}', '{"seeds": {"42": {"42": {}}}}', "[" * 100_000],
)
def test_a_broken_submission_json_is_a_question(tmp_path: Path, broken: str) -> None:
    path = folder(tmp_path)
    (path / "submission.json").write_text(broken)
    linted = lint(path, RULES)
    assert finding(linted, "claims").status == Status.INCONCLUSIVE
    assert Status.ERROR not in {found.status for found in linted.findings}


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300), st.text(max_size=300), st.sampled_from(["train.log", "submission.json", "train_gpt.py"])
)
def test_strangers_files_never_break_it(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, text: str, name: str
) -> None:
    path = folder(tmp_path_factory.mktemp("strangers"))
    (path / name).write_bytes(raw + b"\n" + text.encode("utf-8", "surrogatepass"))
    linted = lint(path, RULES)
    assert Status.ERROR not in {found.status for found in linted.findings}
    assert Status.FAIL not in {found.status for found in linted.findings}


def test_a_record_of_kind_evidence_keeps_its_schema(tmp_path: Path) -> None:
    record = record_of(lint(folder(tmp_path), RULES), RULES)
    (tmp_path / "record.json").write_text(record.to_json())
    again = Record.load(tmp_path / "record.json")
    assert again.submission.kind == "evidence" and again.score is None
    assert again.digest == again.computed_digest()
    assert json.loads(record.to_json())["submission"]["claims"]["val_bpb"]["file"] == "submission.json"
    assert "/" not in again.submission.path
