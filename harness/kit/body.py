"""The body of an artifact whose compressor is "range": every grid in a code of its own, all other tensors together.

    codes of the grids (`range_code`), in order of their names | brotli of the other tensors

The others (scales, small floats, whatever the range coder does not apply to) are sorted by dtype and name and
concatenated; within a dtype all first bytes of the elements come first, then all second bytes, and so on, because
exponents resemble each other. A grid in which brotli finds more than the range coder does is one of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.kit.codec import compress, decompress, shuffle, unshuffle
from harness.kit.range_code import decode_grid, encode_grid

#: Larger grids are tried with a fast level of brotli only.
_SMALL = 1 << 16


def encode_body(tensors: Mapping[str, Tensor], widths: Mapping[str, Any]) -> tuple[bytes, dict[str, int]]:
    """Code tensors.

    Args:
        tensors: contiguous, on the CPU, by name.
        widths: names the grids among them; a tensor that is no int8 matrix is one of the others all the same.

    Returns:
        the body, and the bytes of each grid's code by name.
    """
    codes: dict[str, bytes] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if name not in widths or tensor.dtype != torch.int8 or tensor.ndim != 2:
            continue
        code = encode_grid(tensor.numpy())
        raw = _raw(tensor)
        if code is not None and len(code) <= len(compress(raw, "brotli", 11 if len(raw) <= _SMALL else 5)):
            codes[name] = code
    others = b"".join(
        shuffle(b"".join(_raw(tensors[name]) for name in names), size)
        for size, names in _groups({name: tensor for name, tensor in tensors.items() if name not in codes})
    )
    return b"".join(codes.values()) + compress(others, "brotli"), {name: len(code) for name, code in codes.items()}


def decode_body(
    data: bytes, layout: Mapping[str, tuple[torch.dtype, list[int]]], coded: Mapping[str, int]
) -> dict[str, Tensor]:
    """Undo `encode_body`.

    Args:
        data: the body.
        layout: dtype and shape by name; what it adds up to is what is allocated.
        coded: bytes of each grid's code by name.

    Raises:
        ValueError: the body is not one of tensors of that layout.
    """
    found: dict[str, Tensor] = {}
    at = 0
    for name in sorted(coded):
        dtype, shape = layout[name]
        if dtype != torch.int8 or len(shape) != 2 or not 0 < coded[name] <= len(data) - at:
            raise ValueError(f"artifact: the payload has no code of tensor {name!r}")
        try:
            found[name] = torch.from_numpy(decode_grid(data[at : at + coded[name]], *shape))
        except ValueError as error:
            raise ValueError(f"artifact: the payload's tensor {name!r} is {error}") from None
        at += coded[name]
    rest = {name: torch.empty(shape, dtype=dtype) for name, (dtype, shape) in layout.items() if name not in coded}
    raw = decompress(data[at:], "brotli", sum(tensor.numel() * tensor.element_size() for tensor in rest.values()))
    at = 0
    for size, names in _groups(rest):
        stop = at + size * sum(rest[name].numel() for name in names)
        group = np.frombuffer(bytearray(unshuffle(raw[at:stop], size)), np.uint8)
        start = 0
        for name in names:
            count = size * rest[name].numel()
            if count:  # torch cannot view nothing as another dtype
                flat = torch.from_numpy(group[start : start + count].copy())
                found[name] = flat.view(rest[name].dtype).reshape(rest[name].shape)
            else:
                found[name] = rest[name]
            start += count
        at = stop
    return found


def _groups(tensors: Mapping[str, Tensor]) -> list[tuple[int, list[str]]]:
    """Bytes of an element, and names in order, for each dtype."""
    kinds = sorted({tensor.dtype for tensor in tensors.values()}, key=str)
    return [(kind.itemsize, sorted(name for name in tensors if tensors[name].dtype == kind)) for kind in kinds]


def _raw(tensor: Tensor) -> bytes:
    return bytes(tensor.flatten().view(torch.uint8).numpy().data)
