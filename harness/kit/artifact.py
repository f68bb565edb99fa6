"""The artifact: one deterministic file that holds the quantized model. No pickle; reading it runs no code.

All integers are little-endian.

    offset  size  content
    0       4     b"GOLF"
    4       2     format version, 1
    6       2     H, bytes of the header / 256, rounded up (the header is padded with spaces)
    8       8     compressor, ASCII, padded with zeros: "zlib", "brotli", "lzma" or "none"
    16      4     CRC-32 of everything after this field and of the 16 bytes before it
    20      256H  header: JSON, UTF-8, keys sorted
    ...     rest  compressed payload

The header is {"meta": ..., "payload_bytes": n, "tensors": {name: {"bits", "bytes", "dtype", "shape"}}}: `meta` is what
the quantizer returned, `payload_bytes` the size of the payload when decompressed, `dtype` safetensors' name ("I8",
"F16", ...), `bits` the width of the values (6 in an I8 tensor for int6), `bytes` the tensor's size before compression.
A reader that wants only the layout needs the first 20 + 256H bytes. The payload is a safetensors file
(https://huggingface.co/docs/safetensors): u64 length, JSON header, raw tensors. What the header says is the maker's
claim; `unpack` checks it against the payload.
"""

from __future__ import annotations

import json
import lzma
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import brotli
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from harness.kit.config import Compressor

_MAGIC, _VERSION = b"GOLF", 1
_FIXED = struct.Struct("<4sHH8s")
_START = _FIXED.size + 4
_BLOCK = 256
#: Largest decompressed payload that `unpack` accepts unless told otherwise.
MAX_PAYLOAD_BYTES = 1 << 30
#: Level 9 needs 65 MiB to decompress.
_LZMA_MEMORY = 1 << 28
_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


