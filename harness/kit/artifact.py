"""The artifact: one deterministic file that holds the quantized model. No pickle; reading it runs no code.

All integers are little-endian.

    offset  size  content
    0       4     b"GOLF"
    4       2     format version, 1 or 2
    6       2     H: in version 1 bytes of the header / 256, rounded up (it is padded with spaces); in version 2 bytes
    8       8     compressor, ASCII, padded with zeros: "zlib", "brotli", "lzma" or "none"; "zstd", "range" in version 2
    16      4     CRC-32 of everything after this field and of the 16 bytes before it
    20      256H  header: JSON, UTF-8, keys sorted; in version 2 it has H bytes and is compressed with brotli
    ...     rest  compressed payload

The header is {"meta": ..., "payload_bytes": n, "tensors": {name: {"bits", "bytes", "dtype", "shape"}}}: `meta` is what
the quantizer returned, `payload_bytes` the size of the payload when decompressed, `dtype` safetensors' name ("I8",
"F16", ...), `bits` the width of the values (6 in an I8 tensor for int6), `bytes` the tensor's size before compression.
A reader that wants only the layout needs no more than that. The payload is a safetensors file
(https://huggingface.co/docs/safetensors): u64 length, JSON header, raw tensors. What the header says is the maker's
claim; `unpack` checks it against the payload.

Version 2 is written where something is asked for that version 1 has not: "zstd"; "shuffle", the stride that the
payload's bytes are regrouped by before they are compressed (a key of the header); and "range", where the payload is no
safetensors file but what `body` describes, and the header's "coded" gives the bytes of each grid's code.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import brotli
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from harness.kit.body import decode_body, encode_body
from harness.kit.codec import STRONGEST, compress, decompress, shuffle, unshuffle
from harness.kit.config import Compressor

_MAGIC = b"GOLF"
_FIXED = struct.Struct("<4sHH8s")
_START = _FIXED.size + 4
_BLOCK = 256
_MAX_HEADER = 0xFFFF * _BLOCK
#: Largest decompressed payload that `unpack` accepts unless told otherwise.
MAX_PAYLOAD_BYTES = 1 << 30
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
_TORCH = {name: dtype for dtype, name in _DTYPES.items()}


def pack(
    payload: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    compressor: Compressor,
    level: int | None = None,
    *,
    byte_shuffle: int = 0,
) -> bytes:
    """Serialize tensors and meta; the same input gives the same bytes.

    Args:
        payload: tensors by name, of any dtype in float32, float16, bfloat16, int8-64, uint8, bool.
        meta: plain JSON; `meta["bits"]`, if present, gives the widths of the quantized tensors.
        compressor: "zlib", "brotli", "lzma", "zstd", "none", or "range" for the entropy coder.
        level: the compressor's level; None is the strongest (zlib 9, brotli 11, lzma 9, zstd 22).
        byte_shuffle: stride that the payload's bytes are regrouped by; 0 is off.

    Raises:
        ValueError: an unknown compressor, level or dtype, or meta that is not plain JSON.
    """
    tensors = {name: payload[name].detach().cpu().contiguous().clone() for name in sorted(payload)}
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"artifact: tensor {name!r} has dtype {tensor.dtype}, which cannot be stored")
    header: dict[str, Any] = {"meta": meta, "tensors": _layout(tensors, meta)}
    if compressor == "range":
        if level or byte_shuffle:
            raise ValueError("artifact: the range coder has no levels, and regroups bytes by itself")
        widths = meta.get("bits")
        data, header["coded"] = encode_body(tensors, widths if isinstance(widths, Mapping) else {})
        header["payload_bytes"] = sum(entry["bytes"] for entry in header["tensors"].values())
    else:
        raw = safetensors.torch.save(tensors)
        data = compress(shuffle(raw, byte_shuffle), compressor, level)
        header["payload_bytes"] = len(raw)
        header |= {"shuffle": byte_shuffle} if byte_shuffle else {}
    try:
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"artifact: meta is not plain JSON ({error})") from None
    encoded = text.encode()
    version = 2 if byte_shuffle or compressor in ("zstd", "range") else 1
    blocks = -(-len(encoded) // _BLOCK)
    stored = encoded.ljust(blocks * _BLOCK) if version == 1 else compress(encoded, "brotli")
    size = blocks if version == 1 else len(stored)
    if size > 0xFFFF or len(encoded) > _MAX_HEADER:
        raise ValueError(f"artifact: a header of {len(encoded)} bytes is too long")
    fixed = _FIXED.pack(_MAGIC, version, size, compressor.encode())
    body = stored + data
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
    if compressor == "range":
        shapes, coded = _shapes(header), header.get("coded")
        if not isinstance(coded, dict) or not coded.keys() <= shapes.keys():
            raise ValueError("artifact: the header does not say which tensors are coded")
        if not all(type(count) is int for count in coded.values()):
            raise ValueError("artifact: the header does not say how long the codes are")
        tensors = decode_body(blob[start:], shapes, coded)
    else:
        raw = decompress(blob[start:], compressor, size)
        try:
            tensors = safetensors.torch.load(unshuffle(raw, header["shuffle"]))
        except safetensors.SafetensorError as error:
            raise ValueError(f"artifact: the payload is not a safetensors file ({error})") from None
    if _layout(tensors, header["meta"]) != header["tensors"]:
        raise ValueError("artifact: the header does not describe the payload")
    return dict(sorted(tensors.items())), header["meta"]


def read_header(blob: bytes) -> dict[str, Any]:
    """The header alone (see the module's description), checked like `unpack` does but nothing decompressed."""
    header = _read_header(blob)[0]
    return {key: value for key, value in header.items() if (key, value) != ("shuffle", 0)}


def _read_header(blob: bytes) -> tuple[dict[str, Any], str, int]:
    if len(blob) < _START or blob[:4] != _MAGIC:
        raise ValueError("artifact: not an artifact (it does not start with a GOLF header)")
    _, version, size, padded = _FIXED.unpack_from(blob)
    if version not in (1, 2):
        raise ValueError(f"artifact: format version {version} is unknown; this reader knows 1 and 2")
    (checksum,) = struct.unpack_from("<I", blob, _FIXED.size)
    start = _START + (size * _BLOCK if version == 1 else size)
    view = memoryview(blob)
    if len(blob) < start or zlib.crc32(view[_START:], zlib.crc32(view[: _FIXED.size])) != checksum:
        raise ValueError("artifact: truncated or corrupt (the checksum does not match)")
    try:
        compressor = padded.rstrip(b"\0").decode("ascii")
        stored = blob[_START:start]
        header = json.loads(stored if version == 1 else _expanded(stored))
    except (ValueError, RecursionError) as error:  # the errors of decoding and of JSON are ValueErrors
        raise ValueError(f"artifact: the header cannot be read ({error})") from None
    if compressor not in (*STRONGEST, "range") or (version == 1 and compressor in ("zstd", "range")):
        raise ValueError(f"artifact: unknown compressor {compressor!r}")
    if (
        not isinstance(header, dict)
        or not isinstance(header.get("meta"), dict)
        or not isinstance(header.get("tensors"), dict)
        or type(header.get("payload_bytes")) is not int
        or header["payload_bytes"] < 0
        or type(header.setdefault("shuffle", 0)) is not int
        or not 0 <= header["shuffle"] < 256
        or (version == 1 and header["shuffle"])
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


def _shapes(header: Mapping[str, Any]) -> dict[str, tuple[torch.dtype, list[int]]]:
    """Dtype and shape of every tensor, as the header claims them; together they are as large as it claims."""
    found: dict[str, tuple[torch.dtype, list[int]]] = {}
    total = 0
    for name, entry in header["tensors"].items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        dtype = _TORCH.get(str(entry.get("dtype"))) if isinstance(entry, dict) else None
        if dtype is None or not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"artifact: the header does not describe tensor {name!r}")
        found[name] = dtype, shape
        total += math.prod(shape) * dtype.itemsize
        if math.prod(n for n in shape if n) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"artifact: the header does not describe tensor {name!r}")
    if total != header["payload_bytes"]:
        raise ValueError("artifact: the header's tensors do not add up to payload_bytes")
    return found


def _expanded(stored: bytes) -> bytes:
    """A header that is compressed with brotli; as many bytes as one of version 1 may have at most."""
    reader = brotli.Decompressor()
    try:
        text = reader.process(stored, output_buffer_limit=_MAX_HEADER + 1)
    except brotli.error as error:
        raise ValueError(str(error)) from None
    if not reader.is_finished() or len(text) > _MAX_HEADER:
        raise ValueError("it is cut off or too long")
    return bytes(text)
