"""What the audit costs, in units of one plain evaluation of the same stream.

    python benchmarks/audit_cost.py [SUBMISSION...] [--rounds 3] [--data commons] [--depth standard]

A SUBMISSION is a folder, or the name of one under submissions/. Its sealed artifact is taken from runs/NAME, or trained
into it. A plain evaluation is the scored run alone, from starting its box to its last row; the audit is everything that
`harness run` does after sealing: all checks but those that run only on request. The goal is five.

Of the first submission, each check is also run alone. What that costs holds the scored run, which most checks need and
nothing else, so 1 is free; checks share runs, and runs go on side by side, so these numbers do not add up.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.kept import Report, parser
from benchmarks.measure import ratios
from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.training import Sealed, train
from harness.audit.checks import judge, select
from harness.corpus.dataset import Dataset, default_cache, prepare
from harness.folder import Folder, open_folder
from harness.progress import Progress
from harness.record import Depth

#: Plain evaluations that all checks together may cost.
GOAL = 5.0
DEFAULT = ["baseline", "causal_slot", "causal_slot_batched", "scored_slot"]


def seconds(folder: Folder, dataset: Dataset, sealed: Sealed, checks: list[str], depth: Depth = "standard") -> float:
    """Wall time of gathering the evidence that some checks need, and of judging it."""
    options = Options(checks=checks, depth=depth)
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=True) as progress:
        started = time.monotonic()
        evidence = gather(folder, dataset, sealed, 1, Path(scratch), options, progress)
        judge(evidence, checks)
        return time.monotonic() - started


def each(report: Report, group: str, folder: Folder, dataset: Dataset, sealed: Sealed, rounds: int) -> None:
    """What each check costs alone, the scored run that it looks at included."""
    for check in select("all"):
        if check == "single-pass":
            continue  # looks at nothing but the scored run: it is what the others are measured by
        plain, alone = [], []
        for _ in range(rounds):
            plain.append(seconds(folder, dataset, sealed, ["single-pass"]))
            alone.append(seconds(folder, dataset, sealed, [check]))
        report.add(group, f"{check} alone, over plain", "x", ratios(alone, plain))


def main() -> None:
    made = parser(__doc__, rounds=3)
    made.add_argument("submissions", nargs="*", default=DEFAULT)
    made.add_argument("--data", default="commons")
    made.add_argument("--depth", choices=("quick", "standard", "deep"), default="standard")
    args = made.parse_args()
    dataset = prepare(args.data, cache=default_cache())
    report = Report("audit_cost")
    for name in args.submissions[:1] if args.quick else args.submissions:
        folder = open_folder(Path(name) if Path(name).is_dir() else Path("submissions") / name)
        out = Path("runs") / folder.name
        out.mkdir(parents=True, exist_ok=True)
        with Progress(quiet=True) as quiet:
            sealed = train(folder, dataset, 1, out, Options(), quiet)
        plain, every = [], []
        for _ in range(args.rounds):  # in turn, so that a drift of the machine's speed hits both
            plain.append(seconds(folder, dataset, sealed, ["single-pass"]))
            every.append(seconds(folder, dataset, sealed, select("all"), args.depth))
        group = f"audit of {folder.name}" + (f", {args.depth}" if args.depth != "standard" else "")
        report.add(group, "plain evaluation", "s", plain)
        report.add(group, "everything", "s", every)
        report.add(group, "everything over plain", "x", ratios(every, plain), goal=GOAL, better="less")
        if name == args.submissions[0] and args.depth == "standard":
            each(report, group, folder, dataset, sealed, args.rounds)
    report.save(args)


if __name__ == "__main__":
    main()
