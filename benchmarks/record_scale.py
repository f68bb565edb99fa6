"""Every submission at full size: parameters, and what its artifact weighs from random-initialised weights.

    python benchmarks/record_scale.py [--only NAME] [--table docs/record-scale.md]

Nothing is trained: weights are the initial ones, so that size tells of shapes, grids and codec, not of learning. GPTQ
has no Hessians here and rounds to nearest; what a trained model weighs is another number. One thread.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import torch

from harness.kit.pruning import pack_to_fit
from harness.kit.quantize import quantize
from harness.kit.submission import Submission
from harness.kit.worker import load_submission, seed_everything

SUBMISSIONS = Path(__file__).resolve().parents[1] / "submissions"
LIMIT = 16_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="submissions whose name contains this")
    parser.add_argument("--table", type=Path, help="write the page there as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# The submissions at full size",
        "",
        "Written by `python benchmarks/record_scale.py --table docs/record-scale.md`. Weights are the initial ones,",
        "seed 1; submissions that share model and quantizer share a row. Seconds are wall time on one of two cores of",
        "an AMD EPYC, memory is the process's peak so far.",
        "",
        "| submissions | vocabulary | parameters | settings | artifact, bytes | under 16,000,000 | build, s | "
        "quantize, s | pack, s | peak, GB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines[-2:]))
    groups: dict[tuple[str, str], list[str]] = {}
    for path in sorted(SUBMISSIONS.glob("*/submission.py")):
        if args.only in path.parent.name:
            submission = load_submission(path.parent, "record")
            shape = (str(submission.model_config(_vocabulary(path.parent.name))), str(submission.quantize_config()))
            groups.setdefault(shape, []).append(path.parent.name)
    for names in groups.values():
        lines.append(_row(names))
        print(lines[-1], flush=True)
    if args.table:
        args.table.write_text("\n".join(lines) + "\n")


def _vocabulary(name: str) -> int:
    return 4096 if name.startswith("sp4096") else 1024


def _row(names: list[str]) -> str:
    submission: Submission = load_submission(SUBMISSIONS / names[0], "record")
    vocabulary = _vocabulary(names[0])
    seed_everything(1)
    started = time.perf_counter()
    model = submission.build_model(vocabulary)
    built = time.perf_counter()
    how = submission.quantize_config()
    payload, meta = quantize(model.state_dict(), replace(how, gptq=False, hessian_clip=0.0))
    rounded = time.perf_counter()
    container = pack_to_fit(payload, meta, replace(how, prune_to=0))
    packed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cells = [
        ", ".join(names), f"{vocabulary:,}", f"{sum(p.numel() for p in model.parameters()):,}",
        f"int{how.bits}, {how.clip}, {how.compressor}", f"{len(container):,}",
        "yes" if len(container) <= LIMIT else f"no: pruned to {how.prune_to:,}" if how.prune_to else "no",
        f"{built - started:.1f}", f"{rounded - built:.1f}", f"{packed - rounded:.1f}", f"{peak:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
