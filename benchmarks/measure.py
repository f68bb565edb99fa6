"""What the speed benchmarks share: spreads, operations counted by hand, made-up data, and a file of results each.

A result file is benchmarks/results/NAME.json: {"benchmark", "runs": [...]}, oldest run first. A run says on what class
of machine, when, by which command and at which commit of the harness it was made, and holds one row for each number.
Nothing in it names a host or a path.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from harness.corpus.shards import write_shard
from harness.kit.config import ModelConfig
from harness.scripts.vocabulary import BOS, FIRST_ORDINARY, sentencepiece_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

Better = Literal["less", "more", ""]


@dataclass(frozen=True)
class Row:
    """One measured number with its spread over rounds.

    Attributes:
        group: the table that it belongs to.
        name: what was measured.
        unit: "s", "tokens/s", "x" (a ratio), "MB", ...
        median: over the rounds; `low` and `high` are the extremes.
        low: see median.
        high: see median.
        rounds: how many there were.
        goal: what it is held against, if there is a goal.
        better: which side of the goal is the good one.
        note: what a reader must know to read it.
    """

    group: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    goal: float | None = None
    better: Better = ""
    note: str = ""

    @property
    def text(self) -> str:
        """Median and extremes in one cell."""
        if self.rounds == 1:
            return figure(self.median)
        return f"{figure(self.median)} ({figure(self.low)} .. {figure(self.high)})"

    @property
    def verdict(self) -> str:
        """Whether the median is on the good side of the goal, in words; "" where there is no goal."""
        if self.goal is None or not self.better:
            return ""
        good = self.median <= self.goal if self.better == "less" else self.median >= self.goal
        sign = "at most" if self.better == "less" else "at least"
        return f"{sign} {figure(self.goal)}: {'met' if good else 'missed'}"


@dataclass
class Report:
    """The rows of a run as they come, printed at once, and what was left out and why."""

    benchmark: str
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(
        self,
        group: str,
        name: str,
        unit: str,
        values: float | Sequence[float],
        *,
        goal: float | None = None,
        better: Better = "",
        note: str = "",
    ) -> Row:
        """Note one number, given once or once for each round."""
        found = [float(values)] if isinstance(values, (int, float)) else [float(value) for value in values]
        row = Row(
            group, name, unit, statistics.median(found), min(found), max(found), len(found), goal, better, note
        )  # fmt: skip
        self.rows.append(row)
        print(f"{group:34s} {name:52s} {row.text:>30s} {unit:9s} {row.verdict}", flush=True)
        return row

    def omit(self, why: str) -> None:
        """Note something that this run does not measure."""
        self.left_out.append(why)
        print(f"left out: {why}", flush=True)

    def save(self, args: argparse.Namespace) -> None:
        """Append the run to its file; a quick run is not kept unless a file was named."""
        path = args.json or (None if args.quick else RESULTS / f"{self.benchmark}.json")
        if path is None:
            print("a quick run is not kept; name a file with --json to keep it")
            return
        append(path, self.benchmark, self.run(args))
        print(f"kept in {path}; python benchmarks/results.py renders the tables")

    def run(self, args: argparse.Namespace) -> dict[str, Any]:
        """This run as plain data."""
        return {
            "date": args.date or datetime.datetime.now(datetime.UTC).date().isoformat(),
            "commit": commit(),
            "machine": machine(),
            "command": command(),
            "rows": [asdict(row) for row in self.rows],
            "left_out": self.left_out,
        }


def figure(value: float) -> str:
    """Four digits that a reader can compare: 12,345 or 12.35 or 0.001235."""
    if value == 0 or not np.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def append(path: Path, benchmark: str, run: dict[str, Any]) -> None:
    """Add a run to a file of results, which may not exist yet."""
    kept: dict[str, Any] = {"benchmark": benchmark, "runs": []}
    if path.is_file():
        kept = json.loads(path.read_text())
    kept["runs"].append(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)


def parser(text: str | None, *, rounds: int, contest: bool = False) -> argparse.ArgumentParser:
    """The arguments that all of these benchmarks take."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="measurements of each thing, in turn")
    made.add_argument("--quick", action="store_true", help="tiny sizes, seconds: whether it runs, not how fast")
    made.add_argument("--json", type=Path, help="append the run to this file instead of benchmarks/results/")
    made.add_argument("--date", default="", help="of the run; today unless given")
    made.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    if contest:
        made.add_argument(
            "--contest", type=Path, metavar="REPO", help="a clone of the contest's repository, bare or not"
        )
    return made


def answered(args: argparse.Namespace, side: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Whether this process is a `child`: then it has measured its side, and printed what it found."""
    if args.side:
        print(json.dumps(side(args.side)))
    return bool(args.side)


def command() -> str:
    """How this process was started, without what is private to the machine."""
    words, skip = [f"python benchmarks/{Path(sys.argv[0]).name}"], False
    for index, word in enumerate(sys.argv[1:], 1):
        name, _, value = word.partition("=")
        if skip:
            skip = False
        elif name in ("--json", "--date"):
            skip = not value
        elif name == "--contest":
            words.append("--contest REPO")
            skip = not value
        else:
            words.append(sys.argv[index])
    return " ".join(words)


def commit() -> str:
    """The harness's commit, and whether its files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "harness", "submissions", ":(glob)benchmarks/*.py")
    return (head or "unknown") + (" with changes" if changed else "")


def machine() -> dict[str, str | int]:
    """The class of machine."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = named[0] if named else model
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "gpu": gpu, "software": versions}


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
    # As in the box: threads that spin while they wait are slow beside any other process.
    counts = {**dict.fromkeys(names, str(threads)), "GOMP_SPINCOUNT": "10000"}
    return {**os.environ, **counts, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}


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
