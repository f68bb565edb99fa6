"""Numbers that nobody has reached, or that no such machine can: a question each, with what it is held against.

Scores are held against what models are known to reach, steps and evaluations against the operations that they take, and
the bytes of a model against the bits per parameter that its format leaves in merged logs. The table with its sources
and dates is floor.toml. None of this shows that a number is wrong, so that none of it is a violation.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.papers.collect import Case
from harness.papers.logs import Run, bare, integer
from harness.papers.reading import Number, Paper, Quote
from harness.papers.reasons import Reason

_TABLE = Path(__file__).with_name("floor.toml")
_PARAMETERS = re.compile(r"\bmodel_params[:= ]{1,2}(\d[\d,]{5,14})\b")
_BATCH = re.compile(r"\btrain_batch_tokens[:= ]{1,2}(\d[\d,]{3,12})\b")
_STEP = re.compile(
    r"^(?:step[:= ] ?)?(?P<step>\d{1,7})/\d{1,7} .*?train_time: ?(?P<time>\d{1,10}(?:\.\d{1,4})?)ms "
    r"step_avg: ?(?P<mean>\d{1,7}\.\d{1,4})ms"
)
_STRIDE = re.compile(r"\bstride[:=] ?(\d{1,5})\b")
_LENGTH = re.compile(r"\b(?:eval_|train_)?seq_len[:=] ?(\d{2,6})\b")
#: Steps that a mean may leave out at the beginning, and what else may lie between it and the clock; relative.
_LEFT_OUT = 20
_OFF = 0.05
_GPUS = 8


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    source: str
    date: datetime.date


class Reached(_Row):
    """A score that is reached: bits per byte, by what, with source and date."""

    bpb: float

    def __str__(self) -> str:
        return f"{self.bpb:g} of {self.of} ({self.source}, {self.date:%-d %B %Y})"


class Ranked(Reached):
    """The best ranked score, and how far below it a claim is asked about."""

    step: float


class Machine(_Row):
    """Operations a second of one accelerator, and the share of parameters that are multiplied at least."""

    operations: float
    multiplied: float


class Format(BaseModel):
    """A way of storing weights: bits per parameter that merged logs show at least, and below which is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    merged: float
    asked_below: float


