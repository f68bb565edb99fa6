"""Hand-made `Observed` objects: a run told as a list of what happened, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.scripts.trace.observed import Observed
from harness.scripts.trace.reading import ScriptTrace, read


@dataclass
class Story:
    """Collects events, reports, trainings and lines; `observed()` gives the arrays.

    story = Story()
    atoms = story.score(range(1, 65), nll)
    story.report(atoms, place="train_gpt.py:90 eval_val")
    story.say("final val_loss:9.0123 val_bpb:3.1234")
    """

    seq: int = 0
    columns: dict[str, list[Any]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=lambda: {"ended": "ok"})
    unknown: list[dict[str, Any]] = field(default_factory=list)

    def score(
        self,
        positions: Any,
        nll: Any,
        *,
        lse: float = 0.0,
        alternative: Any = None,
        kind: str = "nll_loss",
        place: str = "train_gpt.py:80 eval_val",
        grad: bool = False,
    ) -> np.ndarray[Any, Any]:
        """One event that makes atoms at `positions`; returns the atoms' indices."""
        positions = np.asarray(list(positions), np.int64)
        event = len(self._column("event_seq"))
        self._add(event_seq=self._tick(), event_kind=self._kind(kind), event_place=self._place(place))
        self._add(event_grad=int(grad))
        first = len(self._column("atom_nll"))
        other = np.broadcast_to(np.asarray(np.nan if alternative is None else alternative), positions.shape)
        for position, value, alt in zip(
            positions, np.broadcast_to(np.asarray(nll, float), positions.shape), other, strict=True
        ):
            self._add(
                atom_position=int(position),
                atom_token=-1,
                atom_nll=float(value),
                atom_lse=lse,
                atom_alternative=float(alt),
                atom_drawn=-1,
                atom_event=event,
            )
        return np.arange(first, first + len(positions))

    def report(
        self, atoms: Any, *, value: float | None = None, charged: Any = None, place: str = "train_gpt.py:90 eval_val"
    ) -> float:
        """A number leaves: by default the mean of the atoms' charges, which is returned."""
        atoms = np.asarray(atoms)
        nll = np.asarray(self._column("atom_nll"))[atoms]
        weights = nll if charged is None else np.broadcast_to(np.asarray(charged, float), nll.shape)
        number = float(weights.mean()) if value is None else value
        self._column("reports").append((atoms, np.array(weights)))
        self._add(report_seq=self._tick(), report_value=number, report_place=self._place(place))
        return number

    def train(self, positions: Any, *, what: str = "backward", place: str = "train_gpt.py:70 adapt") -> None:
        """A backward pass on the losses of `positions`, and an optimizer step."""
        self._column("trainings").append(np.unique(np.asarray(list(positions), np.int64)))
        self._add(training_seq=self._tick(), training_what=self._kind(what), training_place=self._place(place))
        self._add(step_seq=self._tick(), step_what=self._kind("SGD"))

    def say(self, text: str) -> None:
        """A printed line."""
        self._add(printed_seq=self._tick())
        self._column("printed").append(text)

    def observed(self) -> Observed:
        """The arrays, checked as they would be on the wire."""
        reports, trainings = self._column("reports"), self._column("trainings")
        made = Observed(kinds=self.kinds or ["none"], places=self.places or ["none"], facts=self.facts)
        made.printed = list(self._column("printed"))
        made.unknown = self.unknown
        for name, values in self.columns.items():
            if name in ("reports", "trainings", "printed"):
                continue
            wanted = np.float64 if isinstance(getattr(made, name)[:0].dtype.type(0), np.floating) else np.int64
            setattr(made, name, np.array(values, wanted))
        made.report_start = np.cumsum([0, *(len(a) for a, _ in reports)]).astype(np.int64)
        made.report_atom = np.concatenate([np.zeros(0, np.int64), *(a for a, _ in reports)]).astype(np.int64)
        made.report_weight = np.concatenate([np.zeros(0), *(w for _, w in reports)])
        made.training_start = np.cumsum([0, *map(len, trainings)]).astype(np.int64)
        made.training_position = np.concatenate([np.zeros(0, np.int64), *trainings]).astype(np.int64)
        return Observed.from_arrays(made.to_arrays())

    def _column(self, name: str) -> list[Any]:
        return self.columns.setdefault(name, [])

    def _add(self, **values: Any) -> None:
        for name, value in values.items():
            self._column(name).append(value)

    def _tick(self) -> int:
        self.seq += 1
        return self.seq

    def _kind(self, name: str) -> int:
        if name not in self.kinds:
            self.kinds.append(name)
        return self.kinds.index(name)

    def _place(self, name: str) -> int:
        if name not in self.places:
            self.places.append(name)
        return self.places.index(name)


