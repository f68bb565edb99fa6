"""Where numbers leave torch and gradients start: what is patched while a script is watched."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.scripts.inside.book import Book, floats
from harness.scripts.inside.numbers import Marked, as_array, follow, followed

Undo = Callable[[], None]

#: What is asked of lists of numbers.
_OF_LISTS = ("argmin", "argmax", "argsort", "sort", "min", "max", "amin", "amax", "mean", "sum", "nanmean", "where")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [item for item in value if isinstance(item, Tensor)] if isinstance(value, (list, tuple)) else []


def _quiet(book: Book, what: str, act: Callable[[], None]) -> None:
    """Run a part of the recorder: it is off meanwhile, and nothing it raises reaches the script."""
    if not book.active:
        return
    book.active = False
    try:
        act()
    except Exception as error:
        book.miss(f"recorder: {what}: {type(error).__name__}: {str(error)[:120]}")
    finally:
        book.active = True


def install(book: Book) -> Undo:
    """Patch the terminals of torch and numpy; returns what takes the patches back."""
    saved: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        saved.append((owner, name, original))
        replacement = make(original)
        replacement.__name__ = getattr(original, "__name__", name)
        replacement.__doc__ = getattr(original, "__doc__", None)
        setattr(owner, name, replacement)

    def gradient(what: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def start(*args: Any, **kwargs: Any) -> Any:
                given = args[0] if args else kwargs.get("tensors", kwargs.get("outputs"))
                _quiet(book, what, lambda: book.root(what, _tensors(given)))
                book.in_backward += 1
                try:
                    return original(*args, **kwargs)
                finally:
                    book.in_backward -= 1

            return start

        return make

    patch(torch.autograd, "backward", gradient("backward"))  # Tensor.backward calls it
    patch(torch.autograd, "grad", gradient("autograd.grad"))
    patch(torch.Tensor, "numpy", lambda original: _numpy(book, original))
    patch(torch.Tensor, "tolist", lambda original: _tolist(book, original))
    patch(torch.Tensor, "item", lambda original: _item(book, original))
    for name in ("from_numpy", "tensor", "as_tensor", "asarray"):
        patch(torch, name, lambda original: _back(book, original))
    for name in ("asarray", "array", "ascontiguousarray"):
        patch(np, name, lambda original: _again(book, original))
    for name in _OF_LISTS:
        patch(np, name, lambda original: _of_list(book, original))
    patch(builtins, "print", lambda original: _print(book, original))
    handle = register_optimizer_step_post_hook(
        lambda optimizer, args, kwargs: _quiet(book, "step", lambda: book.step(type(optimizer).__name__))
    )

    def undo() -> None:
        handle.remove()
        for owner, name, original in reversed(saved):
            setattr(owner, name, original)

    return undo


def _numpy(book: Book, original: Any) -> Any:
    def numpy(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        array = original(self, *args, **kwargs)
        return _marked(book, self, array)

    return numpy


def _again(book: Book, original: Any) -> Any:
    """Numpy's conversions drop subclasses; what they made gets its marks back."""

    def convert(value: Any, *args: Any, **kwargs: Any) -> Any:
        value = as_array(value) if book.active else value
        array = original(value, *args, **kwargs)
        if not book.active or not isinstance(value, (Marked, Tensor)) or array.dtype.kind != "f":
            return array
        if isinstance(value, Tensor):
            return _marked(book, value, array)
        return Marked(array, value.marks, book) if value.marks is not None and array.shape == value.shape else array

    return convert


def _marked(book: Book, tensor: Tensor, array: Any) -> Any:
    found: list[Any] = []

    def look() -> None:
        marks = book.shadows.marked(tensor)
        if marks is not None:
            found.append(Marked(np.asarray(array), marks.copy(), book))

    if not isinstance(array, Marked):
        _quiet(book, "numpy", look)
    return found[0] if found else array


def _tolist(book: Book, original: Any) -> Any:
    def tolist(self: Tensor) -> Any:
        def look() -> None:
            marks = book.shadows.marked(self)
            if marks is not None and marks.ndim:  # a scalar is an .item(), which the operations show
                book.report(marks.reshape(-1), floats(self).reshape(-1), float("nan"))

        _quiet(book, "tolist", look)
        values = original(self)
        return _with_marks(book, self, values) if book.active else values

    return tolist


def _item(book: Book, original: Any) -> Any:
    def item(self: Tensor) -> Any:
        value = original(self)  # the operation below it makes the report
        return _with_marks(book, self, value) if book.active and type(value) is float else value

    return item


def _with_marks(book: Book, tensor: Tensor, values: Any) -> Any:
    """What left a tensor, as followed numbers."""
    found: list[Any] = []

    def look() -> None:
        marks = book.shadows.marked(tensor) if tensor.is_floating_point() else None
        if marks is not None:
            single = isinstance(values, float)
            found.append(follow(values, int(marks.reshape(-1)[0]), book) if single else followed(values, marks, book))

    _quiet(book, "item", look)
    return found[0] if found else values


def _of_list(book: Book, original: Any) -> Any:
    """Functions of numpy that take a list of followed numbers as they take an array."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if book.active and args:
            args = (as_array(args[0]), *args[1:])
        return original(*args, **kwargs)

    return function


def _back(book: Book, original: Any) -> Any:
    def back(value: Any, *args: Any, **kwargs: Any) -> Any:
        value = as_array(value) if book.active else value
        if not isinstance(value, Marked):
            return original(value, *args, **kwargs)
        tensor = original(value.plain(), *args, **kwargs)
        if value.marks is not None and tensor.is_floating_point():
            marks = value.marks
            _quiet(book, "from_numpy", lambda: book.shadows.put(tensor, marks.reshape(tuple(tensor.shape))))
        return tensor

    return back


def _print(book: Book, original: Any) -> Any:
    def print_(
        *values: Any, sep: str | None = None, end: str | None = None, file: Any = None, flush: bool = False
    ) -> None:
        if file is not None and not isinstance(file, Lines) and file not in (sys.__stdout__, sys.__stderr__):
            text = (" " if sep is None else sep).join(str(value) for value in values)
            if book.active and text not in book.recent:
                for line in text.splitlines():
                    book.line(line)
        original(*values, sep=sep, end=end, file=file, flush=flush)

    return print_


class Lines:
    """A text stream that keeps the lines written through it; everything else is the stream's own."""

    def __init__(self, stream: TextIO, book: Book) -> None:
        self._stream = stream
        self._book = book
        self._rest = ""

    def write(self, text: str) -> int:
        """Write through, and keep whole lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line and self._book.active:
                self._book.line(line)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def finish(self) -> TextIO:
        """Keep what has no line end; returns the stream."""
        if self._rest:
            self._book.line(self._rest)
            self._rest = ""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)
