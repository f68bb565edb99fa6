"""The examples of docs/library.md, and that its gallery is the tests'."""

from __future__ import annotations

import doctest
from pathlib import Path

from tests.library.gallery import GALLERY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "library.md"


def test_the_examples_do_what_they_say() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert done.attempted >= 20 and done.failed == 0


def test_the_gallery_is_the_tests() -> None:
    section = PAGE.read_text().split("## The leak gallery")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    # One row has two statistics, one three gates.
    assert len(rows) + 1 + 2 == len(GALLERY)
