"""Whole audits of unmodified contest-style scripts: each offender next to the clean script that differs only in it."""

from __future__ import annotations

import base64
import lzma
from pathlib import Path

import pytest

from harness import rules
from harness.errors import UsageError
from harness.progress import Progress
from harness.record import Record, Status
from harness.scripts.collect import ScriptOptions
from harness.scripts.play import running
from harness.scripts.replaying import replay_script
from tests.scripts.audits import SCRIPT, audit, replayed, write_script
from tests.support import finding


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script"))


def statuses(record: Record) -> dict[str, str]:
    return {item.id: item.status.value for item in record.findings}


def test_a_clean_script_passes_and_leaves_a_record_and_a_report(tmp_path):
    source = SCRIPT.read_text()
    packed = base64.b85encode(lzma.compress(source.encode())).decode()
    wrapped = f'import lzma as L,base64 as B\nexec(L.decompress(B.b85decode("{packed}")))\n'
    path = write_script(tmp_path / "2026-01-01_Wrapped", wrapped)
    made = audit(path.parent, tmp_path / "out")
    record = made.record
    found = {item.id: item for item in record.findings}
    for check in ("determinism", "causality", "null-stream", "normalization", "score-before-update", "single-pass",
                  "artifact-independence", "byte-accounting"):  # fmt: skip
        assert found[check].status == Status.PASS, found[check].headline
    assert found["causality"].value("difference_to_print") < 1e-6
    assert made.explanations == ()
    assert record.submission.kind == "script"
    assert record.submission.settings["wrappers"]
    assert record.submission.settings["made small"]
    assert Record.load(tmp_path / "out").digest == record.computed_digest()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "harness audit" in page and "made small" in page.lower()
    assert (tmp_path / "out" / "observed.npz").is_file()


def test_a_check_that_is_asked_for_alone_is_played_for_alone(script, tmp_path):
    record = audit(script, tmp_path / "alone", checks=("determinism",)).record
    assert statuses(record) == {"determinism": "PASS"}
    assert sorted(path.name for path in (tmp_path / "alone").glob("*.log")) == ["again.log", "base.log"]
    assert {"base run", "second run"} <= set(record.timing) and "forked run" not in record.timing


def test_score_first_adaptation_is_legal_and_adapting_first_is_not(script, tmp_path):
    legal = audit(script, tmp_path / "legal", EVAL_MODE="ttt").record
    assert finding(legal, "score-before-update").status == Status.PASS
    assert "Track B" in finding(legal, "score-before-update").headline
    assert finding(legal, "causality").status == Status.PASS
    assert finding(legal, "artifact-independence").status == Status.PASS
    made = audit(script, tmp_path / "first", EVAL_MODE="ttt_first")
    found = finding(made.record, "score-before-update")
    assert found.status == Status.FAIL, statuses(made.record)
    assert finding(made.record, "causality").status == Status.FAIL
    assert any(".backward()" in line and line.lstrip().startswith(">") for line in made.explanations)


def test_slot_on_context_leaks_through_the_batch_and_replays(script, tmp_path):
    out = tmp_path / "slot"
    record = audit(script, out, EVAL_MODE="slot_context").record
    found = finding(record, "causality")
    assert found.status == Status.FAIL, statuses(record)
    assert finding(record, "score-before-update").status == Status.FAIL
    assert replayed(out, script) == {"causality": ["base", "forked"], "score-before-update": ["base", "forked"]}
    options = ScriptOptions()
    with Progress(quiet=True) as progress:
        with pytest.raises(UsageError, match="no witness"):
            replay_script(record, "determinism", script, options, progress)
        with pytest.raises(UsageError, match="no finding"):
            replay_script(record, "nothing", script, options, progress)


def test_training_on_validation_before_quantization_is_found(script, tmp_path):
    record = audit(script, tmp_path / "a", PREQUANT_TTT_EPOCHS=1).record
    found = finding(record, "artifact-independence")
    assert found.status == Status.FAIL, statuses(record)
    assert found.witness is not None and "adapt_to" in found.witness.data["training"]["place"]
    assert replayed(tmp_path / "a", script) == {"artifact-independence": ["base", "forked", "changed"]}
    assert finding(record, "causality").status == Status.PASS


def test_a_warm_up_on_validation_tokens_is_named_and_not_accused(script, tmp_path):
    record = audit(script, tmp_path / "a", WARM_UP_ON_VAL=1).record
    assert finding(record, "warm-up").status == Status.UNRULED, statuses(record)
    assert finding(record, "artifact-independence").status == Status.PASS
    assert record.exit_code == 0 or record.verdict in (Status.INCONCLUSIVE, Status.NOT_RUN)


def test_counts_of_the_whole_text_beat_the_entropy_and_running_counts_do_not(script, tmp_path):
    two = audit(script, tmp_path / "two", EVAL_MODE="ngram_two_pass").record
    assert finding(two, "null-stream").status == Status.FAIL, statuses(two)
    assert finding(two, "normalization").status != Status.PASS  # what is charged is no row's NLL
    assert replayed(tmp_path / "two", script)["null-stream"] == ["base"]
    one = audit(script, tmp_path / "one", EVAL_MODE="ngram").record
    assert finding(one, "null-stream").status == Status.PASS, statuses(one)
    assert Status.FAIL not in {item.status for item in one.findings}


