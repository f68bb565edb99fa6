"""What the audit of an unmodified script costs, in units of one plain run of it.

    python benchmarks/script_cost.py FOLDER [FOLDER...] [--depth quick]

A FOLDER is a record's folder as it was submitted, or its script. A plain run is the script once, at the same tiny size,
with the same stand-ins and data, in a box that is started fresh, with nothing recorded. All numbers are CPU seconds,
added up over the processes of the boxes, so that other work on the machine changes little. The audit is all boxes, the
harness beside them, and the warmed process that they are forks of, counted in full for each folder; the pass at the
submitted sequence length is counted apart, because it may cost as much as all the rest. The goals are four plain runs,
in the median over the folders, and 3 GB.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.kept import Report, parser
from harness.progress import Progress
from harness.sandbox import warm
from harness.scripts.auditing import audit_script
from harness.scripts.collect import ScriptOptions, prepare
from harness.scripts.play.running import play

GOAL, MEMORY = 4.0, 3.0


def plain(path: Path, options: ScriptOptions) -> float:
    """CPU seconds of one run with nothing recorded.

    Raises:
        RuntimeError: it did not come to its end.
    """
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=True) as progress:
        runner = prepare(path, options, Path(scratch), progress).runner
        log = Path(scratch) / "plain.log"
        played = play(runner.script, runner.streams, log=log, record=False, limits=options.limits, warm=False)
        if played.cut or played.observed.facts.get("ended") not in ("ok", "exit 0"):
            raise RuntimeError(f"{path}: {played.cut or played.observed.facts.get('error')}")
        return played.cpu_seconds


def audited(path: Path, options: ScriptOptions) -> dict[str, Any]:
    """CPU seconds of each box of an audit and of the harness itself ("harness"), and the highest memory of a box."""
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=True) as progress:
        before = _own()
        record = audit_script(path, options, Path(scratch), progress).record
        peak = record.environment["peak_memory_bytes"]
        assert isinstance(peak, dict)
        boxes = {**record.timing["cpu"], "warmed process": warm.spent(), "harness": _own() - before}
        return {"boxes": boxes, "peak": float(peak["highest"])}


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    made = parser(__doc__, rounds=1)
    made.add_argument("folders", nargs="+", type=Path)
    made.add_argument("--depth", choices=("quick", "standard"), default="standard")
    args = made.parse_args()
    report = Report("script_cost")
    options = dataclasses.replace(ScriptOptions(), depth=args.depth)
    ratios, peaks = [], []
    for folder in args.folders[:1] if args.quick else args.folders:
        name = folder.resolve().stem
        runs = [plain(folder, options) for _ in range(args.rounds)]
        once = statistics.median(runs)
        seen = audited(folder, options)
        tiny = {box: spent for box, spent in seen["boxes"].items() if not box.startswith("long")}
        long = sum(spent for box, spent in seen["boxes"].items() if box not in tiny)
        ratios.append(sum(tiny.values()) / once)
        peaks.append(seen["peak"] / 1e9)
        report.add(name, "a plain run", "s", runs)
        for box, spent in tiny.items():
            report.add(name, f"audit: {box}", "s", spent)
        report.add(name, "audit over plain", "x", ratios[-1], goal=GOAL, better="less")
        report.add(name, "at the submitted length, over plain", "x", long / once)
        report.add(name, "highest memory of a box", "GB", peaks[-1], goal=MEMORY, better="less")
    report.add("all", "audit over plain, median", "x", statistics.median(ratios), goal=GOAL, better="less")
    report.add("all", "highest memory of a box", "GB", max(peaks), goal=MEMORY, better="less")
    report.save(args)


if __name__ == "__main__":
    main()
