"""Autocast and gradient scaling as on a card; `inference_mode` becomes `no_grad`; 8-bit floats on the CPU.

In inference mode tensors have no version counters and dispatch differs, which the recorder cannot follow; without
gradients the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.scripts.inside.standins.uses import missing, used

_autocast = torch.amp.autocast_mode.autocast


class Autocast(_autocast):
    """Autocast of the CPU for every device."""

    def __init__(self, device_type: str = "cuda", *args: Any, **kwargs: Any) -> None:
        used("autocast")
        if not args:
            kwargs.setdefault("dtype", torch.bfloat16)
        super().__init__("cpu", *args, **kwargs)


class InferenceMode(torch.no_grad):
    """`torch.inference_mode`, with and without a call, as decorator and as context."""

    def __new__(cls, mode: Any = True) -> Any:
        """Decorates when given a function; `inference_mode(False)` leaves gradients as they are."""
        used("inference_mode")
        if callable(mode):
            return torch.no_grad()(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._mode = mode

    def __enter__(self) -> None:
        if self._mode:
            super().__enter__()
        else:
            self.prev = torch.is_grad_enabled()

    def clone(self) -> InferenceMode:
        """For use as a decorator: one for each call."""
        return InferenceMode(self._mode)


class GradScaler:
    """A scaler that never scales: bfloat16 needs none, and float16 on a CPU has no overflow to look for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        used("GradScaler")

    def scale(self, outputs: Any) -> Any:
        """Unchanged."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing was scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's own step."""
        return optimizer.step(*args, **kwargs)

    def update(self, *_: Any) -> None:
        """The scale stays 1."""

    def get_scale(self) -> float:
        """The scale."""
        return 1.0

    def is_enabled(self) -> bool:
        """Off, in effect."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing to keep."""


def _scaled_mm(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
    """Product of two scaled 8-bit matrices: (a * scale_a) @ (b * scale_b) + bias."""
    used("torch._scaled_mm")
    scales = list(args[:2]) + [kwargs.get("scale_a"), kwargs.get("scale_b")]
    scale_a, scale_b = [scale for scale in scales if scale is not None][:2]
    product = (a.float() * scale_a.float()) @ (b.float() * scale_b.float())
    bias = kwargs.get("bias")
    if bias is not None:
        product = product + bias.float()
    if kwargs.get("scale_result") is not None:
        missing("torch._scaled_mm(scale_result=)", "not needed so far")
    return product.to(kwargs.get("out_dtype") or torch.bfloat16)


def _cpu_autocast(*args: Any, **kwargs: Any) -> Autocast:
    if args:  # torch.cuda.amp.autocast(enabled, dtype, cache_enabled)
        kwargs.update(zip(("enabled", "dtype", "cache_enabled"), args, strict=False))
    return Autocast("cuda", **kwargs)


def _of_cuda(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda device_type="cpu", *args, **kwargs: function("cpu", *args, **kwargs)


def install() -> None:
    """Put them in place."""
    library: Any = torch
    library.autocast = library.amp.autocast = library.amp.autocast_mode.autocast = Autocast
    library.cuda.amp.autocast = _cpu_autocast
    library.cuda.amp.GradScaler = library.amp.GradScaler = library.GradScaler = GradScaler
    library.inference_mode = InferenceMode
    library._scaled_mm = _scaled_mm
    for name in ("is_autocast_enabled", "get_autocast_dtype"):
        setattr(library, name, _of_cuda(getattr(torch, name)))
    library.get_autocast_gpu_dtype = lambda: torch.get_autocast_dtype("cpu")
