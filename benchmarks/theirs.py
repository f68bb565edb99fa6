"""The contest's own evaluations at a given shape, each in a process of its own that is dressed up for it.

    sliding   eval_val_sliding of the merged script 2026-03-19_SlidingWindowEval
    ttt       eval_val_sliding_ttt of 2026-03-23_LeakyReLU_LegalTTT_ParallelMuon (PR #549): score-first TTT

Each is given a model of the wanted shape with initial weights, and as many windows as ours. A window is padded to full
length, and the head is applied at every position. The second script's model has a gate on its embedding and a leaky
activation, which cost it little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import contest
from benchmarks.kept import Report
from harness.kit.config import ModelConfig

SCRIPTS = {
    "sliding": "records/track_10min_16mb/2026-03-19_SlidingWindowEval/train_gpt.py",
    "ttt": "records/track_10min_16mb/2026-03-23_LeakyReLU_LegalTTT_ParallelMuon/train_gpt.py",
}


def fetched(args: argparse.Namespace, target: Path, report: Report) -> dict[str, Path]:
    """The scripts by name, written below `target`; none where the user has named no clone, and the report says so."""
    found = {}
    for name, path in SCRIPTS.items():
        (target / name).mkdir()
        script = contest.wanted(args, path, target / name, report, f"the contest's own evaluation, {name}")
        if script is not None:
            found[name] = script
    return found


def seconds(order: dict[str, Any]) -> dict[str, float]:
    """Seconds of one evaluation in this process.

    Args:
        order: "what" (sliding or ttt), "script", "float32", "model" (of `ModelConfig`), "stream", "windows", "length",
            "stride", "batch", and of ttt the fields of `TTTConfig` as "ttt".
    """
    torch.set_num_threads(1)
    names = contest.load(Path(order["script"]), order["float32"])
    model = ModelConfig(**order["model"])
    gpt = _model(names, model)
    tokens = torch.from_numpy(np.load(order["stream"]).astype(np.int64))
    sizes = torch.ones(model.vocab_size, dtype=torch.int16)
    flags = torch.zeros(model.vocab_size, dtype=torch.bool)
    args = types.SimpleNamespace(train_seq_len=order["length"])
    if order["what"] == "sliding":
        # A window starts at every stride, to the stream's end: so long a stream has as many windows as ours.
        tokens = tokens[: order["windows"] * order["stride"] + 1]
    else:
        how = order["ttt"]
        args.ttt_chunk_tokens, args.ttt_epochs, args.ttt_lr = how["chunk"], how["epochs"], how["lr"]
        args.ttt_momentum, args.ttt_grad_clip = how["momentum"], how["clip"]
        args.ttt_freeze_blocks, args.ttt_batch_seqs = how["freeze"], how["sequences"]
    score = names["eval_val_sliding" if order["what"] == "sliding" else "eval_val_sliding_ttt"]
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        score(args, gpt, 0, 1, torch.device("cpu"), tokens, sizes, flags, flags, order["stride"], order["batch"])
    return {"loop": time.perf_counter() - started}


def _model(names: dict[str, Any], model: ModelConfig) -> torch.nn.Module:
    torch.manual_seed(1)
    gpt = names["GPT"](
        vocab_size=model.vocab_size, num_layers=model.layers, model_dim=model.dim, num_heads=model.heads,
        num_kv_heads=model.kv_heads, mlp_mult=int(model.mlp_ratio), tie_embeddings=True,
        tied_embed_init_std=model.emb_std, logit_softcap=model.softcap, rope_base=model.rope_base,
        qk_gain_init=model.qk_gain,
    ).bfloat16()  # fmt: skip
    for module in gpt.modules():
        if isinstance(module, names["CastedLinear"]):
            module.float()
    names["restore_low_dim_params_to_fp32"](gpt)
    found: torch.nn.Module = gpt
    return found
