"""A tiny stream of unique tokens, a tiny model, and one watched run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.scripts.inside.locate import Location
from harness.scripts.inside.recorder import Recorder, Tokens
from harness.scripts.trace.observed import Observed

V = 512
N = 161  # tokens of the stream: 160 targets
BOS = 1
STARTS = (0, 37, 38, 90, 141)


@dataclass
class Streams:
    base: np.ndarray
    flip: np.ndarray
    tokens: Tokens
    train: np.ndarray


def streams(seed: int = 0) -> Streams:
    random = np.random.default_rng(seed)
    ids = random.permutation(np.arange(100, V))
    base, flip = ids[:N].copy(), ids[N : 2 * N].copy()
    position_of = np.full(65536, -1, np.int64)
    alternative = np.full(65536, -1, np.int64)
    for at in range(N):
        if at in STARTS:
            base[at] = flip[at] = BOS
        else:
            position_of[base[at]] = position_of[flip[at]] = at
            alternative[base[at]], alternative[flip[at]] = flip[at], base[at]
    tokens = Tokens(position_of, alternative, V, BOS, STARTS)
    return Streams(base, flip, tokens, random.integers(2, 100, 400))


class Model(nn.Module):
    """Predicts from the token and a running mean of those before."""

    def __init__(self, dim: int = 16, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(V, dim)
        self.head = nn.Linear(dim, V, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def hidden(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        count = torch.arange(1, h.shape[1] + 1, dtype=h.dtype)[:, None]
        return h + h.cumsum(1) / count

    def forward(self, x: Tensor) -> Tensor:
        return 15 * torch.tanh(self.head(self.hidden(x)) / 15)


def truth(model: nn.Module, stream: np.ndarray) -> np.ndarray:
    """NLL of every target when the whole stream is one window, float64; index 0 is no target."""
    x = torch.from_numpy(stream.astype(np.int64))
    with torch.no_grad():
        nll = F.cross_entropy(model(x[None, :-1])[0].float(), x[1:], reduction="none")
    return np.concatenate([[np.nan], nll.double().numpy()])


def watch(
    program: Callable[..., Any], *args: Any, script: Any = "", tokens: Tokens | None = None,
    locations: Sequence[Location] | None = None, hooks: dict[int, Callable[[], None]] | None = None, draw: bool = False,
) -> tuple[Observed, Recorder, Any]:  # fmt: skip
    recorder = Recorder(tokens or streams().tokens, script=script or "test_recorder.py", locations=locations, draw=draw)
    for index, hook in (hooks or {}).items():
        recorder.on_event(index, hook)
    recorder.install()
    try:
        with recorder:
            result = program(*args)
    finally:
        recorder.uninstall()
    seen = recorder.observed()
    assert Observed.from_arrays(seen.to_arrays()).kinds == seen.kinds
    return seen, recorder, result


def report(seen: Observed, index: int = -1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, NLLs and weights of one report's atoms."""
    index %= len(seen.report_seq)
    part = slice(seen.report_start[index], seen.report_start[index + 1])
    atoms = seen.report_atom[part]
    return seen.atom_position[atoms], seen.atom_nll[atoms], seen.report_weight[part]


def trained(seen: Observed, index: int = -1) -> np.ndarray:
    index %= len(seen.training_seq)
    return seen.training_position[seen.training_start[index] : seen.training_start[index + 1]]
