"""How small a leak do the checks see? Detection rate against strength, and the false-alarm rate of clean submissions.

    python benchmarks/power.py [--seeds 5] [--clean 200] [--smoke 0] [--out docs] [--runs runs/power.jsonl] [--render]

A leak's strength is a dial: the share of the true token's one-hot that enters every row ("hint"), the share of
positions at which a tenth of it enters ("rare"), or the excess of a claimed probability ("fat"). What a leak is worth,
in nats per token, is measured on the same stream against the same model without it. Tiny scale: one model, 5,295
scored tokens. `--smoke N` adds N runs of two leaks at smoke scale, with the baseline's own artifact, boxes and default
depth: a dense one worth about 1e-4 nats per token, and one at 1 % of the positions worth about 0.005.

Every run is appended to --runs as one line, and is not made again; --render only draws what is there.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.training import train
from harness.audit.checks import judge, select
from harness.corpus.dataset import default_cache, prepare
from harness.folder import open_folder
from harness.progress import Progress
from harness.report.figures import draw
from tests.support import tiny_dataset, write_submission
from tests.zoo.runner import Zoo, outcome

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
            mixed = (batch.positions + 7919 * torch.initial_seed()) * 2654435761 % 100000
            where = (mixed < {strength} * 100000).float()[:, None]
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
_SMOKE = """
import torch

from harness.kit import Submission


class Leak(Submission):
    @torch.no_grad()
    def evaluate(self, model, stream):
        for batch in stream.windows(self.length, self.stride, self.windows_per_batch):
            rows = self.rows(model, batch.inputs, batch.scored).softmax(-1)
            target = stream.targets(batch)[batch.scored]
            mixed = (batch.positions + 7919 * torch.initial_seed()) * 2654435761 % 100000
            share = {share} * (mixed < {where} * 100000).float()[:, None]
            told = torch.nn.functional.one_hot(target, rows.shape[-1])
            stream.score(batch, ((1 - share) * rows + share * told).log())
