from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.corpus.store import link_or_copy, materialise
from harness.errors import HarnessError, UsageError


def _build(folder: Path) -> None:
    (folder / "data").write_text("x")
    (folder / "meta.json").write_text("{}")


def test_built_once_then_found(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a"
    assert materialise(target, _build) == target
    assert (target / "data").read_text() == "x"

    def never(_: Path) -> None:
        raise AssertionError("built again")

    assert materialise(target, never) == target


def test_a_crash_leaves_nothing(tmp_path: Path) -> None:
    def crash(folder: Path) -> None:
        (folder / "data").write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        materialise(tmp_path / "a", crash)
    assert list(tmp_path.iterdir()) == []
    materialise(tmp_path / "a", _build)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_builder_that_forgets_its_meta_file_fails(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"wrote no meta\.json"):
        materialise(tmp_path / "a", lambda folder: None)
    assert list(tmp_path.iterdir()) == []


def test_concurrent_preparations_agree(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    results: list[Path] = []

    def build(folder: Path) -> None:
        barrier.wait(timeout=30)  # all four are past the first look before anyone is done
        _build(folder)

    threads = [threading.Thread(target=lambda: results.append(materialise(tmp_path / "a", build))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tmp_path / "a"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "data").read_text() == "x"


def test_something_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("keep")
    with pytest.raises(UsageError, match="is in the way"):
        materialise(tmp_path / "a", _build)
    assert (tmp_path / "a" / "mine").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write prepared data"):
        materialise(tmp_path / "file" / "a", _build)


def test_link_or_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_text("tokens")
    link_or_copy(source, tmp_path / "linked")
    assert (tmp_path / "linked").samefile(source)

    def refuse(*_: object) -> None:
        raise OSError("cross-device")

    monkeypatch.setattr("os.link", refuse)
    link_or_copy(source, tmp_path / "copied")
    assert not (tmp_path / "copied").samefile(source)
    assert (tmp_path / "copied").read_text() == "tokens"
