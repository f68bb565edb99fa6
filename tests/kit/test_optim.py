import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.kit import optim
from harness.kit.config import ModelConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.optim import Muon, build_optimizers, normalize_rows, param_groups
from harness.kit.orthogonal import NEWTON_SCHULZ, POLAR_EXPRESS, orthogonalize


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(64, 64), (128, 32), (32, 128), (1, 16), (3, 48, 24)])
def test_singular_values_come_close_to_one(shape):
    out = orthogonalize(torch.randn(shape, generator=generator()), steps=5)
    values = torch.linalg.svdvals(out)
    # a square Gaussian matrix has singular values near 0, which five iterations cannot lift all the way
    floor = 0.6 if shape[-1] != shape[-2] else 0.0
    assert out.shape == shape
    assert values.max() < 1.3 and values.min() > floor
    assert ((values > 0.6) & (values < 1.3)).float().mean() > 0.9


def test_no_iteration_leaves_the_values_uneven():
    values = torch.linalg.svdvals(orthogonalize(torch.randn(64, 32, generator=generator()), steps=0))
    assert values.max() < 0.6


def test_singular_vectors_are_kept():
    left, _ = torch.linalg.qr(torch.randn(24, 8, generator=generator(1)))
    right, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator(2)))
    values = torch.linspace(0.5, 2.0, 8)
    out = orthogonalize(left @ torch.diag(values) @ right.T)
    core = left.T @ out @ right
    assert torch.allclose(core, torch.diag(core.diagonal()), atol=1e-4)
    assert core.diagonal().min() > 0.6


def test_a_stack_equals_its_matrices_one_by_one():
    stack = torch.randn(5, 20, 12, generator=generator())
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in stack])
    assert torch.allclose(orthogonalize(stack), one_by_one, atol=1e-5)


@pytest.mark.parametrize("shape", [(256, 256), (300, 520), (520, 300), (2, 257, 256)])
@pytest.mark.parametrize("coefficients", [NEWTON_SCHULZ, POLAR_EXPRESS])
def test_large_matrices_are_iterated_as_the_formula_says(shape, coefficients):
    matrices = torch.randn(shape, generator=generator(2))
    x = matrices.double()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for step in range(5):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out = orthogonalize(matrices, 5, coefficients)
    torch.testing.assert_close(out.double(), x, rtol=0, atol=2e-5)
    low = orthogonalize(matrices, 5, coefficients, torch.bfloat16)
    assert low.dtype == torch.float32
    assert (low.double() - x).norm() < 0.05 * x.norm()


def nearest_quintic(low: float, high: float) -> np.ndarray:
    """The odd quintic (a, b, c) that is nearest to 1 on [low, high], by Remez' exchange: its error has equal peaks."""
    inner = np.array([(3 * low + high) / 4, (low + 3 * high) / 4])
    for _ in range(100):
        x = np.array([low, *inner, high])
        a, b, c, _ = np.linalg.solve(np.stack([x, x**3, x**5, np.array([1, -1, 1, -1])], 1), np.ones(4))
        root = np.sqrt(9 * b * b - 20 * a * c)
        inner = np.sqrt((-3 * b + np.array([-root, root])) / (10 * c))
    return np.array([a, b, c])


def test_polar_express_has_the_coefficients_of_its_definition():
    # arXiv:2505.16932: each quintic is the best for the interval that the one before leaves, starting from [0.001, 1];
    # not below 2 % of its upper end; centred on 1 there; and all but the last take an argument smaller by 2 %
    low, high = 1e-3, 1.0
    for iteration, published in enumerate(POLAR_EXPRESS):
        found = nearest_quintic(max(low, 0.02 * high), high)
        at = [found @ [x, x**3, x**5] for x in (low, high)]
        margin = 1.02 if iteration < 4 else 1.0
        found = found * 2 / sum(at) / [margin, margin**3, margin**5]
        assert published == pytest.approx(found, rel=1e-12)
        low = float(found @ [low, low**3, low**5])
        high = 2 - low


