"""How a model is called, here and in a box: this module and `serving` are all of the library that a box has.

Imports torch only, and nothing of the house.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

#: Names under which configurations say how long a context may be, and how many tokens there are.
LENGTHS = (
    "block_size", "sequence_len", "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length",
    "seq_len", "context_length",
)  # fmt: skip
VOCABULARIES = ("vocab_size", "n_vocab", "padded_vocab_size")


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients, and every module's own mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    if isinstance(model, nn.Module):
        model.eval()
    try:
        with torch.no_grad():  # inference mode would leave tensors in caches that training cannot use
            yield
    finally:
        for module, training in modes:
            module.training = training


def logits_of(out: Any) -> torch.Tensor:
    """Logits from what a model returns: a tensor, the first with three dimensions of a tuple, or `.logits`.

    Raises:
        TypeError: there are none.
    """
    if isinstance(out, torch.Tensor):
        return out.detach()
    found = out.get("logits") if isinstance(out, dict) else getattr(out, "logits", None)
    if isinstance(found, torch.Tensor):
        return found.detach()
    if isinstance(out, tuple | list):
        for one in out:
            if isinstance(one, torch.Tensor) and one.ndim == 3:
                return one.detach()
    raise TypeError(f"the model returned {type(out).__name__}, and no logits [B, T, V] are in it")


def module_of(model: Any) -> nn.Module | None:
    """The module itself, also behind torch.compile's wrapper; None of a function."""
    found = getattr(model, "_orig_mod", model)
    return found if isinstance(found, nn.Module) else None


def doubled(model: Any) -> nn.Module | None:
    """A copy of the module in float64; None for a function, or a module that cannot be copied."""
    module = module_of(model)
    if module is None:
        return None
    try:
        return copy.deepcopy(module).double()
    except (RuntimeError, TypeError, NotImplementedError):
        return None


def said(model: Any, names: Sequence[str]) -> int | None:
    """What `model.config` says under the first of these names; None without it."""
    config = getattr(getattr(model, "_orig_mod", model), "config", None)
    for name in names:
        value = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def found(target: str) -> Any:
    """What MODULE:NAME names, NAME() calls; a module may be a file, and a class of modules is made without arguments.

    Raises:
        AttributeError, ImportError: there is no such thing.
    """
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(os.path.basename(place)[:-3], place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    thing: Any = module
    for part in name.removesuffix("()").split("."):
        thing = getattr(thing, part)
    return thing() if name.endswith("()") or isinstance(thing, type) else thing
