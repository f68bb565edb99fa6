"""How time and memory of evaluation and audit grow with the validation stream, the model and the vocabulary.

    python benchmarks/growth.py [--rounds 1] [--only tokens audit model vocabulary] [--large] [--quick]

tokens       one boxed evaluation of 10,000 to 300,000 tokens by a tiny model (--large: to 10,000,000)
audit        everything that `harness run` does after sealing, 10,000 to 100,000 tokens (--large: 1,000,000)
model        one evaluation of 4,000 tokens by models of 32 to 256 dimensions
vocabulary   one evaluation of 10,000 tokens with 1,024 to 8,192 pieces

Each measurement is a process of its own, so that peaks of memory are its own; memory is that of the parent (the
referee) beyond what it had before, and of the box. The exponent is the slope of log time over log size, for everything
and for the last two sizes; what is fixed, such as starting a box, makes the first one small. Linear is the goal.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.kept import Report, answered, parser
from benchmarks.measure import child, data_folder, slope
from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed
from harness.audit.checks import judge
from harness.corpus.dataset import prepare
from harness.folder import Folder, open_folder
from harness.kit.artifact import pack
from harness.kit.config import ModelConfig, QuantizeConfig
from harness.kit.model import GPT
from harness.kit.quantize import quantize
from harness.progress import Progress
from harness.referee.source import Real
from harness.referee.trace import Trace
from harness.sandbox.box import Limits

GOAL = 1.05  # linear, and what a slope through few noisy points may be off

_CODE = """
from harness.kit import ModelConfig, Submission


class Grown(Submission):
    window = smoke_window = 128
    stride = 64

    def model_config(self, vocab_size):
        return ModelConfig(vocab_size=vocab_size, layers=2, dim={dim}, heads=2, kv_heads=1)
"""

TOKENS = (10_000, 30_000, 100_000, 300_000)
AUDIT = (10_000, 30_000, 100_000)
DIMENSIONS = (32, 64, 128, 256)
VOCABULARIES = (1024, 2048, 4096, 8192)


def submission(folder: Path, dim: int) -> Folder:
    """A submission whose model has so many dimensions: sliding windows of 128, by 64."""
    folder.mkdir()
    (folder / "submission.py").write_text(_CODE.format(dim=dim))
    (folder / "submission.json").write_text(json.dumps({"name": "grown", "author": "A", "github_id": "a"}))
    return open_folder(folder)


def model_of(dim: int, vocabulary: int) -> GPT:
    """Its model, with its initial weights."""
    torch.manual_seed(1)
    return GPT(ModelConfig(vocab_size=vocabulary, layers=2, dim=dim, heads=2, kv_heads=1))


def one(order: dict[str, Any]) -> dict[str, float]:
    """One evaluation or audit in this process: seconds, and memory of both sides in MB."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="golf-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # the box may run as another user
        folder = submission(scratch / "grown", order["dim"])
        state = model_of(order["dim"], order["vocabulary"]).state_dict()
        blob = pack(*quantize(state, QuantizeConfig(keep_below=4096, min_range=0.0)), "zlib")
        (scratch / "artifact.bin").write_bytes(blob)
        sealed = Sealed(scratch / "artifact.bin", "", len(blob))
        data = data_folder(scratch / "data", order["vocabulary"], 20_000, order["tokens"])
        dataset = prepare(str(data), cache=scratch / "cache")
        before = resident(reset=True)
        started = time.perf_counter()
        if order["what"] == "audit":
            options = Options(scale="record", memory_bytes=12 << 30)
            with Progress(quiet=True) as progress:
                evidence = gather(folder, dataset, sealed, 1, scratch, options, progress)
            found = judge(evidence, options.checks)
            assert len(evidence.trace.scored) == order["tokens"] - 1 and found
            box_bytes = evidence.peak_bytes["evaluation"]
        else:
            limits = Limits(memory_bytes=12 << 30, cpu_seconds=3600.0)
            stream = dataset.validation
            job = Job(folder, sealed, stream, order["vocabulary"], "record", 1, "auto", limits)
            trace = Trace(len(stream))
            with EvaluationBox(job, scratch / "log") as box:
                evaluation = box.start(Real(stream), trace)
                box.run(evaluation, lambda: evaluation.run())
            assert len(trace.scored) == order["tokens"] - 1 and box.box.exit is not None
            box_bytes = box.box.exit.max_rss_bytes
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "parent": (resident() - before) / 1e6, "box": box_bytes / 1e6}


