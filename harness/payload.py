"""What a sealed artifact says it holds: the header of the kit's container, read as text from a stranger.

The layout is that of `harness.kit.artifact`, which the trusted side does not import: 20 fixed bytes, then a JSON header
whose length stands in them. Nothing is decompressed, and nothing that the header says is used to judge by.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FIXED = struct.Struct("<4sHH8sI")
_VERSION, _BLOCK = 1, 256

#: More header than this is not worth reading for a figure.
_MOST_BYTES = 4 << 20

#: Groups that are told apart; the small ones become one.
_GROUPS = 8


def describe(path: Path) -> dict[str, Any]:
    """Compressor, and tensors by group, as the header of an artifact states them.

    Returns:
        {"compressor", "tensors", "bytes" before compression, "groups": [{"name", "tensors", "bits", "bytes"}]}, the
        largest group first; empty where the file is no such container or its header makes no sense.
    """
    try:
        with path.open("rb") as file:
            magic, version, blocks, compressor, _ = _FIXED.unpack(file.read(_FIXED.size))
            if magic != b"GOLF" or version != _VERSION or blocks * _BLOCK > _MOST_BYTES:
                return {}
            header = json.loads(file.read(blocks * _BLOCK))
        tensors = _tensors(header["tensors"])
        name = compressor.rstrip(b"\0").decode("ascii")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        return {}
    groups = _groups(tensors)
    return {
        "compressor": name,
        "tensors": len(tensors),
        "bytes": sum(size for size, _ in tensors.values()),
        "groups": groups,
    }


def _tensors(told: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(bytes, bits) by name; ValueError for numbers that cannot be."""
    found = {}
    for name, one in told.items():
        size, bits = one["bytes"], one["bits"]
        if type(size) is not int or type(bits) is not int or not 0 <= size < 1 << 40 or not 0 < bits <= 64:
            raise ValueError(f"tensor {name!r} has {size!r} bytes of {bits!r} bits")
        found[name] = (size, bits)
    return found


def _groups(tensors: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Tensors of one role over all layers: the first two parts of their name that are no number; scales go along.

    The bits of a group are those of its largest tensor.
    """
    members: dict[str, list[tuple[int, int]]] = {}
    for name, tensor in tensors.items():
        parts = [part for part in name.removesuffix("::scale").split(".") if not part.isdigit()]
        members.setdefault(".".join(parts[:2])[:48], []).append(tensor)
    ranked = sorted(members.items(), key=lambda item: (-sum(size for size, _ in item[1]), item[0]))
    if len(ranked) > _GROUPS:
        rest = [tensor for _, group in ranked[_GROUPS - 1 :] for tensor in group]
        ranked = [*ranked[: _GROUPS - 1], (f"{len(ranked) - _GROUPS + 1} smaller groups", rest)]
    return [
        {"name": name, "tensors": len(group), "bits": max(group)[1], "bytes": sum(size for size, _ in group)}
        for name, group in ranked
    ]
