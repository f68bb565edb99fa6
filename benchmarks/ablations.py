"""What each technique is worth at smoke scale, one switch at a time: mean and spread over seeds, and what it costs.

    python benchmarks/ablations.py --work runs/ablations [--seeds 1,2,3] [--steps 350] [--jobs 2] [--only TEXT]
    python benchmarks/ablations.py --work runs/ablations --table reports/ablations.md

Every row is the smoke baseline with one thing changed, trained for the same number of steps on the same text, stored as
an artifact, read back, and scored by the referee. Rows that change only the quantizer or the evaluation take up the
weights that the baseline of their seed left. Results are kept one by one; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from harness.adapters.options import played
from harness.adapters.recording import score_of
from harness.corpus.dataset import Dataset, default_cache, prepare
from harness.kit import GPT, Calibration, QuantizeConfig, Submission, TrainData
from harness.kit.artifact import unpack
from harness.kit.calibration import collect
from harness.kit.config import smoke_model, smoke_quantize, smoke_train
from harness.kit.prequant import PrequantConfig, adapt, training_slice
from harness.kit.pruning import pack_to_fit
from harness.kit.quantize import dequantize, quantize
from harness.kit.stream import Stream
from harness.kit.trainer import train
from harness.kit.watch import Watch
from harness.kit.worker import load_submission, seed_everything
from harness.referee.rows import projector
from harness.referee.session import Evaluation
from harness.referee.source import Real
from harness.referee.trace import Trace
from harness.sandbox.wire import Wire, pair

SUBMISSIONS = Path(__file__).resolve().parents[1] / "submissions"
BASE = "baseline"


@dataclass(frozen=True)
class Technique:
    """One row: what it changes of the smoke baseline, and where it comes from."""

    name: str
    source: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    quantize: dict[str, Any] = field(default_factory=dict)
    after: Callable[[GPT, TrainData], None] | None = None
    scorer: str = ""
    leaks: bool = False

    @property
    def trains(self) -> bool:
        """Whether it needs weights of its own."""
        return bool(self.model or self.train or self.after or self.name == BASE)


def _slice(model: GPT, data: TrainData) -> None:
    tokens = training_slice(data.shards, 128, 256)
    adapt(model, tokens, PrequantConfig(epochs=3, lr=5e-4, sequence_length=256, batch_sequences=32))


_SIX = {"bits": 6}
_GPTQ = {**_SIX, "gptq": True, "calibration": Calibration(sequences=16, length=256)}
_OWN = Calibration(source="self", inside_clock=False, sequences=16, length=256)

MODEL = (
    Technique("leaky relu², slope 0.5", "#493", model={"leaky_slope": 0.5}),
    Technique("MLP of 3 times the width", "", model={"mlp_ratio": 3.0}),
    Technique("MLP of 4 times the width", "#1218", model={"mlp_ratio": 4.0}),
    Technique("XSA in all layers", "#478", model={"xsa_last": 2}),
    Technique("SmearGate", "#65", model={"smear": "channel"}),
    Technique("SmearGate by token, BOS masked", "#1667, #1851", model={"smear": "token", "smear_bos": 1}),
    Technique("BigramHash 512 x 32", "#162", model={"bigram_buckets": 512, "bigram_dim": 32}),
    Technique("value embeddings", "#374", model={"ve_layers": (1,), "ve_dim": 32}),
    Technique("rotary on 16 dimensions", "#1019", model={"rope_dims": 16}),
    Technique("layer-norm scale", "#1019", model={"ln_scale": True}),
    Technique("gated skips", "#1172", model={"skip_gates": True}),
    Technique("orthogonal initial weights", "#1019", model={"orthogonal_init": True}),
    Technique("query gain 4", "#1125", model={"qk_gain": 4.0}),
    Technique("query gain 5.25", "#1493", model={"qk_gain": 5.25}),
    Technique("last layer twice, from half of the steps", "#1334",
              model={"recur_layers": (1,), "recur_from_fraction": 0.5}),
    Technique("attention and MLP side by side", "#1412", model={"parallel": "joint"}),
    Technique("two residual lanes", "#1334", model={"parallel": "lanes", "parallel_from": 1}),
)  # fmt: skip
TRAINING = (
    Technique("MuonEq-R", "#1217", train={"muon_row_normalize": True}),
    Technique("Polar Express", "#1344", train={"orthogonalizer": "polar-express"}),
    Technique("weight decay 0.04", "#1019",
              train={"muon_decay": 0.04, "embed_decay": 0.04, "scalar_decay": 0.04}),
    Technique("gradients clipped at 0.3", "#1019", train={"grad_clip": 0.3}),
    Technique("EMA 0.97", "#1019", train={"ema": 0.97}),
    Technique("SWA every 10 steps, applied", "", train={"swa_every": 10}),
    Technique("coprime loader", "#1184", train={"loader": "coprime"}),
    Technique("AdamW on a training slice, after training", "#1554", after=_slice),
)  # fmt: skip
QUANTIZER = (
    Technique("int6 to nearest", "#414", quantize=_SIX),
    Technique("int6, clip search", "#414", quantize={**_SIX, "clip": "search"}),
    Technique("int6, SDClip 12.85", "#1394", quantize={**_SIX, "clip": "sd"}),
    Technique("int6 GPTQ, training text", "#1060", quantize=_GPTQ),
    Technique("int6 GPTQ, its own text", "#1019", quantize={**_GPTQ, "calibration": _OWN}),
    Technique("int6 GPTQ, random tokens", "", quantize={**_GPTQ, "calibration": replace(_OWN, source="random")}),
    Technique("int6 GPTQ, SDClip", "#1394", quantize={**_GPTQ, "clip": "sd"}),
    Technique("int6 GPTQ, Hadamard", "#1400", quantize={**_GPTQ, "hadamard": 32}),
    Technique("int5 to nearest", "#180", quantize={"bits": 5}),
    Technique("int8, range coder", "", quantize={"compressor": "range"}),
    Technique("int8, LZMA", "", quantize={"compressor": "lzma"}),
    Technique("int8, zstd", "", quantize={"compressor": "zstd"}),
    Technique("int8, zlib", "", quantize={"compressor": "zlib"}),
)  # fmt: skip
EVALUATION = (
    Technique("SLOT per window", "#1306 made causal", scorer="causal_slot"),
    Technique("SLOT per batch", "#1306", scorer="causal_slot_batched", leaks=True),
    Technique("SLOT on scored positions", "#1229", scorer="scored_slot", leaks=True),
    Technique("L-BFGS SLOT per window", "#1350 made causal", scorer="lbfgs_slot_per_window"),
    Technique("L-BFGS SLOT per batch", "#1350", scorer="lbfgs_slot", leaks=True),
    Technique("SLOT with a bigram table, per window", "", scorer="hash_slot"),
    Technique("ETLB", "#1399", scorer="etlb"),
    Technique("score-first TTT", "#549, #1413", scorer="score_first_ttt"),
    Technique("LoRA per document", "#77", scorer="lora_ttt"),
    Technique("n-gram tilt", "#1420", scorer="ngram_tilt"),
    Technique("hashed n-gram cache, not normalised", "#770", scorer="ngram_cache", leaks=True),
)
GROUPS = {"Baseline": (Technique(BASE),), "Model": MODEL, "Training": TRAINING, "Quantizer": QUANTIZER,
          "Evaluation": EVALUATION}  # fmt: skip


def measure(technique: Technique, seed: int, steps: int, work: Path) -> dict[str, Any]:
    """Train, store, read back and score once; seconds are CPU seconds of one thread."""
    torch.set_num_threads(1)
    seed_everything(seed)
    dataset = prepare("stdlib", cache=default_cache())
    model = GPT(replace(smoke_model(dataset.vocab_size), **technique.model))
    weights = work / f"weights-{seed}-{steps}.pt"
    data = TrainData(tuple(dataset.train_shards), dataset.vocab_size, seed)
    started = _cpu()
    if technique.trains or not weights.is_file():
        config = replace(smoke_train(), steps=steps, **technique.train)
        train(model, list(data.shards), config, seed=seed)
        if technique.after:
            technique.after(model, data)
        if technique.name == BASE:
            torch.save(model.state_dict(), weights)
    else:
        model.load_state_dict(torch.load(weights, weights_only=True))
    trained = _cpu()
    how: QuantizeConfig = replace(smoke_quantize(), **technique.quantize)
    hessians = collect(model, data, how, inside_clock=True) | collect(model, data, how, inside_clock=False)
    container = pack_to_fit(*quantize(model.state_dict(), how, hessians), how)
    packed = _cpu()
    payload, meta = unpack(container)
    model.load_state_dict(dequantize(payload, meta))
    model.eval()
    trace, seconds = _scored(model, technique.scorer, dataset, seed)
    return {
        "bpb": score_of(trace, dataset)[1],
        "train seconds": trained - started,
        "pack seconds": packed - trained,
        "evaluation seconds": seconds,
        "bytes": len(container),
        "parameters": sum(param.numel() for param in model.parameters()),
    }


def _scored(model: GPT, scorer: str, dataset: Dataset, seed: int) -> tuple[Trace, float]:
    """Score the validation text through the referee, in a forked process."""
    tokens = played(dataset, "smoke")
    ours, theirs = pair()
    before = _cpu(resource.RUSAGE_CHILDREN)
    pid = os.fork()
    if pid == 0:
        ours.close()
        status = 1
        try:
            seed_everything(seed)
            submission = load_submission(SUBMISSIONS / scorer, "smoke") if scorer else Submission("smoke")
            watch = Watch()
            cpu = torch.device("cpu")
            stream = Stream(Wire(theirs), tokens=len(tokens), vocab_size=dataset.vocab_size, watch=watch, device=cpu)
            watch.install()
            submission.evaluate(model, stream)
            stream.close()
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    trace = Trace(len(tokens))
    evaluation = Evaluation(
        ours, source=Real(tokens), targets=tokens, sink=trace, projection=projector(dataset.vocab_size, seed),
        deadline=time.monotonic() + 3600,
    )  # fmt: skip
    evaluation.run()
    ours.close()
    evaluation.wire.close()
    os.waitpid(pid, 0)
    return trace, _cpu(resource.RUSAGE_CHILDREN) - before


def _cpu(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def _one(group: str, index: int, seed: int, steps: int, work: Path) -> str:
    technique = GROUPS[group][index]
    kept = _kept(work, technique, seed, steps)
    if not kept.is_file():
        found = measure(technique, seed, steps, work)
        kept.write_text(json.dumps(found))
    return f"{technique.name}, seed {seed}: {json.loads(kept.read_text())['bpb']:.4f}"


def _kept(work: Path, technique: Technique, seed: int, steps: int) -> Path:
    name = "".join(letter if letter.isalnum() else "-" for letter in technique.name)
    return work / f"{name}-{seed}-{steps}.json"


def table(work: Path, seeds: list[int], steps: int) -> list[str]:
    """The page."""
    base = _values(work, GROUPS["Baseline"][0], seeds, steps)
    lines = [
        "# What each technique is worth at smoke scale",
        "",
        "Written by `benchmarks/ablations.py`; its docstring says how to run it. Each row is the smoke baseline",
        f"({steps} steps of 1,024 tokens, `stdlib` text, int8 + brotli, sliding windows) with one thing changed, over",
        f"seeds {', '.join(map(str, seeds))}. BPB is the mean, ± the standard deviation over seeds; the difference is",
        "to the baseline of the same seed, with its standard deviation. A technique **helps** or **hurts** where the",
        "mean difference is more than two standard errors from zero. Seconds are CPU seconds of one thread, on two",
        "cores of an AMD EPYC, no GPU.",
        "",
        "A model of 228 thousand parameters that has seen a third of a million tokens says little about one of 27",
        "million that has seen billions: much of what helps there costs here, and that is what the table is for. Rows",
        "marked (leaks) use what they score, or claim more than there is; their numbers are no scores.",
        "",
    ]
    for group, techniques in GROUPS.items():
        lines += [f"## {group}", "",
                  "| technique | source | BPB | difference | | parameters | artifact, bytes | train, s | "
                  "calibrate and pack, s | evaluate, s |", "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for technique in techniques:
            values = _values(work, technique, seeds, steps)
            if len(values) == len(seeds) == len(base):
                lines.append(_row(technique, values, base))
        lines.append("")
    return lines


def _row(technique: Technique, values: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    scores = [value["bpb"] for value in values]
    gaps = [value["bpb"] - other["bpb"] for value, other in zip(values, base, strict=True)]
    mean, spread = statistics.mean(gaps), statistics.stdev(gaps)
    verdict = "" if abs(mean) <= 2 * spread / len(gaps) ** 0.5 else "helps" if mean < 0 else "hurts"
    cost = {key: statistics.mean(value[key] for value in values) for key in values[0]}
    name = technique.name + (" (leaks)" if technique.leaks else "")
    gap = "" if technique.name == BASE else f"{mean:+.4f} ± {spread:.4f}"
    cells = [
        name, technique.source, f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}", gap,
        "" if technique.leaks or technique.name == BASE else verdict, f"{cost['parameters']:,.0f}",
        f"{cost['bytes']:,.0f}", f"{cost['train seconds']:.0f}" if technique.trains else "–",
        f"{cost['pack seconds']:.1f}", f"{cost['evaluation seconds']:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _values(work: Path, technique: Technique, seeds: list[int], steps: int) -> list[dict[str, Any]]:
    paths = [_kept(work, technique, seed, steps) for seed in seeds]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where results are kept")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--only", default="", help="techniques whose name contains this")
    parser.add_argument("--table", type=Path, help="write the table from what is there, and stop")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if args.table:
        args.table.write_text("\n".join(table(args.work, seeds, args.steps)))
        print(args.table)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    prepare("stdlib", cache=default_cache())
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for seed in seeds:  # the others start from its weights
            print(pool.submit(_one, "Baseline", 0, seed, args.steps, args.work).result(), flush=True)
        waiting = [
            pool.submit(_one, group, index, seed, args.steps, args.work)
            for group, techniques in GROUPS.items()
            for index, technique in enumerate(techniques)
            for seed in seeds
            if args.only in technique.name
        ]
        for done in waiting:
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()
