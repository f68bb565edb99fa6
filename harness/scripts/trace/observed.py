"""What one run of a script left behind, as the recorder saw it: plain arrays, the same on both sides of the wire.

The vocabulary:

* An *atom* is one reading of a log-probability at a target token: (position in the validation stream, NLL).
* An *event* is the tensor operation that made atoms, in the order of the script's own processing.
* A *report* is a number that left torch (`.item()`, `.tolist()`, a numpy sum that was printed), and its atoms.
* A *training* is what `backward()` or `autograd.grad` was called on, and the positions of the atoms in its graph.
* `seq` numbers everything that is recorded, so that events, reports, trainings and steps are in one order.

A number is made of an epoch, a rank and the rank's own count. An epoch ends whenever ranks exchange something. What two
ranks did in one epoch happened side by side: the numbers put it in some order, and `before` does not. A run of one rank
has one epoch, and its numbers just count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_RANK = 1 << 28  # recorded things of one rank in one epoch
_RANKS = 1 << 4
_EPOCH = _RANK * _RANKS
_TEXT = 4000  # characters of a text among the facts
_MANY = 2000  # entries of a table among them
_LONGEST = 1 << 20  # positions in a row among them


def _ints() -> Ints:
    return np.zeros(0, np.int64)


def _floats() -> Floats:
    return np.zeros(0, np.float64)


def _offsets() -> Ints:
    return np.zeros(1, np.int64)


@dataclass
class Observed:
    """One run (or one fork of it). Lists of lists are flat, with offsets of one more entry than there are lists.

    Attributes:
        atom_position: int64 [n], index of the target token in the validation stream (x_0 is the first token and is
            never a target); -1 where the token could not be located.
        atom_token: int64 [n], the token that the log-probability is of; -1 where that is not known.
        atom_nll: float64 [n], nats.
        atom_lse: float64 [n], log-sum-exp over the vocabulary of the row that the atom was read from, 0 for a
            normalised row of log-probabilities; NaN where the row was not seen.
        atom_alternative: float64 [n], NLL of the alternative token at the same position and row, or of the drawn token
            where tokens are drawn; NaN where unknown.
        atom_drawn: int64 [n], a token drawn from the row; -1 where none was asked for or the row was not seen.
        atom_event: int64 [n], index of its event.
        event_seq: int64 [e].
        event_kind: int64 [e], index into `kinds`.
        event_place: int64 [e], index into `places`.
        event_grad: int64 [e], 1 where gradients were enabled.
        report_seq: int64 [r].
        report_value: float64 [r], the number; NaN where many left at once.
        report_place: int64 [r], index into `places`.
        report_start: int64 [r + 1], offsets into `report_atom` and `report_weight`.
        report_atom: int64, the atoms in the number.
        report_weight: float64, what each atom contributed, nats (before a common factor such as 1/count).
        training_seq: int64 [t].
        training_what: int64 [t], index into `kinds` ("backward", "autograd.grad", "nll_loss_backward" ...).
        training_place: int64 [t], index into `places`.
        training_start: int64 [t + 1], offsets into `training_position`.
        training_position: int64, validation positions that were trained on; sorted within one training.
        step_seq: int64 [s], optimizer steps.
        step_what: int64 [s], index into `kinds`.
        printed_seq: int64 [p], when each line of `printed` was printed.
        kinds: names of operations and optimizers.
        places: where in the script, innermost first: "train_gpt.py:812 eval_val < caller:1201"; one text a place.
        printed: lines that the script printed or logged.
        unknown: operations that atoms went into and that could not be followed: {"name", "count", "place"}.
        facts: anything else that is plain JSON: how it ended ("ended": "ok" | "exit N" | "error"), "error" (last
            lines of the traceback), "seconds", "operations", "standins" (what was replaced, with how often it was
            used), "missing" (what had no stand-in), "files" (data files opened, bytes read) ...
    """

    atom_position: Ints = field(default_factory=_ints)
    atom_token: Ints = field(default_factory=_ints)
    atom_nll: Floats = field(default_factory=_floats)
    atom_lse: Floats = field(default_factory=_floats)
    atom_alternative: Floats = field(default_factory=_floats)
    atom_drawn: Ints = field(default_factory=_ints)
    atom_event: Ints = field(default_factory=_ints)
    event_seq: Ints = field(default_factory=_ints)
    event_kind: Ints = field(default_factory=_ints)
    event_place: Ints = field(default_factory=_ints)
    event_grad: Ints = field(default_factory=_ints)
    report_seq: Ints = field(default_factory=_ints)
    report_value: Floats = field(default_factory=_floats)
    report_place: Ints = field(default_factory=_ints)
    report_start: Ints = field(default_factory=_offsets)
    report_atom: Ints = field(default_factory=_ints)
    report_weight: Floats = field(default_factory=_floats)
    training_seq: Ints = field(default_factory=_ints)
    training_what: Ints = field(default_factory=_ints)
    training_place: Ints = field(default_factory=_ints)
    training_start: Ints = field(default_factory=_offsets)
    training_position: Ints = field(default_factory=_ints)
    step_seq: Ints = field(default_factory=_ints)
    step_what: Ints = field(default_factory=_ints)
    printed_seq: Ints = field(default_factory=_ints)
    kinds: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    unknown: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_arrays(self) -> list[NDArray[Any]]:
        """For the wire: a JSON text as uint8, then the numeric fields in order."""
        header = {name: getattr(self, name) for name in _TEXTS}
        text = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
        return [text, *(np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS)]

    @classmethod
    def from_arrays(cls, arrays: Sequence[NDArray[Any]]) -> Observed:
        """What `to_arrays` made, checked: the box may send anything.

        Raises:
            ValueError: shapes, types, offsets or indices do not fit; one line.
        """
        if len(arrays) != 1 + len(_ARRAYS):
            raise ValueError(f"{len(arrays)} arrays where {1 + len(_ARRAYS)} belong")
        try:
            header = json.loads(bytes(arrays[0].astype(np.uint8)))
            made = cls(**{name: header[name] for name in _TEXTS})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the header does not fit: {error}") from None
        for name, array in zip(_ARRAYS, arrays[1:], strict=True):
            wanted = np.float64 if name in _FLOATS else np.int64
            if array.ndim != 1 or array.dtype != wanted:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
            setattr(made, name, array)
        made._check()
        return made

    def _check(self) -> None:
        for prefix, names in _TABLES.items():
            sizes = {name: len(getattr(self, f"{prefix}_{name}")) for name in names}
            if len(set(sizes.values())) > 1:
                raise ValueError(f"the columns of {prefix} differ in length: {sizes}")
        for start, flat, count in (
            (self.report_start, self.report_atom, len(self.report_seq)),
            (self.training_start, self.training_position, len(self.training_seq)),
        ):
            if len(start) != count + 1 or start[0] != 0 or start[-1] != len(flat) or (np.diff(start) < 0).any():
                raise ValueError("offsets do not fit the list that they cut")
        for name, size in (
            ("atom_event", len(self.event_seq)), ("report_atom", len(self.atom_nll)),
            ("event_kind", len(self.kinds)), ("training_what", len(self.kinds)), ("step_what", len(self.kinds)),
            ("event_place", len(self.places)), ("report_place", len(self.places)),
            ("training_place", len(self.places)),
        ):  # fmt: skip
            values = getattr(self, name)
            if len(values) and (values.min() < 0 or values.max() >= size):
                raise ValueError(f"{name} points outside its table")
        texts = (*self.kinds, *self.places, *self.printed)
        if not all(isinstance(text, str) for text in texts) or len(self.printed) != len(self.printed_seq):
            raise ValueError("the texts are not lists of texts of the right length")


_TEXTS = ("kinds", "places", "printed", "unknown", "facts")
_ARRAYS = tuple(item.name for item in fields(Observed) if item.name not in _TEXTS)
_FLOATS = {"atom_nll", "atom_lse", "atom_alternative", "report_value", "report_weight"}
_TABLES = {
    "atom": ("position", "token", "nll", "lse", "alternative", "drawn", "event"),
    "event": ("seq", "kind", "place", "grad"),
    "report": ("seq", "value", "place"),
    "training": ("seq", "what", "place"),
    "step": ("seq", "what"),
}


def floor(epoch: int, rank: int) -> int:
    """The number below all those of a rank in an epoch."""
    return epoch * _EPOCH + rank * _RANK


def rank_of(stamp: Ints) -> Ints:
    """The rank that something happened on."""
    return stamp // _RANK % _RANKS


def epoch_of(stamp: Ints) -> Ints:
    """The epoch that something happened in."""
    return stamp // _EPOCH


def before(first: int, second: Ints) -> NDArray[np.bool_]:
    """Whether what happened at `first` may have been known at each of `second`."""
    same_epoch = epoch_of(second) == first // _EPOCH
    known: NDArray[np.bool_] = (first < second) & ~(same_epoch & (rank_of(second) != first // _RANK % _RANKS))
    return known


def tidy(facts: Any) -> dict[str, Any]:
    """`Observed.facts` as a box sent them, brought into shape; the script could have sent anything.

    Every fact that is known has its own type; everything else is left out.

    Args:
        facts: what JSON gave; anything.
    """
    if not isinstance(facts, dict):
        return {"ended": "error", "error": "the run's facts are not a table"}
    made: dict[str, Any] = {}
    for name, shape in _SHAPES.items():
        if name in facts and (value := shape(facts[name])) is not None:
            made[name] = value
    made.setdefault("ended", "error")
    return made


def _text(value: Any) -> str | None:
    """Without terminal escapes; lines stay."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() or c == "\n" else " " for c in value[:_TEXT])


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good and abs(value) < 1e18 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _counts(value: Any) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    made = {(_text(name) or "")[:200]: _count(count) for name, count in list(value.items())[:_MANY]}
    return {name: count for name, count in made.items() if count is not None}