def spectrum(values: np.ndarray, seed: int) -> torch.Tensor:
    """A float32 matrix [2n, n] with the given singular values."""
    left, _ = torch.linalg.qr(torch.randn(2 * len(values), len(values), generator=generator(seed), dtype=torch.float64))
    right, _ = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=generator(seed + 1), dtype=torch.float64)
    )
    return (left * torch.from_numpy(values) @ right).float()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 24), st.floats(0.005, 1.0), st.integers(0, 10**6))
def test_polar_express_keeps_its_bound(size, smallest, seed):
    values = torch.linalg.svdvals(orthogonalize(spectrum(np.geomspace(smallest, 1.0, size), seed), 5, POLAR_EXPRESS))
    # the five quintics map [0.001, 1] into 1 +- 0.1412; a Frobenius norm above the largest value only shrinks it
    assert (values - 1).abs().max() < 0.1415


def test_polar_express_comes_closer_to_one_than_newton_schulz():
    def error(coefficients) -> float:
        found = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            values = np.sort(10 ** rng.uniform(-2, 0, 16))
            found.append((torch.linalg.svdvals(orthogonalize(spectrum(values, seed), 5, coefficients)) - 1).abs())
        return float(torch.cat(found).mean())

    assert error(POLAR_EXPRESS) < 0.7 * error(NEWTON_SCHULZ)


def test_rows_are_divided_by_their_norms():
    matrix = torch.randn(3, 5, 7, generator=generator()) * torch.logspace(-3, 3, 5)[:, None]
    matrix[1, 2] = 0
    found = normalize_rows(matrix)
    norms = np.sqrt((found.double().numpy() ** 2).sum(-1))
    assert norms[1, 2] == 0 and np.delete(norms.flatten(), 7) == pytest.approx(1.0, abs=1e-6)
    cosines = torch.cosine_similarity(found, matrix, dim=-1)
    assert np.delete(cosines.flatten().numpy(), 7) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("on", [True, False])
def test_muoneq_r_orthogonalizes_rows_of_unit_norm(on, monkeypatch):
    seen = []
    original = optim.orthogonalize
    monkeypatch.setattr(
        optim, "orthogonalize", lambda stack, *rest: seen.append(stack.clone()) or original(stack, *rest)
    )
    model = GPT(ModelConfig(vocab_size=11, layers=2, dim=16, heads=2, kv_heads=2))
    muon, _ = build_optimizers(model, TrainConfig(muon_row_normalize=on))
    for index, param in enumerate(model.parameters()):
        param.grad = torch.randn(param.shape, generator=generator(index)) * 10
    muon.step()
    norms = torch.cat([stack.double().norm(dim=-1).flatten() for stack in seen])
    assert len(norms) == sum(len(param) for param in muon.param_groups[0]["params"])
    assert bool(((norms - 1).abs() < 1e-5).all()) is on


def test_muoneq_r_does_not_care_how_long_a_row_of_the_gradient_is():
    def update(scale: torch.Tensor, **how: bool) -> torch.Tensor:
        param = nn.Parameter(torch.zeros(6, 9))
        param.grad = torch.randn(6, 9, generator=generator()) * scale
        Muon([param], lr=1.0, **how).step()
        return param.detach()

    scale = torch.logspace(-2, 2, 6)[:, None]
    assert torch.allclose(update(scale, row_normalize=True), update(torch.ones(6, 1), row_normalize=True), atol=1e-5)
    assert not torch.allclose(update(scale), update(torch.ones(6, 1)), atol=0.1)


def test_the_orthogonalizer_of_the_settings_is_used():
    model = GPT(ModelConfig(vocab_size=11, layers=2, dim=16, heads=2, kv_heads=2))
    found = {}
    for name in ("newton-schulz", "polar-express"):
        muon, _ = build_optimizers(model, TrainConfig(orthogonalizer=name))
        found[name] = muon.param_groups[0]["coefficients"]
    assert found == {"newton-schulz": NEWTON_SCHULZ, "polar-express": POLAR_EXPRESS}
    with pytest.raises(ValueError, match="at most 5"):
        TrainConfig(orthogonalizer="polar-express", ns_steps=6)
    with pytest.raises(ValueError, match="orthogonalizer"):
        TrainConfig(orthogonalizer="qr")


