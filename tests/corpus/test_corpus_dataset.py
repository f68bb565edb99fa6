from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import make_documents

from harness.corpus.dataset import Dataset, prepare
from harness.corpus.overlap import word_runs
from harness.corpus.reference import unigram_bpb, xz_bpb
from harness.corpus.shards import read_shard, split_documents, write_shard
from harness.corpus.tokenbytes import byte_table, document_bytes, true_bytes
from harness.corpus.tokenizer import Tokenizer
from harness.errors import UsageError
from tests.support import shared_share


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stdlib(cache: Path) -> Dataset:
    return prepare("stdlib", cache=cache)


@pytest.fixture
def jsonl(tmp_path: Path, documents: list[str]) -> Path:
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return path


def test_stdlib_is_enough_for_a_small_model(stdlib: Dataset) -> None:
    assert stdlib.name == "stdlib" and stdlib.vocab_size == 1024
    assert stdlib.train_tokens > 600_000
    assert 20_000 < stdlib.validation.size < 45_000
    assert stdlib.documents is not None and stdlib.documents > 40
    assert 80_000 < stdlib.facts["validation_bytes"] < 110_000  # type: ignore[operator]
    assert 3 < stdlib.reference_unigram_bpb < 4.5
    assert stdlib.reference_xz_bpb is not None and 2 < stdlib.reference_xz_bpb < 3


def test_stdlib_bytes_are_true(stdlib: Dataset) -> None:
    assert stdlib.texts is not None and stdlib.documents == len(stdlib.texts)
    counted = document_bytes(stdlib.table, stdlib.validation, stdlib.tokenizer.bos_id)
    assert np.array_equal(counted, true_bytes(stdlib.texts))
    assert stdlib.facts["validation_documents_exact"] == stdlib.documents
    pieces = split_documents(stdlib.validation, stdlib.tokenizer.bos_id)
    assert [stdlib.tokenizer.decode(piece) for piece in pieces] == list(stdlib.texts)


def test_stdlib_validation_text_is_not_in_the_training_tokens(stdlib: Dataset) -> None:
    assert stdlib.texts is not None
    train = np.concatenate([read_shard(path) for path in stdlib.train_shards])
    decoded = [stdlib.tokenizer.decode(piece) for piece in split_documents(train, stdlib.tokenizer.bos_id)]
    assert len(decoded) == stdlib.facts["train_documents"]
    runs = {run for text in decoded for run in word_runs(text)}
    assert [shared_share(text, runs) for text in stdlib.texts] == [0.0] * len(stdlib.texts)


def test_the_train_folder_holds_training_shards_only(stdlib: Dataset) -> None:
    assert sorted(stdlib.train_dir.iterdir()) == list(stdlib.train_shards)
    assert stdlib.validation.tobytes() not in stdlib.train_shards[0].read_bytes()


def test_a_second_preparation_is_the_first(stdlib: Dataset, cache: Path) -> None:
    lines: list[str] = []
    again = prepare("stdlib", cache=cache, notify=lines.append)
    assert lines == [], "nothing slow happened"
    assert (again.sha256, again.facts, again.texts) == (stdlib.sha256, stdlib.facts, stdlib.texts)
    assert [path.name for path in cache.iterdir()] == [stdlib.root.name]


