import pytest
import torch
from torch import nn

from harness.kit.config import ModelConfig, TrainConfig
from harness.kit.model import GPT
from harness.kit.optim import Muon, build_optimizers, orthogonalize, param_groups


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
