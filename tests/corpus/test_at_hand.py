"""Validation text at hand: on the machine, and among a submission's own files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import make_documents

from harness.corpus import installed
from harness.corpus.at_hand import look, validation_text
from harness.corpus.dataset import Dataset, dealt, prepare
from harness.corpus.documents import stdlib_sources
from harness.corpus.passages import Sought


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    lines = "".join(f'{{"text": "{text}"}}\n' for text in make_documents(80, words=150, seed=2))
    (folder / "made.jsonl").write_text(lines)
    return prepare(str(folder / "made.jsonl"), cache=folder / "cache", vocab_size=400)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of files that hold none of the text: code, a library, links, compiled code."""
    root = tmp_path / "machine"
    (root / "lib" / "__pycache__").mkdir(parents=True)
    for index, text in enumerate(make_documents(30, words=200, seed=9)):
        (root / "lib" / f"module{index}.py").write_text(f'"""{text}"""\n')
    (root / "lib" / "__pycache__" / "module1.cpython-311.pyc").write_bytes(b"\0" * 100)
    (root / "lib" / "library.so").write_bytes(b"\x7fELF" + bytes(range(256)) * 8)
    (root / "lib" / "elsewhere").symlink_to("/proc")
    return root


def wrapped(text: str) -> str:
    """As a comment of 60 columns in capitals."""
    words, lines = text.upper().split(), [""]
    for word in words:
        lines = [*lines, ""] if len(lines[-1]) > 60 else lines
        lines[-1] += f" {word}"
    return "".join(f"#{line}\n" for line in lines)


def test_a_clean_machine_holds_nothing(dataset: Dataset, machine: Path, tmp_path: Path) -> None:
    found = look(dataset, [str(machine)], {}, tmp_path / "cache")
    assert (found.share, found.documents, found.files, found.own_share) == (0.0, 0, (), 0.0)
    assert found.scanned_files == 30 and found.scanned_bytes > 30_000 and found.looked_for == 1.0
    assert found.not_scanned == {"binary": 1, "compiled from a file that was read": 1}


def test_text_on_the_machine_is_found_and_named(dataset: Dataset, machine: Path, tmp_path: Path) -> None:
    texts = dataset.texts
    assert texts is not None
    (machine / "lib" / "copied.txt").write_text(wrapped(texts[0]).lower())
    (machine / "lib" / "__pycache__" / "gone.cpython-311.pyc").write_bytes(b"\xa7\0\0" + texts[1].encode())
    found = look(dataset, [str(machine)], {}, tmp_path / "cache")
    assert found.documents == 2 and found.share == pytest.approx(
        sum(map(len, texts[:2])) / sum(map(len, texts)), abs=0.02
    )
    assert {Path(held.path).name for held in found.files} == {"copied.txt", "gone.cpython-311.pyc"}
    assert all(held.passage[:30] in texts[held.document] for held in found.files)


