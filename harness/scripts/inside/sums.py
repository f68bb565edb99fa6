"""How marks travel through sums: along dimensions, by group, running, and weighted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.scripts.inside.book import Book, floats, integers
from harness.scripts.inside.call import Call, lost, marks_of, put
from harness.scripts.inside.mixing import pick, reduced, taken

#: An operation may not spread marks over more elements than this, unless it already had as many.
SPREAD = 1 << 18


def total(book: Book, call: Call) -> None:
    """`sum`, `mean`, `nansum`."""
    source = call.args[0]
    marks = marks_of(book, source)
    if marks is None:
        return
    dims = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    axes = tuple(range(marks.ndim)) if not isinstance(dims, (list, tuple)) or not dims else tuple(dims)
    put(book, call.out, reduced(book, marks, floats(source), axes).reshape(tuple(call.out.shape)))


def dot(book: Book, call: Call) -> None:
    """`dot`, `vdot`, and `mv` / `mm` / `bmm` with one marked factor: weighted sums."""
    left, right = call.args[:2]
    one, two = marks_of(book, left), marks_of(book, right)
    either = one if one is not None else two
    if either is None or (one is not None and two is not None) or call.out.numel() * max(left.shape[-1], 1) > SPREAD:
        return lost(book, call)
    a, b = floats(left), floats(right)
    if call.name == "mv" or b.ndim == 1:  # [n, k] @ [k] -> [n]
        products = a * b
        marks = np.broadcast_to(either, products.shape)
    else:  # [.., n, k] @ [.., k, m] -> [.., n, m]
        products = a[..., :, None, :] * np.swapaxes(b, -1, -2)[..., None, :, :]
        own = either[..., :, None, :] if one is not None else np.swapaxes(either, -1, -2)[..., None, :, :]
        marks = np.broadcast_to(own, products.shape)
    put(book, call.out, reduced(book, marks, products, (-1,)).reshape(tuple(call.out.shape)))


def alike(book: Book, call: Call) -> None:
    """Reductions that mean something for readings of one position: `logsumexp` over experts, `amin` over models."""
    source = call.args[0]
    marks = marks_of(book, source)
    if marks is None or not isinstance(call.out, Tensor):
        return lost(book, call)
    dims = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    axes = (
        tuple(range(marks.ndim)) if dims is None or dims == [] else tuple(dims) if isinstance(dims, list) else (dims,)
    )
    if call.name in ("amin", "amax", "min", "max"):
        return put(book, call.out, taken(marks, floats(source), floats(call.out), axes).reshape(tuple(call.out.shape)))
    kept = pick(book, marks, axes)
    if kept is None:
        return lost(book, call)
    put(book, call.out, kept.reshape(tuple(call.out.shape)))


def accumulate(book: Book, call: Call) -> None:
    """`index_add`, `scatter_add`, `index_put(accumulate=True)`, `bincount(weights)`: sums by group."""
    args = call.args
    target = call.out
    if call.name == "bincount":
        source, cells = args[1], integers(args[0])
        before = None
    else:
        grid = torch.arange(target.numel()).view(tuple(target.shape))
        if call.name == "index_put":
            source, cells = args[2], integers(grid[tuple(slice(None) if i is None else i for i in args[1])])
        elif call.name == "index_add":
            source, cells = args[3], integers(grid.index_select(args[1], args[2]))
        else:
            source = args[3]
            cells = integers(grid.gather(args[1], args[2]))
        before = marks_of(book, args[0]) if not call.inplace else book.shadows.marked(target)
    marks = marks_of(book, source) if isinstance(source, Tensor) else None
    if marks is None:
        return
    parts = [np.broadcast_to(marks[tuple(map(slice, cells.shape))] if marks.ndim == cells.ndim else marks, cells.shape)]
    values = floats(source)
    numbers = [
        np.broadcast_to(values[tuple(map(slice, cells.shape))] if values.ndim == cells.ndim else values, cells.shape)
    ]
    places = [cells]
    if before is not None:
        old = call.before if call.before is not None else floats(args[0])
        parts.append(before)
        numbers.append(old)
        places.append(np.arange(before.size).reshape(before.shape))
    flat = np.concatenate([part.reshape(-1) for part in places])
    order = np.argsort(flat, kind="stable")
    children = np.concatenate([part.reshape(-1) for part in parts])[order]
    weights = np.concatenate([part.reshape(-1) for part in numbers])[order]
    sizes = np.bincount(flat, minlength=target.numel())
    put(book, target, book.atoms.combine(children, weights, sizes).reshape(tuple(target.shape)))


def cumsum(book: Book, call: Call) -> None:
    """`cumsum`: a chain of composites along the dimension."""
    source = call.args[0]
    marks = marks_of(book, source)
    if marks is None:
        return
    if marks.size > SPREAD:
        return lost(book, call)
    dim = call.args[1] if len(call.args) > 1 else call.kwargs["dim"]
    steps = np.moveaxis(marks, dim, -1).reshape(-1, marks.shape[dim]) if marks.ndim else marks.reshape(1, 1)
    values = np.moveaxis(floats(source), dim, -1).reshape(steps.shape) if marks.ndim else floats(source).reshape(1, 1)
    sums = np.moveaxis(floats(call.out), dim, -1).reshape(steps.shape) if marks.ndim else values
    result = steps.copy()
    for at in range(1, steps.shape[1]):
        children = np.stack([result[:, at - 1], steps[:, at]], 1).reshape(-1)
        weights = np.stack([sums[:, at - 1], values[:, at]], 1).reshape(-1)
        result[:, at] = book.atoms.combine(children, weights, np.full(len(steps), 2))
    moved = np.moveaxis(marks, dim, -1).shape if marks.ndim else ()
    put(book, call.out, np.moveaxis(result.reshape(moved), -1, dim) if marks.ndim else result.reshape(()))
