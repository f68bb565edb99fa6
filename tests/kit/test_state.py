"""Digests of state: what changes shows, what does not is not hashed again, and equal states are equal."""

from __future__ import annotations

import gc
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.kit import state as states
from harness.kit.state import State, digest
from harness.kit.watch import Watch

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_equal_values_have_equal_digests(value: Any) -> None:
    assert digest(value) == digest(value) == digest(lambda: value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(3), torch.zeros(4)),
        (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
        (torch.tensor([1, 2]), torch.tensor([2, 1])),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(2.0, dtype=torch.bfloat16)),
        (np.arange(4), np.arange(4)[::-1]),
        ([[1], [2]], [[1, 2]]),
        ({"a": 1}, {"a": 2}),
        ({(3, 4): 1}, {(3, 5): 1}),
        ({3, 4}, {3, 5}),
        (deque([1, 2]), deque([2, 1])),
        ("a", b"a"[:0]),
        (nn.Linear(2, 2), nn.Linear(3, 2)),
    ],
)
def test_other_values_have_other_digests(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(0), torch.tensor(3), torch.zeros(2, 0), torch.zeros(3, 4).t(), torch.ones(2, requires_grad=True)],
)
def test_any_tensor_can_be_digested(tensor: torch.Tensor) -> None:
    assert digest(tensor) == digest(tensor.detach().clone())


def large() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 200), nn.BatchNorm1d(3))
    assert next(model.parameters()).numel() * 4 > states.SMALL
    return model


def followed(model: nn.Module) -> State:
    state = State()
    state.follow(model)
    return state


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "in place": lambda m: m[0].weight.detach()[3, 7].add_(1),
    "past the version counter": lambda m: m[0].weight.data.mul_(2),
    "another tensor": lambda m: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach() + 1)),
    "small": lambda m: m[0].bias.data[5].add_(1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_parameter_shows(change: str) -> None:
    model = large()
    state = followed(model)
    before = state.digests()
    assert state.digests() == before and before[0] != 0 and before[2] == 0
    CHANGES[change](model)
    after = state.digests()
    assert after[0] != before[0] and after[1] == before[1]
    assert after == followed(model).digests()


def test_a_change_of_a_buffer_is_told_apart() -> None:
    model = large()
    state = followed(model)
    before = state.digests()
    model[1].running_mean.add_(1)
    after = state.digests()
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.parametrize("transposed", [False, True])
def test_what_did_not_change_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch, transposed: bool) -> None:
    model = large()
    if transposed:
        model[0].weight = nn.Parameter(model[0].weight.detach().t())
    state, hashed, whole = followed(model), [], zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data, crc=0: hashed.append(memoryview(data).nbytes) or whole(data, crc))
    before = state.digests()
    assert max(hashed) > states.SMALL  # or nothing could be seen below
    hashed.clear()
    assert state.digests() == before
    assert all(size <= states.SMALL for size in hashed)


def test_only_optimizers_of_the_model_are_followed() -> None:
    model = large()
    state = followed(model)
    before = state.digests()
    passing = nn.Parameter(torch.ones(3))
    for parameter in (passing, model[0].bias):
        optimizer = torch.optim.SGD([parameter], lr=0.0, momentum=0.9)
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        state.stepped(optimizer)
        assert (state.digests()[1] != before[1]) == (parameter is not passing)
    assert state.digests()[0] == before[0]


def test_registered_state_is_followed_by_name() -> None:
    state = State()
    counts = torch.zeros(50, 50)
    state.register("counts", counts)
    state.register("seen", lambda: counts.sum().item())
    before = state.digests()
    counts[3, 4] += 1
    after = state.digests()
    assert before[:2] == after[:2] == (0, 0) and before[2] != after[2]
    counts[3, 4] -= 1
    assert state.digests() == before


def test_a_watch_tells_a_state_once() -> None:
    watch = Watch()
    assert watch.take_state() is None
    cache: list[int] = []
    watch.state.register("cache", cache)
    first = watch.take_state()
    assert first is not None and watch.take_state() is None
    cache.append(3)
    second = watch.take_state()
    assert second is not None and second != first


def test_a_tensor_that_is_gone_leaves_no_memory_behind() -> None:
    model = large()
    state = followed(model)
    state.digests()
    known = len(state._known)
    for index in range(3):
        model[0].weight = nn.Parameter(torch.full((200, 200), float(index)))
        state.digests()
    gc.collect()
    assert len(state._known) == known


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("size", [4, 300])
def test_parameters_of_any_dtype_are_followed(dtype: torch.dtype, size: int) -> None:
    model = nn.Module()
    model.register_buffer("table", torch.zeros(size, size, dtype=dtype))
    state = followed(model)
    before = state.digests()
    assert state.digests() == before
    model.get_buffer("table")[0, 0] = 1
    assert state.digests() != before
    model.table = torch.zeros(size, size, dtype=dtype)
    assert state.digests() == before


def test_a_tensor_whose_memory_is_replaced_is_read_where_it_lies_now() -> None:
    model = large()
    state = followed(model)
    before = state.digests()
    weight = model[0].weight
    weight.data = weight.data + 1
    moved = state.digests()
    assert moved != before
    weight.data = weight.data - 1
    weight.data[0, 1] += 0.0
    assert state.digests() != moved
