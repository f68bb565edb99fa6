import pytest
import torch

from tests.kit.trained import make


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny tensors gain nothing from a thread pool, and lose a lot to it on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, one_thread):
    """A model that was trained for some seconds, and its data; do not change it."""
    return make(tmp_path_factory.mktemp("trained"))