def test_muon_follows_its_formula():
    weights = [torch.randn(shape, generator=generator(index)) for index, shape in enumerate([(6, 3), (3, 6), (6, 3)])]
    params = [nn.Parameter(weight.clone()) for weight in weights]
    optimizer = Muon(params, lr=0.1, momentum=0.9, weight_decay=0.2)
    buffers = [torch.zeros_like(weight) for weight in weights]
    for step in range(3):
        for index, param in enumerate(params):
            param.grad = torch.randn(param.shape, generator=generator(10 * step + index))
            buffers[index] = 0.9 * buffers[index] + param.grad
            update = orthogonalize(param.grad + 0.9 * buffers[index])
            scale = max(1.0, param.shape[0] / param.shape[1]) ** 0.5
            weights[index] = weights[index] * (1 - 0.1 * 0.2) - 0.1 * scale * update
        optimizer.step()
    for weight, param in zip(weights, params, strict=True):
        assert torch.allclose(weight, param, atol=1e-5)


def test_muon_leaves_a_parameter_without_gradient_alone():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([used, unused], weight_decay=0.5)
    used.grad = torch.eye(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2)) and not torch.equal(used, torch.ones(2, 2))


def test_muon_refuses_a_vector():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([nn.Parameter(torch.ones(3))])


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_one_group(tied):
    model = GPT(ModelConfig(vocab_size=11, layers=3, dim=16, heads=2, kv_heads=1, tied=tied))
    groups = param_groups(model)
    names = {id(param): name for name, param in model.named_parameters()}

    def found(params):
        return {names[id(param)].split(".", 2)[-1] for param in params}

    total = [*groups.matrices, *groups.embeddings, *groups.heads, *groups.scalars]
    assert sorted(map(id, total)) == sorted(names)
    assert found(groups.matrices) == {
        "attn.query.weight",
        "attn.key.weight",
        "attn.value.weight",
        "attn.proj.weight",
        "mlp.up.weight",
        "mlp.proj.weight",
    }
    assert [names[id(param)] for param in groups.embeddings] == ["embedding.weight"]
    assert [names[id(param)] for param in groups.heads] == ([] if tied else ["lm_head.weight"])
    assert found(groups.scalars) == {"skip_weights", "attn_scale", "mlp_scale", "resid_mix", "attn.q_gain"}


def test_frozen_parameters_are_in_no_group():
    model = GPT(ModelConfig(vocab_size=11, layers=2, dim=16, heads=2, kv_heads=2))
    model.embedding.weight.requires_grad_(False)
    assert param_groups(model).embeddings == []


def test_each_group_has_the_rate_and_decay_of_the_config():
    cfg = TrainConfig(muon_lr=0.1, embed_lr=0.2, head_lr=0.3, scalar_lr=0.4, muon_decay=0.5, embed_decay=0.6)
    model = GPT(ModelConfig(vocab_size=11, layers=2, dim=16, heads=2, kv_heads=2, tied=False))
    muon, adam = build_optimizers(model, cfg)
    assert isinstance(muon, Muon) and isinstance(adam, torch.optim.AdamW)
    rates = [(group["base_lr"], group["lr"], group["weight_decay"]) for group in muon.param_groups + adam.param_groups]
    assert rates == [(0.1, 0.1, 0.5), (0.2, 0.2, 0.6), (0.3, 0.3, 0.6), (0.4, 0.4, 0.0)]
    assert sum(len(group["params"]) for group in muon.param_groups + adam.param_groups) == len(list(model.parameters()))


def test_a_model_without_matrices_gets_no_muon():
    optimizers = build_optimizers(nn.Embedding(4, 2), TrainConfig())
    assert [type(optimizer) for optimizer in optimizers] == [torch.optim.AdamW]
