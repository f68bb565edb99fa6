"""What has to do with length is as submitted, or told; the rest stays small. Streams long for their vocabulary."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scripts import asleep
from harness.scripts.lengthened import LOGITS, Long, lengthen
from harness.scripts.opening import open_script
from harness.scripts.play import streams
from harness.scripts.scale import tiny
from harness.scripts.settings.submitted import read_settings
from harness.scripts.trace.branches import branches
from harness.scripts.trace.observed import Observed

USUAL: dict[str, object] = {
    "VOCAB_SIZE": 1024, "MODEL_DIM": 512, "NUM_HEADS": 8, "NUM_KV_HEADS": 4, "TRAIN_SEQ_LEN": 2048,
    "EVAL_SEQ_LEN": 2048, "EVAL_STRIDE": 64, "EVAL_BATCH_SEQS": 32, "ITERATIONS": 20000, "TRAIN_BATCH_TOKENS": 524288,
    "TTT_CHUNK_TOKENS": 32768, "TTT_CHUNK_SIZE": 48, "TTT_EPOCHS": 3, "SLOT_STEPS": 24, "MATRIX_LR": 0.02,
}  # fmt: skip


def lengthened(path: Path, defaults: dict[str, object], extra: str = "", **overrides: str) -> Long | str | None:
    lines = [f'    {name.lower()} = {type(value).__name__}(os.environ.get("{name}", {value!r}))'
             for name, value in defaults.items()]  # fmt: skip
    (path / "train_gpt.py").write_text("import os\nclass Hyperparameters:\n" + "\n".join(lines) + "\n" + extra)
    script = open_script(path)
    settings = read_settings(script, overrides)
    return lengthen(settings, tiny(settings, script))


def test_windows_strides_and_short_chunks_are_as_submitted(tmp_path: Path) -> None:
    made = lengthened(tmp_path, USUAL, "def eval_sliding(val, batch_seqs=32):\n    pass\n")
    assert isinstance(made, Long) and (made.window, made.tokens) == (2048, 4097)
    small = made.small
    assert {"TRAIN_SEQ_LEN": "2048", "EVAL_SEQ_LEN": "2048", "EVAL_STRIDE": "64", "TTT_CHUNK_SIZE": "48"}.items() <= (
        small.env.items()
    )
    assert (small.env["NUM_HEADS"], small.env["NUM_KV_HEADS"]) == ("2", "1")
    assert {"MODEL_DIM": "64", "SLOT_STEPS": "4", "ITERATIONS": "1", "VOCAB_SIZE": "5120"}.items() <= small.env.items()
    assert small.env["TRAIN_BATCH_TOKENS"] == str(8 * 2048)
    assert {one.name: (one.real, one.tiny) for one in made.reduced} == {
        "EVAL_BATCH_SEQS": ("32", "6"),
        "TTT_CHUNK_TOKENS": ("32768", "2048"),
        "eval_sliding(batch_seqs) (line 18 of the source)": ("32", "6"),
    }
    assert small.constants == {"18:batch_seqs": 6}
    assert 6 * 2048 * 5120 * 4 <= LOGITS and all(one.why for one in made.reduced)


def test_a_longer_window_gets_a_larger_vocabulary_where_it_may(tmp_path: Path) -> None:
    made = lengthened(tmp_path, USUAL | {"TRAIN_SEQ_LEN": 8192, "EVAL_SEQ_LEN": 8192})
    assert isinstance(made, Long) and made.tokens == 16385 and int(made.small.env["VOCAB_SIZE"]) >= 16385 + 900
    assert made.small.vocab_size == int(made.small.env["VOCAB_SIZE"])
    asked = lengthened(tmp_path, USUAL, VOCAB_SIZE="2048")
    assert isinstance(asked, str) and "does not fit into its vocabulary of 2,048" in asked
    huge = lengthened(tmp_path, USUAL | {"TRAIN_SEQ_LEN": 32768, "EVAL_SEQ_LEN": 32768})
    assert isinstance(huge, str) and "longer than" in huge


def test_windows_that_no_run_made_shorter_need_no_other_run(tmp_path: Path) -> None:
    assert lengthened(tmp_path, USUAL | {"TRAIN_SEQ_LEN": 256, "EVAL_SEQ_LEN": 256}) is None


@given(st.integers(0, 1000), st.integers(1000, 3500), st.integers(0, 600))
def test_a_long_stream_has_different_tokens_and_replaces_only_some(seed: int, tokens: int, document: int) -> None:
    replaced = np.arange(50, tokens - 1, 150)
    made = streams.long(5120, tokens, replaced, seed, document=document)
    inner = np.setdiff1d(np.arange(tokens - 1), made.bos_positions)
    assert len(np.unique(made.validation[inner])) == len(inner)
    assert (made.position_of[made.validation[inner]] == inner).all()
    moved = np.flatnonzero(made.validation != made.flipped)
    assert set(moved) == set(replaced) - set(made.bos_positions.tolist())
    assert (made.position_of[made.flipped[moved]] == moved).all()
    assert (made.alternative[made.validation[moved]] == made.flipped[moved]).all()
    assert not np.isin(made.flipped[moved], made.validation).any()
    assert not np.isin(made.train[made.train != 1], np.concatenate([made.validation, made.flipped])).any()
    if document:
        assert made.bos_positions[1] >= document


def test_a_long_stream_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        streams.long(1024, 1000, np.arange(10, 900, 100))


SOURCE = """
def eval_val(val, model):
    if val.size(1) >= 1024:
        val = val.flip(0)
    return model(val)
"""


@pytest.mark.parametrize(
    ("ran", "met", "awake"), [(None, True, True), (1, True, True), (2, True, False), (None, False, False)]
)
def test_what_ran_at_the_submitted_length_is_awake(ran: int | None, met: bool, awake: bool) -> None:
    (branch,) = branches(ast.parse(SOURCE))
    one = asleep.Asleep("train_gpt.py", branch.node.lineno, "val.size(1) >= 1024", 4, True)
    where = {"file": "train_gpt.py", "number": branch.number}
    facts: dict[str, Any] = {"watched": {"tests": 1, "branches": int(ran is not None), "functions": 0, "unwatched": 0}}
    facts["branches"] = [] if ran is None else [{**where, "first": 1, "last": 1, "ran": ran, "filled": 0}]
    facts["functions"] = []
    facts["operands"] = [{"file": "train_gpt.py", "number": branch.first, "low": 2048, "high": 2048}] if met else []
    text = asleep.Text({"train_gpt.py": SOURCE}, {}, {}, frozenset(), (), (64, 40_000_000))
    after = asleep.awake(asleep.Sleep((one,), 1, 1), Observed(facts=facts), text)
    assert (after.asleep, after.at_length) == (((), (one,)) if awake else ((one,), ()))