def pack(
    payload: Mapping[str, Tensor], meta: Mapping[str, Any], compressor: Compressor, level: int | None = None
) -> bytes:
    """Serialize tensors and meta; the same input gives the same bytes.

    Args:
        payload: tensors by name, of any dtype in float32, float16, bfloat16, int8-64, uint8, bool.
        meta: plain JSON; `meta["bits"]`, if present, gives the widths of the quantized tensors.
        compressor: "zlib", "brotli", "lzma" or "none".
        level: the compressor's level; None is the strongest (zlib 9, brotli 11, lzma 9).

    Raises:
        ValueError: an unknown compressor, level or dtype, or meta that is not plain JSON.
    """
    tensors = {name: payload[name].detach().cpu().contiguous().clone() for name in sorted(payload)}
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"artifact: tensor {name!r} has dtype {tensor.dtype}, which cannot be stored")
    raw = safetensors.torch.save(tensors)
    header = {"meta": meta, "payload_bytes": len(raw), "tensors": _layout(tensors, meta)}
    try:
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"artifact: meta is not plain JSON ({error})") from None
    encoded = text.encode()
    blocks = -(-len(encoded) // _BLOCK)
    if blocks > 0xFFFF:
        raise ValueError(f"artifact: a header of {len(encoded)} bytes is too long")
    fixed = _FIXED.pack(_MAGIC, _VERSION, blocks, compressor.encode())
    body = encoded.ljust(blocks * _BLOCK) + _compress(raw, compressor, level)
    return fixed + struct.pack("<I", zlib.crc32(body, zlib.crc32(fixed))) + body


def unpack(blob: bytes, *, limit: int = MAX_PAYLOAD_BYTES) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `pack` wrote, bit for bit.

    Args:
        blob: the whole artifact.
        limit: most bytes that the payload may have when decompressed; never is more decompressed than the header says.

    Returns:
        payload and meta.

    Raises:
        ValueError: not an artifact, another version, truncated, corrupt, an unknown compressor, or too large a payload.
    """
    header, compressor, start = _read_header(blob)
    size = header["payload_bytes"]
    if size > limit:
        raise ValueError(f"artifact: the payload of {size} bytes is over the limit of {limit}")
    try:
        tensors = safetensors.torch.load(_decompress(blob[start:], compressor, size))
    except safetensors.SafetensorError as error:
        raise ValueError(f"artifact: the payload is not a safetensors file ({error})") from None
    if _layout(tensors, header["meta"]) != header["tensors"]:
        raise ValueError("artifact: the header does not describe the payload")
    return dict(sorted(tensors.items())), header["meta"]


def read_header(blob: bytes) -> dict[str, Any]:
    """The header alone (see the module's description), checked like `unpack` does but nothing decompressed."""
    return _read_header(blob)[0]


def _read_header(blob: bytes) -> tuple[dict[str, Any], str, int]:
    if len(blob) < _START or blob[:4] != _MAGIC:
        raise ValueError("artifact: not an artifact (it does not start with a GOLF header)")
    _, version, blocks, padded = _FIXED.unpack_from(blob)
    if version != _VERSION:
        raise ValueError(f"artifact: format version {version} is unknown; this reader knows {_VERSION}")
    (checksum,) = struct.unpack_from("<I", blob, _FIXED.size)
    start = _START + blocks * _BLOCK
    view = memoryview(blob)
    if len(blob) < start or zlib.crc32(view[_START:], zlib.crc32(view[: _FIXED.size])) != checksum:
        raise ValueError("artifact: truncated or corrupt (the checksum does not match)")
    try:
        compressor = padded.rstrip(b"\0").decode("ascii")
        header = json.loads(blob[_START:start])
    except (ValueError, RecursionError) as error:  # the errors of decoding and of JSON are ValueErrors
        raise ValueError(f"artifact: the header cannot be read ({error})") from None
    if compressor not in _STRONGEST:
        raise ValueError(f"artifact: unknown compressor {compressor!r}")
    if (
        not isinstance(header, dict)
        or not isinstance(header.get("meta"), dict)
        or not isinstance(header.get("tensors"), dict)
        or type(header.get("payload_bytes")) is not int
        or header["payload_bytes"] < 0
    ):
        raise ValueError("artifact: the header lacks meta, tensors or payload_bytes")
    return header, compressor, start


def _layout(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    widths = meta.get("bits", {})
    return {
        name: {
            "bits": widths.get(name, 8 * tensor.element_size()) if isinstance(widths, Mapping) else None,
            "bytes": tensor.numel() * tensor.element_size(),
            "dtype": _DTYPES.get(tensor.dtype, str(tensor.dtype)),
            "shape": list(tensor.shape),
        }
        for name, tensor in tensors.items()
    }


_STRONGEST = {"zlib": 9, "brotli": 11, "lzma": 9, "none": 0}


def _compress(raw: bytes, compressor: str, level: int | None) -> bytes:
    if compressor not in _STRONGEST:
        raise ValueError(f"artifact: unknown compressor {compressor!r}")
    level = _STRONGEST[compressor] if level is None else level
    if not 0 <= level <= _STRONGEST[compressor]:
        raise ValueError(f"artifact: {compressor} has no level {level}")
    if compressor == "zlib":
        return zlib.compress(raw, level)
    if compressor == "brotli":
        return bytes(brotli.compress(raw, quality=level, lgwin=24))
    if compressor == "lzma":
        # our own CRC covers the file
        return lzma.compress(raw, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, preset=level)
    return raw


def _decompress(data: bytes, compressor: str, size: int) -> bytes:
    """Exactly `size` bytes: a stream that holds more is stopped there, one that holds less or is broken is refused."""
    try:
        if compressor == "none":
            raw, finished = data[: size + 1], True
        elif compressor == "brotli":
            raw, finished = _decompress_brotli(data, size)
        else:
            xz = compressor == "lzma"
            reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY) if xz else zlib.decompressobj()
            raw = reader.decompress(data, size + 1)
            finished = reader.eof and not reader.unused_data
    except (zlib.error, lzma.LZMAError, brotli.error) as error:
        raise ValueError(f"artifact: the payload cannot be decompressed ({error})") from None
    if len(raw) != size or not finished:
        raise ValueError(f"artifact: the payload is not the {size} bytes that the header promises")
    return raw


def _decompress_brotli(data: bytes, size: int) -> tuple[bytes, bool]:
    reader = brotli.Decompressor()
    parts = [reader.process(data, output_buffer_limit=size + 1)]
    held = len(parts[0])
    while held <= size and not reader.is_finished() and not reader.can_accept_more_data():
        part = reader.process(b"", output_buffer_limit=size + 1 - held)
        if not part:
            break
        parts.append(part)
        held += len(part)
    return b"".join(parts), reader.is_finished()
