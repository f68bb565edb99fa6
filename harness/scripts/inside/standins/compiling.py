"""`torch.compile`, Dynamo, Inductor: code runs as it is written. Compiling changes speed and rounding only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from harness.scripts.inside.standins.uses import Anything, module, used


def compile(model: Any = None, *_: Any, **__: Any) -> Any:
    """The model or function itself; also as a decorator with options."""
    used("torch.compile")
    return model if model is not None else lambda function: function


def _pass_through(name: str) -> Callable[..., Any]:
    """For decorators such as `disable`, with and without a call, and for switches that return nothing."""

    def stand_in(*args: Any, **_: Any) -> Any:
        used(name)
        if args and callable(args[0]):
            return args[0]
        return None if args else (lambda function=None: function)

    return stand_in


def _unknown(parent: str) -> Callable[[str], Any]:
    def member(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _pass_through(f"{parent}.{name}")

    return member


def install() -> None:
    """Replace the compilers; what torch itself asks of them still works."""
    library: Any = torch
    library.compile = compile
    library.nn.Module.compile = lambda self, *_, **__: None
    for name in ("_dynamo", "_inductor"):
        made = module(f"torch.{name}", config=Anything(), reset=lambda: None)
        made.__getattr__ = _unknown(f"torch.{name}")  # type: ignore[method-assign]
        setattr(torch, name, made)
        sys.modules[f"torch.{name}.config"] = made.config
    compiler = library.compiler
    for name in ("disable", "allow_in_graph", "assume_constant_result", "set_stance", "reset", "wrap_numpy"):
        setattr(compiler, name, _pass_through(f"torch.compiler.{name}"))
    compiler.cudagraph_mark_step_begin = lambda: None
    compiler.is_compiling = compiler.is_dynamo_compiling = compiler.is_exporting = lambda: False
