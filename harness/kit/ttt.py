"""Score-first chunked test-time training: score a chunk with sliding windows, then train on it (PR #461, #549, #1413).

The stream is cut into chunks of C inputs. A window belongs to the chunk of the first input whose row it scores, so once
the windows of chunks 0 .. k are committed, every position up to (k+1) C is. Training on chunk k comes after that, and
moves the rows of later chunks only. The last chunk is scored and not trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.kit.model import GPT
from harness.kit.windows import Window, sliding


@dataclass(frozen=True)
class TTTConfig:
    """How the model is trained on what it has scored. The defaults are those of PR #1413.

    Attributes:
        chunk: inputs per chunk.
        epochs: passes over each chunk.
        lr: learning rate of the first chunk; it falls to zero at the last one by a cosine (0.002 in #549).
        momentum: SGD's.
        clip: largest norm of all gradients together.
        freeze: the first blocks that are left as they are.
        sequences: sequences per step.
    """

    chunk: int = 32_768
    epochs: int = 3
    lr: float = 0.005
    momentum: float = 0.9
    clip: float = 1.0
    freeze: int = 0
    sequences: int = 32

    def __post_init__(self) -> None:
        """Reject settings without meaning (ValueError)."""
        if min(self.chunk, self.sequences) < 1 or min(self.epochs, self.freeze) < 0:
            raise ValueError("TTTConfig: chunk and sequences must be at least 1, epochs and freeze not negative")
        if self.lr < 0 or not 0 <= self.momentum < 1 or self.clip <= 0:
            raise ValueError("TTTConfig: lr must not be negative, momentum in [0, 1), clip positive")

    def rate(self, index: int, chunks: int) -> float:
        """Learning rate on chunk `index` of `chunks`: lr (1 + cos(pi index / (chunks - 1))) / 2."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * index / max(chunks - 1, 1)))


@dataclass(frozen=True)
class Chunk:
    """A part of the stream that is scored, then trained on.

    Attributes:
        index: its number.
        of: how many there are.
        start: its first input.
        stop: one past its last input; x_{start+1} .. x_stop are its targets.
        windows: the windows that score it, in stream order. Where the stride does not divide the chunk they may reach
            into the next one, which is then scored earlier than it had to be.
    """

    index: int
    of: int
    start: int
    stop: int
    windows: tuple[Window, ...]

    @property
    def last(self) -> bool:
        """Nothing comes after it that training on it could help."""
        return self.index == self.of - 1


def chunks(targets: int, length: int, stride: int, size: int) -> Iterator[Chunk]:
    """Deal the sliding windows of a stream to its chunks.

    Args:
        targets: positions to score (tokens in the stream minus one).
        length: inputs per window, and per training sequence.
        stride: positions scored per later window.
        size: inputs per chunk, a multiple of `length`, so that training sequences fill it.

    Raises:
        ValueError: the geometry is impossible.
    """
    if size < 1 or size % length:
        raise ValueError(f"a chunk of {size} inputs must be a multiple of the window's {length}")
    count = -(-targets // size)
    dealt: list[list[Window]] = [[] for _ in range(count)]
    for window in sliding(targets, length, stride):
        dealt[(window.start + window.first) // size].append(window)
    for index, windows in enumerate(dealt):
        yield Chunk(index, count, index * size, min((index + 1) * size, targets), tuple(windows))


def trainable(model: nn.Module, freeze: int) -> list[nn.Parameter]:
    """All parameters but those of the first `freeze` blocks, by name (`blocks.i.`)."""
    frozen = tuple(f"blocks.{index}." for index in range(freeze))
    return [parameter for name, parameter in model.named_parameters() if not name.startswith(frozen)]


class ChunkTrainer:
    """SGD with momentum that goes on from chunk to chunk; nothing is ever reset.

    Frozen parameters get no gradient and no step, so they stay as they are to the bit.

    Args:
        model: trained in place.
        config: rates and sizes.
        length: inputs per training sequence.
    """

    def __init__(self, model: GPT, config: TTTConfig, length: int) -> None:
        self._model = model
        self._config = config
        self._length = length
        self._parameters = trainable(model, config.freeze)
        model.requires_grad_(False)
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.SGD(self._parameters, lr=config.lr, momentum=config.momentum)

    def learn(self, tokens: Tensor, index: int, of: int) -> None:
        """Train on a chunk, which must be scored: whole sequences, in order, `epochs` times; a rest is left out.

        Args:
            tokens: int64 [n + 1], the chunk's inputs and the token after the last one.
            index: the chunk's number, for the learning rate.
            of: how many chunks there are.
        """
        config = self._config
        count = (len(tokens) - 1) // self._length
        inputs = tokens[: count * self._length].view(count, self._length)
        targets = tokens[1 : count * self._length + 1].view(count, self._length)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(index, of)
        self._model.train()
        for _ in range(config.epochs if count else 0):
            for x, y in zip(torch.split(inputs, config.sequences), torch.split(targets, config.sequences), strict=True):
                self.optimizer.zero_grad(set_to_none=True)
                self._model.loss(x, y).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self._parameters, config.clip)
                self.optimizer.step()
        self._model.eval()
