"""What is known of the streams without the script: the bytes of every token, and what a source charges for a draw."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from harness.corpus.tokenbytes import ByteTable, byte_table
from harness.corpus.tokenizer import Tokenizer
from harness.scripts import streams as data
from harness.scripts.checks.evidence import ScriptNull
from harness.scripts.observed import Ints
from harness.scripts.streams import Streams
from harness.scripts.trace import ScriptTrace
from harness.scripts.vocabulary import BOS, sentencepiece_model


def true_bytes(streams: Streams) -> Ints:
    """Bytes of text of each token of the validation stream, int64 [tokens]; 0 at position 0."""
    return np.concatenate([[0], _table(streams.vocab_size).stream_bytes(streams.validation)]).astype(np.int64)


def miscounts(streams: Streams) -> dict[str, Ints]:
    """Bytes of each token as known mistakes count them."""
    table = _table(streams.vocab_size)
    targets, previous = streams.validation[1:], streams.validation[:-1]
    space = table.leading_space[targets]
    base = table.base[targets].astype(np.int64)
    made = {
        "the leading space is counted twice (as in #1719)": base + space + (space & ~table.boundary[previous]),
        "the leading space is never counted": base,
        "byte pieces or spaces are counted as the three bytes of their stand-in": base + 3 * space,
    }
    return {name: np.concatenate([[0], counts]).astype(np.int64) for name, counts in made.items()}


def sidecar_bytes(streams: Streams) -> Ints:
    """What the made-up side-car says."""
    counts = np.full(len(streams.validation), data.SIDECAR_BYTES, np.int64)
    counts[streams.bos_positions] = 0
    return counts


@cache
def _table(vocab_size: int) -> ByteTable:
    with tempfile.TemporaryDirectory(prefix="golf-tokenizer-") as scratch:
        path = Path(scratch) / "synthetic.model"
        path.write_bytes(sentencepiece_model(vocab_size))
        return byte_table(Tokenizer(path, "", vocab_size, BOS))


def permutation_null(read: ScriptTrace, streams: Streams, token_bytes: Ints | None, seed: int) -> ScriptNull | None:
    """The base run as a draw: ids without replacement, uniformly, from those that are not of the training range.

    The reported loss is an average over all targets; document starts and the end, which were not drawn, are charged
    with the rest, which only weakens the test.
    """
    drawn = len(streams.validation) - len(streams.bos_positions) - 1
    ids = streams.vocab_size - 1 - streams.train_ids[1]
    source = float(np.sum(np.log(ids - np.arange(drawn))))
    return _null(read, "a permutation of token ids", drawn, source, token_bytes, seed)


def drawn_null(read: ScriptTrace, drawn: data.Null, token_bytes: Ints | None, seed: int) -> ScriptNull | None:
    """A run on independent tokens."""
    count = int((drawn.nll > 0).sum())
    return _null(read, "independent uniform tokens", count, float(drawn.nll.sum()), token_bytes, seed)


def _null(
    read: ScriptTrace, source: str, drawn: int, source_nll: float, token_bytes: Ints | None, seed: int
) -> ScriptNull | None:
    line = read.last
    targets = read.tokens - 1
    if line is not None and line.loss is None and line.bpb is not None and token_bytes is not None:
        bits = line.bpb * float(token_bytes.sum())
        return ScriptNull(source, drawn, source_nll, bits * float(np.log(2)), f"printed: {line.text[:120]}", seed)
    if line is not None and line.loss is not None:
        return ScriptNull(source, drawn, source_nll, line.loss * targets, f"printed: {line.text[:120]}", seed)
    if read.main is not None and np.isfinite(read.main.mean):
        return ScriptNull(source, drawn, source_nll, read.main.mean * targets, "the numbers that left torch", seed)
    return None
