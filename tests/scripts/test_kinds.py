"""Kinds of scripts that are no train_gpt.py with environment variables, SentencePiece and attention: each is traced."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.audit.check import Need
from harness.record import Status
from harness.scripts.reasons import REASONS
from tests.scripts.audits import TOKENS, audit, write_script
from tests.scripts.kinds import kinds, write_kind
from tests.support import finding

#: Enough for the order to show.
MOST = frozenset({Need.SECOND_RUN, Need.FLIPS, Need.OTHER_TEXT})
#: Sizes that are written down are made small, and not smaller than that: two chunks of training need the whole text.
LONG = ("flags and fixed paths", "constants and a home")
#: Kinds that every run of the suite tries; `make more` tries the others.
OFTEN = ("bytes", "flags and fixed paths", "constants and a home", "mamba", "the body of a Modal function")
CHECKS = ("causality", "score-before-update", "normalization", "single-pass")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.more) for kind in kinds()]
)
def test_each_kind_is_traced_and_the_order_decides(kind: str, tmp_path: Path) -> None:
    """Trained on before it is scored, and after: nothing else differs."""
    if kind == "a compiled helper" and shutil.which("gcc") is None:
        pytest.skip("there is no compiler on this machine")
    folder = write_kind(tmp_path / "script", kind)
    found = {}
    for seed, order in enumerate(("ttt", "ttt_first")):
        tokens = 2049 if kind in LONG else TOKENS
        made = audit(folder, tmp_path / order, EVAL_MODE=order, checks=CHECKS, most=MOST, seed=seed, tokens=tokens)
        record = made.record
        assert record.data.facts["not traced"] is None, record.data.facts["not traced"]
        assert finding(record, "causality").value("headline_pass") == "test-time training"
        found[order] = record
    for check in CHECKS:
        assert finding(found["ttt"], check).status == Status.PASS, finding(found["ttt"], check).headline
    for check in ("causality", "score-before-update"):
        assert finding(found["ttt_first"], check).status == Status.FAIL, finding(found["ttt_first"], check).headline


ENDS = {
    "framework": "import mlx.core as mx\n",
    "package": "import no_such_package_of_anybody\n",
    "kernel": "from fla.layers import RWKV7Attention\nRWKV7Attention(64)\n",
    "tokenizer": "open('./data/tokenizers/nobodys.vocab')\n",
    "file": "open('weights.pt')\n",
    "source": "def broken(:\n",
    "stopped": "raise ValueError('its own')\n",
    "no pass": "print('final val_loss:1.0 val_bpb:1.0')\n",
    "compiler": "import subprocess\nsubprocess.run(['gcc', '/nowhere.c'], check=True)\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("reason", ENDS)
def test_what_is_not_traced_has_a_reason_and_stays_undecided(reason: str, tmp_path: Path) -> None:
    path = write_script(tmp_path / "script", f"import torch  # val_loss val_bpb\n{ENDS[reason]}")
    record = audit(path, tmp_path / "out", checks=("causality",)).record
    told: dict[str, Any] = record.data.facts["not traced"]
    assert (told["reason"], told["sentence"]) == (reason, REASONS[reason])
    assert record.answers.score.answer == "UNDECIDED" and record.exit_code == 3
    assert finding(record, "causality").status == Status.INCONCLUSIVE
    assert "Traceback" not in finding(record, "causality").headline
