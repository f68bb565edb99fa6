"""Whole evaluations: any function from a stream of tokens to what it charges for them, `audit_scorer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from harness import rules
from harness.errors import SubmissionError, UsageError
from harness.library import judging, text
from harness.library.flips import Flips, Shown
from harness.library.report import Report
from harness.library.subject import Base, Ints, Spent, Subject, as_tensor, projection_for, significand, stream
from harness.referee import plan
from harness.referee.blind import BlindRun, Lie, judged
from harness.referee.comparator import ProbeResult
from harness.referee.null import Bigram
from harness.referee.rows import Scored, score_rows
from harness.referee.secret import Secret
from harness.referee.source import Probe
from harness.referee.trace import Trace
from harness.referee.wholerow import AFTER, WholeRow
from harness.sandbox.outcome import Level
from harness.sandbox.protocol import Rows

Kind = Literal["auto", "nll", "logits", "log_probs"]

#: Vocabularies up to this size are asked for a whole row by default: each token of it is a call on a short stream.
WHOLE_ROWS = 300

#: Calls on text in which tokens are replaced all over, where single probabilities are claimed: each asks for more.
GUESSED = 4


@dataclass(frozen=True)
class Scorer:
    """A function that scores a stream, with what the audit has to know of it.

    Attributes:
        score: called with int64 [T] on `device`. Returns what it charges for tokens 1 .. T - 1: NLL in nats [T - 1], or
            rows [T - 1, V]. It may also return (positions, values): int [n], the token that each value is for, in the
            order in which they were scored; then it is also looked at whether that is one pass from left to right.
        vocab_size: tokens are drawn below it.
        kind: what values are; "auto" takes [n] for NLL and [n, V] for logits. "log_probs" are rows that have to sum to
            1 as they are.
        name: for the report.
        device: where tokens go.
        steps: sizes of windows, strides, chunks or blocks; tests are made at their edges.
        bos: the token that starts a document, -1 without one. Streams begin with it.
        grain: values are totals over so many tokens that are spread evenly over them: other text begins at multiples.
        exact: the same function with its arithmetic in float64, where there is one: tells rounding from leaks.
    """

    score: Callable[[torch.Tensor], Any]
    vocab_size: int
    kind: Kind = "auto"
    name: str = "the scorer"
    device: str = "cpu"
    steps: tuple[int, ...] = ()
    bos: int = -1
    grain: int = 1
    exact: Callable[[torch.Tensor], Any] | None = None

    def __call__(self, tokens: torch.Tensor) -> Any:
        """Score a stream, int64 [T]."""
        return self.score(tokens)


class ScorerSubject:
    """Plays streams through a scorer, one a call. See `Subject`."""

    def __init__(self, scorer: Scorer, seed: int, calls: int) -> None:
        self._scorer = scorer
        self._seed = seed
        self._most = calls
        self.vocab_size = scorer.vocab_size
        self.batch = 1
        self.calls = 0
        self.tokens = 0
        self.positions = False
        self.kind: Rows | None = None
        self._bits = 24
        self._projection: NDArray[np.float64] | None = None

    @property
    def left(self) -> int:
        """See `Subject`."""
        return self._most - self.calls

    @property
    def bits(self) -> int:
        """See `Subject`."""
        return self._bits

    def more(self, calls: int) -> None:
        """Allow so many calls from here on."""
        self._most = self.calls + calls

    def play(
        self,
        streams: Sequence[Ints],
        targets: Ints,
        like: Base | None = None,
        upto: Sequence[int] = (),
        only: int | None = None,
    ) -> list[Base]:
        """See `Subject.play`."""
        return [Base(one, self._trace(one, targets)) for one in streams]

    def exact(self) -> ScorerSubject | None:
        """See `Subject`."""
        if self._scorer.exact is None:
            return None
        made = ScorerSubject(replace(self._scorer, score=self._scorer.exact), self._seed, 4)
        made._projection = self._projection
        return made

    def _trace(self, tokens: Ints, targets: Ints) -> Trace:
        if self.left <= 0:
            raise Spent(f"all {self._most} calls that were allowed are made")
        self.calls += 1
        self.tokens += len(tokens)
        said = self._scorer(torch.as_tensor(tokens, dtype=torch.long, device=self._scorer.device))
        positions, values = self._read(said, len(tokens))
        kind = self._kind_of(values)
        if self.kind is not None and kind != self.kind:
            raise UsageError("the scorer returned NLL in one call and rows in another")
        self.kind = kind
        trace = Trace(len(targets))
        if len(positions):
            trace.commit(positions, self._scored(values, targets, kind, positions), kind)
        trace.finished = True
        return trace

    def _read(self, said: Any, length: int) -> tuple[Ints, torch.Tensor]:
        if isinstance(said, tuple) and len(said) == 2:
            self.positions = True
            positions, values = as_tensor(said[0]), as_tensor(said[1])
            at: Ints = positions.reshape(-1).cpu().numpy().astype(np.int64)
            if len(at) != len(values) or (len(at) and not 1 <= at.min() <= at.max() < length):
                raise UsageError(
                    f"the scorer returned {len(at):,} positions for {len(values):,} values; as many are wanted, each "
                    f"from 1 to {length - 1}"
                )
            return at, values
        values = as_tensor(said)
        if values.ndim not in (1, 2) or len(values) != length - 1:
            raise UsageError(
                f"the scorer returned {list(values.shape)} for {length} tokens; NLL [{length - 1}] or rows "
                f"[{length - 1}, V] are wanted, or (positions, values)"
            )
        return np.arange(1, length), values

    def _kind_of(self, values: torch.Tensor) -> Rows:
        if values.ndim == 1:
            if self._scorer.kind not in ("auto", "nll"):
                raise UsageError(f"the scorer is said to return {self._scorer.kind}, and returned one number a token")
            return Rows.REALISED
        if values.ndim != 2 or values.shape[1] < self.vocab_size or self._scorer.kind == "nll":
            raise UsageError(f"the scorer returned {list(values.shape)}; rows have {self.vocab_size:,} columns or more")
        return Rows.LOG_PROBS if self._scorer.kind == "log_probs" else Rows.LOGITS

    def _scored(self, values: torch.Tensor, targets: Ints, kind: Rows, positions: Ints) -> Scored:
        self._bits = significand(values.reshape(len(values), -1))
        numbers = (values if values.dtype == torch.float64 else values.float()).cpu().numpy()
        if self._projection is None:
            self._projection = projection_for(1 if kind == Rows.REALISED else numbers.shape[1], self._seed)
        if kind == Rows.REALISED:
            numbers = -numbers[:, None]
        return score_rows(numbers, targets[positions], kind, self._projection, positions, lied=True)


def audit_scorer(
    score: Scorer | Callable[[torch.Tensor], Any],
    vocab_size: int | None = None,
    *,
    length: int = 512,
    lengths: Sequence[int] | None = None,
    device: str = "cpu",
    tokens: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    steps: Sequence[int] = (),
    bos: int | None = None,
    seed: int = 0,
    kind: Kind = "auto",
    flips: int = 12,
    max_calls: int = 64,
    whole_row: bool | None = None,
    null: bool = True,
    ruleset: str = rules.DEFAULT,
    name: str | None = None,
    level: Level = judging.NO_BOX,
) -> Report:
    """Audit a whole evaluation: sliding windows, adaptation at test time, caches, decoding with a KV-cache, anything.

    A call is a whole evaluation of a stream; nothing may be left over from the one before. It is told the truth, and
    lies about the future; rows before a lie have to stay. What is charged has to be a distribution's (rows are summed;
    of single probabilities more are asked for), no text from a known source may cost less than its entropy, and where
    positions are reported each is scored once, from left to right.

    Args:
        score: a function or a `Scorer`; see there for what it takes and returns.
        vocab_size: tokens are drawn below it; not needed with a `Scorer`.
        length: tokens of the stream; longer than two windows, so that there are edges to look at.
        lengths: further lengths, with one flip each; by default powers of two below `length` and their neighbours.
        device: where tokens go.
        tokens: text to play; by default it is drawn.
        steps: sizes of windows, strides, chunks or blocks.
        bos: the token that starts a document.
        seed: of text and places; the same seed plays the same again.
        kind: what is returned, see `Scorer`.
        flips: places from which on text is replaced, beside those at edges.
        max_calls: calls that may be made in all, but for those that ask for a whole row.
        whole_row: ask for every probability of one row where only NLL is returned: as many calls on a short stream as
            there are tokens. By default up to a vocabulary of 300.
        null: play a stream of known entropy.
        ruleset: whose practices and texts count.
        name: of the scorer, for the report.
        level: of the box that the scorer is called in, if it is called in one.

    Raises:
        UsageError: arguments, or what the scorer returns, make no sense.
        SubmissionError: what it returns are no numbers.
    """
    arguments = {key: value for key, value in locals().items() if key not in ("score", "vocab_size")}
    scorer = _scorer(score, vocab_size, device, steps, bos, kind, name)
    if scorer.vocab_size < 3:
        raise UsageError("vocab_size: 3 or more")
    if length < 8 or max_calls < 8:
        raise UsageError("length and max_calls are at least 8")
    secret = Secret(seed, 0)
    subject = ScorerSubject(scorer, secret.number("prints"), max_calls)
    base = (
        text.given(tokens, length, scorer.vocab_size)
        if tokens is not None
        else text.drawn(length, scorer.vocab_size, secret.rng("text"), scorer.bos)
    )
    shown = [_flipped(subject, scorer, base, secret, flips)]
    if not shown[0].leaks and scorer.grain == 1:
        for other in _others(length) if lengths is None else lengths:
            if 4 <= other < length and subject.left >= 12 and len(np.unique(base[:other])) > 1:
                shown.append(_flipped(subject, scorer, base[:other], secret, 1))
                if shown[-1].leaks:
                    break
    about = judging.About(
        name=scorer.name,
        call=f"audit_scorer({scorer.name}, {scorer.vocab_size}, length={length}, seed={seed})",
        vocab_size=scorer.vocab_size,
        ruleset=ruleset,
        seed=seed,
        chosen=True,
        facts={"device": scorer.device, "steps": list(scorer.steps)},
        level=level,
    )
    made = judging.Judged(about, shown, subject.kind or Rows.REALISED, scorer.bos)
    if scorer.grain > 1:
        made.unseen.append(
            f"leaks inside a text of {scorer.grain} tokens, of which only the total is known: they show in the null "
            "stream, where they save 21 nats"
        )
    if null and not made.leaking.leaks and subject.left > 0:
        source = None if tokens is None else text.given(tokens, np.asarray(tokens).size, scorer.vocab_size)
        made.null = judging.null_run(subject, length, scorer.vocab_size, scorer.bos, secret, source)
    if subject.kind == Rows.REALISED and scorer.grain == 1:
        made.asked = _guessed(subject, scorer, shown[0].base, secret)
        wanted = scorer.vocab_size <= WHOLE_ROWS if whole_row is None else whole_row
        made.rows, made.no_row = _whole_row(subject, scorer, shown[0].base, secret) if wanted else (
            [], f"a vocabulary of {scorer.vocab_size:,}; whole_row=True asks for one")  # fmt: skip
    checks = ["determinism", "causality", *(["null-stream"] if made.null else [])]
    checks += ["normalization"] if scorer.grain == 1 else []
    checks += ["single-pass"] if subject.positions else []
    return judging.report(
        made, checks, calls=subject.calls, sequences=subject.tokens / length,
        again=lambda: audit_scorer(score, vocab_size, **arguments),
    )  # fmt: skip


def _scorer(
    score: Scorer | Callable[[torch.Tensor], Any],
    vocab_size: int | None,
    device: str,
    steps: Sequence[int],
    bos: int | None,
    kind: Kind,
    name: str | None,
) -> Scorer:
    if isinstance(score, Scorer):
        more = {"steps": (*score.steps, *steps), "name": name or score.name}
        return replace(score, **more, **({} if bos is None else {"bos": bos}))  # type: ignore[arg-type]
    if vocab_size is None:
        raise UsageError("vocab_size: a function does not say it, so it has to be given; or bring a Scorer")
    called = str(name or getattr(score, "__qualname__", type(score).__name__))
    return Scorer(score, vocab_size, kind, called, device, tuple(steps), -1 if bos is None else bos)


def _flipped(subject: ScorerSubject, scorer: Scorer, base: Ints, secret: Secret, count: int) -> Shown:
    rng = secret.rng(f"places {len(base)}")
    flips = Flips(subject, base, bos=scorer.bos, grain=scorer.grain)
    shown = flips.truth()
    documents = np.flatnonzero(base == scorer.bos) if scorer.bos >= 0 else np.zeros(0, np.int64)
    wanted = text.edges(len(base), scorer.steps, documents) if count > 1 else []
    if count > 1 and subject.positions:
        # Where the order shows windows, their edges are where leaks hide.
        wanted += [p for p in plan.edges(shown.base.trace, rng) if 1 <= p < len(base)][:6]
    places = text.places(len(base), rng, count, list(dict.fromkeys(wanted)))
    if count == 1:
        places = [min(int(rng.integers(2, len(base) - 1)) | 1, len(base) - 1)]
    if scorer.grain > 1:
        grain = scorer.grain
        places = sorted({max(1, place // grain) * grain for place in places if len(base) > grain})
    probes = [probe for place in places if (probe := text.suffix(base, place, rng, sampled=True)) is not None]
    probes += _swaps(base, rng, scorer, count) if count > 1 and scorer.grain == 1 else []
    try:
        order = shown.base.trace.order
        flips.play(shown, [probe for probe in probes if order[probe.position] >= 0])
    except SubmissionError as error:
        # A scorer that breaks on other text has said nothing about it.
        shown.results.append(ProbeResult(probes[0], error=str(error)))
    flips.conclude(shown)
    return shown


def _swaps(base: Ints, rng: np.random.Generator, scorer: Scorer, count: int) -> list[Probe]:
    """Single tokens replaced, each in a call of its own: what only a swap shows, since all else stays natural."""
    probes = []
    for place in plan.stratified(text.scored(len(base)), max(2, count // 4), rng):
        token = int(rng.integers(scorer.vocab_size))
        if token != base[place] and token != scorer.bos and base[place] != scorer.bos:
            probes.append(Probe("swap", place, token=token, token_class="any", split=False))
    return probes


def _guessed(subject: ScorerSubject, scorer: Scorer, base: Base, secret: Secret) -> list[ProbeResult]:
    """Text with tokens replaced all over by drawn ones: what is claimed for these is to be a distribution's."""
    if subject.left < GUESSED or base.trace.order.max() < 0:
        return []
    tokens, taken = base.tokens, dict[int, list[int]]()
    found: list[ProbeResult] = []
    classes = {"any": np.delete(np.arange(scorer.vocab_size), max(scorer.bos, 0))}
    bigram = Bigram(stream(tokens), scorer.vocab_size)
    for index in range(GUESSED):
        rng = secret.rng(f"guessed {index}")
        probes = plan.spread(stream(tokens), classes, rng, 0, len(tokens) - 1, 8)
        probes = [probe for probe in probes if base.trace.order[probe.position] >= 0]
        asked = plan.guessed(probes, stream(tokens), bigram, taken, scorer.bos, rng)
        lie = Lie.of(asked, stream(tokens), scorer.bos)
        try:
            (played,) = subject.play([lie.tokens.astype(np.int64)], tokens)
        except (SubmissionError, Spent):
            return found
        for result in judged(base.trace, BlindRun(played.trace), lie).results:
            at = result.probe.position
            # What is claimed counts whatever moved before it: every token before it is one that was given.
            claimed = float(played.trace.nll[at]) if played.trace.order[at] >= 0 else None
            found.append(ProbeResult(result.probe, ran=True, claimed=claimed))
    return found


