"""Arithmetic in float64, whatever a script asks for: what moves by rounding alone holds still in it.

Below autograd and autocast, so that casts, defaults and kernels' choices all come by here. What is read from files and
what numpy hands over stays narrow until it meets something.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_NARROW = (torch.float32, torch.float16, torch.bfloat16)
#: They look at the same bytes as numbers of another kind.
_BYTES = {torch.ops.aten.view.dtype}
#: They draw numbers: the same ones as in 32 bits, so that the model is the same.
_DRAWN = {"normal_", "uniform_", "exponential_", "bernoulli_", "cauchy_", "log_normal_", "geometric_"}
_MADE = {"randn", "rand", "randn_like", "rand_like"}


class Exact(TorchDispatchMode):
    """Numbers of 16 and 32 bits become such of 64, but where they are written into."""

    def __enter__(self) -> Any:
        torch.set_default_dtype(torch.float64)
        return super().__enter__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _BYTES:
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name in _DRAWN and args[0].dtype == torch.float64:
            return args[0].copy_(func(torch.empty_like(args[0], dtype=torch.float32), *args[1:], **kwargs))
        if name in _MADE:
            return func(*args, **{**kwargs, "dtype": torch.float32}).double()
        written = {
            argument.name
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        }
        views = any(result.alias_info is not None for result in func._schema.returns) and not written
        names = [argument.name for argument in func._schema.arguments]
        keep = written if not views else set(names)

        def wide(name: str, value: Any) -> Any:
            return value if name in keep and not isinstance(value, torch.dtype) else tree_map(_widened, value)

        args = tuple(wide(name, value) for name, value in zip(names, args, strict=False))
        return func(*args, **{name: wide(name, value) for name, value in kwargs.items()})


def _widened(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _NARROW else value
    if isinstance(value, torch.Tensor) and value.dtype in _NARROW:
        return value.double()
    return value
