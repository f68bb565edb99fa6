"""GPTQ at record shapes: seconds a layer and the layer's error, against the paper's procedure and the contest's own.

    python benchmarks/quantizer.py [--contest REPO] [--rounds 3] [--threads 1] [--quick]

The error is ||(W - Q) X||^2 per input, as a share of ||W X||^2, for made-up weights and correlated inputs.

    one grid       harness.kit.gptq on one grid for each row; the reference does the same, column by column, updating
                   the inverse of the Hessian itself as the paper derives it, in float64, without factors or blocks
    search of 5    five clips for each row, the best kept: harness.kit.quantize and the function of PR #1019's merged
                   script, which decides likewise and computes in float32

Contest and kit take turns. The goals: no slower than the contest's, no larger error than either.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import contest
from benchmarks.kept import Report, answered, parser
from benchmarks.measure import child, ratios, timed
from harness.kit.config import QuantizeConfig
from harness.kit.gptq import gptq
from harness.kit.quantize import quantize

SHAPES = ((512, 512), (512, 1536), (512, 2048))
QUICK = ((32, 64), (48, 96))
LIMIT = 31
CLIPS = (0.9990, 0.9995, 0.9999, 0.99999, 1.0)


def layer(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight, float32 [R, C], and the mean of x x^T over correlated inputs of falling strength, float64 [C, C]."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator) / columns**0.5
    strength = torch.linspace(0, -3, columns).exp()
    inputs = (torch.randn(2 * columns, columns, generator=generator) * strength) @ (mixing + torch.eye(columns))
    # the contest's function knows no grid finer than 1/31: weights are large enough for that not to matter
    weight = torch.randn(rows, columns, generator=generator)
    return weight, (inputs.mT @ inputs).double() / len(inputs)


def error(weight: Tensor, rounded: Tensor, hessian: Tensor) -> float:
    """E|(W - Q) x|^2 over E|W x|^2, both as traces with the Hessian: float [R, C] twice and [C, C]."""
    gap, whole = (weight - rounded).double(), weight.double()
    moments = hessian.double()
    return float(((gap @ moments) * gap).sum() / ((whole @ moments) * whole).sum())


def reference(weight: Tensor, hessian: Tensor, scale: Tensor, limit: int, damping: float = 0.01) -> Tensor:
    """GPTQ as it is derived (arXiv:2210.17323, section 3): one column at a time, by falling diagonal.

    Rounding column q moves the columns F that remain by -(w_q - quant(w_q)) / [H_F^-1]_qq (H_F^-1)_q,F; then q leaves
    H_F^-1 by one step of Gaussian elimination.

    Args:
        weight: float [R, C].
        hessian: float [C, C] with a positive diagonal.
        scale: float [R], the grid steps.
        limit: the grid is -limit..limit.
        damping: this fraction of the mean of H's diagonal is added to it.

    Returns:
        int8 [R, C].
    """
    moments = hessian.double().clone()
    moments.diagonal().add_(damping * moments.diagonal().mean())
    order = torch.argsort(moments.diagonal(), descending=True, stable=True)
    inverse = torch.linalg.inv(moments[order][:, order])
    left, steps = weight.double()[:, order].clone(), scale.double()
    out = torch.empty(weight.shape, dtype=torch.int8)
    for column in order:
        rounded = (left[:, 0] / steps).round().clamp(-limit, limit)
        out[:, column] = rounded.to(torch.int8)
        gap = (left[:, 0] - rounded * steps) / inverse[0, 0]
        left = left[:, 1:] - torch.outer(gap, inverse[0, 1:])
        inverse = inverse[1:, 1:] - torch.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]
    return out


def contest_side(order: dict[str, Any]) -> dict[str, float]:
    """Seconds and error of the contest's function on a layer, in this process, which is dressed up for it."""
    names = contest.load(Path(order["script"]), False)
    torch.set_num_threads(order["threads"])
    weight, hessian = layer(order["rows"], order["columns"])
    started = time.perf_counter()
    grid, scale = names["quantize_int6_gptq"](weight, hessian.float(), LIMIT)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "error": error(weight, grid.float() * scale.float()[:, None], hessian)}


def measure(report: Report, rows: int, columns: int, args: argparse.Namespace, script: Path | None) -> None:
    """One layer, all sides in turn."""
    weight, hessian = layer(rows, columns)
    scale = (weight.abs().amax(dim=1) / LIMIT).half()
    search = QuantizeConfig(
        bits=6, clip="search", clip_candidates=CLIPS, min_range=1.0, gptq=True, keep_below=0
    )  # fmt: skip
    made: dict[str, Any] = {}

    def run(name: str, grid: Any) -> float:
        return timed(lambda: made.__setitem__(name, grid()))

    times: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        sides: dict[str, Any] = {
            "kit, one grid": lambda: gptq(weight, hessian, scale, LIMIT),
            "reference, one grid": lambda: reference(weight, hessian, scale, LIMIT),
            "kit, search of 5": lambda: quantize({"w": weight}, search, {"w": hessian})[0],
        }
        for side, work in sides.items():
            times.setdefault(side, []).append(run(side, work))
        if script is not None:
            order = {"script": str(script), "rows": rows, "columns": columns, "threads": args.threads}
            made["contest"] = child("benchmarks.quantizer", order, threads=args.threads)
            times.setdefault("contest, search of 5", []).append(made["contest"]["seconds"])
    group = f"GPTQ, {rows} x {columns}"
    steps = scale.float()[:, None]
    found = made["kit, search of 5"]
    searched = next(value for name, value in found.items() if name != "w")
    errors = {
        "kit, one grid": error(weight, made["kit, one grid"].float() * steps, hessian),
        "reference, one grid": error(weight, made["reference, one grid"].float() * steps, hessian),
        "kit, search of 5": error(weight, found["w"].float() * searched.float()[:, None], hessian),
    }
    if script is not None:
        errors["contest, search of 5"] = made["contest"]["error"]
    for side, seconds in times.items():
        report.add(group, side, "s", seconds)
        report.add(group, f"{side}: error", "share", errors[side])
    kit, own = times["kit, one grid"], errors["kit, one grid"]
    report.add(
        group, "kit over reference: seconds", "x", ratios(kit, times["reference, one grid"]), goal=1, better="less"
    )
    report.add(group, "kit over reference: error", "x", own / errors["reference, one grid"], goal=1.001, better="less")
    if script is not None:
        seconds = ratios(times["kit, search of 5"], times["contest, search of 5"])
        report.add(group, "kit over contest: seconds", "x", seconds, goal=1, better="less")
        against = errors["kit, search of 5"] / errors["contest, search of 5"]
        report.add(group, "kit over contest: error", "x", against, goal=1.001, better="less")


def main() -> None:
    made = parser(__doc__, rounds=3, contest=True)
    made.add_argument("--threads", type=int, default=1)
    args = made.parse_args()
    if answered(args, contest_side):
        return
    torch.set_num_threads(args.threads)
    report = Report("quantizer")
    with tempfile.TemporaryDirectory() as scratch:
        script = contest.wanted(args, contest.GPTQ, Path(scratch), report, "the contest's own GPTQ")
        for rows, columns in QUICK if args.quick else SHAPES:
            measure(report, rows, columns, args, script)
    report.save(args)


if __name__ == "__main__":
    main()
