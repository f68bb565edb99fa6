"""SentencePiece tokenizers: the contest's own models, or new ones trained with the contest's options."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpus.shards import Tokens
from harness.errors import UsageError

#: The normalisation of the contest's tokenizers.
RULE = "nmt_nfkc"

#: Options of the contest's data/download_hf_docs_and_tokenize.py.
TRAINING_OPTIONS: dict[str, Any] = {
    "model_type": "bpe",
    "character_coverage": 0.999,
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": RULE,
    "add_dummy_prefix": False,
    "pad_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "unk_id": 3,
    "hard_vocab_limit": False,
}


@dataclass(frozen=True)
class Tokenizer:
    """A SentencePiece model file.

    Attributes:
        path: the .model file.
        sha256: of the file.
        vocab_size: number of pieces.
        bos_id: the token that starts every document.
    """

    path: Path
    sha256: str
    vocab_size: int
    bos_id: int

    @cached_property
    def processor(self) -> Any:
        """The `sentencepiece.SentencePieceProcessor`, loaded on first use."""
        return processor_of(self.path, self.path.read_bytes())

    def encode(self, text: str) -> Tokens:
        """The text's tokens without BOS: uint16, shape [n]."""
        return np.asarray(self.processor.encode(text), dtype=np.uint16)

    def decode(self, tokens: Sequence[int] | Tokens) -> str:
        """The text that the tokens stand for; control tokens vanish, and so does what normalization dropped."""
        return str(self.processor.decode([int(token) for token in tokens]))

    def stream(self, documents: Iterable[str]) -> Tokens:
        """All documents in order, a BOS before each: uint16, shape [n]."""
        head = np.array([self.bos_id], dtype=np.uint16)
        parts = [part for text in documents for part in (head, self.encode(text))]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint16)


@dataclass(frozen=True)
class RoundTrip:
    """How much of some documents survives the tokenizer.

    Attributes:
        documents: how many were tried.
        exact: how many decode to themselves.
        true_bytes: UTF-8 bytes of the documents.
        decoded_bytes: UTF-8 bytes of what their tokens decode to.
        first_lossy: index of the first document that does not decode to itself, or None.
    """

    documents: int
    exact: int
    true_bytes: int
    decoded_bytes: int
    first_lossy: int | None


def round_trip(tokenizer: Tokenizer, documents: Sequence[str]) -> RoundTrip:
    """Encode and decode every document and count what came back."""
    decoded = [tokenizer.decode(tokenizer.encode(text)) for text in documents]
    lossy = [index for index, text in enumerate(documents) if decoded[index] != text]
    return RoundTrip(
        documents=len(documents),
        exact=len(documents) - len(lossy),
        true_bytes=sum(len(text.encode("utf-8")) for text in documents),
        decoded_bytes=sum(len(text.encode("utf-8")) for text in decoded),
        first_lossy=lossy[0] if lossy else None,
    )


def processor_of(path: Path, model: bytes) -> Any:
    """The `sentencepiece.SentencePieceProcessor` of a model's bytes; `path` is for the message alone.

    Raises:
        UsageError: they are no SentencePiece model.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(model)
        if not processor.vocab_size():
            raise RuntimeError("no pieces")
    except (RuntimeError, OSError):
        raise UsageError(f"{path} is not a SentencePiece model") from None
    return processor


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a SentencePiece .model file.

    Raises:
        UsageError: the file is missing, is no SentencePiece model, has no BOS, or has more pieces than uint16 holds.
    """
    try:
        model = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the tokenizer {path}: {error.strerror}") from None
    processor = processor_of(path, model)
    vocab_size, bos_id = int(processor.vocab_size()), int(processor.bos_id())
    if bos_id < 0:
        raise UsageError(f"{path} has no BOS token; every document must start with one")
    if vocab_size > 2**16:
        raise UsageError(f"{path} has {vocab_size:,} pieces; token files hold at most 65,536")
    return Tokenizer(path, hashlib.sha256(model).hexdigest(), vocab_size, bos_id)


def train_tokenizer(documents: Sequence[str], vocab_size: int, path: Path) -> Tokenizer:
    """Train a BPE model with the contest's options and write it to `path`; the same documents give the same file.

    Args:
        documents: training documents only; validation text must not shape the vocabulary.
        vocab_size: pieces to aim for; little text gives fewer.
        path: the .model file to write.

    Raises:
        UsageError: the vocabulary size is not possible with these documents.
    """
    import sentencepiece

    if not 300 <= vocab_size <= 2**16:
        raise UsageError(f"vocabulary size {vocab_size:,} is out of range; choose 300 to 65,536")
    if not any(text.strip() for text in documents):
        raise UsageError("there is no text to train a tokenizer on")
    sentences = (text.replace("\x00", " ").strip() for text in documents)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(text for text in sentences if text),
            model_writer=model,
            vocab_size=vocab_size,
            num_threads=1,  # the merge order, hence the file, must not depend on the machine
            max_sentence_length=1 << 30,  # the default silently drops documents over 4,192 bytes
            minloglevel=2,
            **TRAINING_OPTIONS,
        )
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UsageError(f"no tokenizer of {vocab_size:,} pieces can be trained on this text: {reason}") from None
    path.write_bytes(model.getvalue())
    return load_tokenizer(path)
