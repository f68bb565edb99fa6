"""Operations of torch by which losses decide something: what each of them is made of, and how one is turned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.scripts.inside.book import Book
from harness.scripts.inside.call import Call, marks_of
from harness.scripts.inside.decisions import EXTREMES, spread

#: Operations that only compare, element by element, by their names in `aten`.
COMPARED = set("lt le gt ge eq ne sign sgn isnan isinf isfinite heaviside".split())
#: Operations that choose along a dimension.
ALONG = set("argmin argmax sort topk min max median nanmedian kthvalue mode amin amax".split())
DECIDES = COMPARED | EXTREMES | ALONG


def decide(book: Book, call: Call) -> None:
    """Note an operation of `DECIDES` that ran on marked tensors, and turn it where that is asked for."""
    if call.name in ALONG:
        _along(book, call)
    else:
        _element(book, call)


def _element(book: Book, call: Call) -> None:
    out = call.out
    if not isinstance(out, Tensor):
        return
    shape = tuple(out.shape)
    given = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Tensor) and value is not out]
    found = [(value, marks) for value in given if (marks := marks_of(book, value)) is not None]
    if not found or (call.name in EXTREMES and len(found) < 2):
        return
    marks = spread([own for _, own in found], shape)
    rivals = bool(((marks != -1).sum(1) > 1).any())
    outcome = np.asarray(out.detach().to(torch.float64) > 0).reshape(-1) if call.name in COMPARED else None
    element = book.decisions.met(book, call.name, marks, outcome, rivals)
    if element is None:
        return
    at = tuple(int(index) for index in np.unravel_index(element, shape))
    if call.name in EXTREMES:
        sides = [value.expand(shape)[at] for value, _ in found[:2]]
        out[at] = sides[0] if bool(out[at] == sides[1].to(out.dtype)) else sides[1]
    elif out.dtype == torch.bool:
        out[at] = ~out[at]
    else:
        out[at] = -out[at] if call.name != "heaviside" else 1 - out[at]


def _along(book: Book, call: Call) -> None:
    source = call.args[0]
    marks = marks_of(book, source)
    outs = call.out if isinstance(call.out, (tuple, list)) else (call.out,)
    if marks is None or not marks.ndim or not all(isinstance(item, Tensor) for item in outs):
        return
    dim = argument(call, "dim")
    if isinstance(dim, (list, tuple)):
        if len(dim) > 1 and len(dim) != marks.ndim:
            return book.miss(call.name)
        dim = dim[0] if len(dim) == 1 else None
    rows = source.detach()
    if dim is None:
        rows, marks, dim = rows.reshape(-1), marks.reshape(-1), 0
    size = rows.shape[dim]
    lanes = np.moveaxis(marks, dim, -1).reshape(-1, size)
    element = book.decisions.met(book, call.name, lanes, None, bool(((lanes != -1).sum(1) > 1).any()))
    if element is None or size < 2:
        return
    values = rows.movedim(dim, -1).reshape(-1, size)[element]
    views = [_lane(item, dim, element, item.dim() == rows.dim()) for item in outs]
    if views[0].numel() > 1:  # in order: the first two change places
        for view in views:
            view[:2] = view[:2].flip(0)
        return
    index = next((view for view in views if not view.is_floating_point()), None)
    best = int(index) if index is not None else int((values - views[0]).abs().argmin())
    other = (best + 1) % size
    for view in views:
        view.fill_(values[other] if view.is_floating_point() else other)


def _lane(out: Tensor, dim: int, element: int, kept: bool) -> Tensor:
    """What a reduction or a sort made of one lane, a view; `kept`: the result still has the dimension."""
    if not out.dim():
        return out
    flat = out.movedim(dim, -1) if kept else out.unsqueeze(-1)
    for index in np.unravel_index(element, tuple(flat.shape[:-1])):
        flat = flat[int(index)]
    return flat


def argument(call: Call, name: str) -> Any:
    """What an operation was called with under a name of its schema; its default where it was not."""
    for index, item in enumerate(call.func._schema.arguments):
        if item.name == name:
            if index < len(call.args):
                return call.args[index]
            return call.kwargs.get(name, item.default_value)
    return None