def test_the_same_documents_give_the_same_hash_in_any_process(jsonl: Path, tmp_path: Path) -> None:
    here = prepare(str(jsonl), cache=tmp_path / "a", vocab_size=512)
    script = (
        "import sys; from pathlib import Path; from harness.corpus.dataset import prepare;"
        "print(prepare(sys.argv[1], cache=Path(sys.argv[2]), vocab_size=512).sha256)"
    )
    copy = shutil.copy(jsonl, tmp_path / "copy.jsonl")
    run = subprocess.run(
        [sys.executable, "-c", script, str(copy), str(tmp_path / "b")],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == here.sha256
    jsonl.write_text(jsonl.read_text() + json.dumps({"text": make_documents(1, seed=5)[0]}) + "\n")
    changed = prepare(str(jsonl), cache=tmp_path / "a", vocab_size=512)
    assert changed.sha256 != here.sha256 and changed.root != here.root
    assert prepare(str(jsonl), cache=tmp_path / "a", vocab_size=400).vocab_size == 400


def test_lossy_documents_are_counted_not_hidden(tmp_path: Path, documents: list[str]) -> None:
    path = tmp_path / "lossy.jsonl"
    texts = [text.replace(" ", "\n    ", 5) for text in documents]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = prepare(str(path), cache=tmp_path / "cache", vocab_size=512)
    assert found.texts is not None and all("\n    " in text for text in found.texts)
    assert found.facts["validation_documents_exact"] == 0
    assert found.facts["validation_documents_same_tokens"] == len(found.texts)
    lost = int(found.facts["validation_true_bytes"]) - int(found.facts["validation_bytes"])
    assert lost == 5 * 4 * len(found.texts), "a line break with four spaces is one space in the tokens"


def test_near_duplicates_are_removed_before_the_split(tmp_path: Path, documents: list[str]) -> None:
    path = tmp_path / "d.jsonl"
    texts = documents + [text.upper() for text in documents[:30]]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = prepare(str(path), cache=tmp_path / "cache", vocab_size=512)
    assert found.facts["near_duplicates_removed"] == 30


def test_contest_folder(contest_folder: Path, documents: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = prepare(str(contest_folder), cache=tmp_path / "cache")
    assert np.array_equal(found.validation, tokenizer.stream(documents[:20])), "both shards, in order"
    assert found.train_tokens == tokenizer.stream(documents[20:]).size
    assert (found.name, found.documents, found.texts) == ("fineweb10B_sp512", 20, None)
    assert found.tokenizer.sha256 == tokenizer.sha256
    assert found.facts["validation_bytes"] == int(true_bytes(documents[:20]).sum())
    # validation shards lie beside the training shards, so the box gets links in a folder of their own
    assert sorted(path.name for path in found.train_dir.iterdir()) == [path.name for path in found.train_shards]
    assert found.train_shards[0].samefile(contest_folder / "datasets/fineweb10B_sp512/fineweb_train_000000.bin")
    again = prepare(str(contest_folder / "datasets" / "fineweb10B_sp512"), cache=tmp_path / "cache")
    assert again.sha256 == found.sha256 and again.root == found.root


def test_contest_folder_with_documents(contest_folder: Path, documents: list[str], tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}) + "\n" for text in documents]
    (contest_folder / "docs_selected.jsonl").write_text("".join(lines))
    found = prepare(str(contest_folder), cache=tmp_path / "cache")
    assert found.texts == tuple(documents[:20])
    assert found.facts["validation_documents_same_tokens"] == 20
    (contest_folder / "docs_selected.jsonl").write_text("".join(lines[1:]))
    wrong = prepare(str(contest_folder), cache=tmp_path / "cache")
    assert wrong.facts["validation_documents_same_tokens"] == 0
    assert wrong.facts["validation_true_bytes"] != wrong.facts["validation_bytes"]


def with_sidecar(contest_folder: Path, tokenizer: Tokenizer, *, scale: int = 1) -> int:
    """Write a side-car beside the contest folder's validation shards: the table's own bytes, times `scale`."""
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    streams = [read_shard(path) for path in sorted(data.glob("fineweb_val_0*.bin"))]
    whole = np.concatenate(streams)
    counts = np.concatenate([[0], byte_table(tokenizer).stream_bytes(whole)]) * scale
    for index, piece in enumerate(np.split(counts, [len(streams[0])])):
        write_shard(data / f"fineweb_val_bytes_{index:06d}.bin", piece)
    return int(counts.sum())


