"""What holds for every set of switches: the formulas, strict causality, and rows for drawn text."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.kit.artifact import pack, unpack
from harness.kit.config import ModelConfig, QuantizeConfig, TrainConfig, is_control
from harness.kit.fused import rms_norm, turn
from harness.kit.generate import Generator, window_start
from harness.kit.model import GPT
from harness.kit.optim import build_optimizers, param_groups
from harness.kit.quantize import dequantize, quantize
from tests.kit import restated
from tests.kit.switches import BASE, SWITCHES, configs, randomized, tokens


def check_formulas(cfg: ModelConfig) -> None:
    model = randomized(cfg).double()
    ids = tokens(1, 8, seed=3)
    ids[0, 4] = 1  # a BOS
    with torch.no_grad():
        assert torch.allclose(model(ids)[0].double(), restated.logits(model, ids[0].tolist()), atol=2e-4)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_equals_its_formulas(name):
    check_formulas(ModelConfig(**BASE | SWITCHES[name]))


@settings(max_examples=15, deadline=None)
@given(configs())
def test_all_switches_together_equal_their_formulas(cfg):
    check_formulas(cfg)


@pytest.mark.parametrize("name", sorted(SWITCHES.keys() - {"orthogonal", "channel_smear_bos", "token_smear_bos"}))
def test_each_switch_changes_the_rows(name):
    """Otherwise the tests above could not fail."""
    ids = tokens(1, 8, seed=3)
    plain, switched = randomized(ModelConfig(**BASE)), randomized(ModelConfig(**BASE | SWITCHES[name]))
    state = dict(plain.state_dict())
    for key, value in switched.state_dict().items():
        if key in state and state[key].shape == value.shape:
            value.copy_(state[key])
    with torch.no_grad():
        assert not torch.allclose(plain(ids)[:, -1], switched(ids)[:, -1], atol=1e-2)


@settings(max_examples=50, deadline=None)
@given(cfg=st.just(ModelConfig(**BASE)) | configs(), length=st.integers(2, 24), data=st.data())
def test_a_changed_token_reaches_its_own_row_and_later_ones_only(cfg, length, data):
    model = randomized(cfg)
    changed = data.draw(st.integers(0, length - 1))
    ids = tokens(2, length, seed=length)
    flipped = ids.clone()
    flipped[0, changed] = (flipped[0, changed] + data.draw(st.integers(1, 36))) % 37
    with torch.no_grad():
        before, after = model(ids), model(flipped)
    assert torch.equal(before[0, :changed], after[0, :changed])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0, changed], after[0, changed])


def test_a_bigram_of_the_next_token_would_be_seen(monkeypatch):
    model = randomized(ModelConfig(**BASE | SWITCHES["bigram"]))
    monkeypatch.setattr(model.bigram, "buckets", lambda inputs: inputs.roll(-1, 1) % 17)
    ids = tokens(1, 9)
    flipped = ids.clone()
    flipped[0, 5] = (flipped[0, 5] + 1) % 37
    with torch.no_grad():
        assert torch.equal(model(ids)[0, :4], model(flipped)[0, :4])
        assert not torch.equal(model(ids)[0, 4], model(flipped)[0, 4])


@settings(max_examples=25, deadline=None)
@given(cfg=configs(), length=st.integers(2, 16), data=st.data())
def test_rows_do_not_see_what_stands_behind_them_nor_beside_them(cfg, length, data):
    model = randomized(cfg)
    cut = data.draw(st.integers(1, length))
    ids = tokens(3, length)
    other = torch.cat((ids[:, :cut], tokens(3, length - cut, seed=1)), dim=1)
    other[2] = 0
    with torch.no_grad():
        assert torch.equal(model(ids)[:2, :cut], model(other)[:2, :cut])


@pytest.mark.parametrize("name", SWITCHES)
def test_rows_for_drawn_text_are_the_rows_that_the_window_scores(name):
    check_generator(ModelConfig(**BASE | SWITCHES[name]), positions=24)


@settings(max_examples=10, deadline=None)
@given(configs())
def test_rows_for_drawn_text_with_any_switches(cfg):
    check_generator(cfg, positions=14)


@pytest.mark.parametrize("name", ["bigram", "channel_smear", "token_smear"])
def test_a_generator_that_forgot_the_token_before_would_be_seen(name, monkeypatch):
    monkeypatch.setattr("harness.kit.generate.REACH", 0)
    with pytest.raises(AssertionError):
        check_generator(ModelConfig(**BASE | SWITCHES[name]), positions=5)


def check_generator(cfg: ModelConfig, positions: int, length: int = 12, stride: int = 4) -> None:
    model = randomized(cfg)
    with torch.no_grad():
        for param in model.parameters():
            param.mul_(0.3)
    draw = torch.Generator().manual_seed(0)
    text = torch.ones(2, 1, dtype=torch.int64)
    generator = Generator(model, text[:, 0], length, stride)
    for position in range(1, positions):
        window = text[:, window_start(position, length, stride) :]
        with torch.inference_mode():
            afresh = model(F.pad(window, (0, length - window.size(1))))[:, window.size(1) - 1]
        torch.testing.assert_close(generator.rows(), afresh, atol=1e-4, rtol=1e-4)
        drawn = torch.randint(0, 37, (2,), generator=draw)
        drawn[0] = 1 if position % 5 == 0 else drawn[0]
        generator.append(drawn)
        text = torch.cat((text, drawn[:, None]), dim=1)


@pytest.mark.parametrize("name", SWITCHES)
def test_every_parameter_learns(name):
    model = randomized(ModelConfig(**BASE | SWITCHES[name]))
    ids = tokens(2, 9)
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    assert [key for key, param in model.named_parameters() if param.grad is None or not param.grad.any()] == []


@pytest.mark.parametrize("name", SWITCHES)
def test_no_part_is_born_dead(name):
    """Two factors that both start at zero would never move."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(**BASE | SWITCHES[name]))
    before = {key: param.detach().clone() for key, param in model.named_parameters()}
    optimizers = build_optimizers(model, TrainConfig())
    ids = tokens(4, 17)
    for _ in range(4):
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert [key for key, param in model.named_parameters() if torch.equal(param, before[key])] == []


