"""The data that a script is run on: streams in which a token id says where it stands.

The validation stream is a permutation of token ids: every id occurs once, so that an id *is* a position, and no
bookkeeping inside the script is needed to know which token a loss belongs to. A second permutation, of other ids,
is what positions are flipped to: it maps to the same positions. Training tokens come from a third range.
BOS (id 1) stands where documents start, in both permutations, and the largest id at the end: some scripts take the
largest token of the text for the size of the vocabulary.

Two permutations and a training range fit when V >= 2 n + 260 + 740: 2,049 tokens need V = 5120. For a smaller
vocabulary `make` takes as many positions as fit (V = 4096: 1,678); a script whose vocabulary can be
set should therefore be run at 5120. Scripts that count repetitions (n-gram caches) learn nothing from a
permutation: `repeated` gives streams of phrases for them, whose positions are taken from a run on the permutation.

Below a vocabulary of 2,048 tokens have to repeat, or the stream would be a few hundred long. There every *pair* of
neighbours occurs once. Ids are put together two by two, a stream is a walk over such twins in which no step is made
twice, and a coin says at each position which of the two twins stands there; the flip has the other. Any mixture of the
two streams makes the same steps, so that positions are read from steps whatever was replaced (V = 256: 2,049 tokens).
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.shards import write_shard
from harness.corpus.tokenbytes import ByteTable, byte_table
from harness.corpus.tokenizer import Tokenizer
from harness.errors import UsageError
from harness.scripts.play.vocabulary import BOS, FIRST_ORDINARY, sentencepiece_model

Tokens = NDArray[np.uint16]
Ints = NDArray[np.int64]

#: Documents are between these many tokens long, where the stream is long enough.
DOCUMENT_TOKENS = (90, 400)
_IDS = 1 << 16
#: Byte pieces in a stream that has room for other tokens: what is done to them alone is seen, too.
BYTE_PIECES = 24
#: Bytes that the side-car of case-folding scripts promises for each token.
SIDECAR_BYTES = 3
#: Vocabularies from this on get streams in which every token occurs once; below, every step from token to token does.
UNIQUE = 2048
#: The smallest vocabulary that there are streams for.
SMALLEST = 128


@dataclass(frozen=True)
class Streams:
    """Everything that a run's data is made of.

    Attributes:
        vocab_size: V; all ids are below.
        model_size: ids that the model has, where those are fewer (a model of 1,024 on shards of 8,192); else 0.
        validation: uint16 [n], the stream that is scored.
        flipped: uint16 [n], the other permutation; equal to `validation` where documents start and at the end.
        bos_positions: int64 [d], where documents start; the first is 0.
        train: uint16 [m], tokens of the training range, with documents.
        train_ids: (first, past the last) of the training range.
        position_of: int64 [65536], position of a token id of either permutation, -1 for all others.
        alternative: int64 [65536], the id of the other permutation at the same position, -1 for all others.
        steps: int64 [k, 3], where tokens repeat: the smaller ids of two neighbours' twins, and the position of the
            second; empty where ids are positions.
        source_nll: what the source that the stream was drawn from charges for all of `drawn`, nats.
        drawn: tokens that were drawn.
    """

    vocab_size: int
    validation: Tokens
    flipped: Tokens
    bos_positions: Ints
    train: Tokens
    train_ids: tuple[int, int]
    position_of: Ints = field(repr=False)
    alternative: Ints = field(repr=False)
    model_size: int = 0
    steps: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64), repr=False)
    source_nll: float = 0.0
    drawn: int = 0

    def suffix(self, start: int) -> Tokens:
        """The validation stream with everything from position `start` on replaced."""
        return self.at(np.arange(start, len(self.validation)))

    def at(self, positions: Ints | list[int]) -> Tokens:
        """The validation stream with the tokens at `positions` replaced."""
        made = self.validation.copy()
        where = np.asarray(positions, np.int64)
        made[where] = self.flipped[where]
        return made


def make(
    vocab_size: int, tokens: int = 2049, seed: int = 0, *, train_tokens: int = 40_000, model_size: int = 0
) -> Streams:
    """Streams for a vocabulary.

    Args:
        vocab_size: V of the script.
        tokens: length of the validation stream; fewer where they do not fit (see the module's text).
        seed: of the permutations, the documents and the training tokens.
        train_tokens: length of the training stream.
        model_size: ids that the model has, where those are fewer than V. Most of the stream is below, so that positions
            can be told by it, and the rest is what becomes other tokens.

    Raises:
        UsageError: the vocabulary is smaller than 128.
    """
    if vocab_size < SMALLEST:
        raise UsageError(f"a vocabulary of {vocab_size} is too small for a stream; {SMALLEST} is the least")
    rng = np.random.default_rng(seed)
    if vocab_size < UNIQUE:
        return _walk(vocab_size, tokens, rng, train_tokens)
    known = min(model_size or vocab_size, vocab_size)
    # Byte pieces are ordinary tokens to a model; most are spared where there is enough else.
    first = FIRST_ORDINARY if known >= 4096 else 4
    train_count = min(740, max(64, (known - first) // 8))
    train_ids = (first, first + train_count)
    free = rng.permutation(np.arange(train_ids[1], known - 1))
    if first == FIRST_ORDINARY:
        free[rng.permutation(len(free))[: 2 * BYTE_PIECES]] = rng.permutation(np.arange(4, first))[: 2 * BYTE_PIECES]
    above = rng.permutation(np.arange(known, vocab_size - 1))
    unknown = min(len(above) // 2, len(free) // 2 // 3, tokens // 4)
    n = min(tokens, len(free) // 2 + unknown)
    a, b = (
        rng.permutation(np.concatenate([free[k : k + n - unknown], above[j : j + unknown]])).astype(np.uint16)
        for k, j in ((0, 0), (n - unknown, unknown))
    )
    starts = _documents(n, rng)
    position_of = np.full(_IDS, -1, np.int64)
    alternative = np.full(_IDS, -1, np.int64)
    inner = np.setdiff1d(np.arange(n - 1), starts)
    position_of[a[inner]] = position_of[b[inner]] = inner
    alternative[a[inner]] = b[inner]
    alternative[b[inner]] = a[inner]
    a[starts] = b[starts] = BOS
    a[n - 1] = b[n - 1] = last = vocab_size - 1
    position_of[last] = n - 1
    pieces = 2 * BYTE_PIECES if first == FIRST_ORDINARY else 0
    drawn = a[inner].astype(np.int64)
    source = _urns(len(free), n - unknown, pieces, int((drawn < first).sum()), len(above), unknown,
                   int((drawn >= known).sum()), len(drawn))  # fmt: skip
    return Streams(vocab_size, a, b, starts, _train(train_ids, train_tokens, rng), train_ids, position_of, alternative,
                   model_size, source_nll=source, drawn=len(drawn))  # fmt: skip


def _urns(ids: int, known: int, pieces: int, met: int, above: int, unknown: int, beyond: int, drawn: int) -> float:
    """What the source of a stream of `make` charges for it, nats.

    A shuffle of `known` + `unknown` places decides which hold ids that the model has; in their urn `pieces` of `ids`
    were exchanged for byte pieces, of which there are 256. Of the places, `drawn` are left, in an order that says
    nothing.

    Args:
        ids: in the urn of those that the model has.
        known: of these, how many the stream had.
        pieces: of the ids, how many were exchanged for byte pieces.
        met: byte pieces among the drawn.
        above: ids that the model has not.
        unknown: of these, how many the stream had.
        beyond: of these, how many are among the drawn.
        drawn: tokens that were drawn and are still there.
    """

    def ways(size: int, picked: int) -> float:
        """Log of the number of ordered draws without replacement."""
        return math.lgamma(size + 1) - math.lgamma(size - picked + 1)

    own = drawn - beyond
    which = ways(unknown, beyond) + ways(known, own) - ways(known + unknown, drawn)
    kind = ways(pieces, met) + ways(ids - pieces, own - met) - ways(ids, own)
    return ways(above, beyond) + ways(256, met) + ways(ids, own - met) - which - kind


def long(vocab_size: int, tokens: int, replaced: Ints, seed: int = 0, *, document: int = 0) -> Streams:
    """Streams of which only some tokens have another one to be replaced by: nearly as long as the vocabulary is large.

    Args:
        vocab_size: V of the script.
        tokens: length of the validation stream.
        replaced: int64 [k], the positions that can be replaced; where a document starts or the stream ends none is.
        seed: of the permutation, the documents and the training tokens.
        document: length of the first document, in tokens; the others are as short as in `make`.

    Raises:
        ValueError: the vocabulary has no room for them.
    """
    rng = np.random.default_rng((seed, 3))
    free = vocab_size - 1 - FIRST_ORDINARY - tokens - len(replaced)
    if free < 64:
        raise ValueError(f"a vocabulary of {vocab_size} has no room for {tokens} different tokens")
    train_ids = (FIRST_ORDINARY, FIRST_ORDINARY + min(740, free))
    ids = rng.permutation(np.arange(train_ids[1], vocab_size - 1))
    a = ids[:tokens].astype(np.uint16)
    starts = _documents(tokens - document, rng)
    starts = np.concatenate([[0], starts + document]) if document else starts
    chosen = np.setdiff1d(replaced, [*starts, tokens - 1])
    position_of, alternative = np.full(_IDS, -1, np.int64), np.full(_IDS, -1, np.int64)
    inner = np.setdiff1d(np.arange(tokens - 1), starts)
    position_of[a[inner]] = inner
    b = a.copy()
    b[chosen] = other = ids[tokens : tokens + len(chosen)].astype(np.uint16)
    position_of[other], alternative[a[chosen]], alternative[other] = chosen, other, a[chosen]
    a[starts] = b[starts] = BOS
    a[-1] = b[-1] = last = vocab_size - 1
    position_of[last] = tokens - 1
    train = _train(train_ids, 40_000, rng)
    return Streams(vocab_size, a, b, starts, train, train_ids, position_of, alternative)


def _train(ids: tuple[int, int], count: int, rng: np.random.Generator) -> Tokens:
    made = rng.integers(*ids, size=count).astype(np.uint16)
    made[_documents(count, rng)] = BOS
    return made


def _walk(vocab_size: int, tokens: int, rng: np.random.Generator, train_tokens: int) -> Streams:
    """Streams in which tokens repeat and steps do not, see the module's text."""
    first = 4
    train_ids = (first, first + max(16, (vocab_size - first) // 8))
    kinds = (vocab_size - 1 - train_ids[1]) // 2
    low = train_ids[1] + 2 * np.arange(kinds)
    n = min(tokens, kinds * kinds // 3)  # two thirds of all steps stay free, so that the walk never gets stuck
    starts = _documents(n, rng)
    alternative = np.full(_IDS, -1, np.int64)
    alternative[low], alternative[low + 1] = low + 1, low
    a, b = np.empty(n, np.uint16), np.empty(n, np.uint16)
    a[starts] = b[starts] = BOS
    a[n - 1] = b[n - 1] = vocab_size - 1
    used: dict[int, set[int]] = {}
    ended: set[int] = set()
    source, before = 0.0, -1
    begins = set(starts.tolist())
    for at in range(n - 1):
        if at in begins:
            before = -1  # all documents start alike: what comes first in one is free of what came first in the others
            continue
        taken = used.setdefault(before, set())
        last = at + 1 in begins  # what ends a document has to be another twin in each, too
        free = [int(twin) for twin in low if int(twin) not in taken and not (last and int(twin) in ended)]
        before = free[int(rng.integers(len(free)))]
        taken.add(before)
        if last:
            ended.add(before)
        source += math.log(2 * len(free))
        coin = int(rng.integers(2))
        a[at], b[at] = before + coin, before + 1 - coin
    kind = np.where(alternative >= 0, np.minimum(alternative, np.arange(_IDS)), np.arange(_IDS))[a.astype(np.int64)]
    steps = np.stack([kind[:-1], kind[1:], np.arange(1, n)], axis=1)
    train, nowhere = _train(train_ids, train_tokens, rng), np.full(_IDS, -1, np.int64)
    drawn = n - len(starts) - 1
    return Streams(vocab_size, a, b, starts, train, train_ids, nowhere, alternative, 0, steps, source, drawn)


def repeated(streams: Streams, seed: int = 0, *, ids: int = 400, phrases: int = 40) -> tuple[Tokens, Tokens]:
    """Two streams of the same length and documents in which phrases come again, so that n-gram caches hit.

    Args:
        streams: for length, vocabulary and documents.
        seed: of the phrases and their order.
        ids: how many different tokens occur (fewer where the vocabulary is small); none of the training range.
        phrases: how many phrases of 6 to 20 tokens there are to draw from.

    Returns:
        The stream and its flip, uint16 [n]: two independent draws from one inventory of phrases.
    """
    rng = np.random.default_rng((seed, 1))
    n = len(streams.validation)
    low = streams.train_ids[1]
    inventory = [
        rng.integers(low, min(low + ids, streams.vocab_size), size=rng.integers(6, 20)) for _ in range(phrases)
    ]

    def draw() -> Tokens:
        parts: list[Ints] = []
        while sum(map(len, parts)) < n:
            parts.append(inventory[rng.integers(phrases)])
        made = np.concatenate(parts)[:n].astype(np.uint16)
        made[streams.bos_positions] = BOS
        made[-1] = streams.vocab_size - 1
        return made

    return draw(), draw()


@dataclass(frozen=True)
class Null:
    """A stream drawn from a source that is known exactly.

    Attributes:
        tokens: uint16 [n].
        nll: float64 [n], what the source itself charges for each token, nats; 0 where a document starts, at
            position 0 and at the end, which are not drawn.
        entropy: nats per drawn token.
    """

    tokens: Tokens
    nll: NDArray[np.float64]
    entropy: float


def null(streams: Streams, seed: int = 0, *, ids: int = 256) -> Null:
    """Independent tokens, uniform over `ids` ordinary ids outside the training range: entropy log(ids) a token.

    Tokens repeat, so their positions must come from a run on the permutation. Nobody beats the entropy: for a
    causal, normalised scorer E[q/p] <= 1 over the drawn tokens.
    """
    rng = np.random.default_rng((seed, 2))
    low = streams.train_ids[1]
    count = min(ids, streams.vocab_size - low)
    tokens = rng.integers(low, low + count, size=len(streams.validation)).astype(np.uint16)
    tokens[streams.bos_positions] = BOS
    tokens[-1] = streams.vocab_size - 1
    entropy = math.log(count)
    nll = np.full(len(tokens), entropy)
    nll[streams.bos_positions] = 0.0
    nll[[0, -1]] = 0.0
    return Null(tokens, nll, entropy)


def data_sha256(made: Streams) -> str:
    """What names the text of a run in its record: sha256 over the validation stream and its flip."""
    return hashlib.sha256(made.validation.tobytes() + made.flipped.tobytes()).hexdigest()


def with_validation(streams: Streams, tokens: Tokens) -> Streams:
    """The same data with another validation stream; ids keep meaning the positions that they meant."""
    return replace(streams, validation=np.asarray(tokens, np.uint16))


@dataclass(frozen=True)
class Layout:
    """Where a script finds its data, relative to the folder that it runs in.

    Attributes:
        data: DATA_DIR, with a trailing slash as the scripts write it.
        dataset: DATA_PATH, the folder of shards.
        tokenizer: TOKENIZER_PATH, the .model file.
    """

    data: str
    dataset: str
    tokenizer: str

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that scripts read their data's place from."""
        return {
            "DATA_DIR": self.data,
            "DATA_PATH": self.dataset,
            "DATASETS_DIR": self.dataset,
            "TOKENIZER_PATH": self.tokenizer,
        }


def write(
    folder: Path,
    streams: Streams,
    *,
    sidecar: bool = False,
    datasets: tuple[str, ...] = (),
    tokenizer: str = "",
    other: tuple[str, bytes] = ("", b""),
) -> Layout:
    """Write a data folder in the contest's layout.

    Args:
        folder: the script's `data` folder; made if need be.
        streams: what to write: two training shards, one validation shard.
        sidecar: also `fineweb_val_bytes_*.bin`, the byte counts that case-folding scripts read; others would take
            it for validation tokens, because their pattern matches its name.
        datasets: further names of the folder of shards, below `datasets`, for scripts that ignore DATA_PATH.
        tokenizer: a further name for the model file, below `tokenizers`.
        other: name and content of a tokenizer file that is no model of SentencePiece's, for scripts that read one.

    Returns:
        The paths for the environment, relative to `folder`'s parent.
    """
    size = streams.vocab_size
    names = [f"fineweb10B_sp{size}", *datasets]
    for name in names:
        place = folder / "datasets" / name
        place.mkdir(parents=True, exist_ok=True)
        middle = len(streams.train) // 2
        write_shard(place / "fineweb_train_000000.bin", streams.train[:middle])
        write_shard(place / "fineweb_train_000001.bin", streams.train[middle:])
        write_shard(place / "fineweb_val_000000.bin", streams.validation)
        if sidecar:
            counts = np.full(len(streams.validation), SIDECAR_BYTES, np.uint16)
            counts[streams.bos_positions] = 0
            write_shard(place / "fineweb_val_bytes_000000.bin", counts)
    models = [f"fineweb_{size}_bpe.model", *([tokenizer] if tokenizer else [])]
    (folder / "tokenizers").mkdir(parents=True, exist_ok=True)
    for name in models:
        (folder / "tokenizers" / name).write_bytes(sentencepiece_model(size))
    if other[0]:
        (folder / "tokenizers" / other[0]).write_bytes(other[1])
    root = folder.name
    return Layout(f"./{root}/", f"./{root}/datasets/{names[0]}", f"./{root}/tokenizers/{models[0]}")


def _documents(n: int, rng: np.random.Generator) -> Ints:
    """Where documents start in n tokens; the first at 0, none so late that it would be a stub.

    An odd number of them, so that batches of 2, 4 or 8 documents end with a smaller one, as the contest's do.
    """
    low, high = DOCUMENT_TOKENS
    if n < 4 * high:  # a short stream gets several documents all the same
        low, high = max(2, n // 16), max(4, n // 4)
    starts = [0]
    while (following := starts[-1] + int(rng.integers(low, high))) < n - low:
        starts.append(following)
    if len(starts) % 2 == 0 and len(starts) > 2:
        starts.pop()
    return np.array(starts, np.int64)


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


def byte_level(streams: Streams) -> Ints | None:
    """As `true_bytes`, for scripts without a tokenizer: every id is a byte; None where there are other ids, too."""
    if not 256 <= streams.vocab_size <= FIRST_ORDINARY:
        return None
    if streams.vocab_size == FIRST_ORDINARY:
        return true_bytes(streams)
    return np.concatenate([[0], np.ones(len(streams.validation) - 1)]).astype(np.int64)


def sidecar_bytes(streams: Streams) -> Ints:
    """What the made-up side-car says."""
    counts = np.full(len(streams.validation), SIDECAR_BYTES, np.int64)
    counts[streams.bos_positions] = 0
    return counts


@cache
def _table(vocab_size: int) -> ByteTable:
    with tempfile.TemporaryDirectory(prefix="golf-tokenizer-") as scratch:
        path = Path(scratch) / "synthetic.model"
        path.write_bytes(sentencepiece_model(vocab_size))
        return byte_table(Tokenizer(path, "", vocab_size, BOS))
