"""GPTQ against the formulas of arXiv:2210.17323, and against rounding to nearest on a trained model."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.calibration import hessians
from harness.kit.config import QuantizeConfig
from harness.kit.gptq import gptq
from harness.kit.grid import to_nearest
from harness.kit.quantize import SCALE, dequantize, quantize


def problem(seed: int, rows: int = 6, columns: int = 10, samples: int = 40):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    mixing = torch.randn(columns, columns, generator=generator)
    inputs = torch.randn(samples, columns, generator=generator) @ mixing
    scale = (weight.abs().amax(1) / 7).half()
    return weight, inputs.T @ inputs / samples, scale


def by_the_paper(weight, hessian, scale, limit, damping, act_order):
    """Equations 2 and 3, one weight at a time: the inverse is shrunk by elimination, nothing is factored."""
    rows, columns = weight.shape
    hessian = hessian.double() + damping * hessian.double().diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    order = hessian.diagonal().argsort(descending=True).tolist() if act_order else list(range(columns))
    out = torch.zeros(rows, columns)
    for row in range(rows):
        w, step = weight[row].double().clone(), scale[row].double()
        inverse = torch.linalg.inv(hessian)
        left = list(range(columns))
        for q in order:
            value = (w[q] / step).round().clamp(-limit, limit)
            out[row, q] = value
            here = left.index(q)
            w[left] -= (w[q] - value * step) / inverse[here, here] * inverse[:, here]
            inverse = inverse - inverse[:, [here]] @ inverse[[here]] / inverse[here, here]
            keep = [index for index in range(len(left)) if index != here]
            inverse, left = inverse[keep][:, keep], [left[index] for index in keep]
    return out.to(torch.int8)


@pytest.mark.parametrize("act_order", [True, False])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), damping=st.sampled_from([0.001, 0.01, 0.1]), block=st.sampled_from([1, 3, 128]))
def test_it_is_the_papers_algorithm(act_order, seed, damping, block):
    weight, hessian, scale = problem(seed)
    found = gptq(weight, hessian, scale, 7, damping=damping, block=block, act_order=act_order)
    assert found.dtype == torch.int8 and found.abs().max() <= 7
    assert torch.equal(found, by_the_paper(weight, hessian, scale, 7, damping, act_order))


@pytest.mark.parametrize("act_order", [True, False])
def test_a_diagonal_hessian_leaves_nothing_to_feed_back(act_order):
    weight, _, scale = problem(1, 20, 30)
    hessian = torch.diag(torch.rand(30, generator=torch.Generator().manual_seed(2)) + 0.1)
    assert torch.equal(gptq(weight, hessian, scale, 7, act_order=act_order), to_nearest(weight, scale, 7))


def test_correlated_inputs_do_change_the_rounding():
    weight, hessian, scale = problem(1, 20, 30)
    assert not torch.equal(gptq(weight, hessian, scale, 7), to_nearest(weight, scale, 7))


def test_the_hessians_factor_does_not_matter():
    weight, hessian, scale = problem(5)
    assert torch.equal(gptq(weight, hessian, scale, 7), gptq(weight, 1024 * hessian, scale, 7))


def test_inputs_that_are_always_zero_take_no_weights():
    weight, hessian, scale = problem(3)
    hessian[4], hessian[:, 4] = 0, 0
    found = gptq(weight, hessian, scale, 7)
    rest = [column for column in range(10) if column != 4]
    assert (found[:, 4] == 0).all()
    damped = by_the_paper(weight[:, rest], hessian[rest][:, rest], scale, 7, 0.01, True)
    assert torch.equal(found[:, rest], damped)


@pytest.mark.parametrize("damage", ["indefinite", "infinite", "shape", "steps"])
def test_what_cannot_be_used_is_refused(damage):
    weight, hessian, scale = problem(0)
    if damage == "indefinite":
        hessian = 5 * torch.ones(10, 10) - 4 * torch.eye(10)
    elif damage == "infinite":
        hessian[0, 0] = float("inf")
    elif damage == "shape":
        hessian = hessian[1:, 1:]
    else:
        scale = scale[1:]
    with pytest.raises(ValueError, match="gptq: .*(raise damping|needs a Hessian)"):
        gptq(weight, hessian, scale, 7)


def output_error(hessian, weight, restored):
    """E |Wx - W'x|^2 over the calibration inputs."""
    difference = (weight - restored).double()
    return float(torch.einsum("ri,ij,rj->", difference, hessian.double(), difference))


@pytest.mark.parametrize("settings", [{}, {"act_order": False}, {"hadamard": 64}, {"clip": "sd", "sd_clip": 8.0}])
def test_every_layer_of_a_trained_model_gets_closer_outputs(trained, settings):
    found = hessians(trained.model, trained.inputs)
    state = trained.model.state_dict()
    how = QuantizeConfig(bits=4, keep_below=1000, min_range=0.0, **settings)
    nearest, meta = quantize(state, how)
    fed_back, _ = quantize(state, QuantizeConfig(**{**how.__dict__, "gptq": True}), found)
    assert meta["bits"].keys() == found.keys() and len(found) == 13
    plain, better = dequantize(nearest, meta), dequantize(fed_back, meta)
    for name in meta["bits"]:
        assert torch.equal(nearest[name + SCALE], fed_back[name + SCALE])  # the same grids, other points on them
        before, after = (output_error(found[name], state[name], restored[name]) for restored in (plain, better))
        assert 0 < after < before, name


def test_gptq_loses_less_than_rounding_at_three_bits(trained):
    how = QuantizeConfig(bits=3, keep_below=1000, min_range=0.0)
    found = hessians(trained.model, trained.inputs)

    def loss(cfg):
        model = type(trained.model)(trained.model.cfg)
        model.load_state_dict(dequantize(*quantize(trained.model.state_dict(), cfg, found)))
        with torch.no_grad():
            return float(model.loss(trained.inputs, trained.targets))

    with torch.no_grad():
        floats = float(trained.model.loss(trained.inputs, trained.targets))
    nearest, fed_back = loss(how), loss(QuantizeConfig(**{**how.__dict__, "gptq": True}))
    assert floats < fed_back < nearest


def test_gptq_without_hessians_is_refused(trained):
    with pytest.raises(ValueError, match="need Hessians"):
        quantize(trained.model.state_dict(), QuantizeConfig(gptq=True))


def test_a_matrix_without_a_hessian_is_rounded_to_nearest(trained):
    state, how = trained.model.state_dict(), QuantizeConfig(keep_below=1000, min_range=0.0, bits=5)
    one = {"embedding.weight": hessians(trained.model, trained.inputs)["embedding.weight"]}
    mixed, _ = quantize(state, QuantizeConfig(**{**how.__dict__, "gptq": True}), one)
    nearest, meta = quantize(state, how)
    changed = {name for name in meta["bits"] if not torch.equal(mixed[name], nearest[name])}
    assert changed == {"embedding.weight"}