def test_the_model_is_one_graph_and_repeats_layers_when_told():
    model = randomized(ModelConfig(**BASE | SWITCHES["like_1334"] | {"recur_from_step": 3})).train()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    ids = tokens(2, 9)
    with torch.no_grad():
        for step in (0, 3):
            model.progress(step, 0.0)
            assert torch.equal(compiled(ids), model(ids))


def test_the_defaults_are_the_baseline_bit_for_bit():
    """Names, initial weights, loss and rows against the baseline as a page of torch."""
    cfg = ModelConfig(**BASE)
    torch.manual_seed(4)
    model = GPT(cfg)
    torch.manual_seed(4)
    expected: dict[str, Tensor] = {"embedding.weight": nn.Embedding(37, 24).weight.detach().normal_(0, cfg.emb_std)}
    expected["skip_weights"] = torch.ones(2, 24)
    for layer in range(5):
        for name, (out, into) in {
            "attn.query": (24, 24),
            "attn.key": (12, 24),
            "attn.value": (12, 24),
            "attn.proj": (24, 24),
            "mlp.up": (36, 24),
            "mlp.proj": (24, 36),
        }.items():
            weight = nn.Linear(into, out, bias=False).weight.detach()
            expected[f"blocks.{layer}.{name}.weight"] = torch.zeros(out, into) if "proj" in name else weight
        expected[f"blocks.{layer}.attn.q_gain"] = torch.full((4,), 1.5)
        expected[f"blocks.{layer}.attn_scale"] = expected[f"blocks.{layer}.mlp_scale"] = torch.ones(24)
        expected[f"blocks.{layer}.resid_mix"] = torch.stack((torch.ones(24), torch.zeros(24)))
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)

    model = randomized(cfg)
    ids = tokens(2, 30)
    with torch.no_grad():
        assert torch.equal(model(ids), baseline(dict(model.named_parameters()), ids))