def test_counts_are_seen_on_text_in_which_phrases_recur(script, tmp_path):
    """A sum above 1 and a look ahead are caught there; a mixture that is a distribution is left alone."""
    gated = audit(script, tmp_path / "gated", EVAL_MODE="counts_gated", tokens=2049).record
    summed = finding(gated, "normalization")
    assert summed.status == Status.FAIL, summed.headline
    assert summed.witness is not None and summed.witness.kind == "substitution"
    assert sorted(summed.witness.data["kept"])[len(summed.witness.data["kept"]) // 4] > 0.99
    assert finding(gated, "causality").status == Status.PASS
    whole = audit(script, tmp_path / "whole", EVAL_MODE="counts_whole", tokens=2049).record
    assert Status.FAIL not in {item.status for item in whole.findings}
    mixture = finding(whole, "normalization")
    assert mixture.status == Status.PASS and "takes from the others" in mixture.headline, mixture.headline
    assert mixture.value("tokens_replaced") > 20 < mixture.value("tokens_left")
    assert 0.1 < mixture.value("gained")
    assert 0.1 < mixture.value("lost_replaced")
    assert mixture.value("sum_estimate") < 1.1 < 1 + summed.value("gained")
    assert finding(whole, "causality").status == Status.PASS
    assert finding(whole, "causality").value("recurring_probes") == 2
    two = finding(audit(script, tmp_path / "two", EVAL_MODE="counts_two_pass", tokens=2049).record, "causality")
    assert two.status == Status.FAIL, two.headline
    runs = replayed(tmp_path / "two", script)
    assert runs["causality"] in (["base", "recurring", f"substituted-{index}"] for index in range(2))
    assert runs["null-stream"] == ["base"] and runs["normalization"][:2] == ["base", "recurring"]


def test_what_only_strict_rules_forbid_replays_by_the_rules_in_the_record(script, tmp_path):
    made = audit(script, tmp_path / "ttt", EVAL_MODE="ttt", ruleset=rules.load("strict")).record
    found = finding(made, "score-before-update")
    assert found.status == Status.FAIL and found.witness is not None and found.witness.kind == "rule"
    assert replayed(tmp_path / "ttt", script)["score-before-update"] == ["base"]
    audit(script, tmp_path / "warm", WARM_UP_ON_VAL=1, ruleset=rules.load("strict"))
    assert {"forked", "changed"} < set(replayed(tmp_path / "warm", script)["warm-up"])  # flips that moved nothing


def test_a_script_that_breaks_ends_in_inconclusive_with_its_error(tmp_path):
    path = write_script(
        tmp_path / "s", "import torch\nif __name__ == '__main__':\n    raise RuntimeError('no kernel X')\n"
    )
    record = audit(path, tmp_path / "out").record
    assert record.verdict == Status.INCONCLUSIVE
    assert "no kernel X" in finding(record, "causality").headline


def test_a_script_that_hangs_is_ended_within_its_time(tmp_path):
    body = "import time\nwhile True:\n    pass\n"
    path = write_script(tmp_path / "s", body)
    record = audit(path, tmp_path / "out", timeout=15.0).record
    assert record.verdict == Status.INCONCLUSIVE
    assert finding(record, "causality").status == Status.INCONCLUSIVE
    assert "it used more than 15 CPU seconds (--timeout raises this limit)" in finding(record, "causality").headline


@pytest.mark.slow
def test_forks_that_are_cut_are_no_pass_with_fewer(tmp_path, monkeypatch):
    """A script that never comes back once its process is another one: the whole run alone says too little."""
    monkeypatch.setattr(running, "_FORK_SHARE", 0.0)
    monkeypatch.setattr(running, "_FORK_SECONDS", 0.0)
    source = SCRIPT.read_text()
    line = "            hidden = model.hidden(x)\n"
    stuck = "            while os.getpid() != BORN:\n                pass\n"
    assert line in source
    source = source.replace(line, stuck + line).replace("EVAL = ", "BORN = os.getpid()\nEVAL = ", 1)
    record = audit(write_script(tmp_path / "s", source), tmp_path / "out", timeout=40.0).record
    cause = "it used more than 40 CPU seconds (--timeout raises this limit)"
    for check in ("causality", "determinism"):
        assert finding(record, check).status == Status.INCONCLUSIVE and cause in finding(record, check).headline
    made = finding(record, "causality")
    assert made.value("probes_made") == 1 < made.value("probes_planned") and record.exit_code == 3
    assert finding(record, "artifact-independence").status == Status.PASS  # its one run was made


def test_a_setting_that_the_script_never_reads_is_refused(script, tmp_path):
    with pytest.raises(UsageError, match="never reads NO_SUCH_THING"):
        audit(script, tmp_path / "out", NO_SUCH_THING=1)