"""
#: Share of the true token's one-hot, share of the positions, and what that is.
_SMOKE_LEAKS = {
    "dense": (1e-7, 1.0, "a hint of 1e-7 in every row"),
    "sparse": (0.005, 0.01, "a hint of 0.005 at 1 % of the positions"),
    "none": (0.0, 1.0, "no leak"),
}
_WHAT = {
    "hint": "the share of the true token's one-hot that enters every row",
    "rare": "the share of positions whose row gets a tenth of the true token's one-hot",
    "fat": "what each row sums to beyond 1",
}
#: Legal submissions of different kinds; every run has its own seed.
_CLEAN = {
    "plain": "sliding windows, no adaptation",
    "v04_adapt_then_score": "test-time training, score first",
    "v06_two_pass_ngram": "bigram counts of what is scored, normalised",
    "v11_target_gate": "a tilt gated on the token before",
    "c1_small_leak": "a hint at the previous token",
}

Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each leak at each strength")
    parser.add_argument("--clean", type=int, default=200, help="runs of clean submissions")
    parser.add_argument("--smoke", type=int, default=0, help="runs of each leak at smoke scale")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--runs", type=Path, default=Path("runs/power.jsonl"))
    parser.add_argument("--render", action="store_true", help="make no runs, only write table and figures")
    args = parser.parse_args()
    if not args.render:
        args.runs.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            home = Path(scratch)
            with Zoo(tiny_dataset(home), home / "zoo", [name for name in _CLEAN if name != "plain"]) as zoo:
                _measure(zoo, home, args)
            if args.smoke:
                _measure_smoke(home, args)
    runs = [json.loads(line) for line in args.runs.read_text().splitlines()]
    render(runs, args.out)


def _wanted(seeds: int, clean: int) -> Iterator[tuple[str, str, float, int]]:
    """(kind, name, strength, seed) of every run; seed by seed, so that a run that is cut short is a fair one."""
    each = math.ceil(clean / len(_CLEAN))
    for seed in range(1, max(seeds, each) + 1):
        if seed <= each:
            yield from (("clean", name, 0.0, seed) for name in _CLEAN)
        if seed <= seeds:
            yield from (("leak", name, strength, seed) for name in _LEAKS for strength in STRENGTHS)


def _measure(zoo: Zoo, home: Path, args: argparse.Namespace) -> None:
    kept = args.runs.read_text().splitlines() if args.runs.exists() else []
    done = {(run["kind"], run["name"], run["strength"], run["seed"]) for run in map(json.loads, kept)}
    with args.runs.open("a") as log:
        for kind, name, strength, seed in _wanted(args.seeds, args.clean):
            if (kind, name, strength, seed) in done:
                continue
            animal, side = (name, "neighbour") if kind == "clean" else (f"{name}-{strength:g}", "offender")
            if (animal, side) not in zoo.folders:
                _animal(zoo, home, animal, _LEAKS[name].replace("{strength}", repr(strength)))
            started = time.monotonic()
            evidence = zoo.run(animal, side, seed)
            found = outcome(judge(evidence, select("all")))
            run: Run = {"kind": kind, "name": name, "strength": strength, "seed": seed, "statuses": found.statuses}
            run |= {"loss": float(np.nanmean(evidence.trace.nll)), "seconds": round(time.monotonic() - started, 2)}
            log.write(json.dumps(run) + "\n")
            log.flush()
            print(f"{run['seconds']:6.1f} s  {kind} {animal} seed {seed}: {found.statuses or 'quiet'}", flush=True)


def _measure_smoke(home: Path, args: argparse.Namespace) -> None:
    """Only causality, at default depth: each run has a nonce of its own, and its leak is at other positions."""
    dataset = prepare(Options().data_spec, cache=default_cache())
    base = open_folder(Path("submissions/baseline"))
    out = Path("runs/baseline")
    out.mkdir(parents=True, exist_ok=True)
    kept = args.runs.read_text().splitlines() if args.runs.exists() else []
    done = {(run["name"], run["strength"], run["seed"]) for run in map(json.loads, kept) if run["kind"] == "smoke"}
    with Progress(quiet=True) as progress, args.runs.open("a") as log:
        sealed = train(base, dataset, 1, out, Options(), progress)
        for seed in range(1, args.smoke + 1):
            for name, (share, where, _) in _SMOKE_LEAKS.items():
                if (name, share, seed) in done:
                    continue
                folder = home / "smoke" / name
                if not folder.exists():
                    folder.mkdir(parents=True)
                    code = _SMOKE.replace("{share}", repr(share)).replace("{where}", repr(where))
                    write_submission(folder, code=code)
                scratch = home / "smoke" / f"{name}-{seed}"
                scratch.mkdir()
                options = Options(checks=["causality"])
                evidence = gather(open_folder(folder), dataset, sealed, seed, scratch, options, progress)
                (found,) = judge(evidence, options.checks)
                run: Run = {"kind": "smoke", "name": name, "strength": share, "seed": seed}
                run |= {"statuses": {"causality": found.status.value}, "loss": float(np.nanmean(evidence.trace.nll))}
                run["rows"] = found.value("own_rows_compared")
                run["worth"] = {leak: _worth(evidence.trace.nll, *how[:2]) for leak, how in _SMOKE_LEAKS.items()}
                log.write(json.dumps(run) + "\n")
                log.flush()
                print(f"smoke {name} seed {seed}: {found.status}: {found.headline}", flush=True)


def _worth(nll: np.ndarray[Any, Any], share: float, where: float) -> float:
    """What a leak would gain on these rows, nats per token: the true token gets `share` more at `where` of them."""
    return where * float(np.nanmean(np.log1p(share * np.expm1(np.asarray(nll, np.float64)))))


def _smoke_table(runs: list[Run]) -> list[str]:
    """Detection at smoke scale; nothing where no such run was made."""
    smoke = [run for run in runs if run["kind"] == "smoke"]
    if not smoke:
        return []
    lines = [
        "## At smoke scale, default depth",
        "",
        "The baseline's artifact, a nonce and other positions for each run; causality alone. *Worth* is what the leak",
        "gains on the rows of the runs without it. A leak at 1 % of the positions is missed where none of the compared",
        "own rows is at one of them: with 435 or more of them in 1.3 % of the runs.",
        "",
        "| leak | runs | worth, nats per token | seen | own rows compared, median |",
        "|---|---|---|---|---|",
    ]
    for name, (share, _, what) in _SMOKE_LEAKS.items():
        mine = [run for run in smoke if (run["name"], run["strength"]) == (name, share)]
        seen = sum(run["statuses"]["causality"] == "FAIL" for run in mine)
        worth = float(np.mean([run["worth"][name] for run in smoke if run["name"] == "none"]))
        rows = int(np.median([run["rows"] for run in mine]))
        lines.append(f"| {what} | {len(mine)} | {worth:+.2g} | {seen} of {len(mine)} | {rows} |")
    return [*lines, ""]


def _animal(zoo: Zoo, home: Path, name: str, body: str) -> None:
    folder = home / "zoo" / "code" / f"{name}-offender"
    plain = zoo.folders["plain", "neighbour"].path
    folder.mkdir(parents=True)
    for shared in ("tiny.py", "classes.py"):
        (folder / shared).write_text((plain / shared).read_text())
    zoo.folders[name, "offender"] = write_submission(folder, code=_HEAD + body)


def render(runs: list[Run], out: Path) -> None:
    """Write power.md and one figure for each leak."""
    clean = [run for run in runs if run["kind"] == "clean"]
    honest = float(np.mean([run["loss"] for run in clean if run["name"] == "plain"]))
    rates = {leak: _rates([run for run in runs if run["name"] == leak], honest) for leak in _LEAKS}
    seeds = max(row["runs"] for rows in rates.values() for row in rows)
    lines = [
        "# Power: how small a leak the checks see",
        "",
        f"One model at tiny scale (5,295 tokens, vocabulary 320, {honest:.3f} nats per token), {seeds} seeds for",
        "each strength. A seed changes the probes, the null stream, every generator and the positions of a rare leak,",
        "but not the model. The cells are the share of runs in which a check said FAIL. *Worth* is what a leak gains,",
        "in nats per token, on the same stream; a record's margin is 0.005. The null stream convicts from 21 nats in",
        "total, which is 0.004 nats per token here, and 62 million tokens make that 3e-7: it gains with the length of",
        "the stream. Made by `python benchmarks/power.py`.",
        "",
    ]
    for leak, rows in rates.items():
        lines += [f"## {leak}", "", f"Strength: {_WHAT[leak]}.", "", f"![Detection rate, {leak}](power-{leak}.svg)", ""]
        lines += ["| strength | worth, nats per token | " + " | ".join(CHECKS) + " | any check |"]
        lines += ["|---|---|" + "---|" * (len(CHECKS) + 1)]
        for row in rows:
            cells = " | ".join(f"{row[check]:.0%}" for check in (*CHECKS, "any"))
            lines.append(f"| {row['strength']:g} | {row['worth']:+.2g} | {cells} |")
        missed = [row for row in rows if row["any"] < 1]
        most = max(missed, key=lambda row: row["worth"], default=None)
        lines += [
            "",
            f"Largest leak that some run missed: {most['worth']:.2g} nats per token." if most else "None missed.",
        ]
        lines.append("")
    lines += _smoke_table(runs)
    lines += _false_alarms(clean)
    out.mkdir(parents=True, exist_ok=True)
    (out / "power.md").write_text("\n".join(lines) + "\n")
    for leak, rows in rates.items():
        (out / f"power-{leak}.svg").write_text(_figure(leak, rows))


def _rates(runs: list[Run], honest: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for strength in STRENGTHS:
        cell = [run for run in runs if run["strength"] == strength]
        if not cell:
            continue
        failed = [{check for check, status in run["statuses"].items() if status == "FAIL"} for run in cell]
        row: dict[str, Any] = {check: sum(check in found for found in failed) / len(cell) for check in CHECKS}
        row |= {"strength": strength, "runs": len(cell), "any": sum(map(bool, failed)) / len(cell)}
        row["worth"] = honest - float(np.mean([run["loss"] for run in cell]))
        rows.append(row)
    return rows


def _false_alarms(clean: list[Run]) -> list[str]:
    accused = [run for run in clean if "FAIL" in run["statuses"].values()]
    bound = binomtest(len(accused), len(clean)).proportion_ci(0.9, "exact").high
    lines = [
        "## False alarms",
        "",
        f"**{len(accused)} of {len(clean)}** runs of clean submissions got a FAIL from any of the"
        f" {len(select('all'))} checks: a rate below {bound:.1%} per run at 95 % confidence.",
        "",
        "| clean submission | runs | with a FAIL | with anything but PASS |",
        "|---|---|---|---|",
    ]
    for name, what in _CLEAN.items():
        mine = [run for run in clean if run["name"] == name]
        wrong = sum(run in accused for run in mine)
        lines.append(f"| {what} | {len(mine)} | {wrong} | {sum(bool(run['statuses']) for run in mine)} |")
    return [*lines, *(f"* seed {run['seed']}, {run['name']}: {run['statuses']}" for run in accused)]


_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.f-grid{stroke:#ddd}.f-tick,.f-axis{fill:#666}"
    ".f-line{stroke-width:2;vector-effect:non-scaling-stroke}"
    + "".join(
        f"polyline.f-line-{index}{{stroke:{colour}}}tspan.f-line-{index}{{fill:{colour}}}"
        for index, colour in enumerate(("#c0392b", "#1f6fb2", "#2e8b57"), 1)
    )
)


def _figure(leak: str, rows: list[dict[str, Any]]) -> str:
    """A picture that stands alone: the report's own line chart with a style of its own."""
    strengths = [round(math.log10(row["strength"]), 3) for row in rows]
    figure = {
        "type": "line",
        "title": f"Detection rate against strength: {leak}",
        "x_label": "log10 of the strength",
        "y_label": "detection rate",
        "series": [{"label": check, "x": strengths, "y": [row[check] for row in rows]} for check in CHECKS],
    }
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="310" viewBox="0 0 720 310">'
    ground = '<rect width="720" height="310" fill="#fff"/>'
    return f"{head}<style>{_STYLE}</style>{ground}{draw(figure, f'power-{leak}')}</svg>\n"


if __name__ == "__main__":
    main()
