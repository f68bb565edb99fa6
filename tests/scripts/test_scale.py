"""Sizes shrink, geometry stays, and nothing is set that the script does not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scripts.opening import open_script
from harness.scripts.scale import TOKENS, Tiny, _stride, tiny
from harness.scripts.settings.submitted import read_settings


def scaled(path: Path, defaults: dict[str, object], *, extra: str = "", **overrides: str) -> Tiny:
    """The tiny settings of a script that reads these names with these defaults."""
    lines = [f'    {name.lower()} = {type(value).__name__}(os.environ.get("{name}", {value!r}))'
             for name, value in defaults.items()]  # fmt: skip
    path.mkdir(parents=True, exist_ok=True)
    (path / "train_gpt.py").write_text("import os\nclass Hyperparameters:\n" + "\n".join(lines) + "\n" + extra)
    script = open_script(path)
    return tiny(read_settings(script, overrides), script)


USUAL: dict[str, object] = {
    "VOCAB_SIZE": 1024, "MODEL_DIM": 512, "NUM_HEADS": 8, "NUM_KV_HEADS": 4, "NUM_LAYERS": 11, "XSA_LAST_N": 4,
    "TRAIN_SEQ_LEN": 2048, "EVAL_SEQ_LEN": 2048, "EVAL_STRIDE": 64, "EVAL_BATCH_SEQS": 32, "ITERATIONS": 20000,
    "TTT_CHUNK_TOKENS": 32768, "TTT_EPOCHS": 3, "SLOT_STEPS": 24, "SLOT_LR": 0.005, "MATRIX_LR": 0.02,
}  # fmt: skip


def test_a_usual_script(tmp_path: Path) -> None:
    result = scaled(tmp_path, USUAL)
    assert result.env == {
        "VOCAB_SIZE": "5120", "MODEL_DIM": "64", "NUM_HEADS": "4", "NUM_KV_HEADS": "2", "TRAIN_SEQ_LEN": "256",
        "EVAL_SEQ_LEN": "256", "EVAL_STRIDE": "32", "EVAL_BATCH_SEQS": "8", "ITERATIONS": "3",
        "TTT_CHUNK_TOKENS": "512", "TTT_EPOCHS": "2", "SLOT_STEPS": "4", "MATRIX_LR": "0.1",
    }  # fmt: skip
    assert (result.vocab_size, result.train_length, result.eval_length, result.stride) == (5120, 256, 256, 32)
    assert {change.name for change in result.changed} == set(result.env)
    assert all(change.why for change in result.changed)


def test_features_and_layers_stay_as_submitted(tmp_path: Path) -> None:
    result = scaled(tmp_path, USUAL, NUM_LAYERS="12", SLOT_LR="0.008")
    assert result.env["NUM_LAYERS"] == "12" and result.env["SLOT_LR"] == "0.008"
    assert not {"NUM_LAYERS", "SLOT_LR", "XSA_LAST_N"} & {change.name for change in result.changed}


def test_what_was_asked_for_is_not_scaled(tmp_path: Path) -> None:
    result = scaled(tmp_path, USUAL, EVAL_STRIDE="64", VOCAB_SIZE="2048")
    assert result.env["EVAL_STRIDE"] == "64" and result.vocab_size == 2048 and result.env["VOCAB_SIZE"] == "2048"


def test_a_model_on_shards_of_a_larger_vocabulary_keeps_both(tmp_path: Path) -> None:
    on_8192 = {**USUAL, "DATA_PATH": "./data/datasets/fineweb10B_sp8192"}
    result = scaled(tmp_path, on_8192)
    assert (result.vocab_size, result.shards) == (1024, 8192) and "VOCAB_SIZE" not in result.env
    for same in ({"VOCAB_SIZE": "8192"}, {"DATA_PATH": "./data/datasets/fineweb10B_sp1024"}):
        assert scaled(tmp_path, on_8192, **same).shards == 0


def test_nothing_is_set_that_the_script_does_not_read(tmp_path: Path) -> None:
    assert set(scaled(tmp_path, {"ITERATIONS": 5, "COLOUR": "red"}).env) == {"ITERATIONS"}


def test_a_constant_vocabulary_and_sizes_are_told(tmp_path: Path) -> None:
    extra = "    vocab_size = 4096\n    eval_stride = 64\n    train_seq_len = 1024\n    colour = 3\n"
    extra += "def eval_val_sliding(model, batch_seqs=32, stride=64):\n    pass\n"
    result = scaled(tmp_path, {"ITERATIONS": 5}, extra=extra)
    assert result.vocab_size == 4096 and "VOCAB_SIZE" not in result.env
    assert {(item.name, item.value) for item in result.fixed} == {
        ("eval_val_sliding(batch_seqs)", "32"), ("eval_val_sliding(stride)", "64"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("use", "zero"),
    [
        ("if args.max_wallclock_seconds > 0 and seconds > args.max_wallclock_seconds: pass", True),
        ("cap_ms = 1000 * args.max_wallclock_seconds\n    end = seconds + cap_ms if cap_ms else None", True),
        ("if not args.max_wallclock_seconds: pass", True),
        ("cap = args.max_wallclock_seconds\n    if 0.0 < cap <= seconds: pass", True),
        ("if seconds > args.max_wallclock_seconds: pass", False),
        ("left = args.max_wallclock_seconds - seconds\n    print(0 == args.iterations, left)", False),
    ],
)
def test_no_limit_on_time_is_0_only_where_0_is_no_limit(tmp_path: Path, use: str, zero: bool) -> None:
    extra = f"def main(args, seconds):\n    {use}\n"
    result = scaled(tmp_path, {"ITERATIONS": 5, "MAX_WALLCLOCK_SECONDS": 600.0}, extra=extra)
    assert result.env["MAX_WALLCLOCK_SECONDS"] == ("0" if zero else "600000")


def test_constants_are_made_small_as_settings_are(tmp_path: Path) -> None:
    extra = "    train_seq_len = 1024\n    eval_stride = 64\n    model_dim = 8 * 64\n    colour: float = 3.0\n"
    extra += "CHUNK_TOKENS = 1 << 20\n\ndef eval_val_cache(model, *, chunk_tokens=1_048_576, stride=64):\n    pass\n"
    result = scaled(tmp_path, {"ITERATIONS": 5}, extra=extra)
    named = {key.partition(":")[2]: value for key, value in result.constants.items()}
    assert named == {
        "train_seq_len": 256, "eval_stride": result.stride, "model_dim": 64, "CHUNK_TOKENS": 512, "chunk_tokens": 512,
    }  # fmt: skip
    assert result.train_length == 256 and (256, 1024) in result.lengths
    told = {change.name for change in result.changed}
    assert "eval_val_cache(chunk_tokens) (line 27 of the source)" in told or any(
        "chunk_tokens" in name for name in told
    )


def test_byte_models_keep_their_vocabulary(tmp_path: Path) -> None:
    result = scaled(tmp_path, {"VOCAB_SIZE": 260})
    assert result.vocab_size == 260 and result.env == {}


def test_lengths_shrink_by_one_factor(tmp_path: Path) -> None:
    result = scaled(
        tmp_path, {"TRAIN_SEQ_LEN": 1024, "EVAL_SEQ_LEN": 2048, "ROPE_TRAIN_SEQ_LEN": 1024, "EVAL_STRIDE": 64}
    )
    assert {name: result.env[name] for name in result.env if "LEN" in name} == {
        "TRAIN_SEQ_LEN": "256", "EVAL_SEQ_LEN": "512", "ROPE_TRAIN_SEQ_LEN": "256",
    }  # fmt: skip
    longer = scaled(tmp_path, {"TRAIN_SEQ_LEN": 3072, "TRAIN_SEQ_SCHEDULE": "1024@0.1,2048@0.7,3072@1.0"})
    assert longer.env["TRAIN_SEQ_LEN"] == "384" and longer.env["TRAIN_SEQ_SCHEDULE"] == "128@0.1,256@0.7,384@1.0"


def test_zero_stays_off(tmp_path: Path) -> None:
    result = scaled(tmp_path, {"EVAL_STRIDE": 0, "EVAL_SEQ_LEN": 0, "TTT_EPOCHS": 0, "BIGRAM_VOCAB_SIZE": 0})
    assert result.env == {}


def test_a_low_rank_update_keeps_its_scale(tmp_path: Path) -> None:
    result = scaled(tmp_path, {"TTT_LORA_RANK": 96, "TTT_LORA_ALPHA": 144.0})
    assert result.env == {"TTT_LORA_RANK": "4", "TTT_LORA_ALPHA": "6"}


def test_paths_are_named_and_never_set(tmp_path: Path) -> None:
    result = scaled(
        tmp_path, {"DATA_PATH": "./data", "TOKENIZER_PATH": "t.model", "RUN_ID": "x", "RANK": 0, "ITERATIONS": 9}
    )
    assert result.paths == {
        "DATA_PATH": ("dataset", "./data"),
        "TOKENIZER_PATH": ("tokenizer", "t.model"),
        "RUN_ID": ("run", "x"),
    }
    assert set(result.env) == {"ITERATIONS"}


def test_the_second_process_is_scaled_too(tmp_path: Path) -> None:
    tmp_path.joinpath("README.md").write_text(
        "```bash\ntorchrun train_gpt.py\nTTT_EVAL_ONLY=1 TTT_EPOCHS=10 torchrun train_gpt.py\n```\n"
    )
    result = scaled(tmp_path, {"TTT_EVAL_ONLY": 0, "TTT_EPOCHS": 0})
    assert result.stages == ({}, {"TTT_EVAL_ONLY": "1", "TTT_EPOCHS": "2"})


def test_command_line_flags(tmp_path: Path) -> None:
    tmp_path.joinpath("README.md").write_text("```bash\ntorchrun train_gpt.py --slot-steps 16 --seed 3\n```\n")
    extra = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--slot-steps', type=int, default=8)\n"
    extra += "p.add_argument('--seed', type=int, default=1)\np.add_argument('--iterations', type=int, default=9000)\n"
    result = scaled(tmp_path, {"X": 1}, extra=extra)
    assert result.argv == ("--slot-steps", "4", "--seed", "3", "--iterations", "3") and result.env == {}


def test_a_share_of_the_training_batch_still_holds_a_sequence_for_each_micro_batch(tmp_path: Path) -> None:
    plain = scaled(tmp_path / "a", {"TRAIN_BATCH_TOKENS": 786432, "TRAIN_SEQ_LEN": 2048})
    assert plain.env["TRAIN_BATCH_TOKENS"] == "2048"
    extra = "def calibrate(loader, args):\n    return loader.next_batch(args.train_batch_tokens // 4, 1, 8)\n"
    shared = scaled(tmp_path / "b", {"TRAIN_BATCH_TOKENS": 786432, "TRAIN_SEQ_LEN": 2048}, extra=extra)
    assert shared.env["TRAIN_BATCH_TOKENS"] == "8192"


@given(st.sampled_from([1024, 1408, 2048, 2560, 4096]), st.integers(1, 4096))
def test_a_stride_keeps_its_geometry(length: int, stride: int) -> None:
    factor = 1
    while length / (2 * factor) >= 256:
        factor *= 2
    small = _stride(stride, length, length // factor, factor)
    assert small >= 1
    if stride <= length:
        assert small <= length // factor
        assert TOKENS / small <= 128 or small * 2 > length // factor
    if length % stride == 0:
        assert (length // factor) % small == 0


@pytest.mark.parametrize(("stride", "expected"), [(64, 32), (96, 24), (256, 32), (1024, 128), (2048, 256)])
def test_strides_of_real_scripts(stride: int, expected: int) -> None:
    assert _stride(stride, 2048, 256, 8) == expected


def test_windows_that_overlap_still_do_where_sequences_are_very_short() -> None:
    assert _stride(64, 2048, 32, 64) == 16
    assert _stride(2048, 2048, 32, 64) == 32


def test_chunks_and_schedules_stay_what_scripts_accept(tmp_path: Path) -> None:
    long = {**USUAL, "TTT_CHUNK_SIZE": 2048, "TRAIN_SEQ_SCHEDULE": "1024@0.1,2048@1.0", "TRAIN_BATCH_TOKENS": 524288}
    result = scaled(tmp_path / "a", long)
    assert int(result.env["TTT_CHUNK_SIZE"]) <= int(result.env["EVAL_SEQ_LEN"])
    longer = {**long, "TRAIN_SEQ_LEN": 3072, "EVAL_SEQ_LEN": 3072, "TRAIN_SEQ_SCHEDULE": "1024@.1,2048@.7,3072@1.0"}
    result = scaled(tmp_path / "b", longer)
    assert result.env["TRAIN_SEQ_SCHEDULE"] == "128@.1,256@.7,384@1.0"
    assert all(int(result.env["TRAIN_BATCH_TOKENS"]) // 8 % length == 0 for length in (128, 256, 384))


@pytest.mark.parametrize(("count", "length"), [(16, 32), (4, 256), (100, 32)])
def test_batches_written_into_the_source_leave_room_for_several(tmp_path: Path, count: int, length: int) -> None:
    """A batch of sixteen sequences of 256 tokens would be all of the stream, and what it teaches would be unseen."""
    extra = f"def adapt(args):\n    ttt_batch = {count}  # sequences\n    span = ttt_batch * args.train_seq_len\n"
    assert scaled(tmp_path, USUAL, extra=extra).train_length == length