def baseline(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    frequency = 10_000.0 ** (-torch.arange(0, 6, 2, dtype=torch.float32) / 6)
    angle = torch.outer(torch.arange(ids.size(1), dtype=torch.float32), frequency)[:, None, :]

    def turned(x: Tensor) -> Tensor:
        return turn(x, angle.cos(), angle.sin())

    def block(x: Tensor, layer: int) -> Tensor:
        own = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{layer}.")}
        x = own["resid_mix"][0] * x + own["resid_mix"][1] * x0
        q, k, v = (
            F.linear(rms_norm(x), own[f"attn.{name}.weight"]).unflatten(-1, (-1, 6))
            for name in ("query", "key", "value")
        )
        q, k = turned(rms_norm(q)) * own["attn.q_gain"][:, None], turned(rms_norm(k))
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(-2)
        x = x + own["attn_scale"] * F.linear(y, own["attn.proj.weight"])
        hidden = F.linear(rms_norm(x), own["mlp.up.weight"]).relu().square()
        return x + own["mlp_scale"] * F.linear(hidden, own["mlp.proj.weight"])

    x0 = rms_norm(F.embedding(ids, weights["embedding.weight"]))
    a = block(x0, 0)
    b = block(a, 1)
    c = block(b + weights["skip_weights"][0] * b, 2)
    d = block(c + weights["skip_weights"][1] * a, 3)
    z = F.linear(rms_norm(block(d, 4)), weights["embedding.weight"]).float()
    return 30.0 * torch.tanh(z / 30.0)


def test_every_part_is_trained_and_stored_as_what_it_is():
    cfg = ModelConfig(**BASE | SWITCHES["like_1019"] | SWITCHES["like_1334"] | {"smear": "token"})
    for smear in ("token", "channel"):
        model = GPT(ModelConfig(**{**vars(cfg), "smear": smear}))
        names = {id(param): name for name, param in model.named_parameters()}
        groups = param_groups(model)
        assert {names[id(param)] for param in groups.embeddings} == {
            "embedding.weight",
            "bigram.table.weight",
            "values.table.weight",
        }
        matrices = {names[id(param)] for param in groups.matrices}
        assert {name for name in matrices if "blocks" not in name} == {"bigram.proj.weight", "values.proj.weight"}
        scalars = {names[id(param)] for param in groups.scalars if "blocks" not in names[id(param)]}
        gates = {"token_smear.weight", "token_smear.strength"} if smear == "token" else {"channel_smear.gate"}
        assert scalars == gates | {
            "skip_weights",
            "skip_gates",
            "lane_merge",
            "bigram.scale",
            "values.scale",
            "values.layer_scales",
        }
        assert {name for name in names.values() if is_control(name)} == {names[id(param)] for param in groups.scalars}


@pytest.mark.parametrize("name", ["like_1019", "like_1334", "token_smear_bos"])
def test_a_model_with_parts_survives_its_artifact(name):
    cfg = ModelConfig(**BASE | SWITCHES[name])
    model = randomized(cfg)
    payload, meta = quantize(model.state_dict(), QuantizeConfig(keep_below=10**6))
    payload, meta = unpack(pack(payload, meta, "zlib", None))
    restored = GPT(cfg).eval()
    restored.load_state_dict(dequantize(payload, meta))
    for key, value in model.state_dict().items():
        assert torch.equal(restored.state_dict()[key], value if is_control(key) else value.half().float())


@pytest.mark.parametrize(
    "bad",
    [
        {"leaky_slope": -0.5},
        {"rope_dims": 3},
        {"rope_dims": 8},
        {"rope_dims": 2, "rope_train_length": 5},
        {"xsa_last": 6},
        {"smear": "all"},
        {"smear_bos": 1},
        {"smear": "token", "smear_bos": 37},
        {"smear": "token", "smear_width": 25},
        {"bigram_buckets": 1},
        {"ve_layers": (5,)},
        {"ve_layers": (2, 1)},
        {"recur_layers": (1, 1)},
        {"recur_times": 0},
        {"recur_from_fraction": 1.0},
        {"parallel": "both"},
        {"parallel_from": 5},
    ],
)
def test_an_impossible_switch_is_refused(bad):
    with pytest.raises(ValueError, match="ModelConfig"):
        ModelConfig(**BASE | bad)