class World:
    """A toy scorer on a toy stream, for the checks: what it charges for a token depends on what the test says.

    Position t of the stream holds token t, or n + t where it was replaced. The honest row of t depends on the token
    before it; `leak` adds what an offender's row takes from elsewhere.
    """

    def __init__(self, tokens: int = 257, batch: int = 32, documents: tuple[int, ...] = (0, 100, 190)) -> None:
        self.tokens = tokens
        self.batch = batch
        self.documents = np.array(documents, np.int64)

    def nll(self, replaced: np.ndarray[Any, Any], leak: Any = None) -> np.ndarray[Any, Any]:
        """What each position is charged, float64 [tokens]; position 0 is never scored."""
        ids = np.arange(self.tokens) + self.tokens * replaced
        return self._rows(ids, ids, leak)

    def alternative(self, leak: Any = None) -> np.ndarray[Any, Any]:
        """What the base run's rows give the other token."""
        ids = np.arange(self.tokens)
        return self._rows(ids, ids + self.tokens, leak)

    def play(
        self,
        replaced: np.ndarray[Any, Any] | None = None,
        *,
        leak: Any = None,
        order: Any = None,
        train: str = "",
        charged: Any = None,
        lse: float = 0.0,
        say: str | None = None,
        kind: str = "nll_loss",
        noise: float = 0.0,
    ) -> ScriptTrace:
        """One run, read.

        Args:
            replaced: bool [tokens].
            leak: function (ids) -> float64 [tokens], added to the NLLs.
            order: positions in the order of scoring; the stream's by default.
            train: "before" the pass, "early" (each batch before it is scored), "late" (after), or nothing.
            charged: function (nll) -> what is reported.
            lse: of the rows.
            say: the printed line, with {loss}; the true one by default.
            kind: of the operations.
            noise: added to every NLL.
        """
        hit = np.zeros(self.tokens, bool) if replaced is None else replaced.copy()
        hit[self.documents] = False
        nll, other = self.nll(hit, leak) + noise, self.alternative(leak)
        story, atoms, loss = Story(), [], []
        sequence = np.arange(1, self.tokens) if order is None else np.asarray(order)
        if train == "before":
            story.train(sequence, place="train_gpt.py:50 adapt_all < main:200")
        for start in range(0, len(sequence), self.batch):
            part = sequence[start : start + self.batch]
            if train == "early":
                story.train(part)
            atoms.append(story.score(part, nll[part], alternative=other[part], lse=lse, kind=kind))
            if train == "late":
                story.train(part)
            loss.append(nll[part] if charged is None else charged(nll[part]))
        value = story.report(np.concatenate(atoms), charged=np.concatenate(loss))
        story.say(
            (say or "final_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}").format(loss=value, bpb=value / math.log(2) / 3)
        )
        return read(story.observed(), self.tokens)

    def _rows(self, ids: Any, targets: Any, leak: Any) -> np.ndarray[Any, Any]:
        before = np.concatenate([[0], ids[:-1]])
        made = 8.0 + np.sin(before * 0.37) + 0.5 * np.cos(targets * 1.3 + before)
        return made + (leak(ids) if leak else 0.0)