def resident(*, reset: bool = False) -> int:
    """This process's resident memory at its peak in bytes; with `reset`, the memory now, and the peak starts anew."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS" if reset else "VmHWM"].split()[0]) * 1024


def series(
    report: Report, group: str, unit: str, sizes: Sequence[float], orders: Sequence[dict[str, Any]], rounds: int
) -> None:
    """Measure all sizes of a series, round after round, and fit the exponent."""
    found: list[list[dict[str, float]]] = [[] for _ in orders]
    for _ in range(rounds):
        for order, kept in zip(orders, found, strict=True):
            kept.append(child("benchmarks.growth", order))
    medians = []
    for size, kept in zip(sizes, found, strict=True):
        row = report.add(group, f"{size:,.0f} {unit}", "s", [measured["seconds"] for measured in kept])
        medians.append(row.median)
        for side in ("parent", "box"):
            report.add(group, f"{size:,.0f} {unit}: memory, {side}", "MB", [measured[side] for measured in kept])
    if len(sizes) > 1:
        report.add(group, "exponent of time", "exponent", slope(sizes, medians), goal=GOAL, better="less")
        last = slope(sizes[-2:], medians[-2:])
        report.add(group, "exponent of time, last two sizes", "exponent", last, goal=GOAL, better="less")
        note = "bytes a unit, between the first and the last size"
        grown = [kept[-1]["parent"] for kept in found]
        slope_bytes = (grown[-1] - grown[0]) * 1e6 / (sizes[-1] - sizes[0])
        report.add(group, f"parent's memory for each of {unit}", "bytes", slope_bytes, note=note)


def order(what: str, *, tokens: int, dim: int = 32, vocabulary: int = 1024) -> dict[str, Any]:
    """What a child is to measure."""
    return {"what": what, "tokens": tokens, "dim": dim, "vocabulary": vocabulary}


def main() -> None:
    names = ["tokens", "audit", "model", "vocabulary"]
    made = parser(__doc__, rounds=1)
    made.add_argument("--only", nargs="+", choices=names, default=names)
    made.add_argument("--large", action="store_true", help="longer streams: many minutes")
    args = made.parse_args()
    if answered(args, one):
        return
    report = Report("growth")
    small = args.quick
    tokens = (1_000, 3_000) if small else TOKENS + ((1_000_000, 10_000_000) if args.large else ())
    audits = (1_000, 3_000) if small else AUDIT + ((300_000, 1_000_000) if args.large else ())
    dims, vocabularies = (DIMENSIONS[:2], VOCABULARIES[:2]) if small else (DIMENSIONS, VOCABULARIES)
    if "tokens" in args.only:
        orders = [order("evaluation", tokens=count) for count in tokens]
        series(report, "growth: evaluation over tokens", "tokens", tokens, orders, args.rounds)
    if "audit" in args.only:
        orders = [order("audit", tokens=count) for count in audits]
        series(report, "growth: audit over tokens", "tokens", audits, orders, args.rounds)
    if "model" in args.only:
        count = 1_000 if small else 4_000
        weights = [sum(p.numel() for p in model_of(dim, 1024).parameters()) for dim in dims]
        orders = [order("evaluation", tokens=count, dim=dim) for dim in dims]
        series(report, "growth: evaluation over model", "weights", weights, orders, args.rounds)
    if "vocabulary" in args.only:
        count = 1_000 if small else 10_000
        orders = [order("evaluation", tokens=count, vocabulary=size) for size in vocabularies]
        series(report, "growth: evaluation over vocabulary", "pieces", vocabularies, orders, args.rounds)
    if not args.large:
        report.omit("streams beyond 300,000 tokens: --large")
    report.save(args)


if __name__ == "__main__":
    main()
