"""Second moments of every linear layer's inputs, H = mean of x x^T, which GPTQ rounds with.

Where the text comes from decides what the pass is: training text costs seconds of the training clock or comes after it,
text of the model's own and random tokens need no data at all, and validation text makes the artifact depend on what is
scored. The worker marks the clocks around the pass (`Calibration.inside_clock`), and `TrainData` refuses validation
text unless the submission has declared it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from harness.kit.config import Calibration, QuantizeConfig
from harness.kit.generate import Generator
from harness.kit.loader import SequentialLoader
from harness.kit.model import GPT
from harness.kit.submission import TrainData


def collect(model: nn.Module, data: TrainData, how: QuantizeConfig, *, inside_clock: bool) -> dict[str, Tensor]:
    """The Hessians that `how` asks for at this moment; none at the other moment, or where it needs none.

    Args:
        model: trained; its weights and global generators stay as they are.
        data: what text may come from.
        how: the settings; `how.calibration` decides.
        inside_clock: True inside the timed loop, False after `after_training`.

    Returns:
        float64 [columns, columns] on the CPU, by the name of the weight.

    Raises:
        PermissionError: validation text that the submission has not declared.
    """
    if not how.needs_calibration or how.calibration.inside_clock != inside_clock:
        return {}
    found = hessians(model, calibration_tokens(model, data, how.calibration), how.calibration.batch)
    where = "inside" if inside_clock else "after"
    print(
        f"calibration: {len(found)} Hessians from source {how.calibration.source!r}, {where} the timed loop", flush=True
    )
    return found


def calibration_tokens(model: nn.Module, data: TrainData, how: Calibration) -> Tensor:
    """The sequences to calibrate on: int64 [sequences, length] on the CPU; fewer where a stream has no more.

    Raises:
        PermissionError: validation text that the submission has not declared.
        ValueError: a stream shorter than one sequence.
    """
    count = how.sequences * how.length
    if how.source == "train":
        return SequentialLoader(data.shards, count, how.length).next_batch()[0]
    if how.source == "validation":
        stream = data.validation[:count]
        if len(stream) < how.length:
            raise ValueError(f"calibration: {len(stream)} validation tokens are no sequence of {how.length}")
        return stream[: len(stream) // how.length * how.length].view(-1, how.length)
    generator = torch.Generator().manual_seed(how.seed)
    if how.source == "random":
        return torch.randint(data.vocab_size, (how.sequences, how.length), generator=generator)
    first = torch.randint(data.vocab_size, (how.sequences,), generator=generator)  # uniformly random, as in #1019
    return torch.cat([_drawn(model, part, how, generator) for part in torch.split(first, how.batch)])


@torch.no_grad()
def _drawn(model: nn.Module, first: Tensor, how: Calibration, generator: torch.Generator) -> Tensor:
    """Continue int64 [B] by sampling from the model at a temperature: int64 [B, length]."""
    device = next(model.parameters()).device
    # the kit's own model has cached keys and values; others run over the whole prefix for every token
    cached = Generator(model, first.to(device), how.length, how.length) if type(model) is GPT else None
    tokens = first[:, None]
    with _evaluating(model):
        while tokens.size(1) < how.length:
            logits = cached.rows() if cached else model(tokens.to(device))[:, -1]
            chances = torch.softmax(logits.float().cpu() / how.temperature, dim=-1)
            drawn = torch.multinomial(chances, 1, generator=generator)
            tokens = torch.cat((tokens, drawn), dim=1)
            if cached:
                cached.append(drawn[:, 0].to(device))
    return tokens


@torch.no_grad()
def hessians(model: nn.Module, tokens: Tensor, batch: int = 8) -> dict[str, Tensor]:
    """Run a model over sequences and average x x^T of what enters every `nn.Linear`.

    A model with `hidden` and `head_weight` (the kit's GPT) gets one for its output matrix, too, from what leaves the
    final norm (#1394): it is the embedding where the two are tied.

    Args:
        model: left in the mode that it was in.
        tokens: int64 [n, L].
        batch: sequences in one pass.

    Returns:
        float64 [columns, columns] on the CPU, by the name of the weight. Layers that were not called have none.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def take(name: str, inputs: Tensor) -> None:
        flat = inputs.detach().flatten(0, -2).float()
        product = (flat.mT @ flat).double()
        sums[name] = sums[name] + product if name in sums else product
        counts[name] = counts.get(name, 0) + len(flat)

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    handles = [
        module.register_forward_pre_hook(partial(_hook, take, names[id(module.weight)]))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    device = next(model.parameters()).device
    hidden, head = getattr(model, "hidden", None), getattr(model, "head_weight", None)
    try:
        with _evaluating(model), torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            for chunk in torch.split(tokens, batch):
                if callable(hidden) and isinstance(head, Tensor) and id(head) in names:
                    take(names[id(head)], hidden(chunk.to(device)))
                else:
                    model(chunk.to(device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / counts[name]).cpu() for name, total in sorted(sums.items())}


def _hook(take: Callable[[str, Tensor], None], name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    take(name, inputs[0])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