def test_a_later_change_is_seen_and_nothing_else_is_read_again(
    dataset: Dataset, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset.texts is not None
    read: list[str] = []
    real = installed._read

    def counted(folder: str, batch: installed._Batch) -> installed.Contents:
        read.append(Path(folder).name)
        return real(folder, batch)

    monkeypatch.setattr(installed, "_read", counted)
    cache = tmp_path / "cache"
    (machine / "other").mkdir()
    for _ in range(2):
        installed._remembered.clear()  # as in a fresh process
        assert not look(dataset, [str(machine)], {}, cache).share
    assert sorted(read) == ["__pycache__", "lib", "machine", "other"]
    read.clear()
    (machine / "other" / "added.txt").write_text(dataset.texts[2])
    os.utime(machine / "other", ns=(1, 1))
    assert look(dataset, [str(machine)], {}, cache).documents == 1 and read == ["other"]
    (machine / "other" / "added.txt").unlink()
    assert not look(dataset, [str(machine)], {}, cache).share


def test_hidden_folders_are_not_searched(dataset: Dataset, machine: Path, tmp_path: Path) -> None:
    assert dataset.texts is not None
    (machine / "harness").mkdir()
    (machine / "harness" / "texts.txt").write_text(" ".join(dataset.texts))
    hidden = [str(machine / "harness")]
    assert look(dataset, [str(machine)], {}, tmp_path / "a", hide=hidden).share == 0.0
    installed._remembered.clear()
    assert look(dataset, [str(machine)], {}, tmp_path / "b").share > 0.99


def test_what_a_submission_brings_along_is_found(dataset: Dataset, machine: Path, tmp_path: Path) -> None:
    texts = dataset.texts
    assert texts is not None
    tokens = np.asarray(dataset.validation)
    phrases = np.concatenate([tokens[at : at + 20] for at in range(0, len(tokens) - 20, 40)])
    places = {}
    for name, content in {
        "code.py": b"TEXT = '''" + texts[4].encode() + b"'''",
        "shard.bin": b"\x01" + tokens.astype("<u2").tobytes(),
        "wide.npy": b"head" + tokens[: len(tokens) // 2].astype("<i8").tobytes(),
        "phrases.npy": np.insert(phrases, slice(0, None, 20), 7).astype("<i8").tobytes(),  # too short to tell
        "clean.py": b"x = '" + make_documents(1, seed=77)[0].encode() + b"'",
        "packed.gz": gzip.compress(" ".join(texts).encode()),  # said not to be covered
    }.items():
        places[name] = tmp_path / name
        places[name].write_bytes(content)
    found = look(dataset, [str(machine)], places, tmp_path / "cache")
    by_name = {held.path: held for held in found.own_files}
    assert set(by_name) == {"code.py", "shard.bin", "wide.npy"} and found.share == 0.0
    assert found.own_share == pytest.approx(1.0) and by_name["wide.npy"].share == pytest.approx(0.5, abs=0.02)
    assert by_name["shard.bin"].passage == f"{len(tokens):,} token ids of 2 bytes"
    assert by_name["code.py"].document == 4 and texts[4].startswith(by_name["code.py"].passage[:50])


def test_a_cut_cache_is_as_good_as_none(dataset: Dataset, machine: Path, tmp_path: Path) -> None:
    first = look(dataset, [str(machine)], {}, tmp_path)
    (kept,) = tmp_path.glob("at-hand-*.json")
    kept.write_bytes(kept.read_bytes()[:-20])
    installed._remembered.clear()
    assert look(dataset, [str(machine)], {}, tmp_path) == first


def test_the_order_in_which_documents_are_dealt_changes_nothing(
    dataset: Dataset, machine: Path, tmp_path: Path
) -> None:
    other = dealt(dataset, len(dataset.validation), np.random.default_rng(1))
    assert dataset.texts is not None and other.texts is not None and other.texts != dataset.texts
    assert validation_text(other)[0].digest == validation_text(dataset)[0].digest
    (machine / "lib" / "copied.txt").write_text(other.texts[0])
    (held,) = look(other, [str(machine)], {}, tmp_path).files
    assert held.document == 0 and other.texts[0].startswith(held.passage[:50])


def test_of_a_long_text_whole_documents_are_taken_evenly(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataset.texts is not None
    size = sum(map(len, dataset.texts))
    monkeypatch.setattr("harness.corpus.at_hand.MOST_TEXT", size // 3)
    sought, part = validation_text(dataset)
    assert 1 < len(sought.originals) < len(dataset.texts) and 0.15 < part < 0.5
    assert set(sought.originals) <= set(dataset.texts)


def test_the_standard_library_holds_its_own_documentation() -> None:
    """The offender among data sets, on three of its modules."""
    sources = [path for name, path in stdlib_sources() if name in ("argparse", "bisect", "textwrap")]
    import bisect

    assert bisect.insort.__doc__ and bisect.bisect_left.__doc__
    sought = Sought.texts([bisect.bisect_right.__doc__ or "", bisect.insort_right.__doc__ or ""])
    batch_hits = [sought.find(installed.folded(path.read_bytes())) for path in sources]
    assert sum(bool(hits) for hits in batch_hits) == 1
