"""A prepared dataset: the one place where documents, tokens, tokenizer and byte table come together.

`prepare` takes "commons", "stdlib", a .jsonl file, a folder in the contest's layout, or "fineweb:VARIANT[@SHARDS]".
What it computes is kept under a cache folder, addressed by the content that it was computed from. Training shards lie
in a folder of their own, the only one that the box is shown.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus import commons, hub
from harness.corpus.documents import (
    jsonl_documents,
    split,
    stdlib_documents,
    stdlib_sources,
    topics_source,
)
from harness.corpus.layout import Layout, find_layout
from harness.corpus.overlap import remove_near_duplicates
from harness.corpus.reference import XZ_LIMIT_BYTES, count_tokens, mismatch, stream_sha256, unigram_bpb, xz_bpb
from harness.corpus.shards import Tokens, read_shard, split_documents, write_shard
from harness.corpus.store import META, link_or_copy, materialise
from harness.corpus.tokenbytes import ByteTable, byte_table, true_bytes
from harness.corpus.tokenizer import Tokenizer, load_tokenizer, round_trip, train_tokenizer
from harness.corpus.transformed import read_sidecar
from harness.errors import UsageError

#: Part of every cache address; raise it when prepared data changes its meaning.
FORMAT = 2

#: Prepared streams up to this size are hashed again on every load, so that a damaged cache cannot be scored.
_RECHECK_BYTES = 256_000_000

#: What is played where nobody names anything else: the texts that ship with the harness.
DEFAULT = commons.NAME

Notify = Callable[[str], None]
Fact = int | float | str


@dataclass(frozen=True)
class Dataset:
    """Everything that a run needs to know about its data.

    Attributes:
        name: "commons", "stdlib", the file's name, or the contest's name such as "fineweb10B_sp1024".
        sha256: over the tokenizer file and both token streams.
        root: the cache folder of the prepared data.
        train_dir: a folder that holds the training shards and nothing else.
        train_shards: its files in order.
        validation: uint16 [N+1], the whole validation stream.
        tokenizer: its .model file and what is known of it.
        vocab_size: pieces of the tokenizer.
        table: bytes by token.
        documents: validation documents, None if the stream has no BOS.
        texts: the raw validation documents where they are known.
        train_tokens: tokens in all training shards.
        facts: how the data came about, and what is lost in the tokens.
        reference_unigram_bpb: unigram model of the training tokens on the validation stream.
        reference_xz_bpb: `xz -9` on the validation text; None where the text is too long or not known.
        sidecar: uint16 [N+1], bytes of original text that each token of the validation stream stands for; None where
            tokens stand for the text that they decode to, and the table counts.
        dealt: the validation documents are in an order that an audit has drawn (see `dealt`), not in their own.
    """

    name: str
    sha256: str
    root: Path
    train_dir: Path
    train_shards: tuple[Path, ...]
    validation: Tokens
    tokenizer: Tokenizer
    vocab_size: int
    table: ByteTable
    documents: int | None
    texts: tuple[str, ...] | None
    train_tokens: int
    facts: dict[str, Fact]
    reference_unigram_bpb: float
    reference_xz_bpb: float | None
    sidecar: Tokens | None = None
    dealt: bool = False

    def charged(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Bytes that the score is divided by for positions >= 1 of the validation stream: int64, same shape."""
        if self.sidecar is not None:
            counted: NDArray[np.int64] = self.sidecar[positions].astype(np.int64)
            return counted
        return self.table.count(self.validation[positions], self.validation[positions - 1])

    @property
    def validation_bytes(self) -> int:
        """Bytes of the whole validation stream, its first token left out."""
        return _bytes(self.table, self.validation, self.sidecar)


def dealt(dataset: Dataset, tokens: int, rng: np.random.Generator) -> Dataset:
    """The same data with the validation documents among the first `tokens` tokens in an order drawn by `rng`.

    Each document keeps its BOS, its tokens and its bytes, so the sum of bytes stays what it was. What stands before the
    first BOS stays first, and a document that the cut at `tokens` has shortened stays last. Without a BOS, or with
    fewer than two whole documents, nothing can be dealt and the data come back as they are.
    """
    stream = np.asarray(dataset.validation)
    starts = np.flatnonzero(stream[:tokens] == dataset.tokenizer.bos_id)
    whole = len(starts) if tokens == len(stream) or stream[tokens] == dataset.tokenizer.bos_id else len(starts) - 1
    if whole < 2:
        return dataset
    ends = np.append(starts, tokens)[1 : whole + 1]
    order = rng.permutation(whole)
    places = np.arange(len(stream))
    moved = np.concatenate([np.arange(starts[i], ends[i]) for i in order])
    places[starts[0] : ends[-1]] = moved
    texts = dataset.texts
    if texts is not None and len(texts) >= whole:
        texts = (*(texts[i] for i in order), *texts[whole:])
    return replace(
        dataset,
        validation=stream[places],
        texts=texts,
        sidecar=None if dataset.sidecar is None else np.asarray(dataset.sidecar)[places],
        dealt=True,
    )


