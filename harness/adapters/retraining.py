"""Training again with other validation data: does the artifact change?

For a submission that declares that its training reads validation data (`"reads_validation": true`): those who only
report a validation loss seal the same bytes whatever the data; those who train, choose or calibrate on it do not (#1376
and its like). An accusation takes four trainings: twice each way, so that a training that is merely not reproducible is
never taken for one that has looked.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
import zlib
from functools import partial
from pathlib import Path

import brotli
import numpy as np
import zstandard

from harness.adapters.options import Options, played
from harness.adapters.payload import read_header
from harness.adapters.training import Made, Sealed, train_once
from harness.audit.evidence import Retraining
from harness.corpus.dataset import Dataset
from harness.corpus.reference import stream_sha256
from harness.corpus.shards import Tokens
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.progress import Progress

_HELD_OUT = "documents of the same lengths, drawn from validation text that is not scored"
_REDRAWN = "documents of the same lengths, redrawn from the scored text itself (there is no other validation text)"

#: Artifacts whose tensors take more than this are compared as files only.
_MAX_PAYLOAD = 1 << 28
_MAX_HEADER = 1 << 24
_UNREADABLE = (struct.error, zlib.error, lzma.LZMAError, brotli.error, zstandard.ZstdError)


def other_validation(dataset: Dataset, scored: Tokens, seed: int) -> tuple[Tokens, str]:
    """Validation data that is not the real one but looks like it.

    Every document becomes a passage of the same length, from a place drawn at random in validation text that is not
    scored, or, where there is too little of that, in the scored text. Documents start where they started.

    Args:
        dataset: the validation stream belongs to it.
        scored: uint16 [n], the part of the stream that is scored.
        seed: of the draw.

    Returns:
        uint16 [n], and where it is from, in words.
    """
    bos = dataset.tokenizer.bos_id
    rest = np.asarray(dataset.validation[len(scored) :])
    pool, source = (rest, _HELD_OUT) if len(rest) >= len(scored) else (scored, _REDRAWN)
    text = pool[pool != bos]
    other = np.array(scored, np.uint16)
    if not len(text):
        return other, source
    rng = np.random.default_rng([seed, 0xA27])
    inside = np.flatnonzero(other != bos)
    for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
        start = int(rng.integers(len(text)))
        other[run] = text[(start + np.arange(len(run))) % len(text)]
    return other, source


def retrain(
    folder: Folder, dataset: Dataset, sealed: Sealed, seed: int, out: Path, options: Options, progress: Progress
) -> Retraining:
    """Train again with other validation data, and compare with the sealed artifact.

    Args:
        folder: a submission that declares that it reads validation data.
        dataset: as it was trained on.
        sealed: the artifact of the scored run.
        seed: of that run; every training here has the same.
        out: for the logs.
        options: scale, sandbox and limits of that run.
        progress: told what happens.
    """
    scored = played(dataset, options.scale)
    other, source = other_validation(dataset, scored, seed)
    first = sealed.path.read_bytes()
    made = partial(_made, folder, dataset, seed, out, options, progress)
    found = Retraining(
        source=source, tokens=len(scored), validation=(stream_sha256(scored), stream_sha256(other)), first=sealed.sha256
    )
    if found.validation[0] == found.validation[1]:
        return found.having(error="no other validation data could be made of so little text")
    try:
        second = made("training again with other validation data", other).container
        found = found.having(second=_sha256(second))
        if found.second == found.first:
            return found
        progress.note("the artifact is another one; training twice more, to see whether that is the data's doing")
        again = made("training again with the same validation data", scored).container
        once_more = made("training again with the other validation data", other).container
    except SubmissionError as error:
        return found.having(error=str(error))
    return found.having(
        first_again=_sha256(again),
        second_again=_sha256(once_more),
        sizes=(len(first), len(second)),
        difference=first_difference(first, second),
    )


def _made(
    folder: Folder, dataset: Dataset, seed: int, out: Path, options: Options, progress: Progress,
    what: str, validation: Tokens,
) -> Made:  # fmt: skip
    progress.phase("retrain", what)
    made = train_once(
        folder,
        dataset,
        seed,
        options,
        progress,
        validation=validation,
        log=out / "retrain.log",
    )
    progress.done(f"artifact {len(made.container):,} bytes")
    return made


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def first_difference(first: bytes, second: bytes) -> str:
    """Where two artifacts differ first, in words: a tensor and its bytes where both can be read, else a byte.

    The artifacts are the submission's. They are read here as plain bytes, at most _MAX_PAYLOAD of them, and what
    cannot be read that way is compared as files.
    """
    try:
        ours, theirs = _tensors(first), _tensors(second)
        for name in sorted(ours.keys() | theirs.keys()):
            a, b = ours.get(name), theirs.get(name)
            if a is None or b is None:
                return f"tensor {name[:100]!a}, which only one of them has"
            if len(a) != len(b):
                return f"tensor {name[:100]!a}, {len(a):,} bytes in one and {len(b):,} in the other"
            if a != b:
                changed = int((np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8)).sum())
                return f"tensor {name[:100]!a}, {changed:,} of {len(a):,} bytes differ"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, *_UNREADABLE):
        pass
    short = min(len(first), len(second))
    unlike = np.flatnonzero(np.frombuffer(first[:short], np.uint8) != np.frombuffer(second[:short], np.uint8))
    return f"byte {int(unlike[0]) if len(unlike) else short:,} of the file"


def _tensors(container: bytes) -> dict[str, bytes]:
    """The raw tensors of a kit artifact: its layout is described in the kit, and is data, not code.

    Grids that are entropy-coded are compared as their codes, which nothing here has to decode.
    """
    header, kind, start = read_header(container, _MAX_HEADER)
    size, stride = header["payload_bytes"], header.get("shuffle", 0)
    if type(size) is not int or not 0 <= size <= _MAX_PAYLOAD:
        raise ValueError("not an artifact that can be read here")
    if kind == "range":
        return _codes(container[start:], header["coded"])
    raw = _decompressed(container[start:], kind, size)
    if stride:
        raw = _in_order(raw, int(stride))
    (head,) = struct.unpack_from("<Q", raw)
    layout = json.loads(raw[8 : 8 + head])
    spans = {str(name): entry["data_offsets"] for name, entry in layout.items() if name != "__metadata__"}
    return {name: raw[8 + head + int(span[0]) : 8 + head + int(span[1])] for name, span in spans.items()}


def _codes(body: bytes, coded: dict[str, int]) -> dict[str, bytes]:
    """The codes of the grids, in order of their names, and what follows: all other tensors, compressed together."""
    found, at = {}, 0
    for name in sorted(coded):
        found[f"{name} (entropy-coded)"] = body[at : at + int(coded[name])]
        at += int(coded[name])
    return found | {"others, compressed": body[at:]}


def _in_order(shuffled: bytes, stride: int) -> bytes:
    """Bytes that were regrouped by a stride, where they belong."""
    if not 2 <= stride < 256:
        raise ValueError("no stride that the kit knows")
    data, out, at = np.frombuffer(shuffled, np.uint8), np.empty(len(shuffled), np.uint8), 0
    for start in range(stride):
        place = out[start::stride]
        place[:] = data[at : at + len(place)]
        at += len(place)
    return out.tobytes()


def _decompressed(data: bytes, compressor: str, size: int) -> bytes:
    """At most `size` bytes."""
    if compressor == "zstd":
        with zstandard.ZstdDecompressor(max_window_size=1 << 28).stream_reader(data) as reader:
            return bytes(reader.read(size))
    if compressor == "zlib":
        return zlib.decompressobj().decompress(data, size)
    if compressor == "lzma":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28).decompress(data, size)
    if compressor == "brotli":
        return bytes(brotli.Decompressor().process(data, output_buffer_limit=size))
    return data[:size]
