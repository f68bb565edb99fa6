"""What the speed benchmarks measure with: processes of their own, operations counted by hand, made-up data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.kept import ROOT
from harness.adapters.training import WORKER_ENV
from harness.corpus.shards import write_shard
from harness.kit.config import ModelConfig
from harness.scripts.play.vocabulary import BOS, FIRST_ORDINARY, sentencepiece_model


def child(module: str, order: dict[str, Any], *, threads: int = 1) -> dict[str, Any]:
    """Run `python -m MODULE --side ORDER` in a fresh process; its last line of output is its answer.

    Raises:
        RuntimeError: it failed; its last lines are in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, "--side", json.dumps(order)],
        cwd=ROOT,
        env=environment(threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {order} failed:\n" + "\n".join(done.stderr.strip().splitlines()[-15:]))
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def environment(threads: int) -> dict[str, str]:
    """Variables of a process that computes on so many threads and finds the harness."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # As in the box, so that both sides wait and allocate alike.
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        **WORKER_ENV,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
    }


def forward_flops(cfg: ModelConfig, length: int, *, head: bool = True) -> float:
    """Floating-point operations of one token's forward pass, averaged over a sequence of `length`.

    Two for each weight that multiplies it, and two for each of `dim` products with the keys and again with the values
    of the (length + 1) / 2 positions that a token attends to on average. Norms, gains and softmax are not counted.

    Args:
        cfg: the shape; parts that are off in the baseline are not counted.
        length: tokens of the sequence.
        head: whether the output matrix is applied to the token.
    """
    kv = cfg.kv_heads * cfg.head_width
    layer = cfg.dim * (2 * cfg.dim + 2 * kv + 2 * int(cfg.mlp_ratio * cfg.dim))
    weights = len(cfg.order()) * layer + (cfg.vocab_size * cfg.dim if head else 0)
    attention = len(cfg.order()) * 2 * cfg.dim * (length + 1)
    return 2.0 * weights + attention


def train_flops(cfg: ModelConfig, length: int) -> float:
    """Operations of training on one token: forward, and twice that backward (6 N and attention); no optimizer."""
    return 3 * forward_flops(cfg, length)


def peak_gemm(size: int = 1024, seconds: float = 1.0) -> float:
    """The best float32 GEMM rate of this process's threads, operations a second: size x size matrices."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent k of y = c x^k by least squares in logarithms; needs two different x, all above 0."""
    return float(np.polyfit(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), 1)[0])


def tokens(count: int, vocab_size: int, seed: int = 0) -> NDArray[np.uint16]:
    """Text made of phrases that come again, in documents: something that a small model learns quickly.

    Ordinary pieces only, BOS where a document starts.
    """
    rng = np.random.default_rng((seed, 7))
    low = min(FIRST_ORDINARY, vocab_size // 2)
    inventory = [
        rng.integers(low, vocab_size, size=rng.integers(6, 20))
        for _ in range(4 * int(vocab_size**0.5))
    ]  # fmt: skip
    parts: list[NDArray[np.int64]] = []
    have = 0
    while have < count:
        parts.append(inventory[rng.integers(len(inventory))])
        have += len(parts[-1])
    made = np.concatenate(parts)[:count].astype(np.uint16)
    starts, where = [0], 0
    while (where := where + int(rng.integers(90, 400))) < count:
        starts.append(where)
    made[starts] = BOS
    return made


def data_folder(folder: Path, vocab_size: int, train: int, validation: int) -> Path:
    """A data folder in the contest's layout with made-up text: two training shards, one of validation."""
    shards = folder / "datasets" / f"fineweb10B_sp{vocab_size}"
    shards.mkdir(parents=True)
    text = tokens(train, vocab_size, seed=1)
    for index, part in enumerate(np.array_split(text, 2)):
        write_shard(shards / f"fineweb_train_{index:06d}.bin", part)
    write_shard(shards / "fineweb_val_000000.bin", tokens(validation, vocab_size, seed=2))
    (folder / "tokenizers").mkdir()
    (folder / "tokenizers" / f"fineweb_{vocab_size}_bpe.model").write_bytes(sentencepiece_model(vocab_size))
    return folder


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, so that a drift of the machine's speed hits both sides."""
    return [a / b for a, b in zip(above, below, strict=True)]


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
