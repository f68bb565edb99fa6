"""The folder and environment that a script gets: the submitted variables, and our data where it looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.scripts.play import streams
from harness.scripts.play.running import Playable, environment, furnish, tools

DATA = streams.make(8192)


def test_names_of_data_lead_to_ours(tmp_path: Path) -> None:
    script = Playable(
        "train_gpt.py",
        "pass",
        env={"ITERATIONS": "3", "RANK": "7", "DATA_PATH": "/elsewhere"},
        paths={
            "MY_DATA": "dataset",
            "SP_MODEL": ("tokenizer", "x/y.model"),
            "TOKENIZER_META_PATH": ("tokenizer", ""),
            "TOKENIZER_VOCAB": ("tokenizer", "a.vocab"),
            "RUN_ID": ("run", None),
        },
    )
    layout = furnish(tmp_path / "run", script, DATA)
    env = environment(script, layout)
    assert env["ITERATIONS"] == "3" and "RANK" not in env
    assert env["DATA_PATH"] == env["MY_DATA"] == "./data/datasets/fineweb10B_sp8192"
    assert env["SP_MODEL"] == env["TOKENIZER_PATH"] == "./data/tokenizers/fineweb_8192_bpe.model"
    assert "TOKENIZER_META_PATH" not in env and "TOKENIZER_VOCAB" not in env
    assert (tmp_path / "run" / "train_gpt.py").read_text() == "pass"


@pytest.mark.parametrize(
    ("source", "env", "there"),
    [
        ("pass", {}, False),
        ("x = glob('fineweb_val_bytes_*.bin')", {}, True),
        ("os.environ.get('CASEOPS_ENABLED', '0'); 'fineweb_val_bytes'", {}, False),
        ("os.environ.get('CASEOPS_ENABLED', '0'); 'fineweb_val_bytes'", {"CASEOPS_ENABLED": "1"}, True),
        ('os.environ.get("CASEOPS_ENABLED", "1")', {}, True),
        ('os.environ.get("CASEOPS_ENABLED", "1")', {"CASEOPS_ENABLED": "0"}, False),
    ],
)
def test_the_sidecar_is_there_for_those_who_read_it(
    source: str, env: dict[str, str], there: bool, tmp_path: Path
) -> None:
    furnish(tmp_path / "run", Playable("train_gpt.py", source, env=env), DATA)
    assert bool(list((tmp_path / "run").rglob("fineweb_val_bytes_*.bin"))) == there


def test_datasets_that_are_spelt_out_are_there_too(tmp_path: Path) -> None:
    furnish(tmp_path / "run", Playable("train_gpt.py", "DATA = './data/datasets/fineweb10B_sp1024'"), DATA)
    assert (tmp_path / "run/data/datasets/fineweb10B_sp1024/fineweb_val_000000.bin").is_file()


def test_the_compiler_is_shown_only_to_those_who_call_it(tmp_path: Path) -> None:
    assert tools(Playable("train_gpt.py", "import gcc_helper")) == []
    (tmp_path / "fast.py").write_text("subprocess.run(['g++', '-O3', 'x.cpp'])")
    assert tools(Playable("train_gpt.py", "import fast", folder=tmp_path, side=("fast.py",)))
