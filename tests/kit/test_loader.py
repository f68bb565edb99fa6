from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.loader import SequentialLoader, open_shard


def write(path: Path, tokens: np.ndarray, magic: int = 20240520, version: int = 1, count: int | None = None) -> Path:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return path


def test_a_shard_gives_back_its_tokens(tmp_path):
    tokens = np.array([0, 1, 65535, 7], np.uint16)
    assert open_shard(write(tmp_path / "a.bin", tokens)).tolist() == tokens.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"magic": 1}, "not a token shard"), ({"version": 2}, "not a token shard"), ({"count": 4}, "promises 4 tokens")],
)
def test_a_bad_header_is_refused(tmp_path, change, message):
    path = write(tmp_path / "bad.bin", np.arange(3), **change)
    with pytest.raises(ValueError, match=message) as caught:
        open_shard(path)
    assert "bad.bin" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 100, 1023, 1025])
def test_a_truncated_shard_is_refused(tmp_path, keep):
    path = write(tmp_path / "short.bin", np.arange(3))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"short\.bin"):
        open_shard(path)


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    later = write(tmp_path / "fineweb_train_000001.bin", np.array([3, 4]))
    first = write(tmp_path / "fineweb_train_000000.bin", np.array([1, 2]))
    inputs, targets = SequentialLoader([later, first], 4, 4).next_batch()
    assert inputs.tolist() == [[1, 2, 3, 4]]
    assert targets.tolist() == [[2, 3, 4, 1]]  # around the end


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    rows=st.integers(1, 3),
    length=st.integers(1, 4),
)
def test_every_token_is_an_input_and_a_target_once_in_a_pass(tmp_path_factory, sizes, rows, length):
    folder = tmp_path_factory.mktemp("shards")
    stream = np.arange(sum(sizes))
    shards = [
        write(folder / f"{index}.bin", part) for index, part in enumerate(np.split(stream, np.cumsum(sizes)[:-1]))
    ]
    loader = SequentialLoader(shards, rows * length, length)
    assert loader.tokens == len(stream)
    # as many steps as tokens: exactly rows * length passes
    batches = [loader.next_batch() for _ in stream]
    assert all(inputs.shape == (rows, length) and str(inputs.dtype) == "torch.int64" for inputs, _ in batches)
    inputs = np.concatenate([inputs.flatten().numpy() for inputs, _ in batches])
    targets = np.concatenate([targets.flatten().numpy() for _, targets in batches])
    passes = rows * length
    assert inputs.tolist() == np.tile(stream, passes).tolist()
    assert targets.tolist() == np.tile(np.roll(stream, -1), passes).tolist()


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no training tokens"):
        SequentialLoader([], 4, 4)
    with pytest.raises(ValueError, match="no training tokens"):
        SequentialLoader([write(tmp_path / "empty.bin", np.zeros(0))], 4, 4)


def test_a_batch_that_is_not_whole_sequences_is_refused(tmp_path):
    with pytest.raises(ValueError, match="multiple"):
        SequentialLoader([write(tmp_path / "a.bin", np.arange(9))], 5, 2)
