"""Is the validation text at hand, in what the machine shows to every box or in what a submission brings along?

Text is found by passages (see `harness.corpus.passages`), token ids by the bytes of little-endian integers of 2, 4
and 8 bytes. Copies that are compressed, encrypted or encoded in another way are not found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.dataset import Dataset
from harness.corpus.installed import scan
from harness.corpus.passages import Sought, Span, folded
from harness.corpus.shards import split_documents

#: Characters of validation text that files are held against; of a longer text, whole documents spread evenly.
MOST_TEXT = 4_000_000

#: Token ids of the shortest run that counts: what ships phrases of its training text has shorter ones in common.
TOKENS = 32

#: Files that are named, and characters of a passage that are shown, at most.
_NAMED, _SHOWN = 10, 200


@dataclass(frozen=True)
class Held:
    """A file that holds validation text.

    Attributes:
        path: the file; a submission's by its name.
        share: of the validation text that was looked for, 0 to 1.
        document: number of the validation document that the longest passage is of.
        passage: its longest passage as the validation document has it, cut; of token ids, what they are in words.
        size: letters and digits of that passage, or its tokens.
    """

    path: str
    share: float
    document: int
    passage: str
    size: int


@dataclass(frozen=True)
class AtHand:
    """How much of the validation text lies where a box can read it.

    Attributes:
        share: of the validation text, found in what the machine shows to every box, 0 to 1.
        documents: validation documents of which a passage was found there.
        files: the files that hold most of it, most first.
        scanned_files: files of the machine that were read.
        scanned_bytes: their size.
        not_scanned: files left out, by why: "binary", "unreadable", "too large".
        own_share: of the validation text (or of its tokens), found in the submission's files and its artifact.
        own_files: which of those hold it, most first.
        looked_for: the part of the validation text that was looked for, 0 to 1; below 1 where it is long.
    """

    share: float
    documents: int
    files: tuple[Held, ...] = ()
    scanned_files: int = 0
    scanned_bytes: int = 0
    not_scanned: dict[str, int] = field(default_factory=dict)
    own_share: float = 0.0
    own_files: tuple[Held, ...] = ()
    looked_for: float = 1.0


def covered(spans: Iterable[Span], size: int) -> NDArray[np.bool_]:
    """Which of `size` positions some span covers: bool [size]."""
    inside = np.zeros(size, np.bool_)
    for start, end in spans:
        inside[start:end] = True
    return inside


def summed(sought: Sought, spans: Mapping[str, Sequence[Span]], width: int = 1) -> tuple[float, int, tuple[Held, ...]]:
    """Share of what is sought that the files hold, documents concerned, and the files, most first.

    Args:
        sought: what was looked for.
        spans: passages by file.
        width: bytes of a token, where tokens were looked for; 1 for text.
    """
    whole = max(1, sought.size)
    union = covered((span for found in spans.values() for span in found), len(sought.data))
    held = []
    for path, found in spans.items():
        start, end = max(found, key=lambda span: (span[1] - span[0], -span[0]))
        size = (end - start) // width
        passage = sought.original(start, end)[:_SHOWN] if width == 1 else f"{size:,} token ids of {width} bytes"
        share = float(covered(found, len(sought.data)).sum()) / whole
        held.append(Held(path, share, sought.document(start), passage, size))
    held.sort(key=lambda one: (-one.share, one.path))
    documents = len({sought.document(start) for found in spans.values() for start, _ in found})
    return float(union.sum()) / whole, documents, tuple(held[:_NAMED])


def validation_text(dataset: Dataset) -> tuple[Sought, float]:
    """The validation text, or of a long one documents from all over it, and which part of it that is.

    Documents are put in an order of their own, so that what is remembered of a machine holds in whatever order a run
    deals them.
    """
    texts = dataset.texts
    pieces = () if texts else split_documents(np.asarray(dataset.validation), dataset.tokenizer.bos_id)
    size = sum(map(len, texts)) if texts else dataset.validation_bytes
    numbers = range(len(texts or pieces))
    order = sorted(numbers, key=texts.__getitem__ if texts else lambda number: pieces[number].tobytes())
    order = order[:: max(1, -(-size // MOST_TEXT))]
    chosen = [(texts[number] if texts else dataset.tokenizer.decode(pieces[number]))[:MOST_TEXT] for number in order]
    return Sought.texts(chosen, order), min(1.0, sum(map(len, chosen)) / max(1, size))


def validation_tokens(dataset: Dataset, width: int) -> Sought:
    """The validation stream's ids as integers of `width` bytes, cut where `validation_text` cuts it."""
    stream = np.asarray(dataset.validation)[: MOST_TEXT // 2]
    return Sought(stream.astype(f"<u{width}").tobytes(), np.zeros(1, np.int64))


def own(dataset: Dataset, text: Sought, files: Mapping[str, Path]) -> tuple[float, tuple[Held, ...]]:
    """Share of the validation text, or of its tokens, that files hold in plain form, and which files do.

    Args:
        dataset: whose tokens are looked for.
        text: its validation text.
        files: by the name that they are reported with.

    Raises:
        OSError: a file cannot be read.
    """
    sought = {1: text, **{width: validation_tokens(dataset, width) for width in (2, 4, 8)}}
    found: dict[int, dict[str, list[Span]]] = {width: {} for width in sought}
    for name, path in files.items():
        data = path.read_bytes()
        for width, what in sought.items():
            least = 1 if width == 1 else TOKENS * width
            passages = what.find(folded(data) if width == 1 else data)
            spans = [(start, end) for start, end, _ in passages if end - start >= least]
            if spans:
                found[width][name] = spans
    sums = [summed(sought[width], spans, width) for width, spans in found.items()]
    held = sorted((one for _, _, files in sums for one in files), key=lambda one: (-one.share, one.path))
    return max(share for share, _, _ in sums), tuple(held[:_NAMED])


def look(
    dataset: Dataset, read_paths: Sequence[str], extra: Mapping[str, Path], cache: Path, *, hide: Collection[str] = ()
) -> AtHand:
    """Hold the validation text against what a box can read.

    Args:
        dataset: whose validation text is looked for.
        read_paths: files and folders of the machine that every box sees.
        extra: the submission's own files and its artifact, by the name that they are reported with.
        cache: folder that remembers what the machine's folders held.
        hide: folders inside `read_paths` that a box does not see.

    Raises:
        OSError: one of `extra` cannot be read.
    """
    text, part = validation_text(dataset)
    machine = scan(text, read_paths, cache, hide)
    share, documents, files = summed(text, machine.spans)
    own_share, own_files = own(dataset, text, extra)
    return AtHand(
        share=share,
        documents=documents,
        files=files,
        scanned_files=machine.files,
        scanned_bytes=machine.bytes,
        not_scanned=machine.left_out,
        own_share=own_share,
        own_files=own_files,
        looked_for=part,
    )
