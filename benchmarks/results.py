"""All results of the speed benchmarks as one page and one picture.

    python benchmarks/results.py [--results DIR] [--page benchmarks/RESULTS.md] [--plot reports/speed.svg]

The tables are those of the latest run of each benchmark's command on each class of machine. The picture shows every
ratio that has a goal, with its spread, and how a command's ratios went from run to run once there are two.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.kept import RESULTS, ROOT, Row, figure
from harness.report.svg import chart, el, num, text

_TITLES = {
    "trainer": "Training",
    "evaluator": "Evaluation, and what trust costs",
    "growth": "Growth",
    "quantizer": "Quantization",
    "audit_cost": "What the audit costs",
    "script_cost": "What the audit of an unmodified script costs",
}
_GPU = """\
**Figures of a GPU: none so far.** Nothing here was measured on one. There the kit trains and scores with bfloat16
autocast, takes flash-attn where it is installed (torch's attention otherwise) and computes the loss with plain
`F.cross_entropy`; it compiles nothing, and the contest's script does, so a step of its eight-GPU run is not what this
page says anything about. Where there is a GPU, these measure it:

    pip install 'golf-harness[cuda]'
    harness run submissions/baseline --device cuda --scale record     # training and evaluation clocks in record.json
    torchrun --standalone --nproc_per_node=1 train_gpt.py             # the contest's own, in its folder
"""
_STYLE = """
svg { font: 13px system-ui, sans-serif; color: #1d2733 }
.f-label, .f-value { fill: currentColor } .f-tick, .f-axis { fill: #5d6b7a; font-size: 11px }
.f-bar { fill: #2f6f9f } .f-alarm { fill: #b3402a } .f-track { fill: #e4e9ee } .f-limit { stroke: #1d2733 }
.f-spread { stroke: #10202f; stroke-width: 1.5 } .f-line { stroke: #2f6f9f; stroke-width: 2; fill: none }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3 } .f-ground { fill: #10171e } .f-track { fill: #2a343e }
.f-tick, .f-axis { fill: #9aa7b4 } .f-limit, .f-spread { stroke: #e6edf3 } }
"""


@dataclass(frozen=True)
class Run:
    """One run of one benchmark, as it was kept."""

    benchmark: str
    date: str
    commit: str
    machine: tuple[tuple[str, Any], ...]
    command: str
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    @property
    def place(self) -> str:
        """The class of machine in words; software may change with time, a class does not."""
        found = dict(self.machine)
        gpu = "no GPU" if found["gpu"] == "none" else found["gpu"]
        return f"{found['cpu']}, {found['cores']} logical CPUs, {gpu}"

    @property
    def kind(self) -> tuple[str, str, str]:
        """Runs of one kind are compared over time: the same benchmark with the same arguments on the same class."""
        return self.benchmark, self.command, self.place

    @property
    def held(self) -> list[Row]:
        """The rows with a goal."""
        return [row for row in self.rows if row.goal]


def read(folder: Path) -> list[Run]:
    """All runs in a folder of results, oldest first for each benchmark.

    Raises:
        ValueError: a file there is no file of results.
    """
    runs = []
    for path in sorted(folder.glob("*.json")):
        try:
            kept = json.loads(path.read_text())
            for run in kept["runs"]:
                rows = tuple(Row(**row) for row in run["rows"])
                machine = tuple(sorted(run["machine"].items()))
                facts = (kept["benchmark"], run["date"], run["commit"], machine, run["command"])
                runs.append(Run(*facts, rows, tuple(run["left_out"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name} is no file of results: {error}") from None
    order = list(_TITLES)
    return sorted(runs, key=lambda run: order.index(run.benchmark) if run.benchmark in order else len(order))


def latest(runs: Sequence[Run]) -> list[Run]:
    """The last run of each kind."""
    return list({run.kind: run for run in runs}.values())


def page(runs: Sequence[Run]) -> str:
    """The tables in Markdown."""
    lines = [
        "# Speed",
        "",
        "Written by `python benchmarks/results.py` from `benchmarks/results/`; each section names the command that",
        "measured it. Numbers are medians over rounds, extremes in brackets. Ratios are formed round by round, both",
        "sides in turn. What a benchmark compares, and what is fair about it, its own text says.",
        "",
        "![Ratios against their goals](../reports/speed.svg)",
        "",
        *_GPU.splitlines(),
    ]
    for run in latest(runs):
        software = dict(run.machine).get("software", "")
        lines += ["", f"## {_TITLES.get(run.benchmark, run.benchmark)}", ""]
        lines += [f"`{run.command}`, {run.date}, commit {run.commit}; {run.place}; {software}."]
        for group in dict.fromkeys(row.group for row in run.rows):
            lines += ["", f"### {group}", "", "| | | unit | goal |", "|---|---:|---|---|"]
            for row in run.rows:
                if row.group == group:
                    name = f"{row.name} ({row.note})" if row.note else row.name
                    lines.append(f"| {name} | {row.text} | {row.unit} | {row.verdict} |")
        if run.left_out:
            lines += ["", "Left out: " + "; ".join(run.left_out) + "."]
    return "\n".join(lines) + "\n"


def plot(runs: Sequence[Run]) -> str:
    """Bars of ratios to their goals, a tick at the goal, a line for the spread; then the history. It stands alone."""
    bars = [(run, row) for run in latest(runs) for row in run.held]
    body: list[Markup] = []
    y = 0
    top = max([1.2, *(min(row.high / (row.goal or 1), 4.0) for _, row in bars)]) * 1.02
    for _, row in bars:
        assert row.goal
        good = row.verdict.endswith("met")
        share = [100 * min(value / row.goal / top, 1.0) for value in (row.median, row.low, row.high)]
        said = f"{row.text} {row.unit if row.unit != 'x' else ''}"
        body += [
            text(f"{row.group.removeprefix('growth: ')}: {row.name}", "0", y + 14, limit=76),
            text(said, "100%", y + 14, "end", "f-value"),
            el("rect", x=0, y=y + 20, width="100%", height=9, rx=2, class_="f-track"),
            el("rect", x=0, y=y + 20, width=f"{num(share[0])}%", height=9, rx=2, class_="f-bar" if good else "f-alarm"),
            el("line", x1=f"{num(share[1])}%", x2=f"{num(share[2])}%", y1=y + 24.5, y2=y + 24.5, class_="f-spread"),
            el("line", x1=f"{num(100 / top)}%", x2=f"{num(100 / top)}%", y1=y + 17, y2=y + 32, class_="f-limit"),
            text(row.verdict, "100%", y + 42, "end", "f-tick"),
        ]
        y += 50
    for kind, values in history(runs).items():
        body += _trend(kind, values, y)
        y += 60
    said = "; ".join(f"{row.group}, {row.name}: {row.text}, {row.verdict}" for _, row in bars)
    drawn = chart("speed", "Ratios against their goals", said or "no ratios yet", max(y, 20), *body)
    size = f'width="760" height="{y + 24}" viewBox="0 0 760 {y + 24}"'
    inner = Markup('<svg x="12" y="12" width="736">{}</svg>').format(drawn)
    ground = '<rect class="f-ground" width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{ground}{inner}</svg>\n'


def history(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Where two or more runs are of one kind: how far each is from its goals, as a mean over ratios (1 is the goal)."""
    kinds: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        kinds.setdefault(run.kind, []).append(run)
    found = {}
    for (name, command, _), same in kinds.items():
        if len(same) > 1 and all(run.held for run in same):
            found[f"{name}: {command}"] = [statistics.geometric_mean(_shares(run)) for run in same]
    return found


def _shares(run: Run) -> list[float]:
    """Each ratio over its goal, turned round where more is better, so that less is always better."""
    shares = []
    for row in run.held:
        share = max(row.median, 1e-6) / (row.goal or 1)
        shares.append(1 / share if row.better == "more" else share)
    return shares


def _trend(name: str, values: Sequence[float], y: int) -> list[Markup]:
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    points = " ".join(
        f"{num(1000 * index / (len(values) - 1))},{num(28 - 26 * (value - low) / spread)}"
        for index, value in enumerate(values)
    )
    line = el("polyline", points=points, class_="f-line", vector_effect="non-scaling-stroke")
    return [
        text(f"over {len(values)} runs, {name}", "0", y + 14, class_="f-axis", limit=80),
        text(f"{figure(values[0])} to {figure(values[-1])} of the goals", "100%", y + 14, "end", "f-tick"),
        el("svg", line, x=0, y=y + 22, width="100%", height=30, viewBox="0 0 1000 30", preserveAspectRatio="none"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    parser.add_argument("--plot", type=Path, default=ROOT / "reports" / "speed.svg")
    args = parser.parse_args()
    runs = read(args.results)
    if not runs:
        parser.error(f"no results in {args.results}; run a benchmark first, such as python benchmarks/quantizer.py")
    args.page.write_text(page(runs))
    args.plot.write_text(plot(runs))
    print(f"{len(runs)} runs: {args.page}, {args.plot}")


if __name__ == "__main__":
    main()
