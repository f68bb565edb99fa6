"""Rows of numbers with their spread, and a file of results for each speed benchmark.

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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

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
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if skip:
            skip = False
        elif name in ("--json", "--date"):
            skip = not value
        elif name == "--contest":
            words.append("--contest REPO")
            skip = not value
        elif word.startswith("/"):  # where a folder lies on this machine is nobody else's; its name says which it is
            words.append(Path(word).name)
        else:
            words.append(word)
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
