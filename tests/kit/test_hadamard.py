"""The rotation against scipy's Hadamard matrix and its laws."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.config import QuantizeConfig
from harness.kit.hadamard import fitting_block, rotate, rotate_hessian
from harness.kit.quantize import SCALE, dequantize, quantize

SIZES = [(1, 3), (2, 6), (4, 4), (8, 24), (64, 192), (256, 768)]


def published(block: int, columns: int) -> np.ndarray:
    one = scipy.linalg.hadamard(block).astype(float) / np.sqrt(block)
    return scipy.linalg.block_diag(*[one] * (columns // block))


@pytest.mark.parametrize(("block", "columns"), SIZES)
def test_it_is_the_block_diagonal_hadamard_matrix(block, columns):
    matrix = rotate(torch.eye(columns, dtype=torch.float64), block).numpy()
    np.testing.assert_allclose(matrix, published(block, columns), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(columns), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.sampled_from(SIZES))
def test_it_undoes_itself_and_keeps_lengths(seed, size):
    block, columns = size
    weight = torch.randn(3, columns, generator=torch.Generator().manual_seed(seed))
    rotated = rotate(weight, block)
    torch.testing.assert_close(rotate(rotated, block), weight)
    torch.testing.assert_close(rotated.norm(dim=1), weight.norm(dim=1))


def test_a_layer_on_rotated_inputs_is_the_same_layer():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 24, generator=generator, dtype=torch.float64)
    inputs = torch.randn(50, 24, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(rotate(inputs, 8) @ rotate(weight, 8).T, inputs @ weight.T)
    turned = rotate(inputs, 8)
    torch.testing.assert_close(rotate_hessian(inputs.T @ inputs, 8), turned.T @ turned)


@given(columns=st.integers(1, 5000), power=st.integers(1, 12))
def test_the_block_divides_the_columns(columns, power):
    block = fitting_block(columns, 1 << power)
    assert columns % block == 0 and block & (block - 1) == 0 and block <= 1 << power
    assert block == 1 << power or columns % (2 * block)  # and no larger one would


@pytest.mark.parametrize(("block", "columns"), [(3, 9), (8, 12), (0, 4), (-2, 4)])
def test_a_block_that_does_not_fit_is_refused(block, columns):
    with pytest.raises(ValueError, match="hadamard"):
        rotate(torch.zeros(2, columns), block)


def test_a_rotated_matrix_comes_back_within_half_a_step():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(40, 96, generator=generator)
    weight[:, 5] *= 30  # an outlier channel
    plain = QuantizeConfig(bits=6, keep_below=0, min_range=0.0, clip_quantile=1.0)
    turned = QuantizeConfig(**{**plain.__dict__, "hadamard": 512})
    payload, meta = quantize({"w": weight}, turned)
    assert meta == {"bits": {"w": 6}, "hadamard": {"w": 32}}
    error = (dequantize(payload, meta)["w"] - weight).double()
    # each rotated weight is off by half a step at most, and rotations keep lengths
    bound = 0.5 * payload["w" + SCALE].double() * 96**0.5
    assert (error.norm(dim=1) <= 1.0001 * bound).all()
    unrotated = dequantize(*quantize({"w": weight}, plain))["w"] - weight
    assert error.square().mean() < 0.5 * unrotated.square().mean()  # what it is for


def test_an_unknown_rotation_is_refused():
    payload, meta = quantize({"w": torch.randn(4, 8)}, QuantizeConfig(keep_below=0, hadamard=8))
    for table in ({"v": 8}, {"w": 3}, {"w": "8"}, 8):
        with pytest.raises(ValueError, match="hadamard|rotation"):
            dequantize(payload, {**meta, "hadamard": table})
    with pytest.raises(ValueError, match="'lqer', which this version does not know"):
        dequantize(payload, {**meta, "lqer": {}})
