"""The entropy coder: every matrix comes back, nothing is larger than the entropy allows, nothing damaged gets far."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.range_code import decode_grid, encode_grid


def entropy_bytes(grid: np.ndarray) -> float:
    """n * H of the values' empirical distribution, in bytes."""
    _, counts = np.unique(grid, return_counts=True)
    shares = counts / grid.size
    return float(-(shares * np.log2(shares)).sum() * grid.size / 8)


@st.composite
def grids(draw):
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    limit = draw(st.sampled_from([1, 2, 3, 15, 31, 127]))
    kind = draw(st.sampled_from(["uniform", "narrow", "rows", "zeros", "repeated", "any"]))
    if kind == "any":
        raw = draw(st.binary(min_size=rows * columns, max_size=rows * columns))
        return np.maximum(np.frombuffer(raw, np.int8), -127).reshape(rows, columns)
    values = rng.integers(-limit, limit + 1, (rows, columns))
    if kind == "narrow":
        values = np.clip(np.round(rng.normal(0, limit / 8, (rows, columns))), -limit, limit)
    elif kind == "rows":
        values = np.clip(np.round(values * 2.0 ** -rng.integers(0, 8, (rows, 1))), -limit, limit)
    elif kind == "zeros":
        values[rng.random(rows) < 0.7] = 0
    elif kind == "repeated":
        values = np.tile(values[:1], (rows, 1))
        values[rng.integers(rows), rng.integers(columns)] = limit
    return values.astype(np.int8)


@settings(max_examples=200, deadline=None)
@given(grids())
def test_every_matrix_comes_back(grid):
    code = encode_grid(grid)
    assert code is not None and encode_grid(grid.copy()) == code
    back = decode_grid(code, *grid.shape)
    assert back.dtype == np.int8 and np.array_equal(back, grid)


@pytest.mark.parametrize("wide", [1, 300])
def test_rows_like_earlier_ones_are_told_by_the_difference(wide):
    rng = np.random.default_rng(0)
    one = rng.integers(-127, 128, (1, 200))
    grid = np.clip(np.repeat(one, wide + 1, 0) + rng.integers(-1, 2, (wide + 1, 200)), -127, 127).astype(np.int8)
    code = encode_grid(grid)
    assert np.array_equal(decode_grid(code, *grid.shape), grid)
    assert len(code) < 420 + wide * 200 * 2.8 / 8  # about log2(5) bits a value, where its own entropy is nearly 8


@pytest.mark.parametrize(("limit", "spread"), [(127, 30.0), (31, 6.0), (15, 2.0), (31, 0.3)])
def test_a_gaussian_matrix_takes_what_its_entropy_says(limit, spread):
    rng = np.random.default_rng(1)
    grid = np.clip(np.round(rng.normal(0, spread, (256, 512))), -limit, limit).astype(np.int8)
    assert len(encode_grid(grid)) <= 1.004 * entropy_bytes(grid) + 100


def test_rows_of_different_widths_take_less_than_the_pooled_entropy():
    rng = np.random.default_rng(1)
    grid = np.round(rng.normal(0, 1, (256, 256)) * np.repeat([1.0, 4.0, 16.0, 30.0], 64)[:, None]).clip(-127, 127)
    assert len(encode_grid(grid.astype(np.int8))) < 0.9 * entropy_bytes(grid)


@settings(max_examples=150, deadline=None)
@given(grid=grids(), data=st.data())
def test_a_damaged_code_is_refused_or_is_another_matrix(grid, data):
    code = bytearray(encode_grid(grid))
    if data.draw(st.booleans()):
        code[data.draw(st.integers(0, len(code) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del code[data.draw(st.integers(0, len(code) - 1)) :]
    try:
        found = decode_grid(bytes(code), *grid.shape)
    except ValueError as error:
        assert "code of a matrix" in str(error)
    else:
        assert found.shape == grid.shape and found.dtype == np.int8


@given(junk=st.binary(max_size=60), rows=st.integers(1, 9), columns=st.integers(1, 9))
@settings(deadline=None)
def test_junk_is_refused_or_is_some_matrix(junk, rows, columns):
    try:
        assert decode_grid(junk, rows, columns).shape == (rows, columns)
    except ValueError as error:
        assert "code of a matrix" in str(error)


def test_what_it_does_not_apply_to():
    assert encode_grid(np.zeros((0, 4), np.int8)) is None
    assert encode_grid(np.full((2, 2), -128, np.int8)) is None
    assert encode_grid(np.zeros(4, np.int8)) is None
    assert encode_grid(np.zeros((300, 300), np.int8)) == b"\0"
    for shape in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="not a code of a matrix"):
            decode_grid(b"\0", *shape)


def test_the_code_of_a_matrix_never_changes():
    """A change here is a change of the format: artifacts that exist could not be read any more."""
    grid = (np.arange(60 * 70).reshape(60, 70) * 7919 % 61 - 30) // (1 + np.arange(60)[:, None] % 5)
    grid[40] = grid[3]
    code = encode_grid(grid.astype(np.int8))
    assert (len(code), hashlib.sha256(code).hexdigest()[:16]) == (2077, "29d373e9c341bf23")
