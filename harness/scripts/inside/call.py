"""One tensor operation that ran, as followers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.scripts.inside.atoms import Floats, Ints
from harness.scripts.inside.book import Book


@dataclass
class Call:
    """One operation that ran.

    Attributes:
        func: the overload; `name` its name without namespace and trailing underscore; `inplace` had one.
        args, kwargs, out: as torch saw them.
        before: the first argument's numbers before an in-place sum, where it was marked.
    """

    func: Any
    name: str
    inplace: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    before: Floats | None = None


Follower = Callable[[Book, Call], None]


def marks_of(book: Book, value: Any) -> Ints | None:
    """Marks of a float tensor that has some; None for anything else."""
    return book.shadows.marked(value) if isinstance(value, Tensor) and value.is_floating_point() else None


def put(book: Book, out: Tensor, marks: Ints) -> None:
    """Set the marks of a float tensor."""
    if out.is_floating_point():
        book.shadows.put(out, marks)


def lost(book: Book, call: Call) -> None:
    """Atoms went into an operation that is not followed."""
    book.miss(call.name)
