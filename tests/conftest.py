"""Fixtures for the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.corpus.dataset import Dataset
from tests.support import tiny_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A tiny prepared dataset, made once."""
    return tiny_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests run in."""
    return Path(__file__).resolve().parent.parent
