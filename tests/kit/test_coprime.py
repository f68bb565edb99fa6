"""The coprime loader's law: a cycle of a shard meets each of its blocks once, whatever the mixture does."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.coprime import CoprimeLoader, coprime_stride
from tests.kit.test_loader import write


def shards_of(folder: Path, sizes: list[int]) -> list[Path]:
    """Shards whose tokens say where they are: shard number * 1000 + position."""
    return [write(folder / f"{number:02d}.bin", np.arange(size) + 1000 * number) for number, size in enumerate(sizes)]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=10),
    rows=st.integers(1, 6),
    length=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
def test_a_cycle_meets_every_block_of_a_shard_once(tmp_path_factory, sizes, rows, length, seed):
    shards = shards_of(tmp_path_factory.mktemp("shards"), sizes)
    if max(sizes) <= length:
        with pytest.raises(ValueError, match="no sequence"):
            CoprimeLoader(shards, rows * length, length, seed)
        return
    loader = CoprimeLoader(shards, rows * length, length, seed)
    batches = [loader.next_blocks() for _ in range(80)]
    assert all(len(batch) == rows for batch in batches)
    cycles = defaultdict(list)
    for block in (block for batch in batches for block in batch):
        cycles[block.shard, block.cycle].append(block)
    latest = {shard: max(cycle for other, cycle in cycles if other == shard) for shard, _ in cycles}
    for (shard, cycle), blocks in cycles.items():
        size = sizes[shard]
        phases = {block.start - block.number * length for block in blocks}
        assert len(phases) == 1 and 0 <= (phase := phases.pop()) < length
        whole = (size - 1 - phase) // length
        met = Counter(block.number for block in blocks)
        assert set(met.values()) == {1} and set(met) <= set(range(whole))
        assert all(block.start + length < size for block in blocks)
        # every cycle but the one that the run ended in is whole; cycles are numbered without a gap
        assert cycle == latest[shard] or len(met) == whole
        assert cycle == 0 or (shard, cycle - 1) in cycles


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(8, 60), min_size=1, max_size=10), st.integers(0, 99))
def test_no_shard_is_left_behind(tmp_path_factory, sizes, seed):
    loader = CoprimeLoader(shards_of(tmp_path_factory.mktemp("shards"), sizes), 12 * 4, 4, seed)
    met = {block.shard for _ in range(60) for block in loader.next_blocks()}
    assert met == set(range(len(sizes)))


def test_a_batch_holds_the_planned_text_and_what_follows_it(tmp_path):
    shards = shards_of(tmp_path, [50, 3, 41])
    inputs, targets = CoprimeLoader(shards[::-1], 24, 4, 7).next_batch()
    plan = CoprimeLoader(shards, 24, 4, 7).next_blocks()
    assert inputs.dtype == targets.dtype == torch.int64 and inputs.shape == targets.shape == (6, 4)
    assert inputs[:, 0].tolist() == [1000 * block.shard + block.start for block in plan]
    assert (inputs.diff(dim=1) == 1).all() and torch.equal(targets, inputs + 1)
    assert {block.shard for block in plan} == {0, 2}


def test_the_seed_alone_decides(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = (shards_of(tmp_path / name, [90, 80, 70]) for name in "ab")

    def order(shards: list[Path], seed: int) -> list:
        loader = CoprimeLoader(shards, 32, 8, seed)
        return [loader.next_blocks() for _ in range(20)]

    assert order(here, 1) == order(there, 1) != order(here, 2)


def test_a_batch_mixes_shards_and_the_mixture_widens(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.kit.coprime.RAMP", 100)
    loader = CoprimeLoader(shards_of(tmp_path, [200] * 40), 64 * 2, 2, 0)
    widths = [len({block.shard for block in loader.next_blocks()}) for _ in range(120)]
    # 8 shards at first, 32 from the end of the ramp on
    assert widths[0] == 8 and widths[50] == 20 and set(widths[100:]) == {32}


@given(st.integers(0, 5000), st.integers(0, 99))
def test_a_stride_has_no_divisor_in_common_with_the_blocks(blocks, seed):
    stride = coprime_stride(blocks, np.random.default_rng(seed))
    assert stride >= 1 and (blocks <= 1 or (stride < blocks and math.gcd(stride, blocks) == 1))


def test_a_batch_that_is_not_whole_sequences_is_refused(tmp_path):
    with pytest.raises(ValueError, match="multiple"):
        CoprimeLoader(shards_of(tmp_path, [50]), 25, 4, 0)
