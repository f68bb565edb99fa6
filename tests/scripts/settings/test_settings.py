"""The settings that were really submitted: every spelling of a read, commands, logs, precedence, conflicts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.scripts.opening import open_script
from harness.scripts.settings.claimed import Claim
from harness.scripts.settings.commands import from_markdown, from_shell
from harness.scripts.settings.reads import Read, find_reads
from harness.scripts.settings.submitted import Settings, read_settings

SCRIPT = """
import os, uuid
class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data")
    run_id = os.environ.get("RUN_ID", str(uuid.uuid4()))
    seed = int(os.environ.get("SEED", 1337))
    iterations = int(os.environ.get("ITERATIONS", 20_000))
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 2 * 512))
    eval_seq_len = int(os.environ.get("EVAL_SEQ_LEN", train_seq_len))
    slot_enabled = bool(int(os.environ.get("SLOT_ENABLED", "0")))
    ttt_enabled = os.environ.get("TTT_ENABLED", "0") == "1"
    matrix_lr = float(os.environ.get("MATRIX_LR", 0.04))
    cap = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    layers = [int(x) for x in os.environ.get("LOOP_LAYERS", "").split(",") if x]
    fixed_size = 64
args = Hyperparameters()
stage_two = os.environ.get("TTT_EVAL_ONLY", "0") == "1"
print(f"train_seq_len:{args.train_seq_len} iterations:{args.iterations} max_wallclock_seconds:{args.cap:.3f}")
print(f"seed:{args.seed}")
"""


def settings(path: Path, *, overrides: dict[str, str] | None = None, code: str = SCRIPT, **files: str) -> Settings:
    """The settings of a folder with this code and these files; `__` in a name is a dot."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "train_gpt.py").write_text(code)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return read_settings(open_script(path), overrides)


def reads(code: str) -> dict[str, Read]:
    return find_reads([(None, ast.parse(code))]).by_name()


