"""Modules, and functions from tokens [B, T] to logits [B, T, V]: `assert_causal` and `audit_model`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness import rules
from harness.errors import UsageError
from harness.library import judging, text
from harness.library.calling import LENGTHS, VOCABULARIES, doubled, evaluating, logits_of, module_of, said
from harness.library.flips import Flips, Shown
from harness.library.report import Report
from harness.library.subject import Base, Ints, Spent, Subject, projection_for, significand, trace_of_rows
from harness.referee.secret import Secret
from harness.referee.trace import Difference
from harness.sandbox.outcome import Level
from harness.sandbox.protocol import Rows

#: Tokens that a model is played at, where nobody says how many: its own context, but no more, and so many without one.
LONGEST, USUAL = 1024, 256

#: Bytes of logits that one call may return; fewer streams are played side by side where it would be more.
LOGITS_BYTES = 1 << 30

#: What a pass in float64 costs, in passes.
EXACT = 2.5

Model = nn.Module | Callable[[torch.Tensor], Any]


class ModelSubject:
    """Plays streams through a model, a batch in one forward pass. See `Subject`.

    Args:
        model: a module, which is put into evaluation mode for the time of a call, or any function.
        vocab_size: ids that may be drawn; logits may have more columns.
        device: where tokens go.
        seed: of the projections that fingerprint rows.
        batch: streams in one call.
        most: sequences of `length` that may be played in all; shorter ones count by their tokens.
        length: see `most`.
    """

    def __init__(
        self, model: Model, vocab_size: int, device: torch.device, seed: int, *, batch: int, most: float, length: int
    ) -> None:
        self._model = model
        self.vocab_size = vocab_size
        self._device = device
        self._seed = seed
        self.batch = batch
        self._most, self._length = most, length
        self._spent, self._weight = 0.0, 1.0
        self.calls = 0
        self.tokens = 0
        self.dtype = ""
        self._bits = 24
        self._projection: NDArray[np.float64] | None = None
        self._counts: ModelSubject | None = None  # its passes are another's, too

    @property
    def left(self) -> float:
        """See `Subject`."""
        return self._most - self._spent if self.calls < self._most else 0.0

    @property
    def bits(self) -> int:
        """See `Subject`."""
        return self._bits

    def play(
        self,
        streams: Sequence[Ints],
        targets: Ints,
        like: Base | None = None,
        upto: Sequence[int] = (),
        only: int | None = None,
    ) -> list[Base]:
        """See `Subject.play`."""
        logits = self.logits(np.stack(streams))
        if self._projection is None:
            self._projection = projection_for(logits.shape[2], self._seed)
        made: list[Base] = []
        for index in range(len(streams)):
            count = len(targets) - 1
            if index < len(upto):
                count = min(count, upto[index])
            rows = logits[index, :count]
            near = like or (made[0] if made else None)
            trace = trace_of_rows(rows, targets, self._projection, near, only=only)
            made.append(Base(streams[index], trace, rows))
        return made

    def logits(self, tokens: Ints) -> torch.Tensor:
        """One forward pass: logits [B, T, V].

        Raises:
            Spent: none is left.
            UsageError: what came back is no logits of these tokens.
        """
        if self.left < tokens.size / self._length:
            raise Spent(f"the {self._most:g} forward passes of one sequence that were allowed are made")
        for one in (self, self._counts):
            if one is not None:
                one.calls += 1
                one.tokens += tokens.size
                one._spent += self._weight * tokens.size / self._length
        given = torch.as_tensor(tokens, dtype=torch.long, device=self._device)
        with evaluating(self._model):
            try:
                out = logits_of(self._model(given))
            except TypeError as error:
                if "no logits" in str(error):
                    raise UsageError(str(error)) from None
                raise
        wanted = (*tokens.shape,)
        if out.ndim != 3 or tuple(out.shape[:2]) != wanted or out.shape[2] < self.vocab_size:
            raise UsageError(
                f"the model returned {_shape(out)} for tokens {list(wanted)}; logits [B, T, V] with V >= "
                f"{self.vocab_size:,} are wanted (also as the first of a tuple, or as .logits)"
            )
        self.dtype = str(out.dtype).removeprefix("torch.")
        self._bits = significand(out[0])
        return out

    def exact(self) -> ModelSubject | None:
        """A copy of the module in float64; None for a function, or a module that cannot be copied."""
        double = doubled(self._model) or getattr(self._model, "in_float64", None)
        if double is None:
            return None
        made = ModelSubject(
            double, self.vocab_size, self._device, self._seed, batch=1, most=math.inf, length=self._length
        )
        made._projection, made._counts, made._weight = self._projection, self, EXACT
        return made


def audit_model(
    model: Model,
    vocab_size: int | None = None,
    *,
    length: int | None = None,
    lengths: Sequence[int] | None = None,
    device: str | torch.device | None = None,
    tokens: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    steps: Sequence[int] = (),
    bos: int = -1,
    seed: int = 0,
    batch: int = 3,
    max_forwards: int = 16,
    across_batch: bool = False,
    fill: float | None = None,
    null: bool = False,
    ruleset: str = rules.DEFAULT,
    name: str | None = None,
    level: Level = judging.NO_BOX,
) -> Report:
    """Look for tokens that a model uses before it predicts them.

    A default audit of a causal model costs less than 16 forward passes of one sequence of `length` tokens.

    Args:
        model: an `nn.Module` or a function, int64 [B, T] -> logits [B, T, V], also in a tuple or as `.logits`. A module
            is played in evaluation mode; its parameters and its mode are left as they were.
        vocab_size: tokens are drawn below it; by default what `model.config` says.
        length: tokens of a sequence; by default what `model.config` says, at most 1,024, and 256 without it.
        lengths: further lengths, at which one flip each is made; by default one less, a half, and three smaller ones.
        device: where tokens go; by default where the parameters are.
        tokens: text to play, at least `length` ids; by default it is drawn.
        steps: sizes of windows, strides or blocks of the model: other text begins at a multiple of each, and beside it.
        bos: the token that starts a document; it is kept where it is.
        seed: of text and places; the same seed plays the same again.
        batch: sequences in one forward pass.
        max_forwards: sequences of `length` tokens that may be played in all; what is played in float64, to tell a
            leak from rounding, counts and is not refused.
        across_batch: rows may depend on other sequences of their batch.
        fill: parameters that are all zero (heads of untrained models) are drawn, normal with this deviation, in a copy
            of the module: zeros let nothing through, so that nothing can be seen.
        null: also play text drawn from a known source, one more pass.
        ruleset: whose texts findings quote.
        name: of the model, for the report.
        level: of the box that the model is played in, if it is played in one.

    Returns:
        What was found. `Report.raise_for_status` raises; nothing here does for a leak.

    Raises:
        UsageError: arguments, or what the model returns, make no sense.
        SubmissionError: the model returns NaN or infinity.
    """
    arguments = {key: value for key, value in locals().items() if key not in ("model", "vocab_size")}
    vocab = vocab_size if vocab_size is not None else said(model, VOCABULARIES)
    if vocab is None or vocab < 3:
        raise UsageError("vocab_size: the model has no config that says it, so it has to be given (3 or more)")
    if length is None:
        own = said(model, LENGTHS)
        length = min(own, LONGEST) if own else USUAL
    if length < 8:
        raise UsageError(f"length: {length} tokens are too few; at least 8")
    if not 1 <= batch <= 64 or max_forwards < 8:
        raise UsageError("batch is from 1 to 64, and max_forwards at least 8")
    played = _filled(model, fill, seed) if fill is not None else model
    place = torch.device(device) if device is not None else _device_of(model)
    while batch > 1 and batch * length * vocab * 4 > LOGITS_BYTES:
        batch -= 1
    secret = Secret(seed, 0)
    prints = secret.number("prints")
    subject = ModelSubject(played, vocab, place, prints, batch=batch, most=max_forwards, length=length)
    base = (
        text.given(tokens, length, vocab) if tokens is not None else text.drawn(length, vocab, secret.rng("text"), bos)
    )
    shown = [_flipped(subject, base, secret, steps, bos, across_batch, count=2 * batch - 1 if batch > 1 else 5)]
    if not shown[0].leaks:
        for other in _others(length) if lengths is None else lengths:
            if not 4 <= other or other == length:
                continue
            part = base[:other] if other <= length else text.drawn(other, vocab, secret.rng(f"text {other}"), bos)
            if len(np.unique(part)) < 2 or subject.left < 2 * other / length:
                continue
            noise = shown[0].difference
            shown.append(_flipped(subject, part, secret, (), bos, across_batch, count=1, noise=noise))
            if shown[-1].leaks:
                break
    about = judging.About(
        name=name or _name(model),
        call=f"audit_model({name or _name(model)}, {vocab}, length={length}, seed={seed})",
        vocab_size=vocab,
        ruleset=ruleset,
        seed=seed,
        chosen=True,
        facts={"dtype": subject.dtype, "device": str(place), "played": "evaluation mode"},
        level=level,
    )
    judged = judging.Judged(about, shown, Rows.LOGITS, bos)
    if null and not judged.leaking.leaks and subject.left > 0:
        judged.null = judging.null_run(subject, length, vocab, bos, secret)
    checks = ["determinism", "causality", *(["null-stream"] if judged.null else []), "normalization"]
    return judging.report(
        judged,
        checks,
        calls=subject.calls,
        sequences=subject.tokens / length,
        again=lambda: audit_model(model, vocab_size, **arguments),
    )


def assert_causal(model: Model, vocab_size: int | None = None, **options: Any) -> Report:
    """Raise where a model uses tokens before it predicts them; in three lines the check that everybody needs.

    Args:
        model: as of `audit_model`.
        vocab_size: likewise.
        options: likewise.

    Returns:
        The report, where nothing was found.

    Raises:
        AssertionError: a row moved that must not; one sentence says which token moved which row by how much. As its
            kind `harness.library.report.Undecided`: nothing could be seen, because the same text gives other rows each
            time, or because no row moved at all.
    """
    report = audit_model(model, vocab_size, **options)
    report.raise_for_status()
    return report


def _flipped(
    subject: ModelSubject,
    base: Ints,
    secret: Secret,
    steps: Sequence[int],
    bos: int,
    across: bool,
    *,
    count: int,
    noise: Difference | None = None,
) -> Shown:
    """Noise floor, flips and conclusion for one stream. Where the noise is known, truth and one lie share one pass."""
    rng = secret.rng(f"places {len(base)}")
    flips = Flips(subject, base, bos=bos, across_batch=across)
    documents = np.flatnonzero(base == bos) if bos >= 0 else np.zeros(0, np.int64)
    places = text.places(len(base), rng, count, text.edges(len(base), steps, documents))
    if noise is not None:
        odd = int(rng.integers(2, len(base) - 1)) | 1
        places = [min(odd, len(base) - 1)]
    probes = [probe for place in places if (probe := text.suffix(base, place, rng, sampled=True)) is not None]
    shown = flips.beside(probes[0], noise) if noise and probes and subject.batch > 1 else flips.truth()
    if not shown.results:
        flips.play(shown, probes)
    flips.conclude(shown)
    return shown


def _others(length: int) -> list[int]:
    """Lengths at which a model may do otherwise: odd ones, halves and short ones, together less than twice `length`."""
    found = (length - 1, length // 2, length // 4 + 1, length // 8 - 1, 17)
    return [other for other in dict.fromkeys(found) if 8 <= other < length]


def _device_of(model: Model) -> torch.device:
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")


def _filled(model: Model, deviation: float, seed: int) -> nn.Module:
    """A copy of the module in which parameters that are all zero are drawn."""
    module = module_of(model)
    if module is None:
        raise UsageError("fill: only the parameters of an nn.Module can be filled, and this is a function")
    made = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.numel() and not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return made


def _name(model: Model) -> str:
    module = module_of(model)
    return type(module).__name__ if module is not None else getattr(model, "__qualname__", type(model).__name__)


def _shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


_: type[Subject] = ModelSubject
