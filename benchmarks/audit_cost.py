"""What the audit costs, in units of one plain evaluation of the same stream.

    python benchmarks/audit_cost.py [SUBMISSION...] [--rounds 3] [--data stdlib]

A SUBMISSION is a folder, or the name of one under submissions/. Its sealed artifact is taken from runs/NAME, or trained
into it. A plain evaluation is the scored run alone, from starting its box to its last row; the audit is everything that
`harness run` does after sealing: all checks but those that run only on request.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from harness import audit
from harness.corpus.dataset import Dataset, default_cache, prepare
from harness.folder import Folder, open_folder
from harness.options import Options
from harness.pipeline import gather
from harness.progress import Progress
from harness.training import Sealed, train

DEFAULT = ["baseline", "causal_slot", "causal_slot_batched", "scored_slot"]


def seconds(folder: Folder, dataset: Dataset, sealed: Sealed, checks: list[str]) -> float:
    """Wall time of gathering the evidence that some checks need, and of judging it."""
    options = Options(checks=checks)
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=True) as progress:
        started = time.monotonic()
        evidence = gather(folder, dataset, sealed, 1, Path(scratch), options, progress)
        audit.judge(evidence, checks)
        return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submissions", nargs="*", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="stdlib")
    args = parser.parse_args()
    dataset = prepare(args.data, cache=default_cache())
    print(f"{'submission':22s} {'plain, s':>18s} {'everything, s':>18s} {'ratio':>14s}")
    for name in args.submissions:
        folder = open_folder(Path(name) if Path(name).is_dir() else Path("submissions") / name)
        out = Path("runs") / folder.name
        out.mkdir(parents=True, exist_ok=True)
        options = Options()
        with Progress(quiet=True) as quiet:
            sealed = train(
                folder, dataset, scale="smoke", seed=1, out=out, sandbox="auto", limits=options.limits,
                threads=options.threads, progress=quiet,
            )  # fmt: skip
        plain, every = [], []
        for _ in range(args.rounds):  # in turn, so that a drift of the machine's speed hits both
            plain.append(seconds(folder, dataset, sealed, ["single-pass"]))
            every.append(seconds(folder, dataset, sealed, audit.select("all")))
        ratios = [b / a for a, b in zip(plain, every, strict=True)]
        print(f"{folder.name:22s} {_spread(plain):>18s} {_spread(every):>18s} {_spread(ratios):>14s}", flush=True)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


if __name__ == "__main__":
    main()
