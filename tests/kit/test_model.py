import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.attention import causal_attention, rotary_tables, rotate
from harness.kit.config import ModelConfig, TrainConfig, record_model
from harness.kit.loss import softcap_cross_entropy
from harness.kit.model import GPT, rms_norm

SMALL = ModelConfig(vocab_size=37, layers=5, dim=24, heads=4, kv_heads=2, mlp_ratio=1.5)


def randomized(cfg: ModelConfig = SMALL, seed: int = 0) -> GPT:
    """No weight at its initial zero or one, so that a mistake anywhere shows in the output."""
    model = GPT(cfg)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in model.parameters():
            param.normal_(0, 0.5, generator=generator)
    return model


def tokens(rows: int, length: int, vocab_size: int = 37, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def norm(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def restated(model: GPT, ids: list[int]) -> torch.Tensor:
    """Logits [L, V] of one sequence: the formulas of the model, head by head and position by position."""
    cfg, weights = model.cfg, dict(model.named_parameters())
    width, shared = cfg.dim // cfg.heads, cfg.heads // cfg.kv_heads

    def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
        out = vector.clone()
        for i in range(width // 2):
            angle = position * cfg.rope_base ** (-2 * i / width)
            a, b = vector[i], vector[i + width // 2]
            out[i] = a * math.cos(angle) + b * math.sin(angle)
            out[i + width // 2] = b * math.cos(angle) - a * math.sin(angle)
        return out

    def attention(x: torch.Tensor, layer: int) -> torch.Tensor:
        q, k, v = (x @ weights[f"blocks.{layer}.attn.{name}.weight"].T for name in ("query", "key", "value"))
        rows = []
        for t in range(len(x)):
            heads = []
            for h in range(cfg.heads):
                own, other = slice(h * width, (h + 1) * width), slice(h // shared * width, (h // shared + 1) * width)
                query = turned(norm(q[t, own]), t) * weights[f"blocks.{layer}.attn.q_gain"][h]
                keys = torch.stack([turned(norm(k[s, other]), s) for s in range(t + 1)])
                heads.append(((keys @ query) / math.sqrt(width)).softmax(0) @ v[: t + 1, other])
            rows.append(torch.cat(heads))
        return torch.stack(rows) @ weights[f"blocks.{layer}.attn.proj.weight"].T

    def block(x: torch.Tensor, layer: int) -> torch.Tensor:
        own = {name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{layer}.")}
        x = own["resid_mix"][0] * x + own["resid_mix"][1] * x0
        x = x + own["attn_scale"] * attention(norm(x), layer)
        hidden = (norm(x) @ own["mlp.up.weight"].T).clamp_min(0) ** 2
        return x + own["mlp_scale"] * (hidden @ own["mlp.proj.weight"].T)

    x0 = norm(weights["embedding.weight"][ids])
    assert cfg.layers == 5
    a = block(x0, 0)
    b = block(a, 1)
    c = block(b + weights["skip_weights"][0] * b, 2)
    d = block(c + weights["skip_weights"][1] * a, 3)
    x = norm(block(d, 4))
    z = x @ (weights["embedding.weight"] if cfg.tied else weights["lm_head.weight"]).T
    return cfg.softcap * torch.tanh(z / cfg.softcap)


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_equals_its_formulas(tied):
    model = randomized(ModelConfig(vocab_size=37, layers=5, dim=24, heads=4, kv_heads=2, mlp_ratio=1.5, tied=tied))
    ids = tokens(1, 9)
    with torch.no_grad():
        assert torch.allclose(model(ids)[0], restated(model, ids[0].tolist()), atol=2e-4)


def test_a_missing_skip_would_be_seen():
    model = randomized()
    ids = tokens(1, 9)
    with torch.no_grad():
        expected = restated(model, ids[0].tolist())
        model.skip_weights[1].zero_()
        assert not torch.allclose(model(ids)[0], expected, atol=1e-2)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(2, 40), data=st.data())
def test_a_changed_token_reaches_its_own_row_and_later_ones_only(length, data):
    model = randomized()
    changed = data.draw(st.integers(0, length - 1))
    ids = tokens(2, length, seed=length)
    flipped = ids.clone()
    flipped[0, changed] = (flipped[0, changed] + data.draw(st.integers(1, 36))) % 37
    with torch.no_grad():
        before, after = model(ids), model(flipped)
    assert torch.equal(before[0, :changed], after[0, :changed])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0, changed], after[0, changed])


@pytest.mark.parametrize("length", [100, 256])
def test_the_padded_tail_does_not_matter(length):
    model = randomized()
    ids = tokens(3, length)
    padded = ids.clone()
    padded[:, length // 3 :] = 0
    with torch.no_grad():
        assert torch.equal(model.hidden(ids)[:, : length // 3], model.hidden(padded)[:, : length // 3])


def test_the_initial_model_is_nearly_uniform():
    model = GPT(SMALL)
    ids = tokens(4, 32)
    assert model.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(math.log(37), abs=0.05)


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(GPT(SMALL).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["embedding.weight"], states[2]["embedding.weight"])


def test_the_parts_of_the_head_fit_together():
    model = randomized()
    ids = tokens(2, 8)
    with torch.no_grad():
        hidden = model.hidden(ids)
        assert torch.equal(hidden, rms_norm(model.body(ids)))
        assert torch.equal(model(ids), model.head(hidden))
        assert torch.equal(model.head(hidden), model.softcap(model.pre_cap_logits(hidden)))
        assert model(ids).shape == (2, 8, 37) and model(ids).dtype == torch.float32


@given(st.floats(-1e6, 1e6), st.floats(0.5, 100))
def test_soft_capped_logits_stay_inside_the_cap(value, cap):
    model = GPT(ModelConfig(vocab_size=3, layers=1, dim=2, heads=1, kv_heads=1, softcap=cap))
    capped = model.softcap(torch.tensor(value, dtype=torch.float64)).item()
    assert abs(capped) <= cap
    assert capped == pytest.approx(cap * math.tanh(value / cap), rel=1e-9, abs=1e-12)
    assert abs(capped) <= abs(value) * (1 + 1e-9)


@pytest.mark.parametrize("rows", [1, 127, 128, 300])
def test_the_chunked_loss_equals_autograd(rows):
    generator = torch.Generator().manual_seed(rows)
    hidden = (10 * torch.randn(rows, 8, generator=generator)).requires_grad_()
    weight = torch.randn(19, 8, generator=generator).requires_grad_()
    targets = torch.randint(19, (rows,), generator=generator)
    expected = F.cross_entropy(5.0 * torch.tanh(hidden @ weight.T / 5.0), targets)
    expected_grads = torch.autograd.grad(2 * expected, (hidden, weight))
    loss = softcap_cross_entropy(hidden, weight, targets, 5.0)
    grads = torch.autograd.grad(2 * loss, (hidden, weight))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for grad, want in zip(grads, expected_grads, strict=True):
        assert torch.allclose(grad, want, atol=1e-5)


def test_the_loss_is_the_mean_nll_of_the_rows():
    model = randomized()
    ids = tokens(3, 21)
    rows = model(ids[:, :-1]).log_softmax(-1)
    nll = -rows.gather(-1, ids[:, 1:, None]).mean()
    assert model.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(nll.item(), rel=1e-5)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 2), (4, 1)])
def test_grouped_heads_equal_repeated_ones(heads, kv_heads):
    generator = torch.Generator().manual_seed(heads)
    q, k, v = (torch.randn(2, 13, count, 8, generator=generator) for count in (heads, kv_heads, kv_heads))
    out = causal_attention(q, k, v)
    repeated = causal_attention(*(x.repeat_interleave(heads // x.size(2), dim=2) for x in (q, k, v)))
    assert torch.allclose(out, repeated, atol=1e-6)
    scores = torch.einsum("blhd,bmhd->bhlm", q, k.repeat_interleave(heads // kv_heads, dim=2)) / math.sqrt(8)
    scores = scores.masked_fill(torch.ones(13, 13, dtype=torch.bool).triu(1), -math.inf)
    explicit = torch.einsum("bhlm,bmhd->blhd", scores.softmax(-1), v.repeat_interleave(heads // kv_heads, dim=2))
    assert torch.allclose(out, explicit, atol=1e-5)


def test_rotation_keeps_norms_and_sees_distances_only():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(16, generator=generator), torch.randn(16, generator=generator)
    cos, sin = rotary_tables(50, 16, 1e4)
    turned_q, turned_k = (rotate(x.expand(1, 50, 1, 16), cos, sin)[0, :, 0] for x in (q, k))
    assert torch.allclose(turned_q.norm(dim=-1), q.norm().expand(50), rtol=1e-5)
    assert torch.allclose(turned_q[0], q)
    products = turned_q @ turned_k.T
    for distance in (-7, 0, 13):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-4)
    assert not torch.allclose(products.diagonal(13)[0], products.diagonal(0)[0], atol=1e-2)


def test_the_record_model_is_the_baseline():
    with torch.device("meta"):
        model = GPT(record_model())
    # 1024 x 512 table, nine blocks, four skips: the baseline's own log says model_params:17059912
    assert sum(param.numel() for param in model.parameters()) == 17_059_912


@pytest.mark.parametrize(
    "bad",
    [{"dim": 20, "heads": 8}, {"heads": 8, "kv_heads": 3}, {"layers": 0}, {"softcap": 0.0}, {"dim": 24, "heads": 8}],
)
def test_an_impossible_shape_is_refused(bad):
    with pytest.raises(ValueError, match="ModelConfig"):
        ModelConfig(**bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"batch_tokens": 1000},
        {"steps": 0},
        {"schedule": "moon"},
        {"schedule": "clock", "seconds": 0.0},
        {"ema": 1.0},
        {"warmdown": -1.0},
    ],
)
def test_an_impossible_run_is_refused(bad):
    with pytest.raises(ValueError, match="TrainConfig"):
        TrainConfig(**bad)