def _whole_row(subject: ScorerSubject, scorer: Scorer, base: Base, secret: Secret) -> tuple[list[WholeRow], str]:
    """Every token's probability at one position of a short stream, a call for each."""
    rng = secret.rng("whole row")
    where = base.trace.scored[(base.trace.scored >= 4) & (base.trace.scored < min(64, len(base.tokens) - 1))]
    if not len(where):
        return [], "no position near the start was scored"
    position = int(rng.choice(where))
    length = min(len(base.tokens), position + 1 + int(rng.integers(1, AFTER + 1)))
    short = base.tokens[:length]
    subject.more(scorer.vocab_size)
    log_probs = np.full(scorer.vocab_size, np.nan)
    noise = 0.0
    for token in range(scorer.vocab_size):
        if token == scorer.bos:
            continue
        told = short.copy()
        told[position] = token
        (played,) = subject.play([told], short)
        if played.trace.order[position] < 0:
            return [], "its position is not scored in a shorter stream"
        log_probs[token] = -played.trace.nll[position]
        before = slice(1, position)
        noise = max(noise, float(np.nanmax(np.abs(base.trace.nll[before] - played.trace.nll[before]), initial=0.0)))
    return [WholeRow(length, position, log_probs, -float(base.trace.nll[position]), noise)], ""


def _others(length: int) -> list[int]:
    """Powers of two and their neighbours, up to the stream's length."""
    found = []
    size = 1 << (length.bit_length() - 1)
    for power in (size, size >> 1, size >> 2):
        found += [other for other in (power + 1, power, power - 1) if 16 <= other < length]
    return list(dict.fromkeys(found))[:5]


_: type[Subject] = ScorerSubject