class Table(BaseModel):
    """floor.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contest: Ranked
    model: tuple[Reached, ...]
    machine: Machine
    format: tuple[Format, ...]


@cache
def table() -> Table:
    """What is known to be reached."""
    return Table.model_validate(tomllib.loads(_TABLE.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Asked:
    """A question: what is claimed, what it is held against, and the lines."""

    reason: Reason
    text: str
    quotes: tuple[Quote | Number | None, ...]


def questions(case: Case) -> list[Asked]:
    """Everything of the claimed score and the runs that it rests on that lies beyond what is known."""
    asked = _score(case)
    for run in case.carried:
        paper = case.papers.named(run.file)
        if paper is not None:
            facts = _facts(run, paper)
            found = [_means(facts), _throughput(run, facts), _bytes(run, facts)]
            asked += [one for one in found if one is not None]
            asked += _evaluations(case, run, facts)
    return list({one.text: one for one in asked}.values())


def _score(case: Case) -> list[Asked]:
    claim = case.claims.val_bpb.number if case.claims.val_bpb else None
    value = claim.value if claim else case.headline.mean
    best = table().contest
    if value is None or value >= best.bpb - best.step:
        return []
    quote = claim or case.headline.carried[0].metric.bpb
    below = [one for one in table().model if value < one.bpb]
    text = f"{value:.7g} is {best.bpb - value:.4f} below {best}"
    if below:
        text += f", and lower than {below[-1]}"
    return [Asked(Reason.BELOW_ALL_KNOWN, text, (quote,))]


@dataclass(frozen=True)
class _Facts:
    """What a log says of the size of its work; parameters, tokens a step, and (step, total ms, mean ms, line)."""

    parameters: Number | None
    batch: Number | None
    steps: tuple[tuple[int, float, float, Quote], ...]


def _facts(run: Run, paper: Paper) -> _Facts:
    """Read a log that holds one run; of several runs in one file the first lines count for all, if they agree."""
    parameters: dict[float, Number] = {}
    batch: dict[float, Number] = {}
    steps = []
    for index, raw in enumerate(paper.lines):
        if len(raw) > 400 or not ("params" in raw or "train_" in raw):
            continue
        line = bare(raw).strip()
        for pattern, found in ((_PARAMETERS, parameters), (_BATCH, batch)):
            if (match := pattern.search(line)) is not None:
                value = float(integer(match[1]))
                found.setdefault(value, Number(value, 0.5, paper.quote(index)))
        if "step_avg" in line and (match := _STEP.match(line)) is not None and int(match["step"]) >= 200:
            steps.append((int(match["step"]), float(match["time"]), float(match["mean"]), paper.quote(index)))
    return _Facts(_only(parameters), _only(batch), tuple(steps))


def _only(found: dict[float, Number]) -> Number | None:
    return next(iter(found.values())) if len(found) == 1 else None


def _means(facts: _Facts) -> Asked | None:
    """Steps times the mean time of a step against the clock; what both leave out before the first line is no matter."""
    if len(facts.steps) < 2:
        return None
    (first, begin, early, _), (last, end, late, quote) = facts.steps[0], facts.steps[-1]
    clock, told = end - begin, late * last - early * first
    if last - first < 100 or clock <= 0:
        return None
    if abs(told - clock) <= _OFF * clock + late * _LEFT_OUT:
        return None
    text = (
        f"{last - first:,} steps are {told / 1000:.1f} s by the mean of a step, and {clock / 1000:.1f} s by the clock"
    )
    return Asked(Reason.STEPS_AND_CLOCK, text, (facts.steps[0][3], quote))


def _throughput(run: Run, facts: _Facts) -> Asked | None:
    """Six operations a parameter and token for a step of training."""
    if facts.parameters is None or facts.batch is None or not facts.steps:
        return None
    _, _, mean, quote = facts.steps[-1]
    needed = 6 * table().machine.multiplied * facts.parameters.value * facts.batch.value
    return _too_fast(run, needed, mean / 1000, "a step of training", (facts.parameters, facts.batch, quote))


def _evaluations(case: Case, run: Run, facts: _Facts) -> list[Asked]:
    """Two operations a parameter and token for one forward pass, for each window that a token stands in."""
    found = []
    for one in case.headline.carried:
        seconds = one.metric.seconds
        if one.run is not run or seconds is None or facts.parameters is None or run.val_tokens is None:
            continue
        times = 1.0
        stride, length = _STRIDE.search(one.metric.bpb.quote.text), _LENGTH.search(one.metric.bpb.quote.text)
        if stride and length and int(stride[1]) > 0:
            times = max(1.0, int(length[1]) / int(stride[1]))
        needed = 2 * table().machine.multiplied * facts.parameters.value * run.val_tokens.value * times
        quotes = (facts.parameters, run.val_tokens, one.metric.bpb)
        asked = _too_fast(run, needed, seconds, "an evaluation", quotes)
        found += [asked] if asked is not None else []
    return found


def _too_fast(run: Run, needed: float, seconds: float, what: str, quotes: tuple[Quote | Number, ...]) -> Asked | None:
    machine = table().machine
    gpus = run.world_size.value if run.world_size else _GPUS
    least = needed / (machine.operations * gpus)
    if seconds <= 0 or seconds >= least:
        return None
    return Asked(
        Reason.TOO_FAST,
        f"{what} took {seconds:.4g} s, and takes {least:.4g} s at least on {gpus:.0f} of {machine.of}: {needed:.3g} "
        f"operations at {machine.operations:.4g} a second each ({machine.source})",
        quotes,
    )


def _bytes(run: Run, facts: _Facts) -> Asked | None:
    """Bits per parameter of the compressed model."""
    if run.total is None or facts.parameters is None:
        return None
    model = run.models.get(run.total.format)
    form = next((one for one in table().format if any(name in run.total.format for name in one.names)), None)
    if model is None or form is None:
        return None
    bits = 8 * model.value / facts.parameters.value
    if bits >= form.asked_below:
        return None
    each = f"{model.value:,.0f} bytes are {bits:.2f} bits for each of {facts.parameters.value:,.0f} parameters"
    text = f"{each}, and merged models of the format {run.total.format} have {form.merged:g} at least"
    return Asked(Reason.TOO_FEW_BITS, text, (model, facts.parameters))