def _runs(value: Any) -> list[list[int]] | None:
    """Lists of two counts, [first, past the last]."""
    if not isinstance(value, list):
        return None
    made = [[_count(item) for item in pair] for pair in value[:_MANY] if isinstance(pair, list) and len(pair) == 2]
    return [[a, b] for a, b in made if a is not None and b is not None and b - a < _LONGEST]


def _rows(**columns: Callable[[Any], Any]) -> Callable[[Any], list[dict[str, Any]] | None]:
    """A list of tables that have at least these columns, of these types."""

    def shape(value: Any) -> list[dict[str, Any]] | None:
        if not isinstance(value, list):
            return None
        made = [
            {name: column(row.get(name)) for name, column in columns.items()}
            for row in value[:_MANY]
            if isinstance(row, dict)
        ]
        return [row for row in made if None not in row.values()]

    return shape


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "ended": _text,
    "error": _text,
    "where": _text,
    "stage": _count,
    "stages": _rows(ended=_text, error=_text),
    "seconds": _number,
    "operations": _count,
    "peak_bytes": _count,
    "standins": _counts,
    "missing": _rows(name=_text, why=_text, place=_text),
    "files": _rows(name=_text, opened=_count, bytes=_count),
    "decisions": _rows(
        name=_text, place=_text, call=_count, element=_count, seq=_count, positions=_runs, rivals=_count, varied=_count
    ),
    "turned": _count,
    "branches": _rows(file=_text, number=_count, first=_count, last=_count, ran=_count, filled=_count),
    "functions": _rows(file=_text, number=_count, last=_count),
    "watched": _counts,
    "operands": _rows(file=_text, number=_count, low=_number, high=_number),
    "edited": _counts,
    "fork": _count,
    "reports_left_out": _count,
    "python": _text,
    "torch": _text,
}
