import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from harness.kit.attention import causal_attention, rotary_tables, rotate
from harness.kit.config import ModelConfig, TrainConfig, record_model
from harness.kit.fused import rms_norm
from harness.kit.loss import softcap_cross_entropy
from harness.kit.model import GPT
from tests.kit import restated
from tests.kit.switches import BASE, randomized, tokens

SMALL = ModelConfig(**BASE)


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_equals_its_formulas(tied):
    model = randomized(ModelConfig(**BASE, tied=tied))
    ids = tokens(1, 9)
    with torch.no_grad():
        assert torch.allclose(model(ids)[0].double(), restated.logits(model, ids[0].tolist()), atol=2e-4)


def test_a_missing_skip_would_be_seen():
    model = randomized(SMALL)
    ids = tokens(1, 9)
    with torch.no_grad():
        expected = restated.logits(model, ids[0].tolist())
        model.skip_weights[1].zero_()
        assert not torch.allclose(model(ids)[0].double(), expected, atol=1e-2)


@pytest.mark.parametrize("length", [100, 256])
def test_the_padded_tail_does_not_matter(length):
    model = randomized(SMALL)
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
    model = randomized(SMALL)
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
    model = randomized(SMALL)
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