def test_a_byte_side_car_is_what_counts(contest_folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    plain = prepare(str(contest_folder), cache=tmp_path / "cache")
    assert plain.sidecar is None and plain.validation_bytes == plain.facts["validation_bytes"]
    total = with_sidecar(contest_folder, tokenizer, scale=2)
    lines: list[str] = []
    found = prepare(str(contest_folder), cache=tmp_path / "cache", notify=lines.append)
    assert found.sidecar is not None and found.sha256 != plain.sha256
    assert found.validation_bytes == found.facts["validation_bytes"] == total == 2 * plain.validation_bytes
    assert found.facts["bytes_from"] == "side-car"
    assert found.facts["validation_bytes_by_table"] == plain.validation_bytes
    assert found.reference_unigram_bpb == pytest.approx(plain.reference_unigram_bpb / 2)
    assert found.reference_xz_bpb is None and any("side-car" in line for line in lines)
    positions = np.arange(1, found.validation.size)
    assert np.array_equal(found.charged(positions), 2 * plain.charged(positions))


def test_a_side_car_that_does_not_fit_is_refused(contest_folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with_sidecar(contest_folder, tokenizer)
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    second = data / "fineweb_val_bytes_000001.bin"
    write_shard(second, read_shard(second)[1:].copy())
    with pytest.raises(UsageError, match=r"side-car .* counts [\d,]+ tokens, the shards hold"):
        prepare(str(contest_folder), cache=tmp_path / "cache")
    second.unlink()
    with pytest.raises(UsageError, match=r"side-car .* has shards 000000, the tokens have 000000, 000001"):
        prepare(str(contest_folder), cache=tmp_path / "cache")


def test_a_damaged_side_car_is_not_scored(contest_folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with_sidecar(contest_folder, tokenizer)
    prepare(str(contest_folder), cache=tmp_path / "cache")
    path = contest_folder / "datasets" / "fineweb10B_sp512" / "fineweb_val_bytes_000000.bin"
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(UsageError, match=r"damaged \(sidecar\)"):
        prepare(str(contest_folder), cache=tmp_path / "cache")


def test_a_prepared_folder_is_used_in_place(stdlib: Dataset, tmp_path: Path) -> None:
    found = prepare(str(stdlib.root), cache=tmp_path / "cache")
    assert found.train_dir == stdlib.train_dir
    assert (found.sha256, found.texts) == (stdlib.sha256, stdlib.texts)


def test_tokens_beyond_the_vocabulary_are_refused(contest_folder: Path, tmp_path: Path) -> None:
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    train = data / "fineweb_train_000001.bin"
    good = train.read_bytes()
    write_shard(train, [1, 5, 512])
    with pytest.raises(UsageError, match=r"tokenizer/vocabulary mismatch: .*train_000001\.bin holds token 512"):
        prepare(str(contest_folder), cache=tmp_path / "cache")
    train.write_bytes(good)
    write_shard(data / "fineweb_val_000001.bin", [1, 5, 900])
    with pytest.raises(UsageError, match="tokenizer/vocabulary mismatch: .*900, the tokenizer has 512 pieces"):
        prepare(str(contest_folder), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir()), "a failed preparation leaves nothing"


@pytest.mark.parametrize("tokens", [[], [1], [1, 1, 2]])
def test_validation_without_text_is_refused(contest_folder: Path, tmp_path: Path, tokens: list[int]) -> None:
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    (data / "fineweb_val_000001.bin").unlink()
    write_shard(data / "fineweb_val_000000.bin", tokens)
    with pytest.raises(UsageError, match="validation (stream has . tokens|tokens stand for no text)"):
        prepare(str(contest_folder), cache=tmp_path / "cache")


@pytest.mark.parametrize("what", ["train/fineweb_train_000000.bin", "val/fineweb_val_000000.bin"])
def test_a_damaged_cache_is_not_scored(jsonl: Path, tmp_path: Path, what: str) -> None:
    found = prepare(str(jsonl), cache=tmp_path / "cache", vocab_size=512)
    raw = bytearray((found.root / what).read_bytes())
    raw[2000] ^= 1
    (found.root / what).write_bytes(raw)
    part = "train" if "train" in what else "validation"
    with pytest.raises(UsageError, match=rf"damaged \({part}\); remove that folder"):
        prepare(str(jsonl), cache=tmp_path / "cache", vocab_size=512)


@pytest.mark.parametrize(
    ("spec", "says"),
    [("nowhere", "does not exist"), ("file.txt", "neither a folder nor a .jsonl file"), ("fineweb:", "not understood")],
)
def test_unusable_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("hello")
    with pytest.raises(UsageError, match=says):
        prepare(spec, cache=tmp_path / "cache")


def test_unigram_reference_by_hand(tokenizer: Tokenizer) -> None:
    table = byte_table(tokenizer)
    counts = np.zeros(512, dtype=np.int64)
    counts[260], counts[300] = 6, 90
    stream = np.array([1, 260, 300, 1], dtype=np.uint16)
    bits = -np.log2([7 / 608, 91 / 608, 1 / 608]).sum()  # add one: 96 + 512 = 608; the last BOS is a target
    size = int(table.stream_bytes(stream).sum())
    assert unigram_bpb(counts, stream, size) == pytest.approx(bits / size)


def test_xz_reference() -> None:
    text = b"a text to compress " * 100
    assert xz_bpb(text) == 8 * len(lzma.compress(text, preset=9)) / len(text)
    assert xz_bpb(b"") is None
    assert xz_bpb(bytes(64_000_001)) is None
