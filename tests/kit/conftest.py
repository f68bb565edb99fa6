from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.trained import make


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny tensors gain nothing from a thread pool, and lose a lot to it on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[Path]:
    """A stream in which every token follows from the one before it, so that there is something to learn."""
    tokens = np.cumsum(np.full(3000, 5)) % 16
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(tokens)
    path = tmp_path_factory.mktemp("train") / "fineweb_train_000000.bin"
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    return [path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, one_thread):
    """A model that was trained for some seconds, and its data; do not change it."""
    return make(tmp_path_factory.mktemp("trained"))
