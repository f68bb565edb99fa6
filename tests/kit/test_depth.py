"""In which order layers run, how often, and side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.kit.attention import rotary_tables
from harness.kit.block import Block
from harness.kit.model import GPT
from tests.kit.switches import SWITCHES, config, draw, randomized, tokens

# The order of layers


@pytest.mark.parametrize(
    ("switches", "order"),
    [
        ({"recur_layers": (4, 5)}, [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 10]),  # #1334
        ({"recur_layers": (4, 5), "recur_times": 2}, [0, 1, 2, 3, 4, 5, 4, 5, 4, 5, 6, 7, 8, 9, 10]),  # #1394
        ({"recur_layers": (3, 4, 5), "recur_times": 2}, [0, 1, 2, *[3, 4, 5] * 3, 6, 7, 8, 9, 10]),  # #1493
        ({}, list(range(11))),
    ],
)
def test_the_order_of_layers(switches, order):
    cfg = config(layers=11, **switches)
    assert list(cfg.order()) == order
    assert list(cfg.order(recurring=False)) == list(range(11))


def test_training_tells_the_model_when_to_repeat_and_evaluation_always_does():
    model = GPT(config(recur_layers=(1, 2), recur_from_step=3, recur_from_fraction=0.5))
    shallow, deep = (0, 1, 2, 3, 4), (0, 1, 2, 1, 2, 3, 4)
    assert model.order() == deep  # nobody has spoken of training
    for step, fraction, expected in [(0, 0.0, shallow), (2, 0.9, shallow), (3, 0.4, shallow), (3, 0.5, deep)]:
        model.progress(step, fraction)
        assert model.train().order() == expected
        assert model.eval().order() == deep
    ids = tokens(1, 8)
    model = randomized(model.cfg)
    model.progress(0, 0.0)
    with torch.no_grad():
        assert not torch.allclose(model.train()(ids), model.eval()(ids), atol=1e-2)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("more", [{}, SWITCHES["joint"], SWITCHES["leaky"] | SWITCHES["skip_gates"]])
def test_recurrence_equals_an_unrolled_model_with_tied_weights(skips, more):
    cfg = config(recur_layers=(1, 2), recur_skips=skips, **more)
    model = randomized(cfg)
    unrolled = randomized(config(**{**more, "layers": 7}))
    state = {}
    for name, value in model.state_dict().items():
        if not name.startswith(("blocks.", "skip_")):
            state[name] = value
    for index, layer in enumerate((0, 1, 2, 1, 2, 3, 4)):
        for name, value in model.blocks[layer].state_dict().items():
            state[f"blocks.{index}.{name}"] = value
    for name in ("skip_weights", "skip_gates"):
        if name in model.state_dict():
            # without a weight of its own, the third skip is not there: weight 0, or a gate that lets the stream through
            missing = torch.full((0 if skips else 1, 24), 0.0 if name == "skip_weights" else 1e9)
            state[name] = torch.cat((model.state_dict()[name], missing))
    unrolled.load_state_dict(state)
    for index, layer in enumerate((0, 1, 2, 1, 2, 3, 4)):
        unrolled.blocks[index].joint = model.blocks[layer].joint
    ids = tokens(2, 10)
    with torch.no_grad():
        assert torch.allclose(model(ids), unrolled(ids), atol=1e-4)
        unrolled.blocks[3].mlp.up.weight.neg_()
        assert not torch.allclose(model(ids), unrolled(ids), atol=1e-2)


# Parallel residuals


@pytest.mark.parametrize("form", ["off", "joint", "lanes"])
def test_the_forms_of_a_block_by_hand(form):
    """One position, so attention is W_o times the head's value; everything in float64."""
    cfg = config(heads=1, kv_heads=1, parallel=form)
    block = Block(cfg, 2).double()
    for index, param in enumerate(block.parameters()):
        param.data = 0.5 * draw(*param.shape, seed=index)
    x, x0, y = (draw(24, seed=seed) for seed in (100, 101, 102))
    w = {name: param.detach().numpy() for name, param in block.named_parameters()}

    def n(z):
        return z / np.sqrt(np.mean(z**2))

    def attention(z):
        return w["attn_scale"] * (w["attn.proj.weight"] @ (w["attn.value.weight"] @ n(z)))

    def mlp(z):
        return w["mlp_scale"] * (w["mlp.proj.weight"] @ np.maximum(w["mlp.up.weight"] @ n(z), 0) ** 2)

    mixed = w["resid_mix"][0] * x.numpy() + w["resid_mix"][1] * x0.numpy()
    tables = [table.double() for table in rotary_tables(1, 24, 1e4)]
    with torch.no_grad():
        if form == "lanes":
            first, second = block.lanes((x[None, None], y[None, None]), x0[None, None], *tables)
            np.testing.assert_allclose(first[0, 0].numpy(), mixed + attention(mixed), rtol=1e-9)
            np.testing.assert_allclose(second[0, 0].numpy(), y.numpy() + mlp(y.numpy()), rtol=1e-9)
            return
        out = block(x[None, None], x0[None, None], *tables)[0, 0].numpy()
    attended = mixed + attention(mixed)
    np.testing.assert_allclose(out, attended + mlp(mixed if form == "joint" else attended), rtol=1e-9)


def test_parallel_layers_begin_where_they_are_told():
    model = GPT(config(parallel="joint", parallel_from=3))
    assert [block.joint for block in model.blocks] == [False, False, False, True, True]


@pytest.mark.parametrize("merge", [0.0, 1.0])
def test_each_lane_ends_in_the_output_by_its_share(merge):
    model = randomized(config(parallel="lanes", parallel_from=3))
    ids = tokens(1, 6)
    with torch.no_grad():
        model.lane_merge.fill_(merge)
        before = model(ids)
        kept, dropped = ("attn", "mlp") if merge else ("mlp", "attn")
        getattr(model.blocks[4], dropped).proj.weight.neg_()
        assert torch.equal(model(ids), before)
        getattr(model.blocks[4], kept).proj.weight.neg_()
        assert not torch.allclose(model(ids), before, atol=1e-2)
