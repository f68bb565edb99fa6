"""Digests of the state that an evaluation keeps: the model, its optimizers, and what the submission registers.

A digest says nothing but whether two runs had the same state at the same point. CRC-32 is enough for that: it is fast
(some GB/s), and the flips, not the digests, stand against those who would forge it.
"""

from __future__ import annotations

import weakref
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Tensors of the model up to this many bytes are always hashed. Larger ones are when their version has changed, or a
#: sample of them: `.data` and numpy write past the version counter.
SMALL = 1 << 16
#: Elements in that sample, and of what is hashed of a tensor on an accelerator.
SAMPLE, FAR_SAMPLE = 64, 1 << 16
#: Optimizers that are remembered, the latest ones.
OPTIMIZERS = 2


@dataclass
class _Known:
    """A tensor of the model that was hashed before: looking it up anew takes longer than hashing most of them.

    Attributes:
        tensor: it.
        place: where its elements lie, see `_place`.
        head: what its digest begins with.
        elements: its memory itself.
        sample: uint8 [n, bytes of an element], some of that, of a large one; None of a small one.
        look: version counter and CRC-32 of the sample when it was last hashed.
        whole: the digest found then.
    """

    tensor: weakref.ref[Tensor]
    place: tuple[object, ...]
    head: bytes
    elements: memoryview
    sample: NDArray[np.uint8] | None
    look: tuple[int, int] | None = None
    whole: int = 0

    def digest(self, tensor: Tensor, crc: int) -> int:
        """What `digest` says; of a large tensor the digest of that, found anew where it looks changed."""
        if self.sample is None:
            return zlib.crc32(self.elements, zlib.crc32(self.head, crc))
        look = tensor._version, zlib.crc32(self.sample.tobytes())
        if look != self.look:
            self.look, self.whole = look, zlib.crc32(self.elements, zlib.crc32(self.head))
        return zlib.crc32(self.whole.to_bytes(4, "little"), crc)


class State:
    """What is followed, and what of it was hashed before."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._optimizers: list[torch.optim.Optimizer] = []
        self._registered: dict[str, Any] = {}
        self._known: dict[int, _Known] = {}
        self._passing: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()

    def follow(self, model: nn.Module) -> None:
        """Follow a model's parameters and buffers."""
        self._model = model

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer made a step. It is followed if it trains the model; one of a passing vector is not."""
        if self._model is None or any(optimizer is known for known in self._optimizers):
            return
        if self._passing.get(optimizer) == len(optimizer.param_groups):
            return  # asked before: there may be thousands of steps
        own = {id(parameter) for parameter in self._model.parameters()}
        if any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
            self._optimizers = [*self._optimizers, optimizer][-OPTIMIZERS:]
        else:
            self._passing[optimizer] = len(optimizer.param_groups)

    def register(self, name: str, value: Any) -> None:
        """Follow something of the submission's own; see `Stream.register_state`."""
        self._registered[name] = value

    def digests(self) -> tuple[int, int, int]:
        """One number for each of `protocol.STATE`; 0 for what there is nothing of."""
        parameters = buffers = registered = 0
        if self._model is not None:
            for name, tensor in self._model.named_parameters():
                parameters = self._followed(tensor, zlib.crc32(name.encode(), parameters))
            for name, buffer in self._model.named_buffers():
                buffers = self._followed(buffer, zlib.crc32(name.encode(), buffers))
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    for value in optimizer.state.get(parameter, {}).values():
                        is_tensor = isinstance(value, Tensor)
                        buffers = self._followed(value, buffers) if is_tensor else digest(value, buffers)
        for name, value in self._registered.items():
            registered = digest(value, zlib.crc32(name.encode(), registered))
        return parameters, buffers, registered

    def _followed(self, tensor: Tensor, crc: int) -> int:
        known = self._known.get(id(tensor))
        if known is None or known.tensor() is not tensor or known.place != _place(tensor):
            known = self._learned(tensor)
        return digest(tensor, crc) if known is None else known.digest(tensor, crc)

    def _learned(self, tensor: Tensor) -> _Known | None:
        """None for what has no memory of its own here, or none that can be looked at."""
        key = id(tensor)
        self._known.pop(key, None)
        if (
            tensor.device.type != "cpu"
            or tensor.is_inference()
            or type(tensor) not in (Tensor, nn.Parameter)
            or not tensor.numel()
        ):
            return None
        # in the order of memory: a transposed matrix has no copy made of it at every commit
        dense = tensor.detach().permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
        if not dense.is_contiguous():
            return None
        near = dense.reshape(-1).view(torch.uint8).numpy().reshape(tensor.numel(), -1)
        sample = near[:: max(1, -(-len(near) // SAMPLE))] if near.nbytes > SMALL else None
        # The array would keep the memory of a tensor that is gone.
        reference = weakref.ref(tensor, lambda _: self._known.pop(key, None))
        self._known[key] = _Known(reference, _place(tensor), _head(tensor), near.data, sample)
        return self._known[key]


def _place(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _head(tensor: Tensor) -> bytes:
    return f"{tensor.dtype} {tuple(tensor.shape)}".encode()


def digest(value: Any, crc: int = 0) -> int:
    """CRC-32 of whatever a submission may keep its state in, continued from `crc`.

    Tensors, arrays, modules, optimizers, bytes, numbers, texts, and mappings, sequences and sets of them; a function is
    called for its value; of an unknown object only its type's name counts. A tensor on an accelerator is sampled.
    """
    if isinstance(value, Tensor):
        crc = zlib.crc32(_head(value), crc)
        return _bytes(value if value.device.type == "cpu" else _sample(value, FAR_SAMPLE), crc)
    if isinstance(value, nn.Module):
        return digest(value.state_dict(), crc)
    if isinstance(value, torch.optim.Optimizer):
        return digest([value.state.get(p, {}) for group in value.param_groups for p in group["params"]], crc)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        crc = zlib.crc32(f"{value.dtype} {value.shape}".encode(), crc)
        return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data, crc) if value.size else crc
    if isinstance(value, bytes | bytearray):
        return zlib.crc32(value, crc)
    if isinstance(value, Mapping):
        return _each([part for pair in value.items() for part in pair], crc)
    if isinstance(value, list | tuple | deque | np.ndarray):
        return _each(value, crc)
    if isinstance(value, set | frozenset):
        return _each(sorted(value, key=repr), crc)
    if callable(value):
        return digest(value(), crc)
    plain = value is None or isinstance(value, str | int | float | complex | np.generic)
    return zlib.crc32((repr(value) if plain else type(value).__name__).encode(), crc)


def _each(values: Iterable[Any], crc: int) -> int:
    count = 0
    for value in values:
        crc, count = digest(value, crc), count + 1
    return zlib.crc32(str(count).encode(), crc)


def _sample(tensor: Tensor, count: int) -> Tensor:
    """At most `count` elements, evenly spread."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // count))]


def _bytes(tensor: Tensor, crc: int) -> int:
    """CRC-32 of a tensor's bytes, of any dtype."""
    near = tensor.detach().to("cpu").contiguous().reshape(-1)
    return zlib.crc32(near.view(torch.uint8).numpy().data, crc) if near.numel() else crc
