import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny tensors gain nothing from a thread pool, and lose a lot to it on a busy machine."""
    torch.set_num_threads(1)
