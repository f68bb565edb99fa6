"""In the box: import what somebody wants checked, and answer with rows. The parent asks, compares and judges."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.library.calling import LENGTHS, VOCABULARIES, doubled, evaluating, found, logits_of, said
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Wire, WireClosed, text


def main(wire: Wire, args: Sequence[str]) -> int:
    """Serve calls until the parent hangs up. `args`: the target, and "model" or "scorer"."""
    target, kind = args
    try:
        model = found(target)
        exact: Any = None
        facts = {"vocab_size": said(model, VOCABULARIES), "length": said(model, LENGTHS), "name": _name(model)}
        wire.send(Kind.SHAPE, text(json.dumps(facts)))
        while True:
            frame = wire.recv()
            tokens = torch.as_tensor(frame.arrays[0])
            called = model
            if int(frame.arrays[1][0]):
                exact = doubled(model) if exact is None else exact
                if exact is None:
                    wire.send(Kind.REFUSED, text("it is no module that can be copied in float64"))
                    continue
                called = exact
            with evaluating(called):
                wire.send(Kind.ROWS, *(_model(called, tokens) if kind == "model" else _scorer(called, tokens)))
    except WireClosed:
        return 0
    except BaseException as error:
        traceback.print_exc()
        lines = str(error).splitlines()
        wire.send(Kind.FAILED, text(f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]))
        return 1


def _model(model: Any, tokens: torch.Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    return (_array(logits_of(model(tokens))),)


def _scorer(score: Any, tokens: torch.Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    out = score(tokens)
    if isinstance(out, tuple) and len(out) == 2:
        return np.asarray(torch.as_tensor(out[0]).cpu(), np.int64).reshape(-1), _array(torch.as_tensor(out[1]))
    return (_array(torch.as_tensor(out)),)


def _array(values: torch.Tensor) -> np.ndarray[Any, Any]:
    wide = values.detach()
    return (wide if wide.dtype == torch.float64 else wide.float()).cpu().contiguous().numpy()


def _name(model: Any) -> str:
    own = getattr(model, "__qualname__", None)
    return str(own or type(getattr(model, "_orig_mod", model)).__name__)
