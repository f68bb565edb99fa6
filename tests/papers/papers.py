"""Folders in the contest's style, made for tests: submission.json, logs in both grammars, a README, a script.

All numbers of a log follow from a few: tokens, bytes of the text, loss. So a test changes one thing and the rest fits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

#: Bytes of the contest's validation text, as the SP8192 logs imply them.
TEXT = 151_078_222
#: A script that prints every line of the logs below, in all the ways in which texts are put together.
SCRIPT = """\
import os

import torch

SETTINGS = {
    "matrix_lr": 0.02,
    "num_layers": 11,
    "vocab_size": 8192,
    "world_size": int(os.environ.get("WORLD_SIZE", "8")),
    "seed": int(os.environ.get("SEED", "42")),
    "run_id": os.environ.get("RUN_ID", "run"),
}


def score(label, loss, bpb, ms):
    print(f"{label} val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms")


def main(loss, bpb, ms, step, steps, size, code, files, tokens):
    print("train", torch.__version__)
    print("val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=%s" % files)
    print("Hyperparameters:")
    for name, value in SETTINGS.items():
        print(f"  {name}: {value}")
    print(f"train_shards: {files}")
    print(f"val_tokens: {tokens}")
    print("train_loader:dataset:{} train_shards:{}".format(files, tokens))
    print(f"val_loader:shards pattern={files} tokens:{tokens}")
    print(f"world_size:{SETTINGS['world_size']} grad_accum_steps:{steps}")
    print(f"seed:{SETTINGS['seed']}")
    print(f"{step}/{steps} train_loss: {loss:.4f} train_time: {ms / 60:.1f}m tok/s: {tokens:.0f}")
    print(f"{step}/{steps} val_loss: {loss:.4f} val_bpb: {bpb:.4f}")
    print(f"step:{step}/{steps} val_loss:{loss:.4f} val_bpb:{bpb:.4f} train_time:{ms:.0f}ms step_avg:{ms:.2f}ms")
    print(f"step:{step}/{steps} train_loss:{loss:.4f} train_time:{ms:.0f}ms step_avg:{ms:.2f}ms")
    print(f"stopping_early: wallclock_cap train_time: {ms:.0f}ms step: {step}/{steps}")
    print(f"stopping_early: wallclock_cap train_time:{ms:.0f}ms step:{step}/{steps}")
    print("Serialized model:", size, "bytes")
    print(f"Code size: {code} bytes")
    print(f"GPTQ:collected {steps} Hessians in {ms:.1f}s")
    for kind in ("quantized+brotli", "int6+zstd"):
        print(f"Serialized model {kind}: {size} bytes")
        print(f"Total submission size {kind}: {size + code} bytes")
    print(f"ttt_lora:compile warmup done ({ms:.1f}s)")
    score("pre-quantization post-ema", loss, bpb, ms)
    score("quantized_ttt", loss, bpb, ms)
    print(f"final_int6_sliding_window val_loss:{loss:.4f} val_bpb:{bpb:.4f} stride:{steps} eval_time:{ms:.0f}ms")
    print(f"final_int6_sliding_window_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


main(*map(float, os.environ["RUN"].split()))
"""


@dataclass(frozen=True)
class Log:
    """One run: what its log says. `text_bytes` are the bytes that its score divides by."""

    seed: int = 42
    loss: float = 2.79
    tokens: int = 40_540_160
    text_bytes: float = TEXT
    world_size: int = 8
    train_ms: int = 588_050
    steps: int = 4_500
    shards: int = 80
    model: int = 15_950_000
    code: int = len(SCRIPT)
    eval_ms: int = 400_000
    label: str = "quantized_ttt"
    hessians: float = 10.5
    warmup: float | None = None
    settings: Mapping[str, object] = ()  # type: ignore[assignment]
    printed_bpb: float | None = None
    source: str = ""

    @property
    def bpb(self) -> float:
        """The score that the log prints."""
        true = self.loss * self.tokens / (math.log(2) * self.text_bytes)
        return self.printed_bpb if self.printed_bpb is not None else true

    def score_of(self, loss: float) -> float:
        """The score of another loss over the same bytes."""
        return loss * self.tokens / (math.log(2) * self.text_bytes)

    @property
    def new(self) -> str:
        """The grammar of April: a hyperparameter dump, minutes, blanks after the colons."""
        before = self.loss + 0.03 + 1e-6 * (self.seed % 97)  # what quantization costs differs from seed to seed
        dump = {
            "matrix_lr": 0.02,
            "num_layers": 11,
            "vocab_size": 8192,
            "world_size": self.world_size,
            "seed": self.seed,
        }
        dump.update(dict(self.settings))
        lines = [
            "*****************************************",
            self.source,
            "Hyperparameters:",
            *(f"  {name}: {value}" for name, value in dump.items()),
            f"train_shards: {self.shards}",
            f"val_tokens: {self.tokens}",
            "1000/20000 train_loss: 3.0100 train_time: 2.1m tok/s: 6300000",
            f"{self.steps}/20000 val_loss: {before:.4f} val_bpb: {self.score_of(before):.4f}",
            f"stopping_early: wallclock_cap train_time: {self.train_ms}ms step: {self.steps}/20000",
            f"pre-quantization post-ema val_loss:{before:.8f} val_bpb:{self.score_of(before):.8f} eval_time:7000ms",
            "Serialized model: 135000000 bytes",
            f"Code size: {self.code} bytes",
            f"GPTQ:collected 67 Hessians in {self.hessians}s",
            f"Serialized model quantized+brotli: {self.model} bytes",
            f"Total submission size quantized+brotli: {self.model + self.code} bytes",
            *([f"ttt_lora:compile warmup done ({self.warmup}s)"] if self.warmup else []),
            f"{self.label} val_loss:{self.loss:.8f} val_bpb:{self.bpb:.8f} eval_time:{self.eval_ms}ms",
        ]
        return "\n".join(lines) + "\n"

    @property
    def old(self) -> str:
        """The grammar of March: `step:K/M`, milliseconds, no dump."""
        lines = [
            self.source,
            "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=./data/tokenizers/some.model",
            f"train_loader:dataset:fineweb10B_sp1024 train_shards:{self.shards}",
            f"val_loader:shards pattern=./data/fineweb_val_*.bin tokens:{self.tokens}",
            f"world_size:{self.world_size} grad_accum_steps:1",
            f"seed:{self.seed}",
            "step:200/20000 train_loss:2.7000 train_time:17000ms step_avg:85.00ms",
            f"step:{self.steps}/20000 val_loss:{self.loss:.4f} val_bpb:{self.score_of(self.loss):.4f} "
            f"train_time:{self.train_ms}ms step_avg:{self.train_ms / self.steps:.2f}ms",
            f"stopping_early: wallclock_cap train_time:{self.train_ms}ms step:{self.steps}/20000",
            f"Serialized model int6+zstd: {self.model} bytes",
            f"Code size: {self.code} bytes",
            f"Total submission size int6+zstd: {self.model + self.code} bytes",
            f"final_int6_sliding_window val_loss:{self.loss:.4f} val_bpb:{self.bpb:.4f} stride:64 "
            f"eval_time:{self.eval_ms}ms",
            f"final_int6_sliding_window_exact val_loss:{self.loss:.8f} val_bpb:{self.bpb:.8f}",
        ]
        return "\n".join(lines) + "\n"


def three(**changes: Any) -> list[Log]:
    """Logs of three seeds, with the same changes in each."""
    base = replace(Log(), **changes)
    return [replace(base, seed=seed, loss=base.loss + shift) for seed, shift in ((42, 0.0), (0, 0.001), (1234, -0.001))]


def folder(
    home: Path,
    logs: Sequence[Log] | None = None,
    *,
    claims: Mapping[str, Any] | None = None,
    script: str = SCRIPT,
    grammar: str = "new",
    name: str = "2026-04-20_Something",
) -> Path:
    """A submission's folder below `home`; `claims` change submission.json, None removes a field."""
    path = home / "track_10min_16mb" / name
    path.mkdir(parents=True)
    logs = three() if logs is None else list(logs)
    for log in logs:
        (path / f"train_seed{log.seed}.log").write_text(getattr(log, grammar))
    mean = sum(log.bpb for log in logs) / len(logs) if logs else 1.08
    body: dict[str, Any] = {
        "name": "Something",
        "author": "A. Nonymous",
        "track": "10min_16mb",
        "val_bpb": round(mean, 5),
        "seeds": [log.seed for log in logs],
        "seed_results": {
            str(log.seed): {"val_bpb": round(log.bpb, 5), "artifact_bytes": log.model + log.code} for log in logs
        },
        "bytes_total": max((log.model + log.code for log in logs), default=15_000_000),
    }
    body.update(claims or {})
    body = {key: value for key, value in body.items() if value is not None}
    (path / "submission.json").write_text(json.dumps(body, indent=2))
    (path / "README.md").write_text(f"# Something\n\nMean of three seeds: **{body.get('val_bpb', mean)}** BPB.\n")
    if script:
        (path / "train_gpt.py").write_text(script)
    return path
