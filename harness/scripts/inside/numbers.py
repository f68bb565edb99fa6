"""Losses outside torch: arrays that carry marks through numpy, and single numbers that carry them through Python.

A scalar that comes out of an array (a sum, one element, `float(...)`) is a report, as `.item()` is, and a followed
number: a float (or a numpy float64) with a mark. Sums of two are composites as those of tensors are; a comparison of
one is a decision. What is formatted has left, and is reported. `float(x)` and the functions of `math` give plain
numbers: there the trail ends, and what is known is the report that was made when the number left torch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.scripts.inside.atoms import Ints
from harness.scripts.inside.book import Book
from harness.scripts.inside.decisions import spread
from harness.scripts.inside.mixing import mixed, reduced

#: Python's sums, and numpy's.
_SIGNS = {"add": (1.0, 1.0), "sub": (1.0, -1.0)}
_SUMS = {"add": (1.0, 1.0), "subtract": (1.0, -1.0)}
_CHOICES = {"minimum", "maximum", "fmin", "fmax"}
_COMPARED = set("less less_equal greater greater_equal equal not_equal isnan isinf isfinite sign heaviside".split())
_ALONG = {"argmin", "argmax", "argsort", "sort", "min", "max", "amin", "amax"}
_MOVES = set(
    """append broadcast_to compress concatenate delete expand_dims flip hstack moveaxis repeat roll squeeze stack
swapaxes take take_along_axis tile transpose vstack""".split()
)
_SAME = set("""around clip copy nan_to_num real round""".split())
_NOTHING = set(
    """all allclose any argmax argmin argsort argwhere array2string array_equal array_repr array_str can_cast
