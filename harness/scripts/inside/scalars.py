"""Single numbers that left torch or numpy and still know the losses they are made of: Python's arithmetic is followed.

A followed number is a float (or a numpy float64) with a mark. Sums of two are composites as those of tensors are; a
comparison of one is a decision. What is formatted has left, and is reported. `float(x)` and the functions of `math`
give plain numbers: there the trail ends, and what is known is the report that was made when the number left torch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.scripts.inside.atoms import Ints
from harness.scripts.inside.book import Book
from harness.scripts.inside.decisions import spread
from harness.scripts.inside.mixing import mixed

_SIGNS = {"add": (1.0, 1.0), "sub": (1.0, -1.0)}


class _Carries:
    """What a followed number has; mixed into a subclass of float, whose own operations do the arithmetic."""

    mark: int
    book: Book

    @property
    def marks(self) -> Ints:
        """As those of an array without dimensions."""
        return np.array(self.mark, np.int64)

    def _leave(self) -> None:
        """It is shown to people: a report, unless one was made of the same losses."""
        book = self.book
        if book.active and self.mark not in book.left:
            value = _plain(self)
            book.report(self.marks, np.array([value]), value)

    def __format__(self, spec: str) -> str:
        self._leave()
        return format(_plain(self), spec)

    def __str__(self) -> str:
        self._leave()
        return str(_plain(self))

    def __repr__(self) -> str:
        self._leave()
        return repr(_plain(self))

    def __float__(self) -> float:
        self._leave()
        return float.__float__(self)  # type: ignore[arg-type]

    def item(self) -> Any:
        """As numpy's scalars have it."""
        return _make(Followed, float.__float__(self), self.mark, self.book)  # type: ignore[arg-type]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(as_array(value) for value in inputs), **kwargs)

    def __round__(self, digits: int | None = None) -> Any:
        return round(_plain(self)) if digits is None else type(self)._of(round(_plain(self), digits), self)

    def __hash__(self) -> int:
        return hash(_plain(self))

    def __reduce__(self) -> Any:
        return float, (_plain(self),)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()

    @classmethod
    def _of(cls, value: Any, like: _Carries) -> Any:
        return _make(cls, value, like.mark, like.book)


class Followed(_Carries, float):  # type: ignore[misc]
    """A Python float that left torch."""


class FollowedNumpy(_Carries, np.float64):  # type: ignore[misc]
    """The same that left an array."""


def as_array(value: Any) -> Any:
    """A followed number, or a list of some, as a marked array; anything else as it is."""
    from harness.scripts.inside.numbers import Marked

    if isinstance(value, _Carries):
        return Marked(np.asarray(_plain(value)), value.marks, value.book)
    if isinstance(value, (list, tuple)) and len(value) and isinstance(_first(value), _Carries):
        book = _first(value).book
        try:
            plain = np.array(plain_of(value), np.float64)
            return Marked(plain, np.array(_marks(value), np.int64).reshape(plain.shape), book)
        except ValueError:  # ragged
            book.miss("python list")
    return value


def _first(value: Any) -> Any:
    while isinstance(value, (list, tuple)) and len(value):
        value = next((item for item in value if isinstance(item, (_Carries, list, tuple))), None)
    return value


def _marks(value: Any) -> Any:
    return [_marks(item) for item in value] if isinstance(value, (list, tuple)) else getattr(value, "mark", -1)


def plain_of(value: Any) -> Any:
    """The same without followed numbers, in lists and tuples too."""
    if isinstance(value, _Carries):
        return _plain(value)
    return type(value)(plain_of(item) for item in value) if type(value) in (list, tuple) else value


def followed(values: Any, marks: Ints, book: Book) -> Any:
    """What `tolist` gave, with marks of the same shape."""
    if marks.ndim:
        return [followed(item, own, book) for item, own in zip(values, marks, strict=True)]
    return follow(values, int(marks), book)


def follow(value: Any, mark: int, book: Book) -> Any:
    """A number with its mark, of the kind that it has: numpy's or Python's."""
    if mark == -1:
        return value
    return _make(FollowedNumpy if isinstance(value, np.floating) else Followed, value, mark, book)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def _is_followed(value: Any) -> bool:
    return isinstance(value, _Carries)


def _make(kind: Any, value: Any, mark: int, book: Book) -> Any:
    made = kind(value)
    made.mark, made.book = mark, book
    return made


def _plain(value: Any) -> Any:
    """The number alone, numpy's as numpy's: the two differ in what a division by zero does."""
    if isinstance(value, np.float64):
        return np.float64(np.float64.__float__(value))
    return float.__float__(value) if isinstance(value, float) else value


def _arithmetic(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
    act = getattr(operator, name)

    def method(self: Any, other: Any) -> Any:
        if not _is_number(other):
            return NotImplemented
        numbers = _plain(self), _plain(other)
        left, right = numbers[::-1] if swapped else numbers
        value = act(left, right)
        kind: Any = FollowedNumpy if isinstance(self, np.float64) or isinstance(other, np.floating) else Followed
        if not isinstance(value, float):
            return value
        if not _is_followed(other):
            if name == "mul" and numbers[1] == 0:  # a mask
                return float(value)
            mark = self.mark
            if name in _SIGNS and mark < -1 and self.book.active:
                own = -numbers[0] if name == "sub" and swapped else numbers[0]
                mark = int(self.book.atoms.shifted(self.marks, np.array(float(own)), np.array(float(value))))
            return _make(kind, value, mark, self.book)
        first, second = (other, self) if swapped else (self, other)
        mark = _met(name, first, second)
        return _make(kind, value, mark, self.book) if mark != -1 else value

    return method


def _met(name: str, first: Any, second: Any) -> int:
    """The mark of what two followed numbers make."""
    book = first.book
    if not book.active or first.mark == second.mark:
        return int(first.mark)
    try:
        pair = [(one.marks, np.array(_plain(one), np.float64)) for one in (first, second)]
        return int(mixed(book, f"python {name}", pair[0], pair[1], (), _SIGNS.get(name), None))
    except Exception as error:  # nothing that the recorder does reaches the script
        book.miss(f"recorder: python {name}: {type(error).__name__}: {str(error)[:120]}")
        return -1


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    act = getattr(operator, name)

    def method(self: Any, other: Any) -> Any:
        if not _is_number(other):
            return NotImplemented
        outcome = bool(act(_plain(self), _plain(other)))
        book = self.book
        if not book.active:
            return outcome
        own = [one.marks for one in (self, other) if _is_followed(one)]
        turned = book.decisions.met(book, f"python {name}", spread(own, ()), np.array([outcome]), len(own) > 1)
        return outcome if turned is None else not outcome

    return method


def _alone(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return type(self)._of(act(_plain(self)), self)

    return method


for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(_Carries, f"__{_name}__", _arithmetic(_name, False))
    setattr(_Carries, f"__r{_name}__", _arithmetic(_name, True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(_Carries, f"__{_name}__", _comparison(_name))
for _name, _act in (("neg", operator.neg), ("pos", operator.pos), ("abs", abs)):
    setattr(_Carries, f"__{_name}__", _alone(_act))