@pytest.mark.parametrize(
    ("code", "name", "default", "cast", "attribute"),
    [
        ('x = int(os.environ.get("A", 3))', "A", "3", "int", "x"),
        ('x = float(os.getenv("A", "1e-3"))', "A", "1e-3", "float", "x"),
        ('x = os.environ["A"]', "A", None, "text", "x"),
        ('x = bool(int(os.environ.get("A", "1")))', "A", "1", "bool", "x"),
        ('x = os.environ.get("A", "1") != "0"', "A", "1", "bool", "x"),
        ('x = os.environ.get("A", "").lower() in ("1", "true")', "A", "", "bool", "x"),
        ('g = os.environ.get\nx = int(g("A", 2 ** 4))', "A", "16", "int", "x"),
        ('from os import environ as e\nx = e.get("A", "b")', "A", "b", "text", "x"),
        ('def env_int(n, d):\n    return int(os.environ.get(n, d))\nx = env_int("A", 7)', "A", "7", "int", "x"),
        ('def e(k, d, t):\n    return t(os.environ.get(k, d))\nx = e("A", 0.5, float)', "A", "0.5", "float", "x"),
        ('f = lambda k, d: os.environ.get(k, d)\nx = f("A", "on")', "A", "on", "text", "x"),
        ('run(steps=int(os.environ.get("A", 8)))', "A", "8", "int", "steps"),
        ('def f(n=int(os.environ.get("A", 500000))): pass', "A", "500000", "int", None),
        ('p.add_argument("--slot-lr", type=float, default=0.1)', "--slot-lr", "0.1", "float", "slot_lr"),
        ("class C:\n    k: int = 4\nfor n in vars(C): setattr(C, n, os.environ.get(n.upper()))", "K", "4", "int", "k"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_read(code: str, name: str, default: str | None, cast: str, attribute: str | None) -> None:
    read = reads("import os\n" + code)[name]
    assert (read.default, read.cast, read.attribute) == (default, cast, attribute)


def test_words_for_yes_and_no_are_the_scripts_own() -> None:
    read = reads('import os\nx = os.environ.get("A", "false").lower() == "true"')["A"]
    assert (read.cast, read.yes) == ("bool", "true")


def test_defaults_follow_other_settings(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.get("EVAL_SEQ_LEN") == "1024" and found.values["EVAL_SEQ_LEN"].origin == "default"
    assert found.constants is not None and found.constants["fixed_size"] == ("64", 15)
    assert found.submitted == {}


COMMAND = "```bash\npip install x\nSLOT_ENABLED=1 MATRIX_LR=0.03 \\\n  SEED=42 torchrun --nproc=8 train_gpt.py\n```\n"


def test_the_documented_command_counts(tmp_path: Path) -> None:
    found = settings(tmp_path, README__md=COMMAND)
    assert found.submitted == {"SLOT_ENABLED": "1", "MATRIX_LR": "0.03", "SEED": "42"}
    setting = found.values["SLOT_ENABLED"]
    assert (setting.origin, setting.file, setting.line) == ("command", "README.md", 3)


DUMP = (
    'source: f"seed:{args.seed}"\n'
    "Hyperparameters:\n  data_path: /x\n  iterations: 9000\n  slot_enabled: True\n  ttt_enabled: True\n"
    "  matrix_lr: 0.02\n  layers: [3, 4]\n  seed: 7\n  unknown: 3\n\n1/9000 train_loss: 6.9\n  iterations: 1\n"
)


def test_the_log_wins_over_the_command_and_the_conflict_is_told(tmp_path: Path) -> None:
    found = settings(tmp_path, README__md=COMMAND, train_seed7__log=DUMP)
    expected = {
        "ITERATIONS": "9000",
        "SLOT_ENABLED": "1",
        "TTT_ENABLED": "1",
        "MATRIX_LR": "0.02",
        "LOOP_LAYERS": "3,4",
    }
    assert found.submitted == {**expected, "SEED": "7"}
    assert found.values["MATRIX_LR"].file == "train_seed7.log" and found.values["MATRIX_LR"].line == 7
    assert [conflict.name for conflict in found.conflicts] == ["MATRIX_LR"]
    assert found.conflicts[0].values == (("0.02", "train_seed7.log:7"), ("0.03", "README.md:3"))


def test_an_override_wins_over_everything(tmp_path: Path) -> None:
    found = settings(tmp_path, overrides={"MATRIX_LR": "0.5"}, README__md=COMMAND, train__log=DUMP)
    assert found.get("MATRIX_LR") == "0.5" and found.values["MATRIX_LR"].origin == "override"
    with pytest.raises(UsageError, match="never reads SLOT_LR; it reads SLOT_ENABLED"):
        settings(tmp_path, overrides={"SLOT_LR": "1"})


def test_header_lines_of_older_logs(tmp_path: Path) -> None:
    log = SCRIPT + "train_seq_len:2048 iterations:500 max_wallclock_seconds:600.000\nseed:3\n"
    log += "step:1/500 train_loss:7.0\ntrain_seq_len:9 iterations:9 max_wallclock_seconds:9.000\n"
    assert settings(tmp_path, train__log=log).submitted == {"TRAIN_SEQ_LEN": "2048", "ITERATIONS": "500", "SEED": "3"}


def test_what_the_line_of_the_claimed_score_prints_of_settings_counts(tmp_path: Path) -> None:
    code = SCRIPT.replace("    fixed_size", '    stride = int(os.environ.get("EVAL_STRIDE", 0))\n    fixed_size')
    code += "if args.stride > 0:\n"
    code += '    print(f"final_window val_loss:{1.0:.4f} val_bpb:{2.0:.4f} stride:{args.stride} x:{7}")\n'
    log = code + "seed:3\nstep:1/500 train_loss:7.0 stride:5\nother_window val_loss:1.9 val_bpb:1.2 stride:32\n"
    log += "final_window val_loss:1.9 val_bpb:1.1 stride:256 x:7\n"
    settings(tmp_path, code=code, train__log=log)
    claimed = read_settings(open_script(tmp_path), None, Claim(frozenset({"final window"})))
    assert claimed.submitted == {"SEED": "3", "EVAL_STRIDE": "256"}
    assert claimed.values["EVAL_STRIDE"].line == len(log.splitlines())
    assert read_settings(open_script(tmp_path), None, Claim(frozenset({"another"}))).submitted == {"SEED": "3"}


def test_the_log_that_most_agree_with_is_taken(tmp_path: Path) -> None:
    other = DUMP.replace("matrix_lr: 0.02", "matrix_lr: 0.09")
    found = settings(tmp_path, a__log=other, b__log=DUMP, c__log=DUMP.replace("seed: 7", "seed: 8"))
    assert found.get("MATRIX_LR") == "0.02" and found.values["MATRIX_LR"].file == "b.log"
    assert found.conflicts[0].name == "MATRIX_LR" and "a.log" in found.notes[0]


def test_the_log_that_shows_the_claimed_score_is_taken_before_what_most_agree_on(tmp_path: Path) -> None:
    other = DUMP.replace("matrix_lr: 0.02", "matrix_lr: 0.09")
    settings(tmp_path, a__log=other, b__log=DUMP, c__log=DUMP.replace("seed: 7", "seed: 8"))
    found = read_settings(open_script(tmp_path), None, Claim(logs=frozenset({"a.log"})))
    assert found.get("MATRIX_LR") == "0.09" and found.values["MATRIX_LR"].file == "a.log"
    assert read_settings(open_script(tmp_path), None, Claim(logs=frozenset({"nowhere.log"}))).get("MATRIX_LR") == "0.02"


def test_a_stated_configuration_counts_where_nothing_better_is_known(tmp_path: Path) -> None:
    readme = "```\nMATRIX\\_LR=0.06 SLOT\\_ENABLED=1\n```\n" + COMMAND.replace("MATRIX_LR=0.03 ", "")
    assert settings(tmp_path, README__md=readme).submitted == {"SLOT_ENABLED": "1", "MATRIX_LR": "0.06", "SEED": "42"}


def test_two_processes_of_one_run(tmp_path: Path) -> None:
    readme = "```bash\nSEED=1 torchrun train_gpt.py\nSEED=1 TTT_EVAL_ONLY=1 torchrun train_gpt.py\n```\n"
    found = settings(tmp_path, README__md=readme)
    assert [stage.env for stage in found.stages] == [{}, {"TTT_EVAL_ONLY": "1"}]
    alternatives = "```bash\nSLOT_ENABLED=1 torchrun train_gpt.py\nSLOT_ENABLED=0 torchrun train_gpt.py\n```\n"
    found = settings(tmp_path, README__md=alternatives)
    assert len(found.stages) == 1 and found.get("SLOT_ENABLED") == "1" and "README.md:3" in found.notes[0]


def test_a_second_process_that_only_a_log_tells_of(tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    scored = DUMP.replace("matrix_lr: 0.02", "matrix_lr: 0.01") + "TTT_EVAL_ONLY=1 - scoring what was saved\n"
    (tmp_path / "later" / "seed7.log").write_text(scored)
    found = settings(tmp_path, train__log=DUMP)
    assert [stage.env for stage in found.stages] == [{}, {"MATRIX_LR": "0.01", "TTT_EVAL_ONLY": "1"}]
    assert found.stages[1].where == "later/seed7.log:14" and found.get("MATRIX_LR") == "0.02"


def test_names_that_nobody_reads_are_told(tmp_path: Path) -> None:
    found = settings(tmp_path, README__md="```\nEMA=1 NCCL_DEBUG=1 torchrun train_gpt.py\n```")
    assert found.unread == {"EMA": "1"}


def test_side_modules_are_read_too(tmp_path: Path) -> None:
    code = SCRIPT + "import helper\n"
    found = settings(tmp_path, code=code, helper__py="import os\nK = int(os.environ.get('NGRAM_ORDER', 5))\n")
    assert found.get("NGRAM_ORDER") == "5" and found.values["NGRAM_ORDER"].file == "helper.py"


def test_shell_scripts() -> None:
    text = """#!/bin/bash
export A=1 B="two words"
C=3   # not exported, but stated
for SEED in 42 7; do
  D=${C}x E=${MISSING:-5} SEED=$SEED torchrun --standalone \\
    train_gpt.py --lr 0.1 > log.txt 2>&1
done
python3 other.py
"""
    (command,), listed = from_shell(text, "run.sh", "train_gpt.py")
    assert command.env == {"A": "1", "B": "two words", "D": "3x", "E": "5", "SEED": "42"}
    assert command.argv == ("--lr", "0.1") and command.line == 5 and command.whole
    assert [item.name for item in listed] == ["C"]


def test_commands_outside_code_blocks_do_not_count() -> None:
    assert from_markdown("A=1 torchrun train_gpt.py", "README.md", "train_gpt.py") == ([], [])


@pytest.mark.parametrize(
    "text", ["A='1 torchrun train_gpt.py", "for", "export", "A=$(date) torchrun train_gpt.py", "&& ;;"]
)
def test_odd_shell_is_no_error(text: str) -> None:
    from_shell(text, "run.sh", "train_gpt.py")