count_nonzero empty_like flatnonzero full_like histogram isclose iscomplexobj isneginf isposinf
may_share_memory min_scalar_type ndim nonzero ones_like result_type searchsorted shape shares_memory size
zeros_like""".split()
)


class Marked(np.ndarray[Any, Any]):
    """A numpy array with marks of its shape (int64), or None where they were lost.

    Args:
        base: the numbers; memory is shared.
        marks: of the same shape; memory is shared.
        book: where reports and composites go.
    """

    marks: Ints | None
    book: Book | None

    def __new__(cls, base: Any, marks: Ints, book: Book) -> Marked:
        """Share memory with `base` and `marks`."""
        made = np.asarray(base).view(cls)
        made.marks = np.asarray(marks, np.int64)
        made.book = book
        return made

    def __array_finalize__(self, source: Any) -> None:
        if source is None:
            return
        self.book = getattr(source, "book", None)
        marks = getattr(source, "marks", None)
        self.marks = marks if marks is not None and marks.shape == self.shape else None

    def plain(self) -> np.ndarray[Any, Any]:
        """The numbers alone."""
        return self.view(np.ndarray)

    def _alive(self) -> bool:
        return self.marks is not None and self.book is not None and self.book.active

    def _wrap(self, result: Any, marks: Ints | None) -> Any:
        """The result of something: marked, or reported where it is a scalar."""
        if marks is None or self.book is None:
            return result
        array = np.asarray(result)
        if array.ndim or marks.ndim:
            return Marked(array, marks, self.book) if (marks != -1).any() else result
        if self.book.active and self.ndim:
            self.book.report(marks, array, float(array))
        return follow(result[()] if isinstance(result, np.ndarray) else result, int(marks), self.book)

    def _miss(self, name: str) -> None:
        if self.book is not None and self.book.active and self.marks is not None and (self.marks != -1).any():
            self.book.miss(f"numpy {name}")

    # structure -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        key = _strip(key)
        result = self.plain()[key]
        return self._wrap(result, np.asarray(self.marks[key])) if self.marks is not None else result

    def __setitem__(self, key: Any, value: Any) -> None:
        key = _strip(key)
        self.plain()[key] = _strip(value)
        if self.marks is not None:
            given = getattr(value, "marks", None)
            self.marks[key] = -1 if given is None else given

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy; marks follow into floats."""
        result = self.plain().astype(*args, **kwargs)
        return self._wrap(result, self.marks.copy()) if self.marks is not None and result.dtype.kind == "f" else result

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        return self._same(self.plain().copy(*args, **kwargs))

    def reshape(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        result = self.plain().reshape(*args, **kwargs)
        return Marked(result, self.marks.reshape(*args, **kwargs), self.book) if self.marks is not None else result  # type: ignore[arg-type]

    def ravel(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        return self.reshape(-1)

    def flatten(self, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        return self.copy().reshape(-1)

    def transpose(self, *axes: Any) -> Any:
        """As numpy."""
        result = self.plain().transpose(*axes)
        return Marked(result, self.marks.transpose(*axes), self.book) if self.marks is not None else result  # type: ignore[arg-type]

    def _same(self, result: Any) -> Any:
        return Marked(result, self.marks.copy(), self.book) if self.marks is not None else result  # type: ignore[arg-type]

    def __reduce__(self) -> Any:
        return self.plain().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)

    # numbers ---------------------------------------------------------------------------------------------------------

    def _scalar(self) -> None:
        if self.size == 1 and self._alive():
            value = float(self.plain().reshape(-1)[0])
            self.book.report(self.marks.reshape(-1), np.array([value]), value)  # type: ignore[union-attr]

    def __float__(self) -> float:
        self._scalar()
        return float(self.plain().reshape(-1)[0]) if self.size == 1 else float(self.plain())

    def item(self, *args: Any) -> Any:
        """As numpy; a report."""
        if args and self.marks is not None and self._alive():
            at, mark = self.plain().item(*args), self.marks.item(*args)
            self.book.report(np.array([mark]), np.array([at]), float(at))  # type: ignore[union-attr]
            return follow(at, mark, self.book)  # type: ignore[arg-type]
        if not args and self.marks is not None and self.size == 1 and self._alive():
            self._scalar()
            return follow(self.plain().item(), self.marks.item(), self.book)  # type: ignore[arg-type]
        return self.plain().item(*args)

    def __format__(self, spec: str) -> str:
        self._scalar()
        return format(self.plain().reshape(-1)[0] if self.ndim == 0 else self.plain(), spec)

    def tolist(self) -> Any:
        """As numpy; a report of many."""
        if self._alive():
            self.book.report(self.marks.reshape(-1), self.plain().reshape(-1), float("nan"))  # type: ignore[union-attr]
            return followed(self.plain().tolist(), self.marks, self.book)  # type: ignore[arg-type]
        return self.plain().tolist()

    def sum(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        return self._total("sum", axis, args, kwargs)

    def mean(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy."""
        return self._total("mean", axis, args, kwargs)

    # decisions -------------------------------------------------------------------------------------------------------

    def argmin(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy; a decision."""
        return self._along("argmin", axis, args, kwargs)

    def argmax(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy; a decision."""
        return self._along("argmax", axis, args, kwargs)

    def argsort(self, axis: Any = -1, *args: Any, **kwargs: Any) -> Any:
        """As numpy; a decision."""
        return self._along("argsort", axis, args, kwargs)

    def min(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy; a decision."""
        return self._along("min", axis, args, kwargs)

    def max(self, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As numpy; a decision."""
        return self._along("max", axis, args, kwargs)

    def sort(self, axis: Any = -1, *args: Any, **kwargs: Any) -> None:
        """As numpy; a decision."""
        self[...] = self._along("sort", axis, args, kwargs)

    def _along(self, name: str, axis: Any, args: Any, kwargs: Any) -> Any:
        """A reduction or a sort by size, turned where that is asked for."""
        own = getattr(np, name)(self.plain(), axis, *args, **kwargs)
        if not self._alive() or not self.ndim or isinstance(axis, tuple) or args or set(kwargs) - {"keepdims", "kind"}:
            self._miss(name)
            return own
        assert self.book is not None and self.marks is not None
        plain = np.asarray(self.plain(), np.float64)
        marks, values, at = (self.marks, plain, axis) if axis is not None else (self.marks.ravel(), plain.ravel(), 0)
        size = values.shape[at]
        flat, numbers = np.moveaxis(marks, at, -1).reshape(-1, size), np.moveaxis(values, at, -1).reshape(-1, size)
        order = np.argsort(-numbers if name in ("argmax", "max", "amax") else numbers, axis=1, kind="stable")
        element = self.book.decisions.met(self.book, f"numpy {name}", flat, None, bool(((flat != -1).sum(1) > 1).any()))
        if element is not None and size > 1:
            order[element, :2] = order[element, 1::-1]
        elif name in ("argmin", "argmax", "argsort"):
            return own
        ordered = name in ("argsort", "sort")
        lanes = order if ordered else order[:, :1]
        rest = np.moveaxis(values, at, -1).shape[:-1]

        def back(lane: Any) -> Any:
            whole = np.moveaxis(lane.reshape(*rest, lane.shape[1]), -1, at)
            return whole if ordered else whole.reshape(np.shape(own))

        if name.startswith("arg"):
            return back(lanes) if np.ndim(own) or ordered else back(lanes)[()]
        picked = back(np.take_along_axis(numbers, lanes, 1)).astype(self.dtype)
        return self._wrap(picked if picked.ndim else picked[()], back(np.take_along_axis(flat, lanes, 1)))

    def _total(self, name: str, axis: Any, args: Any, kwargs: Any) -> Any:
        result = getattr(self.plain(), name)(axis, *args, **kwargs)
        if not self._alive() or kwargs.get("where", True) is not True:
            return result
        axes = tuple(range(self.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        marks = reduced(self.book, self.marks, np.asarray(self.plain(), np.float64), axes)  # type: ignore[arg-type]
        return self._wrap(result, marks.reshape(np.shape(result)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc in (np.minimum, np.maximum) and method == "reduce" and isinstance(inputs[0], Marked):
            keep = {"keepdims": kwargs["keepdims"]} if kwargs.get("keepdims") else {}
            return inputs[0]._along("min" if ufunc is np.minimum else "max", kwargs.get("axis", 0), (), keep)
        plain = [_strip(value) for value in inputs]
        out = kwargs.get("out")
        before = np.array(plain[0], np.float64) if out is not None and out[0] is inputs[0] else None
        if out is not None:
            kwargs["out"] = tuple(_strip(value) for value in out)
        source = next((value for value in inputs if isinstance(value, Marked) and value.marks is not None), None)
        if method == "reduce" and ufunc is np.add and source is not None:
            return source._total("sum", kwargs.get("axis", 0), (), {k: v for k, v in kwargs.items() if k == "keepdims"})
        result = getattr(ufunc, method)(*plain, **kwargs)
        if source is None or not source._alive():
            return result
        book = source.book
        assert book is not None
        if ufunc.__name__ in _COMPARED and method == "__call__":
            result = _compared(book, ufunc.__name__, inputs, result)
        if np.asarray(result).dtype.kind != "f":
            return result
        if method != "__call__" or isinstance(result, tuple):
            source._miss(f"{ufunc.__name__}.{method}")
            return result
        shape = np.shape(result)
        marks: Ints | None = None
        numbers: Any = None
        for index, value in enumerate(inputs):
            own = getattr(value, "marks", None)
            if own is None:
                if ufunc is np.multiply:
                    zero = np.broadcast_to(np.asarray(plain[index]) == 0, shape)
                    marks = None if marks is None else np.where(zero, -1, marks)
                continue
            number = before if index == 0 and before is not None else np.asarray(plain[index], np.float64)
            if marks is None:
                marks, numbers = np.array(np.broadcast_to(own, shape)), number
                if ufunc is np.multiply and index == 1:
                    marks[np.broadcast_to(np.asarray(plain[0]) == 0, shape)] = -1
                continue
            if ufunc.__name__ in _CHOICES:
                result = _extreme(book, ufunc.__name__, (marks, own), (numbers, number), result)
            chosen = np.asarray(result, np.float64) if ufunc.__name__ in _CHOICES else None
            signs = _SUMS.get(ufunc.__name__)
            marks = mixed(book, f"numpy {ufunc.__name__}", (marks, numbers), (own, number), shape, signs, chosen)
        given = [value for value in inputs if getattr(value, "marks", None) is not None]
        if marks is not None and len(given) == 1 and ufunc.__name__ in _SUMS and (marks < -1).any():
            sign = -1.0 if ufunc is np.subtract and given[0] is inputs[1] else 1.0
            old = sign * np.broadcast_to(np.asarray(numbers, np.float64), shape)
            marks = book.atoms.shifted(marks, old, np.asarray(result, np.float64))
        if out is not None:
            target = out[0]
            if isinstance(target, Marked) and target.marks is not None and marks is not None:
                target.marks[...] = marks
            return target
        return source._wrap(result, marks)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__
        if name in ("sum", "nansum", "mean", "nanmean") and isinstance(args[0], Marked):
            axis = kwargs.get("axis", args[1] if len(args) > 1 else None)
            return args[0]._total(
                name.removeprefix("nan"), axis, (), {k: v for k, v in kwargs.items() if k == "keepdims"}
            )
        if name in _ALONG and args and isinstance(args[0], Marked):
            axis = -1 if name in ("sort", "argsort") else None
            given = dict(zip(("axis",), args[1:2], strict=False)) | kwargs
            axis = given.pop("axis", axis)
            more = {key: value for key, value in given.items() if value is not np._NoValue}
            return args[0]._along(name, axis, args[2:], more)
        result = func(*_strip(args), **{key: _strip(value) for key, value in kwargs.items()})
        if not self._alive() or name in _NOTHING:
            return result
        if name in _MOVES:
            return self._wrap(result, np.asarray(func(*_marks_of(args), **{k: _strip(v) for k, v in kwargs.items()})))
        if name in _SAME and isinstance(args[0], Marked) and args[0].marks is not None:
            return self._wrap(result, args[0].marks.copy())
        if name == "where" and len(args) == 3:
            return self._wrap(result, np.where(_strip(args[0]), *(_own(value) for value in args[1:])))
        if name in ("choose", "select") and len(args) > 1:
            which, among, *rest = args
            return self._wrap(result, np.asarray(func(_strip(which), [_own(item) for item in among], *rest)))
        self._miss(name)
        return result


def _strip(value: Any) -> Any:
    if isinstance(value, Marked):
        return value.plain()
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_strip(item) for item in value)
    return plain_of(value)


def _compared(book: Book, name: str, inputs: Any, result: Any) -> Any:
    """What came out of a comparison, turned at one element where that is asked for."""
    shape = np.shape(result)
    own = [marks for value in inputs if (marks := getattr(value, "marks", None)) is not None]
    marks = spread(own, shape)
    outcome = np.asarray(result) > 0
    element = book.decisions.met(book, f"numpy {name}", marks, outcome, bool(((marks != -1).sum(1) > 1).any()))
    if element is None:
        return result
    made = np.array(result)
    at = np.unravel_index(element, shape)
    made[at] = ~made[at] if made.dtype == bool else -made[at]
    return made if made.ndim else made[()]


def _extreme(book: Book, name: str, marks: tuple[Any, Any], numbers: tuple[Any, Any], result: Any) -> Any:
    """The lower or higher of two, the other one at one element where that is asked for."""
    shape = np.shape(result)
    element = book.decisions.met(book, f"numpy {name}", spread(marks, shape))
    if element is None:
        return result
    made = np.array(result)
    at = np.unravel_index(element, shape)
    left, right = (np.broadcast_to(side, shape)[at] for side in numbers)
    made[at] = left if made[at] == right else right
    return made if made.ndim else made[()]


def _own(value: Any) -> Ints:
    marks = getattr(value, "marks", None)
    return np.full(np.shape(value), -1, np.int64) if marks is None else marks


def _marks_of(args: Any) -> list[Any]:
    """The arguments of a movement, with marks in place of numbers: only the first argument moves."""
    first, *rest = args
    moved = [_own(item) for item in first] if isinstance(first, (list, tuple)) else _own(first)
    return [moved, *(_strip(item) for item in rest)]


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
