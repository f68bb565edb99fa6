"""`torch.distributed` on one rank: every collective is the identity, or a copy of its one input.

Scripts divide their batches by the number of ranks themselves, and with one they do all of the work. For several ranks
see `ranks`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from harness.scripts.inside.standins.uses import missing, used


class Done:
    """The handle of an operation that has ended."""

    def wait(self, *_: Any) -> bool:
        """There is nothing to wait for."""
        return True

    def is_completed(self) -> bool:
        """It is."""
        return True

    def get_future(self) -> Any:
        """Not made up."""
        missing("dist.Work.get_future", "nothing runs beside the script")


def _answer(name: str, kwargs: dict[str, Any]) -> Done | None:
    used(f"dist.{name}")
    return Done() if kwargs.get("async_op") else None


def _identity(name: str) -> Any:
    return lambda *_, **kwargs: _answer(name, kwargs)


def _copied(name: str) -> Any:
    """`f(output, input, ...)`: of one rank, the output is the input, in the output's shape."""

    def stand_in(output: Any, input: Any, *_: Any, **kwargs: Any) -> Done | None:
        with torch.no_grad():
            output.copy_(input.reshape(output.shape))
        return _answer(name, kwargs)

    return stand_in


def _gathered(tensors: Any, tensor: Any, *_: Any, **kwargs: Any) -> Done | None:
    with torch.no_grad():
        tensors[0].copy_(tensor)
    return _answer("all_gather", kwargs)


def _gathered_objects(objects: Any, value: Any, *_: Any, **kwargs: Any) -> None:
    objects[0] = value
    _answer("all_gather_object", kwargs)


def _scattered(output: Any, inputs: Any, *_: Any, **kwargs: Any) -> Done | None:
    with torch.no_grad():
        output.copy_(inputs[0])
    return _answer("reduce_scatter", kwargs)


class _Wrapped(torch.nn.Module):
    """DistributedDataParallel of one rank: the module, under the name `module`."""

    def __init__(self, module: torch.nn.Module, *_: Any, **__: Any) -> None:
        super().__init__()
        used("DistributedDataParallel")
        self.module = module
        self.require_backward_grad_sync = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def no_sync(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


_ALONE: dict[str, Any] = {
    **{name: _identity(name) for name in ("all_reduce", "broadcast", "barrier", "broadcast_object_list", "reduce",
                                          "monitored_barrier", "all_reduce_coalesced")},
    **{name: _copied(name) for name in ("all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single",
                                        "_all_gather_base", "_reduce_scatter_base")},
    "all_gather": _gathered,
    "all_gather_object": _gathered_objects,
    "reduce_scatter": _scattered,
    "get_rank": lambda *_: 0,
    "get_world_size": lambda *_: 1,
    "get_backend": lambda *_: "nccl",
    "new_group": lambda *_, **__: None,
    "is_available": lambda: True,
    "is_nccl_available": lambda: True,
}  # fmt: skip
_state = {"ready": False}


def _begin(*_: Any, **__: Any) -> None:
    used("dist.init_process_group")
    _state["ready"] = True


def _end(*_: Any, **__: Any) -> None:
    _state["ready"] = False


def install() -> None:
    """Put the stand-ins in place."""
    library: Any = dist
    for name, function in _ALONE.items():
        setattr(library, name, function)
    library.init_process_group, library.destroy_process_group = _begin, _end
    library.is_initialized = lambda: _state["ready"]
    for name in ("send", "recv", "isend", "irecv", "scatter", "gather", "all_to_all"):
        setattr(library, name, lambda *_, _name=name, **__: missing(f"dist.{_name}", "there is one rank only"))
    parallel: Any = torch.nn.parallel
    parallel.DistributedDataParallel = parallel.distributed.DistributedDataParallel = _Wrapped
