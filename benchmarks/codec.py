"""Bytes and CPU seconds of every way to pack a quantized model, against the entropy of its weights.

    python benchmarks/codec.py [smoke] [record] [--steps 1050] [--data stdlib]

smoke: the smoke model, trained for some steps. record: the baseline's shape with its initial weights. The bound is the
empirical entropy of the quantized weights (n * H of each tensor's values, nothing for tables) plus everything else as
small as it got here: the other tensors after brotli, and the header. `torch.save` is what the contest's scripts do:
one file for all tensors, compressed with brotli 11, LZMA 9 or zstd 22.
"""

from __future__ import annotations

import argparse
import io
import lzma
import time
from collections.abc import Callable

import brotli
import numpy as np
import torch
import zstandard

from harness.corpus.dataset import default_cache, prepare
from harness.kit.artifact import pack, unpack
from harness.kit.body import encode_body
from harness.kit.config import QuantizeConfig, record_model, smoke_model, smoke_train
from harness.kit.model import GPT
from harness.kit.quantize import quantize
from harness.kit.trainer import train

GRIDS = {
    "int8": {"bits": 8, "min_range": 0.0},
    "int6": {"bits": 6, "min_range": 0.0},
    "int6, SDClip 12.85": {"bits": 6, "clip": "sd"},
}


def smoke_state(steps: int, data: str) -> dict[str, torch.Tensor]:
    dataset = prepare(data, cache=default_cache())
    how = smoke_train()
    torch.manual_seed(1)
    model = GPT(smoke_model(dataset.vocab_size))
    train(model, dataset.train_shards, how.__class__(**{**how.__dict__, "steps": steps}), seed=1)
    return model.state_dict()


def record_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return GPT(record_model()).state_dict()


def entropy_bytes(grid: torch.Tensor) -> float:
    """Entropy of the empirical distribution of a tensor's values, times their number, in bytes."""
    _, counts = np.unique(grid.numpy(), return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum() * grid.numel() / 8)


def ways(content: dict[str, torch.Tensor], meta: dict[str, object]) -> dict[str, Callable[[], bytes]]:
    buffer = io.BytesIO()
    torch.save({"w": content, "m": meta}, buffer)
    saved = buffer.getvalue()
    return {
        "torch.save + brotli 11": lambda: brotli.compress(saved, quality=11),
        "torch.save + LZMA 9": lambda: lzma.compress(saved, preset=9),
        "torch.save + zstd 22": lambda: zstandard.ZstdCompressor(level=22).compress(saved),
        "kit, zlib": lambda: pack(content, meta, "zlib"),
        "kit, zstd": lambda: pack(content, meta, "zstd"),
        "kit, LZMA": lambda: pack(content, meta, "lzma"),
        "kit, brotli": lambda: pack(content, meta, "brotli"),
        "kit, brotli, shuffled": lambda: pack(content, meta, "brotli", byte_shuffle=2),
        "kit, range": lambda: pack(content, meta, "range"),
    }


def report(title: str, state: dict[str, torch.Tensor], grid: str, keep_below: int) -> None:
    content, meta = quantize(state, QuantizeConfig(keep_below=keep_below, **GRIDS[grid]))
    numbers = sum(content[name].numel() for name in meta["bits"])
    blob = pack(content, meta, "range")
    body, coded = encode_body(content, meta["bits"])
    header, others = len(blob) - len(body), len(body) - sum(coded.values())
    if not coded.keys() == meta["bits"].keys():
        others = len(encode_body({name: t for name, t in content.items() if name not in meta["bits"]}, {})[0])
    limit = sum(entropy_bytes(content[name]) for name in meta["bits"])
    bound = limit + others + header
    print(f"\n### {title}, {grid}: {numbers:,} quantized weights, {8 * limit / numbers:.3f} bits each\n")
    print("| | bytes | of the bound | of torch.save + brotli | pack, s | unpack, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| bound: entropy + scales and floats ({others:,}) + header ({header:,}) | {bound:,.0f} | 1 | | | |")
    contest = 0
    for name, make in ways(content, meta).items():
        started = time.process_time()
        packed = make()
        seconds = time.process_time() - started
        contest = contest or len(packed)
        back = ""
        if name.startswith("kit"):
            started = time.process_time()
            assert all(torch.equal(content[key], value) for key, value in unpack(packed)[0].items())
            back = f"{time.process_time() - started:.2f}"
        ratios = f"{len(packed) / bound:.4f} | {len(packed) / contest:.4f}"
        print(f"| {name} | {len(packed):,} | {ratios} | {seconds:.2f} | {back} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=["smoke", "record"], default=["smoke", "record"])
    parser.add_argument("--steps", type=int, default=1050, help="of the smoke model's training")
    parser.add_argument("--data", default="stdlib")
    parser.add_argument("--grids", nargs="+", choices=list(GRIDS), default=["int8", "int6"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for model in args.models:
        smoke = model == "smoke"
        state = smoke_state(args.steps, args.data) if smoke else record_state()
        title = f"Smoke model after {args.steps:,} steps" if smoke else "Record shape, initial weights"
        for grid in args.grids:
            report(title, state, grid, 4096 if smoke else 65_536)


if __name__ == "__main__":
    main()
