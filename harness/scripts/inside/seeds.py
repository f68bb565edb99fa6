"""Where a log-probability meets a target token: the operations that make atoms, and those that train on them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from harness.scripts.inside.atoms import Floats, Ints
from harness.scripts.inside.book import Book, floats, integers
from harness.scripts.inside.shadows import address

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.uint16)
#: Rows of log-probabilities sum to 1 within this; beyond it they are taken for logits.
_NEAR = 0.05
#: Non-negative rows whose sums are further from 1 than this factor (its log) are counts, not probabilities.
_COUNTS = 1.0


@dataclass
class _Rows:
    """Rows that were read at their targets, all float64 of the targets' shape."""

    kind: str
    nll: Floats
    lse: Floats
    alternative: Floats
    drawn: Ints | None = None
    token: Ints | None = None


class Seeds:
    """Handlers of seeding operations; each returns True where it made (or could have made) atoms of the result."""

    def __init__(self, book: Book, draw: bool = False) -> None:
        self.book = book
        self._draws = np.random.default_rng(0) if draw else None
        self._normal: deque[tuple[int, StorageWeakRef, int, int, str]] = deque(maxlen=8)

    # rows known to be normalised -------------------------------------------------------------------------------------

    def softmax(self, name: str, args: tuple[Any, ...], out: Tensor) -> bool:
        """`_log_softmax` and `_softmax` over the last dimension: their rows need no second look while unchanged."""
        if args[1] % out.dim() == out.dim() - 1 and not out.is_inference() and self._vocabulary(out.shape[-1]):
            kind = "log-probability" if "log" in name else "probability"
            weak = StorageWeakRef(out.untyped_storage())  # type: ignore[no-untyped-call]
            self._normal.append((address(out), weak, out._version, out.shape[-1], kind))
        return False

    def _known(self, rows: Tensor) -> str | None:
        if not rows.is_inference() and rows.stride(-1) == 1:
            for key, _, version, size, kind in self._normal:
                if key == address(rows) and version == rows._version and size == rows.shape[-1]:
                    return kind
        return None

    def _vocabulary(self, size: int) -> bool:
        tokens = self.book.locator.tokens
        v, most = tokens.vocab_size, max(tokens.vocab_size, tokens.shards)
        return v <= size <= most + max(1024, most // 4)  # padded vocabularies

    def _read(self, rows: Tensor, ids: Ints, kind: str | None = None) -> _Rows:
        """What rows [..., V] say at ids [...]; `kind` None: looked at, and taken for what they are."""
        rows = rows.detach()
        size = rows.shape[-1]
        at = torch.from_numpy(np.clip(ids, 0, size - 1)).unsqueeze(-1)
        value = floats(rows.gather(-1, at).squeeze(-1))
        known = self._known(rows)
        wide = rows if rows.dtype == torch.float64 else rows.float()
        with np.errstate(divide="ignore", invalid="ignore"):
            if known == "probability" or (known is None and bool(rows.amin() >= 0)):
                lse = np.zeros(ids.shape) if known else np.log(floats(wide.sum(-1)))
                found = "probability"
                if bool(np.abs(np.median(lse)) > _COUNTS):  # a table of counts; what becomes of it is not known yet
                    found = "count"
            else:
                lse = np.zeros(ids.shape) if known else floats(torch.logsumexp(wide, -1))
                near = known is not None or kind is not None or bool(np.nanmax(np.abs(lse), initial=0.0) < _NEAR)
                found = "log-probability" if near else "logit"
        drawn = self._drawn(wide, found)
        other = self.book.locator.tokens.alternative[np.clip(ids, 0, 65535)] if drawn is None else drawn
        there = torch.from_numpy(np.clip(other, 0, size - 1)).unsqueeze(-1)
        second = floats(rows.gather(-1, there).squeeze(-1))
        base = lse if found in ("logit", "count") else np.zeros(ids.shape)
        if found in ("probability", "count"):
            with np.errstate(divide="ignore", invalid="ignore"):
                value, second = np.log(value), np.log(second)
        alternative = np.where((other >= 0) & (other < size) & (ids >= 0), base - second, np.nan)
        lse = np.full(ids.shape, np.nan) if found == "count" else lse
        return _Rows(kind or found, base - value, lse, alternative, drawn, ids)

    def _drawn(self, rows: Tensor, kind: str) -> Ints | None:
        """A token from each row [..., V], int64 [...], as likely as the row has it; None where not asked for."""
        if self._draws is None or kind == "count":
            return None
        below = (rows if kind == "probability" else torch.softmax(rows, -1)).cumsum(-1)
        at = torch.from_numpy(self._draws.random(tuple(rows.shape[:-1]))).to(below) * below[..., -1]
        return np.minimum(integers((below <= at.unsqueeze(-1)).sum(-1)), self.book.locator.tokens.vocab_size - 1)

    def _mint(self, how: str, positions: Ints, read: _Rows) -> Ints:
        if read.kind == "logit":
            self.book.pending.add(self.book.events)
        return self.book.mint(
            f"{how} {read.kind}", positions, read.nll, read.lse, read.alternative, drawn=read.drawn, token=read.token
        )

    # operations ------------------------------------------------------------------------------------------------------

    def nll_loss(self, name: str, args: tuple[Any, ...], out: Any) -> bool:
        """`nll_loss_forward(rows, target, weight, reduction, ignore_index)`, and the 2-D one with classes in dim 1."""
        rows, target, weight, reduction, ignored = args[:5]
        ids = integers(target)
        positions = self.book.locate(ids, scored=not self.book.gradients)
        if positions is None:
            return True
        rows = rows.movedim(1, -1) if "2d" in name else rows
        read = self._read(rows, ids, "nll_loss")
        keep = ids != ignored
        marks = self.book.mint("nll_loss", positions, read.nll, read.lse, read.alternative, keep, read.drawn, ids)
        if reduction == 0:
            self.book.shadows.put(out[0], marks)
            return True
        values = read.nll
        if weight is not None:
            values = values * floats(weight)[np.clip(ids, 0, len(weight) - 1)]
        total = self.book.atoms.combine(marks.reshape(-1), values.reshape(-1), np.array([marks.size]))
        self.book.shadows.put(out[0], total.reshape(tuple(out[0].shape)))
        return True

    def gather(self, args: tuple[Any, ...], out: Tensor) -> bool:
        """`gather(rows, dim, target[..., None])`."""
        rows, dim, index = args[:3]
        if not rows.is_floating_point() or rows.dim() < 2 or rows.dim() != index.dim():
            return False
        dim %= rows.dim()
        if not self._vocabulary(rows.shape[dim]) or index.shape[dim] != 1:
            return False
        ids = integers(index.squeeze(dim))
        positions = self.book.locate(ids)
        if positions is None:
            return False
        rows = rows.movedim(dim, -1)[tuple(slice(size) for size in ids.shape)]
        read = self._read(rows, ids)
        marks = self._mint("gather", positions, read)
        self.book.shadows.put(out, np.expand_dims(marks, dim))
        return True

    def index(self, args: tuple[Any, ...], out: Tensor) -> bool:
        """`rows[arange, target]`."""
        rows, indices = args[:2]
        last = indices[-1]
        if not rows.is_floating_point() or rows.dim() < 2 or len(indices) != rows.dim() or last is None:
            return False
        if last.dtype not in _INTEGERS or not self._vocabulary(rows.shape[-1]) or any(i is None for i in indices):
            return False
        if last.shape != out.shape:
            return False
        ids = integers(last)
        positions = self.book.locate(ids)
        if positions is None:
            return False
        read = self._read(rows.detach()[tuple(indices[:-1])], ids)
        marks = self._mint("index", positions, read)
        self.book.shadows.put(out, marks)
        return True

    def custom(self, name: str, args: tuple[Any, ...], out: Any) -> bool:
        """A fused operator of the script: a float of the targets' shape is taken for the NLL."""
        tensors = [item for item in args if isinstance(item, Tensor)]
        outs = [item for item in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(item, Tensor)]
        backward = name.endswith("backward")
        for target in tensors:
            found = [item for item in outs if item.is_floating_point() and item.shape == target.shape]
            if target.dtype in _INTEGERS and target.dim() and (backward or found):
                ids = integers(target)
                positions = self.book.locate(ids)
                if positions is not None:
                    break
        else:
            return False
        if backward:
            grads = [item for item in tensors if item.is_floating_point() and item.shape == target.shape]
            self.book.training(name, positions[floats(grads[-1]) != 0] if grads else positions)
            return True
        rows = [
            t for t in tensors if t.is_floating_point() and t.shape[:-1] == target.shape and t.dim() == target.dim() + 1
        ]
        rows = [item for item in rows if self._vocabulary(item.shape[-1])]
        nll, lse, alternative, drawn = floats(found[0]), None, None, None
        if rows:
            read = self._read(rows[0], ids)
            errors = [float(np.nanmean(np.abs(floats(item) - read.nll))) for item in found]
            best = int(np.argmin(errors))
            if errors[best] < 1e-2:  # otherwise something between (a soft-cap): the first output, as it is
                found, nll, lse, alternative = [found[best]], floats(found[best]), read.lse, read.alternative
                drawn = read.drawn
        marks = self.book.mint(name, positions, nll, lse, alternative, drawn=drawn, token=ids)
        self.book.shadows.put(found[0], marks)
        return True

    # training --------------------------------------------------------------------------------------------------------

    def nll_loss_backward(self, name: str, args: tuple[Any, ...]) -> bool:
        """`nll_loss_backward(grad, rows, target, weight, reduction, ignore_index, ...)`: targets with a gradient."""
        grad, _, target, weight, _, ignored = args[:6]
        ids = integers(target)
        positions = self.book.locate(ids)
        if positions is not None:
            moved = (ids != ignored) & (np.broadcast_to(floats(grad), ids.shape) != 0)
            if weight is not None:
                moved &= floats(weight)[np.clip(ids, 0, len(weight) - 1)] != 0
            self.book.training(name, positions[moved])
        return True

    def scatter(self, name: str, args: tuple[Any, ...]) -> bool:
        """`scatter_add(zeros, dim, target, grad)`: the backward of a gather.

        Only as autograd itself writes it: in a backward of the script's own (`p[arange, target] -= 1`) the upstream
        gradient, and with it the mask, is multiplied in elsewhere. Such training is seen at its root.
        """
        zeros, dim, index, grad = args[:4]
        if (
            not self.book.in_backward
            or not isinstance(grad, Tensor)
            or not zeros.is_floating_point()
            or zeros.dim() < 2
        ):
            return False
        if not self._vocabulary(zeros.shape[dim]) or index.shape[dim] != 1 or bool(zeros.any()):
            return False
        positions = self.book.locate(integers(index))
        if positions is not None:
            self.book.training(f"{name} (backward)", positions[floats(grad) != 0])
        return True

    def index_put(self, name: str, args: tuple[Any, ...]) -> bool:
        """`index_put(zeros, (arange, target), grad, accumulate=True)`: the backward of an index; see `scatter`."""
        zeros, indices, grad = args[:3]
        if len(args) < 4 or not args[3]:
            return False
        if not self.book.in_backward or not zeros.is_floating_point() or zeros.dim() < 2 or len(indices) != zeros.dim():
            return False
        if indices[-1] is None or indices[-1].dtype not in _INTEGERS or not self._vocabulary(zeros.shape[-1]):
            return False
        if bool(zeros.any()):
            return False
        ids = integers(indices[-1])
        positions = self.book.locate(ids)
        if positions is not None:
            self.book.training(f"{name} (backward)", positions[np.broadcast_to(floats(grad), ids.shape) != 0])
        return True
