"""Training speed at equal shape and batch: the shared trainer against the contest's baseline script, on a CPU.

    python benchmarks/trainer.py --contest REPO [--shapes smoke record] [--rounds 3] [--threads 1] [--quick]

Each side runs in a process of its own, in turn, round after round; the first steps are not counted. Sides:

    kit, float32                    harness.kit.trainer, the baseline's model and optimizers, as by default on a CPU
    kit, bfloat16                   the same with `precision="bfloat16"`
    contest, as it is               the script under its stand-ins: bfloat16, eight micro-batches a step
    contest, float32                the same with float32 for bfloat16
    contest, one batch              bfloat16, and the step's tokens as one batch: the same arithmetic as the kit's
    contest, one batch, float32     the same in float32

The step times of the contest's side are those that the script prints. Compile is off on both sides, attention is
torch's scaled_dot_product_attention on both. Ratios are between sides of one precision: the goal is 1.2 times what the
script does by itself, and at least as many tokens a second as it would do with one batch.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import contest
from benchmarks.kept import Report, answered, parser
from benchmarks.measure import child, data_folder, environment, ratios, train_flops
from harness.kit.config import ModelConfig, TrainConfig, record_model, smoke_model
from harness.kit.model import GPT
from harness.kit.trainer import train

KIT = {"float32": "kit, float32", "bfloat16": "kit, bfloat16"}

_STEP = re.compile(r"step:(\d+)/\d+ train_loss:\S+ train_time:(\d+)ms")
#: The script divides a step by this number into micro-batches, or among ranks.
_PARTS = 8


@dataclass(frozen=True)
class Side:
    """One way to run the contest's script, and the least that the kit should do in tokens a second over it."""

    name: str
    float32: bool
    one_batch: bool
    goal: float

    @property
    def kit(self) -> str:
        """The kit's side of the same precision."""
        return KIT["float32" if self.float32 else "bfloat16"]


SIDES = (
    Side("contest, as it is", float32=False, one_batch=False, goal=1.2),
    Side("contest, float32", float32=True, one_batch=False, goal=1.2),
    Side("contest, one batch", float32=False, one_batch=True, goal=1.0),
    Side("contest, one batch, float32", float32=True, one_batch=True, goal=1.0),
)


@dataclass(frozen=True)
class Shape:
    """What is trained: `batch` tokens a step, steps that are counted after those that warm up."""

    model: ModelConfig
    length: int
    batch: int
    steps: int
    warm: int


SHAPES = {
    "smoke": Shape(smoke_model(1024), 256, 2048, 60, 5),
    # Short sequences, so that eight micro-batches are few tokens: Muon is a larger part of a step than in the contest.
    "record": Shape(record_model(1024), 256, 2048, 3, 3),
}
QUICK = {
    "smoke": Shape(replace(smoke_model(1024), dim=32), 64, 512, 6, 2),
    "record": Shape(replace(record_model(1024), layers=3, dim=64), 128, 1024, 2, 1),
}


def kit_side(order: dict[str, Any]) -> dict[str, float]:
    """Seconds a counted step of the shared trainer."""
    torch.set_num_threads(order["threads"])
    torch.manual_seed(1)
    model = GPT(ModelConfig(**order["model"]))
    how = TrainConfig(
        steps=order["warm"] + order["steps"],
        batch_tokens=order["batch"],
        sequence_length=order["length"],
        seconds=0.0,
        schedule="steps",
        log_every=0.0,  # every step, as the script prints every step
        precision=order["precision"],
    )
    times: list[float] = []
    shards = [Path(shard) for shard in order["shards"]]
    train(model, shards, how, seed=1, notify=lambda said: times.append(said["seconds"]))
    return {"step": (times[-1] - times[order["warm"] - 1]) / order["steps"]}


