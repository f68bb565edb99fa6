"""The default data: what ships, where it comes from, and that it is built the same way every time."""

from __future__ import annotations

import inspect
import json
import lzma
import re
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import commons as build
from harness.adapters.options import Options
from harness.cli.run import command as run
from harness.corpus import commons
from harness.corpus.dataset import DEFAULT, Dataset, prepare
from harness.corpus.documents import plain
from harness.corpus.overlap import word_runs
from harness.corpus.shards import read_shard, split_documents
from harness.corpus.tokenbytes import document_bytes, true_bytes
from harness.errors import HarnessError
from tests.support import shared_share

SOURCES = commons.FILE.with_name("SOURCES.md")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare("commons", cache=tmp_path_factory.mktemp("cache"))


def test_it_is_the_default() -> None:
    assert DEFAULT == Options().data_spec == "commons"
    (option,) = [parameter for parameter in run.params if parameter.name == "data"]
    assert option.default == "commons"


def test_what_is_said_of_its_size_holds(data: Dataset) -> None:
    readme = (commons.FILE.parents[3] / "README.md").read_text()
    tokens = f"{data.train_tokens:,} training and {data.validation.size:,} validation tokens"
    assert f"{tokens} ({data.validation_bytes:,} bytes)" in re.sub(r"\s+", " ", readme)
    assert data.name == "commons" and data.documents is not None and data.documents > 50
    assert 3 < data.reference_unigram_bpb < 4.5
    assert data.reference_xz_bpb is not None and 2 < data.reference_xz_bpb < 3.2
    assert commons.FILE.stat().st_size < 900_000


def test_its_bytes_are_true_and_its_parts_do_not_overlap(data: Dataset) -> None:
    assert data.texts is not None and data.documents == len(data.texts) == data.facts["validation_documents_exact"]
    counted = document_bytes(data.table, data.validation, data.tokenizer.bos_id)
    assert np.array_equal(counted, true_bytes(data.texts))
    train = np.concatenate([read_shard(path) for path in data.train_shards])
    runs = set().union(*(word_runs(data.tokenizer.decode(piece)) for piece in split_documents(train, 1)))
    assert [shared_share(text, runs) for text in data.texts] == [0.0] * len(data.texts)


def test_it_does_not_depend_on_the_python(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert "python" not in data.facts
    again = prepare("commons", cache=tmp_path)
    assert (again.root.name, again.sha256) == (data.root.name, data.sha256)


def test_its_texts_are_many_of_many_kinds_and_plain() -> None:
    texts = commons.commons_documents()
    assert len(texts) == len(set(texts)) > 1_500
    assert all(300 <= len(text) <= 6_000 and plain(text) == text for text in texts)
    assert not any(build.LEFT_OUT.search(text) for text in texts)
    ascii_share = sum(text.isascii() for text in texts) / len(texts)
    assert 0.5 < ascii_share < 0.95


def test_every_source_is_named_with_its_licence() -> None:
    lines = lzma.decompress(commons.FILE.read_bytes()).decode().splitlines()
    records = [json.loads(line) for line in lines]
    documents = Counter(record["source"] for record in records)
    characters = Counter[str]()
    for record in records:
        characters[record["source"]] += len(record["text"])
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in SOURCES.read_text().splitlines()]
    table = {row[0].strip("`"): row for row in rows if len(row) == 8 and row[0].startswith("`")}
    assert set(table) == set(documents) == {source.name for source in build.SOURCES}
    for source in build.SOURCES:
        _, what, author, year, package, free, count, size = table[source.name]
        assert what and author and re.search(r"\d{4}", year)
        assert re.search("term over|public domain|government", free)
        assert any(name in package for name in source.packages)
        assert (count, size) == (f"{documents[source.name]:,}", f"{characters[source.name]:,}")
    assert f"{len(records):,} documents ({sum(characters.values()):,} characters)" in SOURCES.read_text()


def test_a_missing_or_broken_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for content in (None, b"not xz", lzma.compress(b'{"no": "text"}\n')):
        place = tmp_path / "texts.xz"
        if content is not None:
            place.write_bytes(content)
        monkeypatch.setattr(commons, "FILE", place)
        with pytest.raises(HarnessError, match="texts.xz cannot be read"):
            commons.commons_documents()


