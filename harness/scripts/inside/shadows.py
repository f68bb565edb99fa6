"""Marks that lie beside a tensor's memory: one int64 for each element of a storage, so that views cost nothing.

Keyed by the address of torch's storage object. A weak reference keeps that address from being reused and lets the
memory itself go; marks of storages that are gone are swept now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from harness.scripts.inside.atoms import Ints

_SWEEP = 512

#: Address of a tensor's storage object, the same for all its views.
address = torch._C._storage_address  # type: ignore[attr-defined]


@dataclass
class _Shadow:
    storage: StorageWeakRef
    marks: Ints
    itemsize: int


class Shadows:
    """Marks by storage."""

    def __init__(self) -> None:
        self._shadows: dict[int, _Shadow] = {}
        self._until_sweep = _SWEEP

    def has(self, tensor: Tensor) -> bool:
        """True where some element of the tensor's storage carries (or carried) a mark."""
        return address(tensor) in self._shadows

    def get(self, tensor: Tensor) -> Ints | None:
        """The marks of a tensor, a writable view of its shape; None without any."""
        shadow = self._shadows.get(address(tensor))
        if shadow is None or shadow.itemsize != tensor.element_size():
            return None
        return self._view(shadow, tensor)

    def marked(self, tensor: Tensor) -> Ints | None:
        """As `get`, but None also where no element is marked."""
        marks = self.get(tensor)
        return None if marks is None or not (marks != -1).any() else marks

    def put(self, tensor: Tensor, marks: Ints) -> None:
        """Set the marks of a tensor; `marks` broadcasts to its shape."""
        shadow = self._shadows.get(address(tensor))
        if shadow is None or shadow.itemsize != tensor.element_size():
            if not (marks != -1).any():
                return
            shadow = self._make(tensor)
        view = self._view(shadow, tensor)
        if view.size:
            view[...] = marks

    def writable(self, tensor: Tensor) -> Ints:
        """As `get`, made where it is missing."""
        marks = self.get(tensor)
        return self._view(self._make(tensor), tensor) if marks is None else marks

    def clear(self, tensor: Tensor) -> None:
        """The tensor was overwritten by something without atoms."""
        marks = self.get(tensor)
        if marks is not None and marks.size:
            marks[...] = -1

    def _make(self, tensor: Tensor) -> _Shadow:
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._shadows = {key: shadow for key, shadow in self._shadows.items() if not _gone(shadow)}
            self._until_sweep = max(_SWEEP, len(self._shadows))
        storage = tensor.untyped_storage()
        size = storage.nbytes() // tensor.element_size()
        weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        shadow = _Shadow(weak, np.full(size, -1, np.int64), tensor.element_size())
        self._shadows[address(tensor)] = shadow
        return shadow

    @staticmethod
    def _view(shadow: _Shadow, tensor: Tensor) -> Ints:
        if tensor.numel() == 0:
            return np.empty(tuple(tensor.shape), np.int64)
        offset = tensor.storage_offset()
        last = offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if last >= len(shadow.marks):  # the storage was resized
            grown = np.full(last + 1, -1, np.int64)
            grown[: len(shadow.marks)] = shadow.marks
            shadow.marks = grown
        strides = tuple(8 * stride for stride in tensor.stride())
        return np.lib.stride_tricks.as_strided(shadow.marks[offset:], tuple(tensor.shape), strides)


def _gone(shadow: _Shadow) -> bool:
    return bool(shadow.storage.expired())  # type: ignore[no-untyped-call]
