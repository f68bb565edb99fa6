"""From what was played to findings and a record, by the checks of the harness.

The checks want an `Evidence`. Of a model in somebody's process there is no tokenizer, no artifact and no clock; what
stands for them here says so (ids instead of text), and no check that needs them is made.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness import rules
from harness.audit import causality
from harness.audit.check import finding, judge
from harness.audit.checks import CHECKS
from harness.audit.evidence import ArtifactSizes, Clocks, Evidence, NullRun
from harness.audit.recording import Ran, Terms, build
from harness.corpus.dataset import Dataset
from harness.corpus.tokenbytes import ByteTable
from harness.corpus.tokenizer import Tokenizer
from harness.library.flips import Effect, Shown
from harness.library.report import Report
from harness.library.subject import Ints, Subject, stream
from harness.record import AuditInfo, DataInfo, Finding, Status, SubmissionInfo, Witness
from harness.referee.comparator import ROUNDING, ProbeResult
from harness.referee.layout import Layout
from harness.referee.null import Bigram, NullStream, permutations, saving
from harness.referee.secret import Secret
from harness.referee.trace import Trace
from harness.referee.wholerow import WholeRow
from harness.sandbox.outcome import Level
from harness.sandbox.protocol import Rows

#: What the record says of the sandbox.
NO_BOX = Level("none", False, False, False, False, "played in the caller's own process; nothing was sandboxed")


class Ids(Tokenizer):
    """Stands for a tokenizer where only ids are known: a text is its ids."""

    @classmethod
    def of(cls, vocab_size: int, bos: int) -> Ids:
        """So many ids; `bos` is -1 where none starts a document."""
        return cls(Path(), "", vocab_size, bos)

    def decode(self, tokens: Sequence[int] | Any) -> str:
        """The ids, one after another."""
        return " ".join(str(int(token)) for token in tokens)


@dataclass(frozen=True)
class About:
    """What a record says of what was audited and how."""

    name: str
    call: str
    vocab_size: int
    ruleset: str
    seed: int
    chosen: bool
    facts: Mapping[str, object] = field(default_factory=dict)
    level: Level = NO_BOX
    began: float = field(default_factory=time.monotonic)


@dataclass
class Judged:
    """What was played.

    Attributes:
        about: what, and how.
        shown: of every length, the main one first.
        kind: what rows were.
        bos: starts documents; -1: no token does.
        null: what text from a known source showed.
        asked: swaps that asked a scorer of single probabilities for more of them.
        rows: whole rows that were asked for one by one.
        no_row: why there is none.
        unseen: what flips of such a scorer cannot see.
    """

    about: About
    shown: list[Shown]
    kind: Rows
    bos: int
    null: NullRun | None = None
    asked: list[ProbeResult] = field(default_factory=list)
    rows: list[WholeRow] = field(default_factory=list)
    no_row: str = ""
    unseen: list[str] = field(default_factory=list)

    @property
    def leaking(self) -> Shown:
        """The first length at which something moved, or could not be told; the main one where nothing did."""
        odd = (one for one in self.shown if one.leaks)
        blurred = (one for one in self.shown if one.blurred or any(result.unconfirmed for result in one.results))
        return next(odd, next(blurred, self.shown[0]))

    @cached_property
    def ruleset(self) -> rules.Ruleset:
        """The rules to judge by."""
        return rules.load(self.about.ruleset)

    def evidence(self) -> Evidence:
        """As the checks want it."""
        shown = self.leaking
        return Evidence(
            ruleset=self.ruleset,
            dataset=dataset_of(shown.base.tokens, self.about.vocab_size, self.bos),
            trace=shown.base.trace,
            sizes=ArtifactSizes(0, {}, []),
            clocks=Clocks({}, {}, "", False),
            level=self.about.level,
            scale="library",
            again=shown.base.trace,
            difference=shown.difference,
            probes=[
                dataclasses.replace(result, tolerance=shown.tolerance)
                for one in (self.shown if not shown.leaks else [shown])
                if len(one.base.tokens) == len(shown.base.tokens)
                for result in one.results
            ],
            null=self.null,
            rows=self.rows,
            no_row=self.no_row,
            audit_seed=self.about.seed,
            chosen=self.about.chosen,
        )


def dataset_of(tokens: Ints, vocab_size: int, bos: int) -> Dataset:
    """A dataset that is one stream of ids, int64 [T], and nothing else."""
    none = np.zeros(vocab_size, bool)
    return Dataset(
        name="ids",
        sha256="",
        root=Path(),
        train_dir=Path(),
        train_shards=(),
        validation=stream(tokens),
        tokenizer=Ids.of(vocab_size, bos),
        vocab_size=vocab_size,
        table=ByteTable(np.ones(vocab_size, np.int16), none, none),
        documents=None,
        texts=None,
        train_tokens=0,
        facts={},
        reference_unigram_bpb=0.0,
        reference_xz_bpb=None,
    )


def null_run(
    subject: Subject, length: int, vocab_size: int, bos: int, secret: Secret, text: Ints | None = None
) -> NullRun:
    """Play text that is drawn from a source with known probabilities, once.

    Args:
        subject: what plays.
        length: tokens.
        vocab_size: ids are below it.
        bos: never drawn but at the start; -1: id 0 is the one that starts.
        secret: what draws.
        text: int64, what a bigram model is made of; None: uniform permutations of ids.
    """
    rng = secret.rng("null")
    first = bos if bos >= 0 else 0
    if text is None:
        drawn = permutations(Layout.plain(length, first), vocab_size, rng)
    else:
        drawn = Bigram(stream(text), vocab_size).draw(Layout.plain(length, first), np.array([0]), rng)
        drawn = dataclasses.replace(drawn, source="a bigram model of the text that was given")
    (played,) = subject.play([drawn.tokens.astype(np.int64)], drawn.tokens.astype(np.int64))
    return null_of(drawn, played.trace, vocab_size, secret.audit_seed, "permutation" if text is None else "bigram")


def null_of(drawn: NullStream, trace: Trace, vocab_size: int, seed: int, kind: str) -> NullRun:
    """What the trace of a drawn stream shows."""
    return NullRun(drawn.source, drawn.entropy, saving(drawn, trace, vocab_size), seed, kind)


def report(
    judged: Judged, names: Sequence[str], *, calls: int, sequences: float, again: Callable[[], Report]
) -> Report:
    """Make the checks, and the record of it all."""
    evidence = judged.evidence()
    claims = dataclasses.replace(evidence, probes=judged.asked, trace=judged.shown[0].base.trace)
    findings = [
        _told(judged, evidence, one)
        for name in names
        for one in judge(claims if name == "normalization" else evidence, [name], CHECKS)
    ]
    about, shown = judged.about, judged.leaking
    seconds = time.monotonic() - about.began
    record = build(
        SubmissionInfo(
            name=about.name, path="", kind="library", sha256="",
            settings={"call": about.call, "forward_passes": calls, "lengths": [len(one.base.tokens) for one in
                                                                                 judged.shown], **about.facts},
        ),
        findings,
        Terms(judged.ruleset.judging()),
        DataInfo(
            name="ids", sha256="", vocab_size=about.vocab_size, tokenizer_sha256="",
            tokens=len(shown.base.tokens), scored_tokens=len(shown.base.tokens) - 1, train_tokens=0,
        ),
        scale="library",
        seeds=[about.seed],
        ran=Ran(about.level, seconds, {}, facts={"calls": calls}),
        audit=AuditInfo(seed=about.seed, chosen=about.chosen, depth="quick"),
    )  # fmt: skip
    return Report(record, sentence(judged), calls, sequences, shown.tolerance, again)


def sentence(judged: Judged) -> str:
    """Which token moved which row, in one sentence; empty where nothing moved."""
    shown, what = judged.leaking, judged.about.name
    at = f" at length {len(shown.base.tokens):,}" if shown is not judged.shown[0] else ""
    if shown.token is not None:
        token, last, row, size = shown.token
        who = f"token {token:,}" if token == last else f"tokens {token:,} to {last:,}"
        where = "its own row" if token == last == row else f"row {row:,}"
        return f"{who} moved {where} by {_nats(size)}{at}: {what} uses tokens before it predicts them"
    if shown.neighbour is not None:
        effect = shown.neighbour
        return (
            f"other sequences of the batch moved row {effect.position:,} by {_nats(effect.change)}{at}: rows of {what} "
            "depend on what else is in their batch"
        )
    if shown.earlier is not None:
        effect = shown.earlier
        return (
            f"what was played in the call before moved row {effect.position:,} by {_nats(effect.change)}{at}: {what} "
            "keeps tokens from one call to the next"
        )
    leaking = [result for result in shown.results if result.violated]
    if not leaking:
        return ""
    worst = max(leaking, key=lambda result: result.violated)
    begin = f"other text from token {worst.probe.position:,} on"
    if not worst.violations:
        return f"with {begin} row {worst.withheld[0]:,} did not come{at}: {what} answers otherwise to other text"
    seen = Effect.of(worst, worst.probe.position)
    moved = f"moved row {seen.position:,} by {_nats(seen.change)}{at}"
    return f"{begin} {moved}: {what} uses tokens before it predicts them"


def _nats(size: float) -> str:
    return f"{size:.3g} nats" if size < causality.INFINITE and math.isfinite(size) else "infinitely many nats"


def _told(judged: Judged, evidence: Evidence, found: Finding) -> Finding:
    """A causality finding with what only this collector knows; and a bound that saw too little says no more."""
    if found.id == "null-stream" and found.status == Status.INCONCLUSIVE:
        # The flips decide; the bound is on top of them, and accuses where it sees something.
        return found.model_copy(update={"status": Status.NOT_APPLICABLE, "remedy": None})
    if found.id != "causality":
        return found
    shown = judged.leaking
    more: dict[str, Any] = {}
    effect: Effect | None = None
    if found.status != Status.FAIL and shown.neighbour is not None:
        effect = shown.neighbour
        witness = Witness(kind="neighbour", summary=sentence(judged), data=_of(effect))
    elif found.status != Status.FAIL and shown.earlier is not None:
        effect = shown.earlier
        witness = Witness(kind="earlier call", summary=sentence(judged), data=_of(effect))
    if effect is not None:
        return finding(
            evidence, found.id, Status.FAIL, sentence(judged), witness=witness,
            metrics={"rows_moved": 1, "largest_change": effect.change},
            power={"noise_floor": shown.tolerance}, not_covered=["which of the other tokens it was"],
        )  # fmt: skip
    if found.status == Status.FAIL:
        if shown.token is not None and found.witness is not None:
            token, last, row, size = shown.token
            smallest = {"tokens": [token, last], "row": row, "change": min(size, causality.INFINITE)}
            data = {**found.witness.data, "smallest": smallest}
            more["witness"] = found.witness.model_copy(update={"summary": sentence(judged), "data": data})
        return found.model_copy(update=more)
    if shown.blurred:
        return finding(
            evidence, found.id, Status.INCONCLUSIVE, shown.blurred, power={"noise_floor": shown.tolerance},
            not_covered=list(found.not_covered),
        )  # fmt: skip
    lengths = ", ".join(f"{len(one.base.tokens):,}" for one in judged.shown)
    said = [*judged.unseen, *found.not_covered, f"lengths other than {lengths}"]
    noise = shown.difference.largest
    if noise > ROUNDING:
        said.append(
            f"leaks below {shown.tolerance:.2g} nats, which are invisible: the same text gives rows that differ by up "
            f"to {noise:.2g} nats, and rows that may move do so by {shown.control:.2g}"
        )
    if shown.rounding:
        said.append(f"changes of up to {shown.rounding:.2g} nats that were there and vanish in float64: rounding")
    return found.model_copy(update={"not_covered": said})


def _of(effect: Effect) -> dict[str, Any]:
    return {
        "position": effect.position, "before": effect.before, "after": effect.after, "change": effect.change,
        "replaced_from": effect.replaced,
    }  # fmt: skip
