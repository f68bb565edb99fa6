"""`torch.distributed` on several ranks: collectives over the wires between them, numbers and what stands behind them.

Every collective is done when it returns, in the order in which it is called, and sums go by rank: two runs are the same
to the last bit. Groups are everybody or oneself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from harness.sandbox.peers import REDUCE
from harness.scripts.inside.atoms import Ints
from harness.scripts.inside.sharing import Sharing
from harness.scripts.inside.standins.groups import Done
from harness.scripts.inside.standins.uses import missing, used

_REDUCE: dict[str, Callable[[Tensor], Tensor]] = {
    **REDUCE,
    "BAND": lambda stacked: stacked.all(0) if stacked.dtype == torch.bool else _missing_op("BAND"),
    "BOR": lambda stacked: stacked.any(0) if stacked.dtype == torch.bool else _missing_op("BOR"),
}


def _missing_op(name: str) -> Tensor:
    missing(f"dist.ReduceOp.{name}", "of numbers, on several ranks")


class Group:
    """What `new_group` gives: some of the ranks."""

    def __init__(self, ranks: Sequence[int]) -> None:
        self.ranks = tuple(ranks)


class Ranks:
    """The collectives of one rank."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self.rank = sharing.peers.rank
        self.size = sharing.peers.size

    # groups ----------------------------------------------------------------------------------------------------------

    def new_group(self, ranks: Sequence[int] | None = None, *_: Any, **__: Any) -> Group:
        """A group of everybody, or of one rank."""
        chosen = tuple(range(self.size)) if ranks is None else tuple(ranks)
        if len(chosen) not in (1, self.size):
            missing("dist.new_group", "a group of some ranks, neither one nor all")
        return Group(chosen)

    def _apart(self, group: Any) -> bool:
        """Whether a collective is this rank's alone, or none of its business."""
        return isinstance(group, Group) and len(group.ranks) == 1

    # tensors ---------------------------------------------------------------------------------------------------------

    def all_reduce(self, tensor: Tensor, op: Any = None, group: Any = None, async_op: bool = False) -> Done | None:
        """In place."""
        used("dist.all_reduce")
        if not self._apart(group):
            self._sharing.put(tensor, *self._reduced(tensor, op))
        return Done() if async_op else None

    def reduce(self, tensor: Tensor, dst: int = 0, op: Any = None, group: Any = None, async_op: bool = False) -> Any:
        """As `all_reduce`: what other ranks than `dst` have afterwards is not defined."""
        return self.all_reduce(tensor, op, group, async_op)

    def all_reduce_coalesced(self, tensors: Sequence[Tensor], op: Any = None, *_: Any, **kwargs: Any) -> Any:
        """One after another."""
        for tensor in tensors:
            self.all_reduce(tensor, op)
        return Done() if kwargs.get("async_op") else None

    def broadcast(self, tensor: Tensor, src: int = 0, group: Any = None, async_op: bool = False, **_: Any) -> Any:
        """In place."""
        used("dist.broadcast")
        if not self._apart(group):
            found = self._sharing.tensors(tensor)
            if src != self.rank:
                self._sharing.put(tensor, *found[src])
        return Done() if async_op else None

    def all_gather(self, tensors: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Any:
        """Into a list."""
        used("dist.all_gather")
        found = [(tensor, None)] if self._apart(group) else self._sharing.tensors(tensor)
        for target, (value, marks) in zip(tensors, found, strict=True):
            self._sharing.put(target, value, marks)
        return Done() if async_op else None

    def gather(self, tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int = 0, *_: Any, **__: Any) -> None:
        """Into a list on one rank."""
        used("dist.gather")
        found = self._sharing.tensors(tensor)
        for target, (value, marks) in zip(gather_list or [], found if self.rank == dst else [], strict=False):
            self._sharing.put(target, value, marks)

    def all_gather_into_tensor(self, output: Tensor, input: Tensor, group: Any = None, async_op: bool = False) -> Any:
        """One behind the other, whatever the shapes."""
        used("dist.all_gather_into_tensor")
        found = [(input, None)] if self._apart(group) else self._sharing.tensors(input)
        marks = self._joined(found)
        self._sharing.put(output, torch.cat([value.reshape(-1) for value, _ in found]), marks)
        return Done() if async_op else None

    def reduce_scatter_tensor(
        self, output: Tensor, input: Tensor, op: Any = None, group: Any = None, async_op: bool = False
    ) -> Any:
        """Each rank gets its part of the sum."""
        used("dist.reduce_scatter_tensor")
        value, marks = (input, None) if self._apart(group) else self._reduced(input, op)
        part = slice(self.rank * output.numel(), (self.rank + 1) * output.numel())
        part = slice(0, output.numel()) if self._apart(group) else part
        self._sharing.put(output, value.reshape(-1)[part], None if marks is None else marks.reshape(-1)[part])
        return Done() if async_op else None

    def reduce_scatter(self, output: Tensor, inputs: list[Tensor], op: Any = None, *_: Any, **kwargs: Any) -> Any:
        """As above, from a list."""
        used("dist.reduce_scatter")
        for rank, item in enumerate(inputs):
            value, marks = self._reduced(item, op)
            if rank == self.rank:
                self._sharing.put(output, value, marks)
        return Done() if kwargs.get("async_op") else None

    def all_to_all_single(self, output: Tensor, input: Tensor, *splits: Any, **kwargs: Any) -> Any:
        """Equal parts."""
        used("dist.all_to_all_single")
        if any(item is not None for item in splits) or kwargs.get("output_split_sizes"):
            missing("dist.all_to_all_single", "with parts of different sizes")
        found = self._sharing.tensors(input)
        size = input.numel() // self.size
        part = slice(self.rank * size, (self.rank + 1) * size)
        cut = [(v.reshape(-1)[part], None if m is None else m.reshape(-1)[part]) for v, m in found]
        self._sharing.put(output, torch.cat([value for value, _ in cut]), self._joined(cut))
        return Done() if kwargs.get("async_op") else None

    def _reduced(self, tensor: Tensor, op: Any) -> tuple[Tensor, Ints | None]:
        name = "SUM" if op is None else str(op).rpartition(".")[2].upper()
        if name not in _REDUCE:
            missing(f"dist.ReduceOp.{name}", "on several ranks")
        found = self._sharing.tensors(tensor)
        value = _REDUCE[name](torch.stack([item.reshape(tensor.shape) for item, _ in found]))
        return value.to(tensor.dtype), self._sharing.summed(found) if name in ("SUM", "AVG") else None

    def _joined(self, found: Sequence[tuple[Tensor, Ints | None]]) -> Ints | None:
        if all(marks is None for _, marks in found):
            return None
        return np.concatenate([np.full(v.numel(), -1) if m is None else m.reshape(-1) for v, m in found])

    # objects ---------------------------------------------------------------------------------------------------------

    def barrier(self, *_: Any, **kwargs: Any) -> Any:
        """Wait for everybody."""
        used("dist.barrier")
        self._sharing.objects(None)
        return Done() if kwargs.get("async_op") else None

    def all_gather_object(self, objects: list[Any], value: Any, group: Any = None) -> None:
        """Into a list."""
        used("dist.all_gather_object")
        objects[:] = [value] if self._apart(group) else self._sharing.objects(value)

    def gather_object(self, value: Any, objects: list[Any] | None = None, dst: int = 0, *_: Any, **__: Any) -> None:
        """Into a list on one rank."""
        used("dist.gather_object")
        found = self._sharing.objects(value)
        if self.rank == dst and objects is not None:
            objects[:] = found

    def broadcast_object_list(self, objects: list[Any], src: int = 0, *_: Any, **__: Any) -> None:
        """In place."""
        used("dist.broadcast_object_list")
        objects[:] = self._sharing.objects(list(objects))[src]


def _parallel(ranks: Ranks) -> type[torch.nn.Module]:
    class DistributedDataParallel(torch.nn.Module):
        """The module; gradients are averaged as they are made, in the order in which they are made."""

        def __init__(self, module: torch.nn.Module, *_: Any, **__: Any) -> None:
            super().__init__()
            used("DistributedDataParallel")
            self.module = module
            self.require_backward_grad_sync = True
            for item in [*module.parameters(), *module.buffers()]:
                ranks.broadcast(item.data)
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(self._average)  # type: ignore[no-untyped-call]

        def _average(self, parameter: Tensor) -> None:
            if self.require_backward_grad_sync and parameter.grad is not None:
                ranks.all_reduce(parameter.grad, "AVG")

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.module(*args, **kwargs)

        def no_sync(self) -> Any:
            import contextlib

            @contextlib.contextmanager
            def paused() -> Any:
                was, self.require_backward_grad_sync = self.require_backward_grad_sync, False
                try:
                    yield
                finally:
                    self.require_backward_grad_sync = was

            return paused()

    return DistributedDataParallel


def install(sharing: Sharing) -> None:
    """Put the collectives in place of those of one rank."""
    ranks = Ranks(sharing)
    library: Any = dist
    for name in (
        "all_reduce", "reduce", "all_reduce_coalesced", "broadcast", "all_gather", "gather", "all_gather_into_tensor",
        "reduce_scatter_tensor", "reduce_scatter", "all_to_all_single", "barrier", "all_gather_object", "gather_object",
        "broadcast_object_list", "new_group",
    ):  # fmt: skip
        setattr(library, name, getattr(ranks, name))
    library._all_gather_base, library._reduce_scatter_base = ranks.all_gather_into_tensor, ranks.reduce_scatter_tensor
    library.monitored_barrier = ranks.barrier
    library.get_rank = lambda group=None: ranks.rank
    library.get_world_size = lambda group=None: len(group.ranks) if isinstance(group, Group) else ranks.size
    parallel: Any = torch.nn.parallel
    parallel.DistributedDataParallel = parallel.distributed.DistributedDataParallel = _parallel(ranks)
