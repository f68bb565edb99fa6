"""A stream that is played in this process: no wire, no box, and every commit is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.kit.stream import NotScoredYet, Stream
from harness.sandbox.protocol import Purpose


class Played(Stream):
    """Answers reads at once, refuses history that is not scored, and keeps rows by position.

    Attributes:
        rows: what was committed for each position, log-probabilities [V]; for a claim the one that was claimed, [1].
        order: positions in the order in which they were committed, repeated ones included.
        kept: what was registered as state.
    """

    def __init__(self, tokens: Sequence[int] | Tensor, vocab_size: int) -> None:
        self._tokens = torch.as_tensor(tokens, dtype=torch.int64)
        self.tokens, self.vocab_size, self.device = len(self._tokens), vocab_size, torch.device("cpu")
        self.rows: dict[int, Tensor] = {}
        self.order: list[int] = []
        self.kept: dict[str, Any] = {}

    def commit(self, positions: Tensor, rows: Tensor, *, kind: str = "logits") -> None:
        rows = rows.detach()
        for position, row in zip(positions.tolist(), rows.log_softmax(-1) if kind == "logits" else rows, strict=True):
            self.order.append(position)
            self.rows.setdefault(position, row.clone())

    def claim(self, positions: Tensor, log_probs: Tensor) -> None:
        self.commit(positions, log_probs[:, None], kind="log_probs")

    def register_state(self, name: str, value: Any) -> None:
        self.kept[name] = value

    def _read(self, ranges: list[tuple[int, int]], purpose: Purpose) -> Tensor:
        if purpose == Purpose.HISTORY:
            unscored = [p for a, b in ranges for p in range(max(a, 1), b) if p not in self.rows]
            if unscored:
                raise NotScoredYet(f"position {unscored[0]} is not scored yet")
        assert all(0 <= a <= b <= self.tokens for a, b in ranges)
        return torch.cat([self._tokens[a:b] for a, b in ranges])
