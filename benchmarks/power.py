"""How small a leak do the checks see? Detection rate against strength, and the false-alarm rate of clean submissions.

    python benchmarks/power.py [--seeds 5] [--clean 200] [--out docs]

A leak's strength is a dial: the share of the true token's one-hot that enters a row ("hint"), the share of positions at
which a tenth of it enters ("rare"), or the excess of a claimed probability ("fat"). Tiny scale: 5,000 tokens.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from harness import audit
from harness.report.figures import draw
from tests.support import tiny_dataset, write_submission
from tests.zoo.runner import Zoo

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
CHECKS = ("causality", "null-stream", "normalization")

_HEAD = "import torch\nfrom tiny import Tiny, hinted, nll\n\n\nclass Animal(Tiny):\n"
_LEAKS = {
    "hint": """
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            target = stream.targets(batch)[batch.scored]
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], target, min({strength}, 0.999)))
""",
    "rare": """
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            target = stream.targets(batch)[batch.scored]
            where = (batch.positions * 2654435761 % 100000 < {strength} * 100000).float()[:, None]
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], target, 0.1 * where))
""",
    "fat": """
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            rows = model(batch.inputs).log_softmax(-1)[batch.scored]
            stream.score(batch, rows + torch.log1p(torch.tensor({strength})), kind="log_probs")
""",
}
_CLEAN = """
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in self.batches(stream):
            stream.score(batch, model(batch.inputs)[batch.scored])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        with Zoo(tiny_dataset(home), home / "zoo", []) as zoo:
            series = {name: _curve(zoo, home, name, code, args.seeds) for name, code in _LEAKS.items()}
            alarms = _clean(zoo, home, args.clean)
    _report(series, alarms, args)


def _animal(zoo: Zoo, home: Path, name: str, body: str) -> None:
    folder = home / "zoo" / "code" / f"{name}-offender"
    plain = zoo.folders["plain", "neighbour"].path
    folder.mkdir(parents=True)
    for shared in ("tiny.py", "classes.py"):
        (folder / shared).write_text((plain / shared).read_text())
    zoo.folders[name, "offender"] = write_submission(folder, code=_HEAD + body)


def _curve(zoo: Zoo, home: Path, leak: str, code: str, seeds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {check: [] for check in CHECKS}
    for strength in STRENGTHS:
        name = f"{leak}-{strength:g}"
        _animal(zoo, home, name, code.replace("{strength}", repr(strength)))
        outcomes = [zoo.judge(name, "offender", seed) for seed in range(1, seeds + 1)]
        for check in CHECKS:
            rates[check].append(sum(check in found.failed for found in outcomes) / seeds)
        print(f"{name:12s} " + "  ".join(f"{check} {rates[check][-1]:.0%}" for check in CHECKS), flush=True)
    return rates


def _clean(zoo: Zoo, home: Path, runs: int) -> int:
    _animal(zoo, home, "clean", _CLEAN)
    alarms = 0
    for seed in range(1000, 1000 + runs):
        failed = zoo.judge("clean", "offender", seed).failed
        alarms += bool(failed)
        if failed:
            print(f"false alarm at seed {seed}: {failed}", flush=True)
    print(f"clean: {alarms} false alarms in {runs} runs of all {len(audit.select('all'))} checks", flush=True)
    return alarms


def _report(series: dict[str, dict[str, list[float]]], alarms: int, args: argparse.Namespace) -> None:
    lines = [
        "# Power",
        "",
        f"Detection rate over {args.seeds} seeds at tiny scale (5,295 tokens, vocabulary 320), by leak and strength;",
        f"clean submissions: {alarms} false alarms in {args.clean} runs of all checks.",
        "Made by `python benchmarks/power.py`.",
        "",
        "| leak | strength | " + " | ".join(CHECKS) + " |",
        "|---|---|" + "---|" * len(CHECKS),
    ]
    for leak, rates in series.items():
        for index, strength in enumerate(STRENGTHS):
            cells = " | ".join(f"{rates[check][index]:.0%}" for check in CHECKS)
            lines.append(f"| {leak} | {strength:g} | {cells} |")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "power.md").write_text("\n".join(lines) + "\n")
    strengths = [round(math.log10(strength), 3) for strength in STRENGTHS]
    for leak, rates in series.items():
        figure = {
            "type": "line",
            "title": f"Detection rate against strength: {leak}",
            "x_label": "log10 of the strength",
            "y_label": "detection rate",
            "series": [{"label": check, "x": strengths, "y": rates[check]} for check in CHECKS],
        }
        (args.out / f"power-{leak}.svg").write_text(str(draw(figure, f"power-{leak}")))


if __name__ == "__main__":
    main()