def default_cache() -> Path:
    """Where prepared data is kept unless somebody says otherwise: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "golf-harness"


def prepare(spec: str, *, cache: Path, vocab_size: int = 1024, notify: Notify = lambda _: None) -> Dataset:
    """Prepare a dataset, or load it if it has been prepared before.

    Args:
        spec: "commons", "stdlib", a .jsonl file, a folder in the contest's layout, or "fineweb:VARIANT[@SHARDS]".
        cache: folder for prepared and downloaded data.
        vocab_size: pieces of a tokenizer that has to be trained (not for "fineweb:" and folders).
        notify: receives one line for each slow step.

    Raises:
        UsageError: the data is missing, broken or ambiguous.
    """
    cache = cache.expanduser().resolve()
    if spec == commons.NAME:
        return _from_documents(spec, commons.commons_address(), commons.commons_documents, cache, vocab_size, notify)
    if spec == "stdlib":
        return _from_documents("stdlib", _stdlib_address(), stdlib_documents, cache, vocab_size, notify)
    if spec.startswith("fineweb:"):
        folder, shards = hub.fetch(spec, cache / "hub", notify=notify)
        return _from_layout(find_layout(folder, train_limit=shards), cache, notify)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _from_layout(find_layout(path), cache, notify)
    if path.is_file() and path.suffix == ".jsonl":
        with path.open("rb") as file:
            address = hashlib.file_digest(file, "sha256").hexdigest()
        return _from_documents(path.name, address, lambda: jsonl_documents(path), cache, vocab_size, notify)
    what = "is neither a folder nor a .jsonl file" if path.exists() else "does not exist"
    raise UsageError(
        f"data {spec!r} {what}; give commons, stdlib, a .jsonl file, a folder with datasets/ and"
        " tokenizers/, or fineweb:sp1024@SHARDS"
    )


def _stdlib_address() -> str:
    digest = hashlib.sha256(platform.python_version().encode())
    topics = topics_source()
    for name, path in [*stdlib_sources(), *([("pydoc_data.topics", topics)] if topics else [])]:
        digest.update(f"\n{name} ".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _address(*parts: object) -> str:
    versions = (FORMAT, importlib.metadata.version("sentencepiece"))
    return hashlib.sha256(json.dumps([*versions, *parts]).encode()).hexdigest()[:24]


def _from_documents(
    name: str, address: str, read: Callable[[], list[str]], cache: Path, vocab_size: int, notify: Notify
) -> Dataset:
    def build(folder: Path) -> None:
        notify(f"{name}: reading documents")
        found = read()
        documents = remove_near_duplicates(found)
        train, validation = split(documents)
        notify(f"{name}: {len(train):,} training and {len(validation):,} validation documents; training a tokenizer")
        for part in ("train", "val", "tokenizer"):
            (folder / part).mkdir()
        tokenizer = train_tokenizer(train, vocab_size, folder / "tokenizer" / "tokenizer.model")
        notify(f"{name}: writing tokens of a vocabulary of {tokenizer.vocab_size:,}")
        write_shard(folder / "train" / "fineweb_train_000000.bin", tokenizer.stream(train))
        write_shard(folder / "val" / "fineweb_val_000000.bin", tokenizer.stream(validation))
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in validation)
        (folder / "val" / "documents.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
        facts: dict[str, Fact] = {"python": platform.python_version()} if name == "stdlib" else {}
        facts |= {
            "train_documents": len(train),
            "train_bytes": int(true_bytes(train).sum()),
            "near_duplicates_removed": len(found) - len(documents),
        }
        _write_meta(folder, replace(find_layout(folder), name=name), facts, notify)

    root = materialise(cache / f"{Path(name).stem}-{vocab_size}-{_address(name, address, vocab_size)}", build)
    return _load(root, find_layout(root), root / "train")


def _from_layout(layout: Layout, cache: Path, notify: Notify) -> Dataset:
    files = [*layout.train, *layout.validation, *layout.sidecar, layout.tokenizer]
    files += [layout.documents] if layout.documents else []
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    # Used in place where they lie alone. The contest keeps validation shards beside them, which the box must not see.
    alone = set(layout.train_dir.iterdir()) == set(layout.train)

    def build(folder: Path) -> None:
        notify(f"{layout.name}: checking {len(layout.train)} training shards")
        if not alone:
            (folder / "train").mkdir()
            for path in layout.train:
                link_or_copy(path, folder / "train" / path.name)
        _write_meta(folder, layout, {"train_shards": len(layout.train)}, notify)

    root = materialise(cache / f"{layout.name}-{_address(*stats)}", build)
    return _load(root, layout, layout.train_dir if alone else root / "train")


def _validation(shards: Sequence[Path]) -> Tokens:
    stream = np.concatenate([read_shard(path) for path in shards])
    if stream.size < 2:
        raise UsageError(f"{shards[0]}: the validation stream has {stream.size} tokens; at least 2 are needed")
    return stream


def _bytes(table: ByteTable, stream: Tokens, sidecar: Tokens | None) -> int:
    return int((table.stream_bytes(stream) if sidecar is None else sidecar[1:]).sum(dtype=np.int64))


def _texts(layout: Layout, documents: int | None) -> tuple[str, ...] | None:
    if layout.documents is None or documents is None:
        return None
    texts = jsonl_documents(layout.documents, limit=documents)
    return tuple(texts) if len(texts) == documents else None


def _write_meta(folder: Path, layout: Layout, facts: dict[str, Fact], notify: Notify) -> None:
    """Compute what is slow to compute, once, and write it as the folder's META."""
    tokenizer = load_tokenizer(layout.tokenizer)
    table = byte_table(tokenizer)
    stream = _validation(layout.validation)
    if int(stream.max()) >= tokenizer.vocab_size:
        raise mismatch(layout.validation[0], int(stream.max()), tokenizer.vocab_size)
    train = count_tokens(layout.train, tokenizer.vocab_size)
    documents = int((stream == tokenizer.bos_id).sum()) or None
    sidecar = read_sidecar(layout.sidecar, layout.validation, stream.size)
    counted = _bytes(table, stream, sidecar)
    if not counted:
        raise UsageError(f"{layout.validation[0]}: the validation tokens stand for no text at all")
    facts = {
        **facts,
        "sentencepiece": importlib.metadata.version("sentencepiece"),
        "validation_bytes": counted,
        "bytes_per_token": round(counted / (stream.size - 1), 6),
        "unknown_tokens": int((stream == tokenizer.processor.unk_id()).sum()),
    }
    pieces = split_documents(stream, tokenizer.bos_id)
    texts = _texts(layout, documents)
    if sidecar is not None:
        notify(f"{layout.name}: bytes are those of the side-car {layout.sidecar[0].name}, not of the tokenizer's table")
        facts |= {"bytes_from": "side-car", "validation_bytes_by_table": _bytes(table, stream, None)}
        facts |= {"validation_true_bytes": int(true_bytes(texts).sum())} if texts is not None else {}
    elif texts is not None:
        notify(f"{layout.name}: comparing {len(texts):,} validation documents with their tokens")
        trip = round_trip(tokenizer, texts)
        same = sum(np.array_equal(tokenizer.encode(text), piece) for text, piece in zip(texts, pieces, strict=False))
        facts |= {
            "validation_true_bytes": trip.true_bytes,
            "validation_documents_same_tokens": same,
            "validation_documents_exact": trip.exact,
        }
    xz = None
    if counted <= XZ_LIMIT_BYTES and sidecar is None:
        xz = xz_bpb("\n".join(tokenizer.decode(piece) for piece in pieces).encode("utf-8"))
    warnings = "; ".join(table.warnings)
    if warnings:
        notify(f"{layout.name}: {warnings}")
        facts["tokenizer_warnings"] = warnings
    validation_sha256 = stream_sha256(stream)
    parts = [tokenizer.sha256, train.sha256, validation_sha256]
    parts += [] if sidecar is None else [stream_sha256(sidecar)]
    meta = {
        "name": layout.name,
        "sha256": hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        "tokenizer_sha256": tokenizer.sha256,
        "train_sha256": train.sha256,
        "validation_sha256": validation_sha256,
        **({} if sidecar is None else {"sidecar_sha256": stream_sha256(sidecar)}),
        "documents": documents,
        "train_tokens": train.tokens,
        "facts": facts,
        "reference_unigram_bpb": unigram_bpb(train.counts, stream, counted),
        "reference_xz_bpb": xz,
    }
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def _load(root: Path, layout: Layout, train_dir: Path) -> Dataset:
    meta: dict[str, Any] = json.loads((root / META).read_bytes())
    tokenizer = load_tokenizer(layout.tokenizer)
    stream = _validation(layout.validation)
    shards = tuple(train_dir / path.name for path in layout.train)
    found = {"tokenizer_sha256": tokenizer.sha256, "validation_sha256": stream_sha256(stream)}
    sidecar = read_sidecar(layout.sidecar, layout.validation, stream.size)
    if sidecar is not None:
        found["sidecar_sha256"] = stream_sha256(sidecar)
    if 2 * int(meta["train_tokens"]) <= _RECHECK_BYTES:
        found["train_sha256"] = count_tokens(shards, tokenizer.vocab_size).sha256
    damaged = [name.removesuffix("_sha256") for name, value in found.items() if meta.get(name) != value]
    if damaged:
        raise UsageError(f"prepared data in {root} is damaged ({', '.join(damaged)}); remove that folder and try again")
    return Dataset(
        name=str(meta["name"]),
        sha256=str(meta["sha256"]),
        root=root,
        train_dir=train_dir,
        train_shards=shards,
        validation=stream,
        tokenizer=tokenizer,
        vocab_size=tokenizer.vocab_size,
        table=byte_table(tokenizer),
        documents=meta["documents"],
        texts=_texts(layout, meta["documents"]),
        train_tokens=int(meta["train_tokens"]),
        facts=meta["facts"],
        reference_unigram_bpb=float(meta["reference_unigram_bpb"]),
        reference_xz_bpb=meta["reference_xz_bpb"],
        sidecar=sidecar,
    )
