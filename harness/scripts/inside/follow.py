"""How marks travel through tensor operations.

Movement (copies, indexing, concatenation) is the same operation on the marks. Arithmetic with one marked operand keeps
its mark. Where two atoms meet: of one position, the first is kept, and the value shows that it was mixed; of different
positions, a sum becomes a composite, min, max and where keep what was chosen, all else is not followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.scripts.inside.atoms import Floats
from harness.scripts.inside.book import Book, floats, integers
from harness.scripts.inside.call import Call, Follower, lost, marks_of, put
from harness.scripts.inside.decisions import EXTREMES
from harness.scripts.inside.mixing import mixed
from harness.scripts.inside.sums import SPREAD, accumulate, alike, cumsum, dot, total


def copy(book: Book, call: Call) -> None:
    """`copy_`: what the source carries, or nothing."""
    marks = marks_of(book, call.args[1])
    if marks is None:
        book.shadows.clear(call.args[0])
    else:
        put(book, call.args[0], np.broadcast_to(marks, tuple(call.args[0].shape)))


def clear(book: Book, call: Call) -> None:
    """`zero_`, `fill_` and the like."""
    if call.inplace:
        book.shadows.clear(call.args[0])


def nothing(book: Book, call: Call) -> None:
    """The result is not a number made of NLLs (`zeros_like`, comparisons)."""


def elementwise(book: Book, call: Call) -> None:
    """Arithmetic, element by element."""
    out = call.out
    if not isinstance(out, Tensor) or not out.is_floating_point():
        return
    shape = tuple(out.shape)
    operands = [value for value in call.args if isinstance(value, Tensor)]
    operands += [value for value in call.kwargs.values() if isinstance(value, Tensor) and value is not out]
    marked = [(value, marks) for value in operands if (marks := marks_of(book, value)) is not None]
    if not marked:
        if call.inplace:
            book.shadows.clear(out)
        return
    if out.numel() > max(SPREAD, max(marks.size for _, marks in marked)):
        book.miss(f"{call.name} (spread over {out.numel()} numbers)")
        return
    if len(marked) == 1:
        marks = np.array(np.broadcast_to(marked[0][1], shape))
        if call.name == "mul":  # a mask
            for factor in call.args[:2]:
                if isinstance(factor, Tensor) and factor is not marked[0][0]:
                    marks[np.broadcast_to(floats(factor) == 0, shape)] = -1
        if book.pending and call.name in ("sub", "rsub", "add"):
            book.settle(marks, floats(out))
        if call.name in _SHIFTS and (marks < -1).any():
            value = marked[0][0]
            before = call.before if call.inplace and value is call.args[0] else floats(value)
            if before is not None:
                first = value is call.args[0]
                sign = -1.0 if call.name == ("rsub" if first else "sub") else 1.0
                scale = 1.0 if first else float(call.kwargs.get("alpha", 1))
                marks = book.atoms.shifted(marks, sign * scale * np.broadcast_to(before, shape), floats(out))
        put(book, out, marks)
        return
    values: list[Floats | None] = []
    for index, (value, _) in enumerate(marked):
        own = index == 0 and call.inplace and value is call.args[0]
        values.append(call.before if own else floats(value))
    alpha = float(call.kwargs.get("alpha", call.args[2] if len(call.args) > 2 and call.name in ("add", "sub") else 1))
    signs = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}.get(call.name)
    chosen = floats(out) if call.name in EXTREMES else None
    left, right = ((marks, number) for (_, marks), number in zip(marked[:2], values[:2], strict=True))
    result = mixed(book, call.name, left, right, shape, signs, chosen)
    for (_, marks), third in zip(marked[2:], values[2:], strict=True):
        result = mixed(book, call.name, (result, floats(out)), (marks, third), shape, None, None)
    put(book, out, result)


def where(book: Book, call: Call) -> None:
    """`where(condition, a, b)`."""
    condition, *sides = call.args[:3]
    shape = tuple(call.out.shape)
    parts = [np.broadcast_to(marks, shape) if (marks := marks_of(book, side)) is not None else -1 for side in sides]
    put(book, call.out, np.where(np.broadcast_to(integers(condition) != 0, shape), *parts))


def masked_fill(book: Book, call: Call) -> None:
    """`masked_fill`: what was filled is gone."""
    marks = marks_of(book, call.args[0])
    if marks is not None:
        shape = tuple(call.out.shape)
        mask = np.broadcast_to(integers(call.args[1]) != 0, shape)
        put(book, call.out, np.where(mask, -1, np.broadcast_to(marks, shape)))


def move(book: Book, call: Call) -> None:
    """The same operation on the marks."""

    def swap(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(swap(item) for item in value)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        if call.inplace and value is call.args[0]:
            return torch.from_numpy(book.shadows.writable(value))
        marks = book.shadows.get(value)
        return torch.full(tuple(value.shape), -1) if marks is None else torch.from_numpy(marks.copy())

    args = [swap(value) for value in call.args]
    if call.inplace:
        args[1:] = [-1 if isinstance(value, float) else value for value in args[1:]]  # scatter_(dim, index, 0.0)
        call.func(*args, **call.kwargs)
        return
    out = call.func(*args, **call.kwargs)
    if isinstance(call.out, Tensor):
        put(book, call.out, np.asarray(out.numpy()))


def pad(book: Book, call: Call) -> None:
    """`constant_pad_nd`."""
    marks = marks_of(book, call.args[0])
    if marks is not None:
        padded = torch.constant_pad_nd(torch.from_numpy(np.ascontiguousarray(marks)), call.args[1], -1)
        put(book, call.out, np.asarray(padded.numpy()))


def chosen(book: Book, call: Call) -> None:
    """`sort`, `topk`, and `max`, `min`, `median` along a dimension: (values, indices)."""
    marks = marks_of(book, call.args[0])
    if isinstance(call.out, Tensor) and call.name in ("min", "max"):
        return alike(book, call)
    if marks is None or not isinstance(call.out, (tuple, list)):
        return lost(book, call)
    values, indices = call.out[:2]
    if marks.ndim == 0:
        return put(book, values, marks)
    rest = call.args[1:]
    dim = call.kwargs.get(
        "dim", rest[1] if call.name == "topk" and len(rest) > 1 else -1 if call.name == "topk" else None
    )
    if dim is None:
        dim = next((value for value in rest if isinstance(value, int) and not isinstance(value, bool)), -1)
    at = integers(indices)
    if at.ndim < marks.ndim:
        taken = np.take_along_axis(marks, np.expand_dims(at, dim), dim)
        return put(book, values, taken.squeeze(dim))
    return put(book, values, np.take_along_axis(marks, at, dim))


def index_put(book: Book, call: Call) -> None:
    """`index_put`, with or without accumulation."""
    summed = len(call.args) > 3 and call.args[3] or call.kwargs.get("accumulate", False)
    return accumulate(book, call) if summed else move(book, call)


_SHIFTS = ("add", "sub", "rsub")
ELEMENTWISE = """_to_copy clone contiguous neg mul div add sub rsub true_divide divide multiply exp log log2 log10 log1p
expm1
clamp clamp_min clamp_max minimum maximum fmin fmax abs pow sqrt square reciprocal nan_to_num logaddexp
logaddexp2 relu lerp addcmul addcdiv sigmoid tanh softplus log_sigmoid_forward threshold detach_copy
lift_fresh_copy round floor ceil alias_copy view_copy expand_copy exp2 float_power xlogy hypot fmod remainder
gelu silu""".split()
MOVES = """index index_select masked_select gather flip roll repeat cat stack take scatter masked_scatter slice_scatter
select_scatter index_copy narrow_copy slice_copy select_copy permute_copy unfold_copy""".split()
NOTHING = """zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full isnan
isinf isfinite eq ne lt le gt ge sign sgn argmax argmin argsort nonzero any all signbit logical_not
logical_and logical_or bernoulli allclose equal is_same_size searchsorted bucketize floor_divide
new_empty_strided multinomial isclose _local_scalar_dense _log_softmax_backward_data nll_loss_backward
nll_loss2d_backward record_stream set_ resize""".split()
CLEARS = """zero fill normal uniform random exponential bernoulli log_normal cauchy geometric""".split()

FOLLOWERS: dict[str, Follower] = {
    **dict.fromkeys(ELEMENTWISE, elementwise), **dict.fromkeys(MOVES, move), **dict.fromkeys(NOTHING, nothing),
    **dict.fromkeys(CLEARS, clear), **dict.fromkeys(("sum", "mean", "nansum"), total),
    **dict.fromkeys(("dot", "vdot", "mv", "mm", "bmm"), dot), **dict.fromkeys(("sort", "topk", "max", "min"), chosen),
    **dict.fromkeys(("median", "nanmedian", "kthvalue", "mode"), chosen),
    **dict.fromkeys(("logsumexp", "amax", "amin", "prod"), alike),
    **dict.fromkeys(("index_add", "scatter_add", "bincount"), accumulate),
    "index_put": index_put, "_index_put_impl": index_put, "_unsafe_index_put": index_put, "cumsum": cumsum,
    "where": where, "masked_fill": masked_fill, "constant_pad_nd": pad, "copy": copy,
}  # fmt: skip
#: In-place sums that need the numbers from before.
BEFORE = {"add", "sub", "index_add", "scatter_add", "index_put", "_index_put_impl", "mul", "logaddexp", "lerp"}
