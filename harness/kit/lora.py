"""Low-rank adapters on a frozen model (LoRA, arXiv:2106.09685), trained anew on every document (PR #77).

An adapter adds x (BA)^T s to a linear layer: A is drawn, B starts at zero, so a fresh one changes nothing. Adapters sit
on the queries and values of every block and on the head, there before the soft-cap.

A document is [BOS .. next BOS]: its last target is the BOS that ends it, so every position belongs to one document.
It is scored in chunks, each from a window that ends with the chunk and never begins before the document; the same
forward pass then gives one step of Adam. Where a document ends is not known before it is read, so neither a window's
start nor any tensor's shape may depend on it: in PR #77 the last chunk's window is moved to end with the document.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit.block import Block
from harness.kit.model import GPT
from harness.kit.windows import Window

#: The token that starts a document, in the contest's tokenizers and in this harness's.
BOS = 1


@dataclass(frozen=True)
class LoRAConfig:
    """Adapters and how they are trained. The defaults are those of PR #77.

    Attributes:
        rank: columns of B.
        scale: what BA is multiplied with.
        lr: Adam's learning rate.
        betas: Adam's averaging factors.
        eps: Adam's epsilon.
        chunk: positions that are scored together, and then trained on.
        window: inputs of a window, at most.
        seed: of A's initial values, the same for every document.
    """

    rank: int = 8
    scale: float = 1.0
    lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-10
    chunk: int = 256
    window: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if min(self.rank, self.chunk) < 1 or self.window < self.chunk:
            raise ValueError("LoRAConfig: rank and chunk must be at least 1, and a window must hold a chunk")

    def place(self, document: int, chunk: int) -> Window:
        """The window of a document's chunk, as if neither the document nor the stream ended: it depends on neither.

        Args:
            document: where the document starts (its BOS).
            chunk: the chunk's number in its document.
        """
        begin, end = document + chunk * self.chunk, document + (chunk + 1) * self.chunk
        start = max(document, end - self.window)
        return Window(start, end - start, begin - start)


class LoRA(nn.Module):
    """One adapter: x [..., inputs] -> s x A^T B^T [..., outputs]."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = scale

    def reset(self, generator: torch.Generator) -> None:
        """A uniform within 1 / sqrt(inputs) of zero, B zero; in place."""
        bound = 1 / math.sqrt(self.a.shape[1])
        with torch.no_grad():
            self.a.uniform_(-bound, bound, generator=generator)
            self.b.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the layer's output."""
        return (x @ self.a.T) @ self.b.T * self.scale


class Adapters(nn.Module):
    """Adapters for a GPT's queries, values and head. They hold no weight of the model."""

    def __init__(self, model: GPT, rank: int = 8, scale: float = 1.0) -> None:
        super().__init__()
        dim, width = model.cfg.dim, model.cfg.dim // model.cfg.heads
        blocks = range(model.cfg.layers)
        self.query = nn.ModuleList(LoRA(dim, dim, rank, scale) for _ in blocks)
        self.value = nn.ModuleList(LoRA(dim, model.cfg.kv_heads * width, rank, scale) for _ in blocks)
        self.head = LoRA(dim, model.vocab_size, rank, scale)

    def reset(self, seed: int) -> None:
        """Start afresh, in place: the same numbers for the same seed."""
        generator = torch.Generator(self.head.a.device).manual_seed(seed)
        for module in self.modules():
            if isinstance(module, LoRA):
                module.reset(generator)

    @contextlib.contextmanager
    def on(self, model: GPT) -> Iterator[None]:
        """Inside, the model's attention has the adapters' queries and values; outside it is as it was."""
        handles = []
        for block, query, value in zip(model.blocks, self.query, self.value, strict=True):
            assert isinstance(block, Block)
            handles.append(block.attn.query.register_forward_hook(partial(_add, query)))
            handles.append(block.attn.value.register_forward_hook(partial(_add, value)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, model: GPT, inputs: Tensor, first: int = 0) -> Tensor:
        """Logits of the adapted model from offset `first` on: int64 [B, L] -> float32 [B, L - first, V]."""
        with self.on(model):
            hidden = model.hidden(inputs)[:, first:]
        return model.softcap(model.pre_cap_logits(hidden) + self.head(hidden))


class DocumentLoRA:
    """A model whose adapters live as long as a document.

    Args:
        model: frozen from now on.
        config: sizes and rates.
    """

    def __init__(self, model: GPT, config: LoRAConfig) -> None:
        self._model = model.requires_grad_(False)
        self._seed = config.seed
        self.adapters = Adapters(model, config.rank, config.scale).to(model.embedding.weight.device)
        self.optimizer = torch.optim.Adam(
            self.adapters.parameters(), lr=config.lr, betas=config.betas, eps=config.eps, foreach=True
        )
        self.reset()

    def reset(self) -> None:
        """Forget the document: fresh adapters, and an Adam that has never stepped."""
        self.adapters.reset(self._seed)
        self.optimizer.state.clear()

    def rows(self, inputs: Tensor, first: int) -> Tensor:
        """Logits with a graph, for `learn`: int64 [1, L] -> float32 [L - first, V]."""
        logits: Tensor = self.adapters(self._model, inputs, first)
        return logits[0]

    def learn(self, rows: Tensor, targets: Tensor) -> None:
        """One step on the mean loss of a chunk whose rows are committed.

        Args:
            rows: float [n, V], what `rows` gave.
            targets: int64 [n].
        """
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(rows, targets).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def document_end(inputs: Tensor) -> int | None:
    """Offset of the first BOS after the first input, where the next document starts; None without one.

    Args:
        inputs: int64 [n], the inputs of a chunk, the first of which belongs to the document.
    """
    ends = (inputs[1:] == BOS).nonzero()
    return int(ends[0, 0]) + 1 if len(ends) else None


def _add(adapter: nn.Module, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    added: Tensor = output + adapter(arguments[0])
    return added
