"""What a script did, read from what was recorded: its passes by name, the one that counts, what it trained on."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.scripts.trace import lines, observed, passes
from harness.scripts.trace.lines import Printed
from harness.scripts.trace.observed import Ints, Observed
from harness.scripts.trace.passes import Pass

__all__ = ["Ledger", "Pass", "ScriptTrace", "Training", "read"]

#: Names of trainings that say which targets had a gradient; a root lists everything in its graph.
_EXACT = ("nll_loss", "backward_", "scatter", "custom")


@dataclass(frozen=True)
class Training:
    """One call of `backward()` or `autograd.grad`: when, what, where, and the positions with a gradient (sorted)."""

    seq: int
    what: str
    place: str
    position: Ints


@dataclass(frozen=True)
class Ledger:
    """What was trained on before it was scored in one pass.

    Attributes:
        before: bool [tokens], trained on before the pass began.
        early: bool [tokens], trained on within the pass and before the position's first scoring in it.
        trained: bool [tokens], trained on within the pass at all.
        before_places: where the first kind of training was called from, with the number of its calls.
        early_places: the same for the second kind.
        first_early: the first training of the second kind.
        first_before: the first training of the first kind.
    """

    before: NDArray[np.bool_]
    early: NDArray[np.bool_]
    trained: NDArray[np.bool_]
    before_places: Counter[str] = field(default_factory=Counter)
    early_places: Counter[str] = field(default_factory=Counter)
    first_early: Training | None = None
    first_before: Training | None = None


@dataclass(frozen=True)
class ScriptTrace:
    """One run of a script, read.

    Attributes:
        tokens: length of the validation stream.
        passes: in order of their reports.
        headline: index of the pass whose loss is the one that is submitted; None without passes.
        trainings: on validation positions, in order.
        printed: the lines with validation losses.
        last: the printed line whose loss or BPB is the one that counts, None if there is none.
        claimed: labels that the claimed score has in the submitted logs, where no line of this run has one of them.
        steps: optimizer steps of the whole run.
        unknown: what provenance could not follow.
        facts: see `Observed.facts`.
    """

    tokens: int
    passes: tuple[Pass, ...]
    headline: int | None
    trainings: tuple[Training, ...]
    printed: tuple[Printed, ...]
    last: Printed | None
    steps: int
    unknown: tuple[dict[str, Any], ...]
    facts: dict[str, Any]
    claimed: tuple[str, ...] = ()

    @property
    def main(self) -> Pass | None:
        """The pass that counts."""
        return None if self.headline is None else self.passes[self.headline]

    @property
    def ended(self) -> str:
        """How the script ended: "ok", "exit N", "error" ..."""
        return str(self.facts.get("ended", "unknown"))

    def begin(self, scored: Pass) -> int:
        """When a pass began: its first scoring, or what its own loop trained on before that.

        A pass that adapts to each batch before it scores it (SLOT) begins with a training. Such trainings come from a
        place that trains within the pass as well, and after the pass before it.
        """
        first = int(scored.event_seq.min()) if len(scored.event_seq) else 0
        floor = max((made.seq for made in self.passes if made.seq < first), default=-1)
        own = {training.place for training in self.trainings if first <= training.seq <= scored.seq}
        early = (t.seq for t in self.trainings if floor < t.seq < first and t.place in own)
        return min(early, default=first)

    def ledger(self, scored: Pass) -> Ledger:
        """What was trained on before it was scored in this pass."""
        first = np.full(self.tokens, np.iinfo(np.int64).max)
        inside = (scored.position >= 0) & (scored.position < self.tokens)
        np.minimum.at(first, scored.position[inside], scored.event_seq[inside])
        counted = first < np.iinfo(np.int64).max
        begin = self.begin(scored)
        before, early, trained = (np.zeros(self.tokens, bool) for _ in range(3))
        before_places: Counter[str] = Counter()
        early_places: Counter[str] = Counter()
        first_early = first_before = None
        for training in self.trainings:
            at = training.position[(training.position >= 0) & (training.position < self.tokens)]
            at = at[counted[at]]
            if not len(at) or training.seq > scored.seq:
                continue
            known = observed.before(training.seq, first[at])
            if training.seq < begin:
                at = at[known]
                if not len(at):
                    continue
                before[at] = True
                before_places[training.place] += 1
                first_before = first_before or training
                continue
            trained[at] = True
            ahead = at[known]
            if len(ahead):
                early[ahead] = True
                early_places[training.place] += 1
                first_early = first_early or training
        return Ledger(before, early, trained, before_places, early_places, first_early, first_before)


def read(seen: Observed, tokens: int, claimed: frozenset[str] = frozenset()) -> ScriptTrace:
    """Read one run.

    Args:
        seen: what the recorder saw.
        tokens: length of the validation stream.
        claimed: labels of the lines that carry the score, where the submitted logs say so; else the last line does.
    """
    printed = tuple(
        line
        for text, seq in zip(seen.printed, seen.printed_seq, strict=True)
        if (line := lines.read(text, int(seq))) is not None
    )
    found = [_named(made, printed) for made in passes.find(seen, tokens)]
    told = _told(printed, claimed)
    return ScriptTrace(
        tokens=tokens,
        passes=tuple(found),
        headline=_headline(found, told or printed),
        trainings=tuple(_trainings(seen)),
        printed=printed,
        last=_claim(told or printed),
        steps=len(seen.step_seq),
        unknown=tuple(seen.unknown),
        facts=seen.facts,
        claimed=() if told else tuple(sorted(claimed)),
    )


def _told(printed: tuple[Printed, ...], claimed: frozenset[str]) -> tuple[Printed, ...]:
    """The lines that carry the score: of those with a claimed label the ones with the BPB that most labels share."""
    chosen = [line for line in printed if line.label in claimed and line.bpb is not None]
    if not chosen:
        return ()

    def alike(one: Printed) -> list[Printed]:
        assert one.bpb is not None
        return [p for p in chosen if p.bpb is not None
                and lines.agrees(p.bpb, one.bpb, min(p.bpb_digits, one.bpb_digits))]  # fmt: skip

    best = max(chosen, key=lambda one: (len({p.label for p in alike(one)}), one.seq))
    return tuple(alike(best))


def _claim(printed: tuple[Printed, ...]) -> Printed | None:
    """The last line with a loss, or with a BPB that the line says is a result."""
    for line in reversed(printed):
        if line.loss is not None or line.final or lines.name_of(line.text):
            return line
    return None


def _named(made: Pass, printed: tuple[Printed, ...]) -> Pass:
    """The pass with its line and its name. The line shows the same loss, and comes after the loss was read."""
    shown = [p for p in printed if p.seq >= made.seq and p.loss is not None and _shows(p, made)]
    line = max(shown, key=lambda p: p.loss_digits, default=None)
    error = float("nan")
    if line is not None and line.loss and math.isfinite(line.loss):
        error = min(abs(value - line.loss) / line.loss for value in _losses(made) if math.isfinite(value))
    near = next((p for p in printed if p.seq >= made.seq), None)
    hints = [line.text if line else near.text if near else "", made.place]
    return dataclasses.replace(
        made, name=lines.name_of(*hints) or _function(made.place), printed=line, print_error=error
    )


def _shows(line: Printed, made: Pass) -> bool:
    assert line.loss is not None
    return any(lines.agrees(value, line.loss, line.loss_digits) for value in _losses(made))


def _losses(made: Pass) -> tuple[float, ...]:
    """What a line may show of a pass: its loss as it was read, by the targets that are charged or by all there are."""
    return made.mean, made.value, made.spread


def _function(place: str) -> str:
    """The innermost function of a place such as "train_gpt.py:812 eval_val < train_gpt.py:1040 main"."""
    words = place.split("<")[0].split()
    return words[1] if len(words) > 1 else "evaluation"


def _headline(found: list[Pass], printed: tuple[Printed, ...]) -> int | None:
    """The pass that the last printed loss belongs to; else the last pass."""
    if not found:
        return None
    for line in reversed(printed):
        if line.loss is None:
            continue
        for index in reversed(range(len(found))):
            if found[index].seq <= line.seq and _shows(line, found[index]):
                return index
        if line.final:
            break  # a final number that no pass explains: do not look for an older one
    return len(found) - 1


def _trainings(seen: Observed) -> list[Training]:
    """Trainings in order. Where the loss's own backward says which targets had a gradient, that replaces its root."""
    made = [
        Training(
            int(seen.training_seq[i]),
            seen.kinds[seen.training_what[i]],
            seen.places[seen.training_place[i]],
            seen.training_position[seen.training_start[i] : seen.training_start[i + 1]],
        )
        for i in np.argsort(seen.training_seq, kind="stable")
    ]
    out: list[Training] = []
    root: Training | None = None
    exact: list[Training] = []

    def settle() -> None:
        nonlocal root
        if root is not None and not exact:
            out.append(root)
        for item in exact:
            out.append(dataclasses.replace(item, place=root.place) if root else item)
        exact.clear()
        root = None

    for training in made:
        if training.what in ("backward", "autograd.backward", "autograd.grad"):
            if root is not None and training.seq == root.seq:
                continue
            settle()
            root = training
        else:
            exact.append(training)
    settle()
    return out
