"""`device="cuda"`: tensors live on the CPU, the device keeps its type where the script compares it.

`torch.device("cuda", 0).type == "cuda"` must hold, for scripts branch on it; so devices stay what they are, and only
where one is *used* (a factory, `.to`, `load`) it becomes the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn

from harness.scripts.inside.standins.uses import used

_FACTORIES = (
    "zeros", "ones", "empty", "full", "tensor", "arange", "rand", "randn", "randint", "randperm", "as_tensor",
    "asarray", "eye", "linspace", "logspace", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like",
    "randn_like", "randint_like", "empty_strided", "normal", "tril_indices", "triu_indices", "hann_window",
    "sparse_coo_tensor", "scalar_tensor", "complex", "empty_permuted", "frombuffer",
)  # fmt: skip
_METHODS = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "new_empty_strided")
_CPU = torch.device("cpu")


def on_cpu(device: Any) -> Any:
    """The CPU for any CUDA device, by whatever it is named; everything else unchanged."""
    if isinstance(device, str) and device.startswith("cuda"):
        used("device cuda")
        return _CPU
    if isinstance(device, torch.device) and device.type == "cuda":
        used("device cuda")
        return _CPU
    return device


def _keyword(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if "device" in kwargs:
            device = kwargs["device"]
            kwargs["device"] = _CPU if isinstance(device, int) and not isinstance(device, bool) else on_cpu(device)
        kwargs.pop("pin_memory", None)
        return function(*args, **kwargs)

    return stand_in


def _anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """For `.to`: a device may be positional. An integer among the arguments is a device number."""

    @wraps(function)
    def stand_in(self: Any, *args: Any, **kwargs: Any) -> Any:
        args = tuple(_CPU if type(item) is int else on_cpu(item) for item in args)
        if "device" in kwargs:
            kwargs["device"] = on_cpu(kwargs["device"])
        return function(self, *args, **kwargs)

    return stand_in


def _load(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def stand_in(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(map_location, dict):
            map_location = "cpu"
        return function(f, on_cpu(map_location) if map_location is not None else "cpu", *args, **kwargs)

    return stand_in


def install() -> None:
    """Replace the places where a device is used."""
    for name in _FACTORIES:
        setattr(torch, name, _keyword(getattr(torch, name)))
    for name in _METHODS:
        setattr(torch.Tensor, name, _keyword(getattr(torch.Tensor, name)))
    tensor: Any = torch.Tensor
    module: Any = nn.Module
    parameters: Any = torch
    tensor.to = _anywhere(tensor.to)
    module.to = _anywhere(module.to)
    parameters.load = _load(parameters.load)
    for owner in (tensor, module):
        owner.cuda = _same("cuda()")
    tensor.pin_memory = _same("pin_memory()")
    tensor.is_pinned = lambda self, *_, **__: True
    tensor.is_cuda = property(lambda self: True)
    tensor.get_device = lambda self: 0
    tensor.record_stream = lambda self, stream: None
    real = torch.Generator
    parameters.Generator = lambda device=None: real("cpu")
    parameters.set_default_device = lambda device: None
    from torch.utils import _device

    context: Any = _device.DeviceContext
    begin = context.__init__
    context.__init__ = lambda self, device: begin(self, on_cpu(torch.device(device)))


def _same(name: str) -> Callable[..., Any]:
    def stand_in(self: Any, *_: Any, **__: Any) -> Any:
        used(name)
        return self

    return stand_in