# the script that builds it


def serialised(lines: list[str]) -> bytes:
    """A character vector as R writes it into a package's database."""
    strings = b"".join(struct.pack(">ii", 0x40009, len(line.encode())) + line.encode() for line in lines)
    head = b"X\n" + struct.pack(">iiii", 3, 0x40201, 0x30500, 5) + b"UTF-8"
    return head + struct.pack(">ii", 16, len(lines)) + strings


def paragraph(number: int, sentences: int = 6) -> str:
    return " ".join(
        f"Sentence {number}.{i} speaks of {number * i} grey gulls over harbour {i}." for i in range(sentences)
    )


def made_package(folder: Path) -> Path:
    """What three of the packages look like, unpacked."""
    data = folder / "austen" / "usr/lib/R/site-library/janeaustenr/data"
    data.mkdir(parents=True)
    books = [
        serialised([line for n in range(40) for line in (f"{paragraph(book * 100 + n)} é", "")]) for book in (1, 2)
    ]
    packed = [zlib.compress(book) for book in books]
    (data / "Rdata.rdb").write_bytes(b"".join(struct.pack(">I", len(p)) + p for p in packed))
    blocks = folder / "treasury" / "modules/tdavid"
    blocks.mkdir(parents=True)
    text = "".join(f'<div sID="g{n}" type="x-p"/> {paragraph(900 + n)} &amp; <hi>so</hi>' for n in range(30))
    block = zlib.compress(text.encode())
    (blocks / "ot.czz").write_bytes(b"pad" + block)
    (blocks / "ot.czs").write_bytes(struct.pack("<III", 3, len(block), len(text)))
    facts = folder / "factbook" / "package" / "europe"
    facts.mkdir(parents=True)
    country = {
        "Government": {"Country name": {"conventional short form": {"text": "Arcadia"}}},
        "Geography": {
            "Location": {"text": "inland"},
            "Area": {"total": {"text": "7 sq km"}, "land": {"text": "6 sq km"}},
            "Climate": {"text": paragraph(7777)},
        },
    }
    (facts / "ar.json").write_text(json.dumps(country))
    return folder


def test_the_build_is_the_same_every_time(tmp_path: Path) -> None:
    folder = made_package(tmp_path)

    def once() -> bytes:
        works = {"austen": build.austen(folder / "austen"), "treasury": build.treasury(folder / "treasury")}
        return build.packed({name: build.chosen(found, 9_000) for name, found in works.items()})

    first = once()
    assert first == once()
    records = [json.loads(line) for line in lzma.decompress(first).decode().splitlines()]
    assert {record["source"] for record in records} == {"austen", "treasury"}
    assert all(len(record["text"]) >= build.LEAST and "<" not in record["text"] for record in records)
    assert sum(len(record["text"]) for record in records) < 2 * (9_000 + 6_000)
    assert any("é" in record["text"] for record in records) and any("& so" in record["text"] for record in records)
    (parts,) = [parts for parts in build.factbook(folder / "factbook") if "Geography" in parts[0]]
    assert parts[:3] == ["Arcadia, Geography.", "Location: inland.", "Area: total: 7 sq km; land: 6 sq km."]


def test_the_shipped_file_is_what_its_texts_pack_to() -> None:
    texts: dict[str, list[str]] = {}
    for line in lzma.decompress(commons.FILE.read_bytes()).decode().splitlines():
        record = json.loads(line)
        texts.setdefault(record["source"], []).append(record["text"])
    assert lzma.decompress(build.packed(texts)) == lzma.decompress(commons.FILE.read_bytes())


def test_a_slur_and_a_twin_are_left_out() -> None:
    parts = [
        paragraph(1, 9),
        paragraph(2, 9),
        paragraph(1, 9),
        f"{paragraph(3, 9)} {build.LEFT_OUT.pattern[2:].title()}.",
    ]
    assert build.chosen(iter([[part] for part in parts]), 10**6) == [paragraph(1, 9), paragraph(2, 9)]


def test_no_address_stands_in_the_script() -> None:
    source = inspect.getsource(sys.modules[build.__name__])
    assert "http" not in source and not re.search(r"\b[a-z]+\.(org|com|io)\b", source)
