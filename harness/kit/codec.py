"""Byte compressors of the artifact, and the regrouping of bytes before them.

Decompressing never yields more bytes than were asked for. A level of None is the strongest.
"""

from __future__ import annotations

import lzma
import zlib

import brotli
import numpy as np
import zstandard

#: Largest level of each byte compressor.
STRONGEST = {"zlib": 9, "brotli": 11, "lzma": 9, "none": 0, "zstd": 22}
#: Level 9 of LZMA needs 65 MiB to decompress, level 22 of zstd 128 MiB.
_MEMORY = 1 << 28


def compress(raw: bytes, compressor: str, level: int | None = None) -> bytes:
    """Compress; the same input gives the same bytes.

    Raises:
        ValueError: an unknown compressor or level.
    """
    if compressor not in STRONGEST:
        raise ValueError(f"artifact: unknown compressor {compressor!r}")
    level = STRONGEST[compressor] if level is None else level
    if not 0 <= level <= STRONGEST[compressor]:
        raise ValueError(f"artifact: {compressor} has no level {level}")
    if compressor == "zlib":
        return zlib.compress(raw, level)
    if compressor == "brotli":
        return bytes(brotli.compress(raw, quality=level, lgwin=24))
    if compressor == "lzma":
        # the artifact's own CRC covers the file
        return lzma.compress(raw, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, preset=level)
    if compressor == "zstd":
        return zstandard.ZstdCompressor(level=level, write_checksum=False).compress(raw)
    return raw


def decompress(data: bytes, compressor: str, size: int) -> bytes:
    """Exactly `size` bytes: a stream that holds more is stopped there, one that holds less or is broken is refused.

    Raises:
        ValueError: it is.
    """
    try:
        if compressor == "none":
            raw, finished = data[: size + 1], True
        elif compressor == "brotli":
            raw, finished = _brotli(data, size)
        elif compressor == "zstd":
            raw, finished = _zstd(data, size)
        else:
            xz = compressor == "lzma"
            reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY) if xz else zlib.decompressobj()
            raw = reader.decompress(data, size + 1)
            finished = reader.eof and not reader.unused_data
    except (zlib.error, lzma.LZMAError, brotli.error, zstandard.ZstdError) as error:
        raise ValueError(f"artifact: the payload cannot be decompressed ({error})") from None
    if len(raw) != size or not finished:
        raise ValueError(f"artifact: the payload is not the {size} bytes that the header promises")
    return raw


def shuffle(raw: bytes, stride: int) -> bytes:
    """Regroup bytes: first those at 0, stride, 2 * stride, ..., then those at 1, stride + 1, ...; below 2 unchanged."""
    if stride < 2:
        return raw
    return b"".join(raw[start::stride] for start in range(stride))


def unshuffle(raw: bytes, stride: int) -> bytes:
    """Undo `shuffle`."""
    if stride < 2:
        return raw
    data, out, at = np.frombuffer(raw, np.uint8), np.empty(len(raw), np.uint8), 0
    for start in range(stride):
        place = out[start::stride]
        place[:] = data[at : at + len(place)]
        at += len(place)
    return out.tobytes()


def _brotli(data: bytes, size: int) -> tuple[bytes, bool]:
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


def _zstd(data: bytes, size: int) -> tuple[bytes, bool]:
    # one-shot decompression makes as many bytes as the frame names, so that number is read first
    if zstandard.get_frame_parameters(data).content_size != size:
        return b"", False
    reader = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    return reader.decompress(data, read_across_frames=False, allow_extra_data=False), True
