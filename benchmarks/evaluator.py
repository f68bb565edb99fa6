"""What a referee costs: scoring in the box against the same windows in a plain loop, and against the machine's floor.

    python benchmarks/evaluator.py [--contest REPO] [--rounds 3] [--only sliding record adaptive] [--quick]

sliding, record: sliding windows with the smoke model, and with the baseline's shape. Boxed is the whole evaluation:
sandbox, wire, referee, trace. Plain is a fresh process that slices the same windows, calls the same model and adds up
F.cross_entropy of the scored positions: nobody checks it. Contest is the contest's own loop under its stand-ins, with
its own model of the same shape (`theirs`). Each side has one thread for the model (the referee has its own process
beside the box, as ever), and runs in turn, round after round.

adaptive: submissions whose evaluation learns, boxed against the same code on a stream in its own process that hands
out tokens, adds up the loss of what is committed, and keeps no trace; score-first TTT also against the contest's own.
No merged script has the others.

The overhead of trust is boxed over plain seconds, from the first read to the last commit; the goal is at most 1.1.
Where a submission learns, it is taken from the end of the first tenth of the commits on: an evaluation's first
optimizer imports torch's compiler, on both sides, for longer than a short evaluation takes. The floor is the forward
passes' operations at the rate of the machine's best float32 GEMM, measured in the same process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import theirs
from benchmarks.kept import ROOT, Report, answered, parser
from benchmarks.measure import child, data_folder, forward_flops, peak_gemm, ratios, tokens
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import Sealed
from harness.folder import Folder, open_folder
from harness.kit.artifact import pack, unpack
from harness.kit.config import ModelConfig, QuantizeConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.quantize import dequantize, quantize
from harness.kit.stream import Stream
from harness.kit.trainer import train
from harness.kit.watch import Watch
from harness.kit.windows import sliding
from harness.kit.worker import load_submission, seed_everything
from harness.referee.source import Real
from harness.referee.trace import Trace
from harness.sandbox.box import Limits
from harness.sandbox.protocol import Purpose

GOAL = 1.1
VOCABULARY = 1024
ADAPTIVE = ("causal_slot", "score_first_ttt", "lbfgs_slot_per_window")
SUBMISSIONS = ROOT / "submissions"


@dataclass(frozen=True)
class Case:
    """What is evaluated: a shipped submission at a scale, on so many tokens, after so many steps of training."""

    name: str
    submission: str
    scale: Literal["smoke", "record"]
    tokens: int
    steps: int


SLIDING = Case("sliding", "baseline", "smoke", 24_001, 120)
RECORD = Case("record", "baseline", "record", 1024 + 64 * 7 + 1, 0)


def cases(wanted: Sequence[str], quick: bool) -> list[Case]:
    """The cases of the chosen groups."""
    found = []
    if "sliding" in wanted:
        found.append(SLIDING)
    if "record" in wanted and not quick:
        found.append(RECORD)
    if "adaptive" in wanted:
        found += [Case(name, name, "smoke", 12_289, 120) for name in ADAPTIVE]
    return [replace(case, tokens=2_305, steps=2) for case in found] if quick else found


def artifact(case: Case, path: Path) -> Sealed:
    """The submission's model, trained a little on made-up text, in eight bits at `path`."""
    seed_everything(1)
    submission = load_submission(SUBMISSIONS / case.submission, case.scale)
    model = submission.build_model(VOCABULARY)
    if case.steps:
        how = TrainConfig(
            steps=case.steps, batch_tokens=1024, sequence_length=256, seconds=0.0, schedule="steps", warmdown=0.5,
            muon_lr=0.02, embed_lr=0.015,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch:
            data = data_folder(Path(scratch) / "data", VOCABULARY, 1024 * (case.steps + 1), 1024)
            train(model, list(data.glob("datasets/*/fineweb_train_*.bin")), how, seed=1)
    blob = pack(*quantize(model.state_dict(), QuantizeConfig(keep_below=4096, min_range=0.0)), "zlib")
    path.write_bytes(blob)
    return Sealed(path, "", len(blob))


def boxed(case: Case, folder: Folder, sealed: Sealed, stream: NDArray[np.uint16], log: Path) -> dict[str, float]:
    """A whole evaluation: seconds from the first read to the last commit, from the process's start, and nats."""
    limits = Limits(memory_bytes=8 << 30, cpu_seconds=1800.0)
    job = Job(folder, sealed, stream, VOCABULARY, case.scale, 1, "auto", limits)
    trace = Trace(len(stream))
    clock: dict[str, float] = {}
    commits: list[float] = []

    def read(_: object) -> None:
        clock.setdefault("first", time.perf_counter())

    started = time.perf_counter()
    with EvaluationBox(job, log) as box:
        evaluation = box.start(Real(stream), trace)
        box.run(
            evaluation,
            lambda: evaluation.run(before_answer=read, progress=lambda *_: commits.append(time.perf_counter())),
        )
    nats = float(np.nansum(trace.nll))
    return {"loop": commits[-1] - clock["first"], "start": commits[-1] - started, "warm": warm(commits), "nats": nats}


def warm(commits: Sequence[float]) -> float:
    """Seconds from the end of the first tenth of the commits to the last one."""
    return commits[-1] - commits[len(commits) // 10]


class PlainStream(Stream):
    """The kit's stream without a wire and without a referee: tokens from an array, losses added up."""

    def __init__(self, stream: NDArray[np.uint16]) -> None:
        self._text = torch.from_numpy(stream.astype(np.int64))
        self._unwatched = Watch()  # takes what is registered, is never asked
        nowhere: Any = None
        device = torch.device("cpu")
        super().__init__(nowhere, tokens=len(stream), vocab_size=VOCABULARY, watch=self._unwatched, device=device)
        self.nats = 0.0
        self.first = 0.0
        self.commits: list[float] = []

    def _read(self, ranges: Sequence[tuple[int, int]], purpose: Purpose) -> Tensor:
        self.first = self.first or time.perf_counter()
        return torch.cat([self._text[start:stop] for start, stop in ranges])

    def commit(self, positions: Tensor, rows: Tensor, *, kind: Literal["logits", "log_probs"] = "logits") -> None:
        """Add up the loss of the committed rows, which no shipped adaptive submission gives as log-probabilities."""
        self.nats += float(F.cross_entropy(rows.detach().float(), self._text[positions], reduction="sum"))
        self.commits.append(time.perf_counter())


def plain_side(order: dict[str, Any]) -> dict[str, float]:
    """The same evaluation in this process: a plain loop for sliding windows, the submission's own code otherwise."""
    torch.set_num_threads(1)
    seed_everything(1)  # as in the box: what makes arithmetic reproducible costs both sides the same
    stream = np.load(order["stream"])
    submission = load_submission(SUBMISSIONS / order["submission"], order["scale"])
    model = submission.build_model(VOCABULARY)
    assert isinstance(model, GPT)
    payload, meta = unpack(Path(order["artifact"]).read_bytes())
    model.load_state_dict(dequantize(payload, meta))
    model.eval()
    if order["submission"] != "baseline":
        hand = PlainStream(stream)
        submission.evaluate(model, hand)
        return {"loop": hand.commits[-1] - hand.first, "warm": warm(hand.commits), "nats": hand.nats}
    text = torch.from_numpy(stream.astype(np.int64))
    length, batch = submission.length, submission.windows_per_batch
    started, total = time.perf_counter(), 0.0
    layout = list(sliding(len(text) - 1, length, submission.stride))
    with torch.inference_mode():
        for first in range(0, len(layout), batch):
            part = layout[first : first + batch]
            inputs = torch.zeros(len(part), length, dtype=torch.int64)
            targets = torch.zeros(len(part), length, dtype=torch.int64)
            scored = torch.zeros(len(part), length, dtype=torch.bool)
            for row, w in enumerate(part):
                inputs[row, : w.size] = text[w.start : w.start + w.size]
                targets[row, : w.size] = text[w.start + 1 : w.start + 1 + w.size]
                scored[row, w.first : w.size] = True
            rows = model.head(model.hidden(inputs)[scored])
            total += float(F.cross_entropy(rows, targets[scored], reduction="sum"))
    loop = time.perf_counter() - started
    return {"loop": loop, "nats": total, "peak": peak_gemm(seconds=0.3 if order["quick"] else 1.0)}


def measure(report: Report, case: Case, args: argparse.Namespace, scripts: dict[str, Path], scratch: Path) -> None:
    """One case, all sides in turn."""
    stream = tokens(case.tokens, VOCABULARY, seed=3)
    np.save(scratch / "stream.npy", stream)
    sealed = artifact(case, scratch / "artifact.bin")
    folder = open_folder(SUBMISSIONS / case.submission)
    order = {
        "stream": str(scratch / "stream.npy"), "artifact": str(sealed.path), "submission": case.submission,
        "scale": case.scale, "quick": args.quick,
    }  # fmt: skip
    submission = load_submission(SUBMISSIONS / case.submission, case.scale)
    shape = submission.model_config(VOCABULARY)
    what = {"baseline": "sliding", "score_first_ttt": "ttt"}.get(case.submission, "")
    sides = {"contest, float32": True, "contest, as it is": False} if what in scripts else {}
    inside, outside = [], []
    others: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.rounds):
        inside.append(boxed(case, folder, sealed, stream, scratch / "log"))
        began = time.perf_counter()
        outside.append(child("benchmarks.evaluator", {"kind": "plain", **order}))
        outside[-1]["start"] = time.perf_counter() - began
        if abs(inside[-1]["nats"] - outside[-1]["nats"]) > 1e-3 * abs(outside[-1]["nats"]):
            report.omit(f"{case.name}: boxed and plain disagree, {inside[-1]['nats']} and {outside[-1]['nats']} nats")
        for side, float32 in sides.items():
            more = {
                "kind": "contest", "what": what, "script": str(scripts[what]), "float32": float32,
                "model": vars(shape), "length": submission.length, "stride": submission.stride,
                "batch": submission.windows_per_batch,
                "windows": len(list(sliding(case.tokens - 1, submission.length, submission.stride))),
                "ttt": vars(submission.smoke_ttt) if what == "ttt" else {},
            }  # fmt: skip
            others[side].append(child("benchmarks.evaluator", {**order, **more})["loop"])
    table(report, case, shape, submission.length, submission.stride, inside, outside, others)


def table(
    report: Report,
    case: Case,
    shape: ModelConfig,
    length: int,
    stride: int,
    inside: list[dict[str, float]],
    outside: list[dict[str, float]],
    others: dict[str, list[float]],
) -> None:
    """The rows of one case."""
    group, count = f"evaluation, {case.name}", case.tokens - 1
    loop, bare = [one["loop"] for one in inside], [one["loop"] for one in outside]
    report.add(group, "boxed, first read to last commit", "tokens/s", [count / seconds for seconds in loop])
    report.add(group, "boxed, from process start", "tokens/s", [count / one["start"] for one in inside])
    report.add(group, "plain, loop", "tokens/s", [count / seconds for seconds in bare])
    if "warm" in outside[0]:
        report.add(group, "boxed over plain, with the first optimizer", "x", ratios(loop, bare))
        trust = ratios([one["warm"] for one in inside], [one["warm"] for one in outside])
    else:
        trust = ratios(loop, bare)
    report.add(group, "overhead of trust: boxed over plain", "x", trust, goal=GOAL, better="less")
    if "peak" in outside[0]:
        windows = list(sliding(count, length, stride))
        flops = len(windows) * length * forward_flops(shape, length, head=False)
        flops += count * 2.0 * shape.dim * shape.vocab_size
        floor = [flops / one["peak"] for one in outside]
        report.add(group, "peak float32 GEMM, one thread", "GFLOP/s", [one["peak"] / 1e9 for one in outside])
        report.add(group, "floor from operations", "s", floor)
        report.add(group, "boxed over floor", "x", ratios(loop, floor))
        report.add(group, "plain over floor", "x", ratios(bare, floor))
    for side, seconds in others.items():
        report.add(group, side, "tokens/s", [count / one for one in seconds])
        goal: dict[str, Any] = {"goal": 1.0, "better": "less"} if "float32" in side else {}
        report.add(group, f"boxed over {side}", "x", ratios(loop, seconds), **goal)


def main() -> None:
    made = parser(__doc__, rounds=3, contest=True)
    made.add_argument("--only", nargs="+", choices=["sliding", "record", "adaptive"], default=[])
    args = made.parse_args()
    if answered(args, lambda order: (theirs.seconds if order["kind"] == "contest" else plain_side)(order)):
        return
    report = Report("evaluator")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="golf-bench-") as scratch:
        Path(scratch).chmod(0o755)  # the box may run as another user
        scripts = theirs.fetched(args, Path(scratch), report)
        for case in cases(args.only or ["sliding", "record", "adaptive"], args.quick):
            measure(report, case, args, scripts, Path(scratch))
    report.save(args)


if __name__ == "__main__":
    main()
