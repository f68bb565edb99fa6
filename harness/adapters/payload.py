"""What a sealed artifact says it holds: the header of the kit's container, read as text from a stranger.

The layout is that of `harness.kit.artifact`, which the trusted side does not import: 20 fixed bytes, then a JSON header
whose length stands in them; in format version 2 it is compressed with brotli. Nothing that it says is used to judge by.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brotli

_FIXED = struct.Struct("<4sHH8sI")
_BLOCK = 256

#: More header than this is not worth reading for a figure.
_MOST_BYTES = 4 << 20

#: Groups that are told apart; the small ones become one.
_GROUPS = 8


def read_header(start: bytes, limit: int) -> tuple[dict[str, Any], str, int]:
    """The JSON header of an artifact of either format version, its compressor, and where its payload begins.

    Args:
        start: the artifact, or as much of its beginning as holds the header.
        limit: most bytes that the header may have, compressed or not.

    Raises:
        ValueError, struct.error, brotli.error, RecursionError: not an artifact, or a header that cannot be read.
    """
    magic, version, length, padded, _ = _FIXED.unpack_from(start)
    if magic != b"GOLF" or version not in (1, 2):
        raise ValueError("not an artifact that can be read here")
    end = _FIXED.size + (_BLOCK * length if version == 1 else length)
    text = start[_FIXED.size : end]
    if not len(text) == end - _FIXED.size <= limit:
        raise ValueError("the header is cut off, or too long")
    if version == 2:
        reader = brotli.Decompressor()
        text = bytes(reader.process(text, output_buffer_limit=limit))
        if not reader.is_finished():
            raise ValueError("the header is cut off, or too long")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no table")
    return header, padded.rstrip(b"\0").decode("ascii"), end


def describe(path: Path) -> dict[str, Any]:
    """Compressor, and tensors by group, as the header of an artifact states them.

    Returns:
        {"compressor", "tensors", "bytes" before compression, "groups": [{"name", "tensors", "bits", "bytes"}]}, the
        largest group first; empty where the file is no such container or its header makes no sense.
    """
    try:
        with path.open("rb") as file:
            header, name, _ = read_header(file.read(_FIXED.size + _MOST_BYTES), _MOST_BYTES)
        tensors = _tensors(header["tensors"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, brotli.error):
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
