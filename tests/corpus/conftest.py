"""Small deterministic documents, tokenizers and folders for the corpus tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import make_documents

from harness.corpus.shards import write_shard
from harness.corpus.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return make_documents(200)


@pytest.fixture(scope="session")
def tokenizer(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(documents, 512, tmp_path_factory.mktemp("tokenizer") / "small.model")


@pytest.fixture
def contest_folder(tmp_path: Path, documents: list[str], tokenizer: Tokenizer) -> Path:
    """DIR/datasets/fineweb10B_sp512 with two training shards and two validation shards, DIR/tokenizers."""
    root = tmp_path / "contest"
    data = root / "datasets" / "fineweb10B_sp512"
    data.mkdir(parents=True)
    (root / "tokenizers").mkdir()
    (root / "tokenizers" / "fineweb_512_bpe.model").write_bytes(tokenizer.path.read_bytes())
    validation, train = tokenizer.stream(documents[:20]), tokenizer.stream(documents[20:])
    for part, stream in (("val", validation), ("train", train)):
        for index, piece in enumerate(np.array_split(stream, 2)):
            write_shard(data / f"fineweb_{part}_{index:06d}.bin", piece)
    return root
