"""Pre-quantization TTT: the arithmetic of its steps, what it freezes, which tokens it reads."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.kit.config import ModelConfig
from harness.kit.model import GPT
from harness.kit.prequant import PrequantConfig, adapt, training_slice
from tests.kit.test_loader import write

TOKENS = torch.tensor([3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0, 7, 2, 3, 0, 4])


class Bigram(nn.Module):
    """Logits are a row of a table: its gradient can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.table[inputs.flatten()], targets.flatten())


def adamw_by_hand(table: np.ndarray, tokens: list[int], cfg: PrequantConfig) -> tuple[np.ndarray, list[float]]:
    """The whole adaptation in float64 numpy: gradients, clip, AdamW with bias correction, cosine by epoch."""
    count, length = (len(tokens) - 1) // cfg.sequence_length, cfg.sequence_length
    (b1, b2), m, v, t, losses = cfg.betas, np.zeros_like(table), np.zeros_like(table), 0, []
    for epoch in range(cfg.epochs):
        cosine = 0.5 * (1 + math.cos(math.pi * epoch / cfg.epochs))
        lr = cfg.lr * cfg.lr_end + (cfg.lr - cfg.lr * cfg.lr_end) * cosine
        total = 0.0
        for at in range(0, count, cfg.batch_sequences):
            rows = range(at, min(at + cfg.batch_sequences, count))
            places = [row * length + offset for row in rows for offset in range(length)]
            gradient = np.zeros_like(table)
            for place in places:
                p = np.exp(table[tokens[place]])
                p /= p.sum()
                total -= math.log(p[tokens[place + 1]])
                p[tokens[place + 1]] -= 1
                gradient[tokens[place]] += p / len(places)
            if cfg.grad_clip:
                gradient *= min(1.0, cfg.grad_clip / (np.sqrt((gradient**2).sum()) + 1e-6))
            t += 1
            m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
            table = table * (1 - lr * cfg.weight_decay)
            table = table - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + cfg.eps)
        losses.append(total / (count * length))
    return table, losses


@pytest.mark.parametrize("clip", [0.0, 0.05, 1e9])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_it_follows_the_formulas(clip: float, decay: float) -> None:
    # 15 targets: five sequences of 3, in steps of 2, 2 and 1
    cfg = PrequantConfig(
        epochs=3, lr=0.01, sequence_length=3, batch_sequences=2, grad_clip=clip, weight_decay=decay, betas=(0.8, 0.9)
    )
    model = Bigram()
    table, losses = adamw_by_hand(model.table.detach().numpy().copy(), TOKENS.tolist(), cfg)
    assert adapt(model, TOKENS, cfg) == pytest.approx(losses, rel=1e-10)
    assert np.allclose(model.table.detach().numpy(), table, rtol=0, atol=1e-10)


def test_clipping_is_part_of_it() -> None:
    # AdamW forgets the scale of gradients, but not when clipping changes their ratio from step to step
    free, clipped = Bigram(), Bigram()
    adapt(free, TOKENS, PrequantConfig(epochs=2, lr=0.01, sequence_length=3, batch_sequences=1, grad_clip=0.0))
    adapt(clipped, TOKENS, PrequantConfig(epochs=2, lr=0.01, sequence_length=3, batch_sequences=1, grad_clip=0.3))
    assert not torch.allclose(free.table, clipped.table, atol=1e-5)


@given(st.integers(1, 30), st.floats(1e-5, 1.0), st.floats(0.0, 1.0))
def test_the_rates_are_those_of_a_cosine_by_epoch(epochs: int, lr: float, end: float) -> None:
    cfg = PrequantConfig(epochs=epochs, lr=lr, lr_end=end)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lr * end)
    for epoch in range(epochs + 1):
        assert cfg.rate(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-12)
        optimizer.step()
        cosine.step()
    assert cfg.rate(0) == pytest.approx(lr) and cfg.rate(epochs) == pytest.approx(lr * end)


