"""Where two marks meet in one number, for torch and numpy alike; arrays of marks and of float64 numbers."""

from __future__ import annotations

import numpy as np

from harness.scripts.inside.atoms import Floats, Ints
from harness.scripts.inside.book import Book


def reduced(book: Book, marks: Ints, values: Floats, axes: tuple[int, ...]) -> Ints:
    """Marks of the sums of `values` over `axes`; the other axes stay."""
    if not marks.ndim:
        return marks.copy()
    gone = sorted({axis % marks.ndim for axis in axes})
    kept = [axis for axis in range(marks.ndim) if axis not in gone]
    shape = tuple(marks.shape[axis] for axis in kept)
    groups = int(np.prod(shape, dtype=np.int64))
    flat = np.transpose(marks, kept + gone).reshape(groups, -1)
    numbers = np.transpose(values, kept + gone).reshape(groups, -1)
    return book.atoms.combine(flat.reshape(-1), numbers.reshape(-1), np.full(groups, flat.shape[1])).reshape(shape)


def pick(book: Book, marks: Ints, axes: tuple[int, ...]) -> Ints | None:
    """One mark for each group along `axes` whose atoms are all of one position; None where some group is not."""
    if not marks.ndim:
        return marks.copy()
    gone = sorted({axis % marks.ndim for axis in axes})
    kept = [axis for axis in range(marks.ndim) if axis not in gone]
    shape = tuple(marks.shape[axis] for axis in kept)
    flat = np.transpose(marks, kept + gone).reshape(int(np.prod(shape, dtype=np.int64)), -1)
    first = flat.max(axis=1) if flat.shape[1] else np.full(len(flat), -1)
    composite = (flat < -1).any(axis=1)
    if composite.any():
        same = (flat == flat[:, :1]).all(axis=1)
        if not same[composite].all():
            return None
        first = np.where(composite, flat[:, 0], first)
    positions = book.atoms.positions(flat)
    reference = book.atoms.positions(first)[:, None]
    fits = (flat == -1) | (flat == first[:, None]) | ((positions == reference) & (positions >= 0))
    return first.reshape(shape) if bool(fits.all()) else None


def taken(marks: Ints, values: Floats, result: Floats, axes: tuple[int, ...]) -> Ints:
    """Marks of the values that a minimum or maximum over `axes` took; the other axes stay.

    Args:
        marks: of the operand.
        values: of the operand.
        result: what came out, kept dimensions of length one or not.
        axes: that are gone.
    """
    if not marks.ndim:
        return marks.copy()
    gone = sorted({axis % marks.ndim for axis in axes})
    kept = [axis for axis in range(marks.ndim) if axis not in gone]
    shape = tuple(marks.shape[axis] for axis in kept)
    flat = np.transpose(marks, kept + gone).reshape(int(np.prod(shape, dtype=np.int64)), -1)
    numbers = np.transpose(values, kept + gone).reshape(flat.shape)
    at = np.argmax(numbers == np.asarray(result).reshape(-1, 1), axis=1)
    return np.take_along_axis(flat, at[:, None], 1)[:, 0].reshape(shape)


def mixed(
    book: Book,
    name: str,
    left: tuple[Ints, Floats | None],
    right: tuple[Ints, Floats | None],
    shape: tuple[int, ...],
    signs: tuple[float, float] | None,
    chosen: Floats | None,
) -> Ints:
    """Marks of an element-wise operation on two marked operands.

    Args:
        book: where composites go, and the name of what could not be followed.
        name: the operation.
        left: marks and numbers of the first operand; they broadcast to `shape`.
        right: the same of the second.
        shape: of the result.
        signs: factors of the operands where the operation is a sum; None for any other.
        chosen: the result's numbers where it is one of its operands (min, max).
    """
    a, b = (np.broadcast_to(marks, shape) for marks, _ in (left, right))
    result = np.where(a == -1, b, a)
    open_ = (a != -1) & (b != -1) & (a != b)
    if not open_.any():
        return result
    if chosen is not None and right[1] is not None:
        second = open_ & (np.broadcast_to(right[1], shape) == chosen)
        if left[1] is not None:
            second &= np.broadcast_to(left[1], shape) != chosen
        return np.where(second, b, result)
    where = book.atoms.positions(a)
    different = open_ & ~((where == book.atoms.positions(b)) & (where >= 0))
    if not different.any():
        return result
    if signs is None or left[1] is None or right[1] is None:
        book.miss(f"{name} of two positions")
        return np.where(different, -1, result)
    values = [
        np.broadcast_to(number, shape)[different] * sign
        for number, sign in zip((left[1], right[1]), signs, strict=True)
    ]
    children = np.stack([a[different], b[different]], 1)
    marks = book.atoms.combine(children.reshape(-1), np.stack(values, 1).reshape(-1), np.full(len(children), 2))
    result[different] = marks
    return result