def contest_env(shape: Shape, one_batch: bool) -> dict[str, str]:
    """The script's own variables for a shape."""
    model = shape.model
    sizes = {
        "VOCAB_SIZE": model.vocab_size, "NUM_LAYERS": model.layers, "MODEL_DIM": model.dim, "NUM_HEADS": model.heads,
        "NUM_KV_HEADS": model.kv_heads, "MLP_MULT": int(model.mlp_ratio), "TRAIN_SEQ_LEN": shape.length,
        "TRAIN_BATCH_TOKENS": shape.batch * (_PARTS if one_batch else 1), "ITERATIONS": shape.warm + shape.steps,
        "WARMUP_STEPS": 0, "VAL_LOSS_EVERY": 0, "TRAIN_LOG_EVERY": 1, "MAX_WALLCLOCK_SECONDS": 0,
        "VAL_BATCH_SIZE": shape.length * _PARTS,
    }  # fmt: skip
    # Without a rank nothing is distributed; the number alone makes the script take a step's tokens for one of eight
    # ranks, as one batch.
    world = {"WORLD_SIZE": str(_PARTS)} if one_batch else {}
    return {"RUN_ID": "run", **{name: str(value) for name, value in sizes.items()}, **world}


def step_seconds(lines: Sequence[str], warm: int) -> float:
    """Seconds a step after `warm` steps, from the lines that the script prints.

    Raises:
        RuntimeError: no such steps were printed.
    """
    found = {int(match[1]): int(match[2]) / 1e3 for line in lines if (match := _STEP.search(line))}
    last = max(found, default=0)
    if last <= warm or warm not in found:
        raise RuntimeError("the contest's script printed no step times:\n" + "\n".join(lines[-12:]))
    return (found[last] - found[warm]) / (last - warm)


def contest_side(script: Path, data: Path, shape: Shape, threads: int, side: Side) -> float:
    """Seconds a counted step that the script prints; it is ended after its last step."""
    name = f"fineweb10B_sp{shape.model.vocab_size}"
    env = environment(threads) | contest_env(shape, side.one_batch) | {
        "DATA_PATH": str(data / "datasets" / name),
        "TOKENIZER_PATH": str(data / "tokenizers" / f"fineweb_{shape.model.vocab_size}_bpe.model"),
    }  # fmt: skip
    for rank in ("RANK", "LOCAL_RANK", *(() if side.one_batch else ("WORLD_SIZE",))):
        env.pop(rank, None)
    words = [sys.executable, "-u", "-m", "benchmarks.contest", str(script), *(["--float32"] if side.float32 else [])]
    lines: list[str] = []
    last = f"step:{shape.warm + shape.steps}/"
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(
            words, cwd=scratch, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(last):
                break
        process.kill()
    return step_seconds(lines, shape.warm)


def measure(report: Report, name: str, shape: Shape, args: argparse.Namespace, script: Path | None) -> None:
    """All sides of one shape, in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        need = (shape.warm + shape.steps + 1) * shape.batch + shape.length
        data = data_folder(Path(scratch) / "data", shape.model.vocab_size, need * 2, 2 * shape.length + 1)
        shards = sorted(str(path) for path in data.glob("datasets/*/fineweb_train_*.bin"))
        order = {
            "model": vars(shape.model), "warm": shape.warm, "steps": shape.steps, "batch": shape.batch,
            "length": shape.length, "shards": shards, "threads": args.threads,
        }  # fmt: skip
        sides = () if script is None else SIDES
        steps: dict[str, list[float]] = {side: [] for side in (*KIT.values(), *(side.name for side in sides))}
        for _ in range(args.rounds):
            for precision, kit in KIT.items():
                found = child("benchmarks.trainer", {**order, "precision": precision}, threads=args.threads)
                steps[kit].append(found["step"])
            for side in sides:
                assert script is not None
                steps[side.name].append(contest_side(script, data, shape, args.threads, side))
    group = f"training, {name} shape"
    flops = train_flops(shape.model, shape.length)
    for who, times in steps.items():
        report.add(group, who, "tokens/s", [shape.batch / time for time in times])
        report.add(group, f"{who}: model operations", "GFLOP/s", [flops * shape.batch / time / 1e9 for time in times])
    for side in sides:
        found_ratios = ratios(steps[side.name], steps[side.kit])
        report.add(group, f"{side.kit} over {side.name}", "x", found_ratios, goal=side.goal, better="more")


def main() -> None:
    made = parser(__doc__, rounds=3, contest=True)
    made.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    made.add_argument("--threads", type=int, default=1)
    args = made.parse_args()
    if answered(args, kit_side):
        return
    report = Report("trainer")
    with tempfile.TemporaryDirectory() as scratch:
        script = contest.wanted(args, contest.BASELINE, Path(scratch), report, "the contest's side and all ratios")
        for name in args.shapes:
            measure(report, name, (QUICK if args.quick else SHAPES)[name], args, script)
    report.save(args)


if __name__ == "__main__":
    main()