def small(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    model = GPT(ModelConfig(vocab_size=16, layers=4, dim=16, heads=2, kv_heads=1))
    with torch.no_grad():
        for param in model.parameters():  # no weight is zero, so that every gradient reaches
            param.add_(0.02 * torch.randn(param.shape))
    return model


TEXT = torch.from_numpy(np.cumsum(np.full(200, 5)) % 16)
SMALL = PrequantConfig(epochs=2, lr=0.01, sequence_length=16, batch_sequences=4)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_frozen_blocks_keep_every_bit_and_nothing_else_does(blocks: int) -> None:
    model = small()
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    adapt(model, TEXT, PrequantConfig(**{**SMALL.__dict__, "freeze_blocks": blocks}))
    frozen = {name for name in before if name.startswith("blocks.") and int(name.split(".")[1]) < blocks}
    kept = {name for name, param in model.named_parameters() if torch.equal(param, before[name])}
    assert kept == frozen and sum(before[name].numel() for name in frozen) >= 1000 * blocks
    assert all(param.requires_grad and param.grad is None for param in model.parameters())


def test_a_freeze_that_would_freeze_gains_only_is_refused() -> None:
    class Banked(Bigram):
        def __init__(self) -> None:
            super().__init__()
            self.bank = nn.Parameter(torch.zeros(2, 8, 8))
            self.blocks = nn.ModuleList(nn.ParameterDict({"resid_mix": torch.zeros(2, 8)}) for _ in range(2))

    for model, blocks in ((Banked(), 2), (Bigram(), 1), (small(), 5)):
        with pytest.raises(ValueError, match=f"cannot freeze {blocks} blocks of {type(model).__name__}"):
            adapt(model, TOKENS, PrequantConfig(sequence_length=3, freeze_blocks=blocks))


def test_it_learns_and_gives_the_mode_back() -> None:
    model = small().eval()
    losses = adapt(model, TEXT, PrequantConfig(**{**SMALL.__dict__, "epochs": 8}))
    assert len(losses) == 8 and losses[-1] < losses[0] - 0.3 and not model.training


def test_the_same_gives_the_same_whatever_the_generators_say() -> None:
    def run(seed: int) -> torch.Tensor:
        model = small()
        torch.manual_seed(seed)
        adapt(model, TEXT, SMALL)
        return torch.cat([param.detach().flatten() for param in model.parameters()])

    assert torch.equal(run(1), run(2))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(1, 6), st.integers(1, 8))
def test_the_slice_is_the_end_of_the_last_shard(tmp_path_factory, sizes, sequences, length) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("shards")
    ends = np.cumsum(sizes)
    shards = [
        write(folder / f"{number}.bin", np.arange(ends[number] - size, ends[number]))
        for number, size in enumerate(sizes)
    ]
    fitting = (sizes[-1] - 1) // length
    if fitting < 1:
        with pytest.raises(ValueError, match="last training shard"):
            training_slice(shards[::-1], sequences, length)
        return
    found = training_slice(shards[::-1], sequences, length)
    assert found.dtype == torch.int64 and len(found) == min(sequences, fitting) * length + 1
    assert found.tolist() == list(range(ends[-1] - len(found), ends[-1]))


def test_too_little_text_and_a_loss_that_is_not_finite_are_errors() -> None:
    with pytest.raises(ValueError, match="less than a sequence"):
        adapt(Bigram(), TOKENS[:3], PrequantConfig(sequence_length=3))
    broken = Bigram()
    with torch.no_grad():
        broken.table.fill_(math.nan)
    with pytest.raises(ValueError, match="diverged"):
        adapt(broken, TOKENS, PrequantConfig(sequence_length=3))


@pytest.mark.parametrize("values", [{"epochs": 0}, {"freeze_blocks": -1}, {"lr_end": 1.5}, {"batch_sequences": 0}])
def test_settings_without_meaning_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="PrequantConfig"):
        PrequantConfig(**values)  # type: ignore[arg-type]
