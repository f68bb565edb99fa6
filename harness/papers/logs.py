"""Logs as runs: what each run says of its seed, data, clock, bytes and scores, every number with its line.

The grammar comes first: one expression per kind of line, anchored at the line's start. Two generations of scripts print
two grammars (`step:K/M val_loss:F val_bpb:F train_time:Tms` until March, `K/M val_loss: F val_bpb: F` from April on),
and the pull requests a few hundred dialects of them. Logs embed the script's own source, f-strings included; an
expression that wants a digit right after the label does not match those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.papers.reading import Number, Paper, Quote

#: What launchers and loggers put in front of a line: rank tags, timestamps, levels.
PREFIX = re.compile(
    r"^\s*(?:(?:\[(?:default|rank|gpu|train|modal|\d)[^\]]{0,40}\]:?"
    r"|\d{4}-\d\d-\d\d[T ][0-9:.,]{5,15}Z?(?:\s*-\s*INFO\s*-|\s++INFO(?=\s))?"
    r"|\[\d{4}-\d\d-\d\d[T ][^\]]{5,20}\]|\[\d\d:\d\d:\d\d\]|\d{10}(?:\.\d+)?(?=\s)|(?:rank|Rank) ?\d+:"
    r"|\[INFO\]:?|INFO:(?:root:|__main__:)?|INFO(?=\s+-)\s+-)\s*)+"
)
_NUM = r"[+-]?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+"

#: The same for numbers that may be grouped by commas.
_BYTES = r"\d[\d,]*"

METRIC = re.compile(
    rf"^(?P<label>[A-Za-z][\w .()+/@*=-]{{0,70}}?)?[:, ]{{0,20}}+(?:stride:\d+ )?(?:mode:\w+ )?"
    rf"(?:val_loss|vl)[:=] ?(?P<loss>{_NUM}),? (?:[a-z_]{{1,20}} )?(?:val_)?bpb[:=] ?(?P<bpb>{_NUM})(?P<rest>.*)$"
)
#: A score without a loss beside it; byte mixers print the bytes that they coded.
SCORE = re.compile(
    rf"^\[?(?P<label>[A-Za-z][\w.()+/-]*(?: [\w.()+/-]+){{0,3}}?)\]?[: ](?:.*[ =])??"
    rf"(?:val_bpb|cond_mix_bpb|mix_bpb|mix|bpb|BPB)[:=]\s*(?P<bpb>{_NUM})(?P<rest>.*)$"
)
#: Words of lines that report on the way, not at the end.
UNDERWAY = re.compile(
    r"chunk|running|run_bpb|progress|\bstep|rank|epoch|search|batch|\d/\d|window\b.{0,100}%|train_|delta|evolve|snapshot|"
    r"checkpoint|phase=|Pass |\braw model|best_|limit|target|baseline",
    re.I,
)
CODED = re.compile(r"\bbytes=(?P<bytes>\d{4,})\b")
#: The last validation of a contest that scores nats per token: no bits per byte stand beside it.
LOSS = re.compile(rf"^step[:= ] ?(?P<step>\d+)/(?P=step)\s+(?:val_loss|vl): ?(?P<loss>{_NUM})(?!\S)(?!.*bpb)", re.I)
#: A validation during training, in either grammar: its label is a step, and it is no result.
STEP = re.compile(
    rf"^(?P<label>(?:(?:step|s)[:= ] ?)?\d+/\d+)\s+(?:val_loss|vl): ?(?P<loss>{_NUM}) "
    rf"(?:val_)?bpb: ?(?P<bpb>{_NUM})(?P<rest>.*)$"
)
PROGRESS = re.compile(r"^(?:step[:= ] ?)?(?P<step>\d+)/\d+ .*train_time: ?(?P<time>\d+(?:\.\d+)?)(?P<unit>ms|m|s)\b")
STOP = re.compile(rf"^stopping_early: ?wallclock_cap train_time: ?(?P<ms>{_NUM})ms step: ?(?P<step>\d+)/(?P<of>\d+)")
SEED = re.compile(r"^\s*seed: ?(?P<value>\d+)\s*$")
WORLD = re.compile(r"^\s*world_size: ?(?P<value>\d+)\b")
VAL_TOKENS = re.compile(r"^(?:val_loader:.*\btokens:|val_tokens: ?|Validation tokens: )(?P<value>\d[\d,]*)\b")
TRAIN_SHARDS = re.compile(r"^(?:train_loader:.*\btrain_shards:|train_shards: ?)(?P<value>\d+)\b")
#: Headers that only the beginning of a run prints.
BEGINS = re.compile(r"^(?:Hyperparameters:\s*$|val_bpb:enabled tokenizer_kind=)")
SETTING = re.compile(r"^  (?P<name>[a-z][a-z0-9_]{1,40}): (?P<value>.{0,200})$")

MODEL = re.compile(rf"^Serialized model (?P<format>[\w+.-]+): (?P<bytes>{_BYTES}) bytes")
CODE = re.compile(rf"^Code size(?P<kind> \((?:un)?compressed\))?: (?P<bytes>{_BYTES})(?: bytes)?")
TOTAL = re.compile(
    rf"^(?:Total (?:\w+ )?submission(?: size)?(?P<format> [\w+.-]+)?|Artifact(?: size)?): (?P<bytes>{_BYTES}) bytes"
)

EVAL_TOTAL = re.compile(rf"^total_eval_time: ?(?P<s>{_NUM})s")
EVAL_TIME = re.compile(rf"\beval_time: ?(?P<value>{_NUM})(?P<unit>ms|s)\b")
WARMUP = re.compile(rf"^ttt_lora:compile warmup done \((?P<s>{_NUM})s\)")
OUTSIDE = re.compile(rf"^ngram_tilt:precompute_outside_timer_done elapsed=(?P<s>{_NUM})s")
HESSIANS = re.compile(rf"^GPTQ:collected \d+ Hessians.* in (?P<s>{_NUM})s")
CALIBRATES = re.compile(r"^gptq:(?:calibrating|collecting hessians).*(?:train(?:ing)? data)", re.I)
GENERATED = re.compile(rf"^gptq: ?generated \d+ sequences in (?P<s>{_NUM})s")
#: Adaptation before quantization that is counted in epochs; in every script that prints it, on the validation tokens.
PRE_QUANT = re.compile(
    r"^(?:ttt_adamw|dttt|prequant_ttt|ppttt|preq_ttt|pre_?quant_?ttt)[:_ ]?(?:epoch|start|done|e\d)[ :=]"
)

_DIAGNOSTIC = re.compile(r"diagnostic|pre[-_ ]?quant|post[-_ ]?ema|before|baseline_|warmup", re.I)
_MOST_METRICS = 400


def bare(line: str) -> str:
    """A log line without what the launcher put in front of it; leading blanks stay where nothing else was."""
    match = PREFIX.match(line)
    return line[match.end() :] if match and match.end() < len(line) else line


def integer(text: str) -> int:
    """Digits that may be grouped by commas."""
    return int(text.replace(",", "")[:30])


def half_unit(written: str) -> float:
    """Half a unit of the last digit that is written."""
    mantissa, _, exponent = written.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (min(int(exponent or 0), 30) - decimals)


@dataclass(frozen=True)
class Metric:
    """One evaluation: its label in the log, nats per token, bits per byte, seconds and bytes where they are printed."""

    label: str
    loss: Number | None
    bpb: Number
    seconds: float | None
    bytes: int | None = None

    @property
    def diagnostic(self) -> bool:
        """The label says that this is not the score of the artifact."""
        return bool(_DIAGNOSTIC.search(self.label))

    @property
    def kind(self) -> str:
        """The label without "_exact", which repeats the line before it with more digits."""
        return self.label.removesuffix("_exact").strip().lower()


@dataclass(frozen=True)
class Total:
    """A line that adds up the submission: the format it names, "" where it names none, and the bytes."""

    format: str
    bytes: Number


@dataclass
class Run:
    """What one run of the script printed.

    Attributes:
        file: the log.
        seed, world_size, val_tokens, train_shards: as printed, None where they are not.
        settings: the hyperparameter dump, empty in the older grammar.
        setting_lines: where each setting stands.
        loss: nats per token at the last step, where the log has no bits per byte beside them.
        metrics: evaluations in the order of the log, validations during training left out.
        steps: validations during training.
        stop: milliseconds at which the wall-clock cap ended training.
        steps_done: steps by then.
        last_time: milliseconds of the last progress line.
        models, totals: bytes by format.
        code: bytes of code by kind: "" (as it is), "uncompressed", "compressed".
        eval_total, warmup, outside, hessians, generated: seconds of phases.
        marks: lines that are evidence by themselves, by what they are evidence of.
    """

    file: str
    seed: Number | None = None
    world_size: Number | None = None
    val_tokens: Number | None = None
    train_shards: Number | None = None
    settings: dict[str, str] = field(default_factory=dict)
    setting_lines: dict[str, Quote] = field(default_factory=dict)
    loss: Number | None = None
    metrics: list[Metric] = field(default_factory=list)
    steps: list[Metric] = field(default_factory=list)
    stop: Number | None = None
    steps_done: int | None = None
    last_time: Number | None = None
    models: dict[str, Number] = field(default_factory=dict)
    code: dict[str, Number] = field(default_factory=dict)
    totals: list[Total] = field(default_factory=list)
    eval_total: Number | None = None
    warmup: Number | None = None
    outside: Number | None = None
    hessians: Number | None = None
    generated: Number | None = None
    marks: dict[str, list[Quote]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """The run has printed a result or has stopped, so that a new header begins another run."""
        return bool(self.metrics or self.stop or self.totals)

    @property
    def empty(self) -> bool:
        """Nothing of a run was found."""
        return not (self.metrics or self.steps or self.stop or self.totals or self.last_time or self.loss)

    @property
    def results(self) -> list[Metric]:
        """Evaluations that may be the score: without diagnostics, and each kind once, with the most digits."""
        best: dict[str, Metric] = {}
        for metric in self.metrics:
            known = best.get(metric.kind)
            if not metric.diagnostic and (known is None or metric.bpb.half <= known.bpb.half):
                best.pop(metric.kind, None)
                best[metric.kind] = metric
        return list(best.values())

    @property
    def total(self) -> Total | None:
        """The last total of a compressed format; totals without a format count the raw weights where others exist."""
        named = [one for one in self.totals if one.format not in ("", "raw")]
        plain = [one for one in self.totals if one.bytes.value < 40_000_000]
        return named[-1] if named else plain[-1] if plain else None

    @property
    def train_ms(self) -> Number | None:
        """Milliseconds of the training loop: where the cap stopped it, or else the last that was printed."""
        return self.stop or self.last_time


def read_log(paper: Paper) -> list[Run]:
    """The runs that a log holds, in its order; none where it is no log. Numbers that are not finite are left out."""
    runs: list[Run] = []
    run = Run(paper.name)
    for index, raw in enumerate(paper.lines):
        if len(raw) > 2000 or not raw.strip():
            continue
        line = bare(raw)
        if BEGINS.match(line) and run.ended:
            runs.append(run)
            run = Run(paper.name)
        _take(run, line, paper, index)
    return [one for one in [*runs, run] if not one.empty]


def _take(run: Run, line: str, paper: Paper, index: int) -> None:
    """Read one line into the run."""

    def number(value: float, written: str) -> Number:
        return Number(value, half_unit(written), paper.quote(index))

    if match := SETTING.match(line):
        name = match["name"]
        run.settings.setdefault(name, match["value"].strip())
        run.setting_lines.setdefault(name, paper.quote(index))
    if match := SEED.match(line):
        run.seed = run.seed or number(integer(match["value"]), match["value"])
        return
    if match := WORLD.match(line):
        run.world_size = run.world_size or number(integer(match["value"]), match["value"])
        return
    line = line.strip()
    for pattern, name in ((VAL_TOKENS, "val_tokens"), (TRAIN_SHARDS, "train_shards")):
        if match := pattern.match(line):
            setattr(run, name, getattr(run, name) or number(integer(match["value"]), match["value"]))
    if match := STOP.match(line):
        run.stop = number(float(match["ms"]), match["ms"])
        run.steps_done = integer(match["step"])
    elif match := PROGRESS.match(line):
        unit = {"ms": 1.0, "s": 1e3, "m": 6e4}[match["unit"]]
        read = number(float(match["time"]) * unit, match["time"])
        run.last_time = Number(read.value, read.half * unit, read.quote)
    if match := LOSS.match(line):
        run.loss = number(float(match["loss"]), match["loss"])
    if "bpb" in line.lower() and (match := _score(line)):
        _metric(run, match, line, number)
    elif match := MODEL.match(line):
        run.models[match["format"]] = number(integer(match["bytes"]), "0")
    elif match := CODE.match(line):
        run.code[(match["kind"] or "").strip(" ()")] = number(integer(match["bytes"]), "0")
    elif match := TOTAL.match(line):
        run.totals.append(Total((match["format"] or "").strip(), number(integer(match["bytes"]), "0")))
    for pattern, name in (
        (EVAL_TOTAL, "eval_total"),
        (WARMUP, "warmup"),
        (OUTSIDE, "outside"),
        (HESSIANS, "hessians"),
        (GENERATED, "generated"),
    ):
        if match := pattern.match(line):
            setattr(run, name, number(float(match["s"]), match["s"]))
    for pattern, mark in (
        (PRE_QUANT, "pre-quantization adaptation"),
        (CALIBRATES, "calibrates on training data"),
    ):
        if pattern.match(line):
            kept = run.marks.setdefault(mark, [])
            if len(kept) < 3:
                kept.append(paper.quote(index))


def _score(line: str) -> re.Match[str] | None:
    return STEP.match(line) or METRIC.match(line) or SCORE.match(line)


def _metric(run: Run, match: re.Match[str], line: str, number: Callable[[float, str], Number]) -> None:
    alone = match.re is SCORE
    if alone and UNDERWAY.search(line):
        return
    bpb, loss = float(match["bpb"]), None if alone else float(match["loss"])
    if not (math.isfinite(bpb) and bpb > 0) or (loss is not None and not (math.isfinite(loss) and loss > 0)):
        return
    time, coded = EVAL_TIME.search(match["rest"]), CODED.search(line)
    metric = Metric(
        label=(match["label"] or "").strip(" :,"),
        loss=None if loss is None else number(loss, match["loss"]),
        bpb=number(bpb, match["bpb"]),
        seconds=float(time["value"]) / (1000 if time["unit"] == "ms" else 1) if time else None,
        bytes=int(coded["bytes"][:15]) if coded and alone else None,
    )
    kept = run.steps if match.re is STEP else run.metrics
    if len(kept) < _MOST_METRICS:
        kept.append(metric)


def read_logs(papers: Iterable[Paper]) -> list[Run]:
    """The runs of all these logs. A run that another file repeats number for number (train.log) is left out."""
    seen: set[tuple[object, ...]] = set()
    kept = []
    for paper in papers:
        for run in read_log(paper):
            key = fingerprint(run)
            if key is None or key not in seen:
                kept.append(run)
            if key is not None:
                seen.add(key)
    return kept


def fingerprint(run: Run) -> tuple[object, ...] | None:
    """What two different runs never share: seed, clock and all scores; None where there is too little of it."""
    scores = tuple(metric.bpb.value for metric in run.metrics)
    if run.train_ms is None:
        return None
    if not scores and run.loss is not None:  # two runs do not share a loss, and a time to the millisecond
        return (run.loss.value, run.train_ms.value)
    if len(scores) < 2:
        return None
    return (run.seed.value if run.seed else None, run.train_ms.value, scores)
