"""Each part of the model by itself, against its formula or a law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.kit.attention import rotary_tables, rotate, stretched_base, without_own_value
from harness.kit.block import MLP, Block
from harness.kit.config import ModelConfig
from harness.kit.fused import rms_norm
from harness.kit.model import GPT
from harness.kit.parts import BigramHash, ChannelSmear, TokenSmear, ValueEmbedding
from tests.kit.switches import BASE, SWITCHES, config, draw, randomized, tokens

# MLP and norms


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_the_activation_and_its_gradient(slope):
    mlp = MLP(ModelConfig(**{**BASE, "dim": 8, "mlp_ratio": 1.0}, leaky_slope=slope)).double()
    with torch.no_grad():
        mlp.up.weight.copy_(torch.eye(8))
        mlp.proj.weight.copy_(torch.eye(8))
    z = draw(50, 8).requires_grad_()
    out = mlp(z)
    (grad,) = torch.autograd.grad(out.sum(), z)
    at = z.detach().numpy()
    np.testing.assert_allclose(out.detach().numpy(), np.where(at > 0, at**2, (slope * at) ** 2))
    np.testing.assert_allclose(grad.numpy(), np.where(at > 0, 2 * at, 2 * slope**2 * at))


@pytest.mark.parametrize(("on", "layer", "factor"), [(True, 0, 1.0), (True, 3, 0.5), (True, 8, 1 / 3), (False, 8, 1.0)])
def test_the_norm_shrinks_with_depth(on, layer, factor):
    block = Block(config(layers=9, ln_scale=on), layer)
    seen = []
    for part in (block.attn, block.mlp):
        part.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = draw(1, 4, 24).float()
    cos, sin = rotary_tables(4, 6, 1e4)
    block(x, x, cos, sin)
    for given_to_part in seen:  # a fresh block adds nothing to the stream before its MLP
        assert torch.allclose(given_to_part, factor * rms_norm(x))
    assert len(seen) == 2


# Attention


@settings(max_examples=25, deadline=None)
@given(kv_heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_exclusive_attention_is_orthogonal_to_the_own_value(kv_heads, seed):
    y, v = draw(2, 5, 4, 6, seed=seed), draw(2, 5, kv_heads, 6, seed=seed + 100)
    out = without_own_value(y, v)
    values = v.repeat_interleave(4 // kv_heads, dim=2)
    assert (out * values).sum(-1).abs().max() < 1e-12 < (y * values).sum(-1).abs().max()
    removed = y - out  # along the value: nothing else was touched
    cosine = (removed * values).sum(-1).abs() / (removed.norm(dim=-1) * values.norm(dim=-1))
    assert torch.allclose(cosine, torch.ones_like(cosine))
    assert torch.allclose(without_own_value(out, v), out)


def test_a_value_of_zero_takes_nothing_out():
    y = draw(1, 3, 4, 6)
    assert torch.equal(without_own_value(y, torch.zeros(1, 3, 2, 6, dtype=torch.float64)), y)


def test_only_the_last_layers_are_exclusive():
    model = GPT(config(xsa_last=2))
    assert [block.attn.exclusive for block in model.blocks] == [False, False, False, True, True]


@pytest.mark.parametrize("dims", [4, 16, 64])
def test_the_first_dimensions_turn_and_the_others_stay(dims):
    x = draw(1, 20, 2, 64)
    cos, sin = (table.double() for table in rotary_tables(20, dims, 1e4))
    turned = rotate(x, cos, sin)
    half = dims // 2
    # a rotation by -angle, as complex numbers
    pairs = x[..., :half].numpy() + 1j * x[..., half:dims].numpy()
    angle = np.arange(20)[:, None] * 1e4 ** (-2 * np.arange(half) / dims)
    expected = pairs * np.exp(-1j * angle)[None, :, None, :]
    np.testing.assert_allclose(turned[..., :half].numpy(), expected.real, atol=1e-5)
    np.testing.assert_allclose(turned[..., half:dims].numpy(), expected.imag, atol=1e-5)
    assert torch.equal(turned[..., dims:], x[..., dims:])


def test_all_dimensions_are_the_full_rotation():
    ids = tokens(2, 12)
    full, partial, all_of_them = (randomized(config(rope_dims=dims)) for dims in (0, 4, 6))
    with torch.no_grad():
        assert torch.equal(full(ids), all_of_them(ids))
        assert not torch.allclose(full(ids), partial(ids), atol=1e-2)


@given(width=st.sampled_from([4, 16, 64]), train=st.integers(1, 4096), longer=st.floats(1.01, 16))
def test_a_longer_sequence_turns_the_slowest_pair_no_further(width, train, longer):
    base = stretched_base(1e4, width, math.ceil(train * longer), train)
    slowest = -(width - 2) / width
    assert math.ceil(train * longer) * base**slowest == pytest.approx(train * 1e4**slowest, rel=1e-9)


@pytest.mark.parametrize(("length", "train"), [(1024, 1024), (5, 1024), (4096, 0)])
def test_a_sequence_as_in_training_stretches_nothing(length, train):
    assert stretched_base(1e4, 16, length, train) == 1e4


# Embeddings


def test_buckets_of_bigrams_equal_a_plain_loop():
    part = BigramHash(config(vocab_size=8192, bigram_buckets=3072, bigram_dim=4))
    ids = tokens(3, 40, vocab_size=8192)
    expected = [
        [3071 if t == 0 else ((36313 * row[t]) ^ (27191 * row[t - 1])) % 3071 for t in range(len(row))]
        for row in ids.tolist()
    ]
    assert part.buckets(ids).tolist() == expected


def test_bigrams_are_silent_at_first_and_learn():
    torch.manual_seed(0)
    model = GPT(config(bigram_buckets=17, bigram_dim=8, tied=False))
    ids = tokens(2, 10)
    with torch.no_grad():
        assert torch.equal(model.bigram(ids), torch.zeros(2, 10, 24))
        model.lm_head.weight.normal_()
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    assert model.bigram.table.weight.grad.abs().max() > 0
    assert torch.allclose(model.bigram.proj.weight.T @ model.bigram.proj.weight, torch.eye(8), atol=1e-5)


@pytest.mark.parametrize("bos", [None, 1])
@pytest.mark.parametrize("form", ["channel", "token"])
def test_smearing_equals_a_plain_loop(form, bos):
    cfg = config(smear=form, smear_bos=bos, smear_width=3)
    part = {"channel": ChannelSmear, "token": TokenSmear}[form](cfg).double()
    for param in part.parameters():
        nn.init.normal_(param)
    x, ids = draw(1, 7, 24), torch.tensor([[1, 5, 1, 1, 9, 2, 1]])
    out = part(x, ids)[0].detach().numpy()
    rows = x[0].numpy()
    for t, token in enumerate(ids[0].tolist()):
        before = rows[t - 1] if t else np.zeros(24)
        if form == "channel":
            gate = 1 / (1 + np.exp(-part.gate.detach().numpy()))
            gate = gate * (token != bos)
            expected = (1 - gate) * rows[t] + gate * before
        else:
            gate = 1 / (1 + np.exp(-(part.weight.detach().numpy() @ rows[t, :3])))
            expected = rows[t] + part.strength.item() * gate * (token != bos) * before
        np.testing.assert_allclose(out[t], expected, atol=1e-12)


@pytest.mark.parametrize("form", ["channel", "token"])
def test_a_masked_bos_takes_nothing_from_the_document_before(form):
    ids, other = torch.tensor([[1, 5, 9, 1, 7]]), torch.tensor([[1, 5, 8, 1, 7]])
    masked, open_ = (randomized(config(smear=form, smear_bos=bos)) for bos in (1, None))
    with torch.no_grad():
        assert torch.equal(masked.embed(ids)[0, 3:], masked.embed(other)[0, 3:])
        assert not torch.equal(open_.embed(ids)[0, 3], open_.embed(other)[0, 3])
        assert not torch.equal(masked.embed(ids)[0, 2], masked.embed(other)[0, 2])


@pytest.mark.parametrize("form", ["channel", "token"])
def test_the_initial_gates(form):
    """Half of the previous token in every channel (#65), or nothing of it (#1667)."""
    model = GPT(config(smear=form))
    ids = tokens(1, 6)
    plain = rms_norm(model.embedding(ids))
    half = 0.5 * plain + 0.5 * torch.nn.functional.pad(plain[:, :-1], (0, 0, 1, 0))
    assert torch.allclose(model.embed(ids), half if form == "channel" else plain)


def test_value_embeddings_equal_their_formula():
    cfg = config(ve_layers=(1, 4), ve_dim=8)
    torch.manual_seed(0)
    part = ValueEmbedding(cfg).double()
    with torch.no_grad():
        assert part.table.weight.std().item() == pytest.approx(0.01, rel=0.2)
        part.layer_scales.copy_(torch.tensor([2.0, -3.0]))
        ids = tokens(2, 5)
        extra = part(ids)
    assert sorted(extra) == [1, 4]
    rows = part.table.weight.detach().numpy()[ids.numpy()] @ part.proj.weight.detach().numpy().T
    np.testing.assert_allclose(extra[1].numpy(), np.float32(0.1) * 2 * rows)
    np.testing.assert_allclose(extra[4].numpy(), np.float32(0.1) * -3 * rows)


# Initial weights


def test_orthogonal_matrices():
    model = GPT(config(orthogonal_init=True))
    for name, param in model.blocks.named_parameters():
        if name.endswith(("query.weight", "key.weight", "value.weight", "up.weight")):
            values = torch.linalg.svdvals(param.detach())
            assert torch.allclose(values, torch.ones_like(values), atol=1e-5), name
        elif name.endswith("proj.weight"):
            assert not param.any()


def test_the_initial_model_with_everything_is_nearly_uniform():
    model = GPT(ModelConfig(**BASE | SWITCHES["like_1019"]))
    ids = tokens(4, 32)
    assert model.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(math.log(37), abs=0.05)
