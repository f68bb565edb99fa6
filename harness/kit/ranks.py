"""Several ranks play one evaluation: `torch.distributed` over the wires between them.

Gloo and NCCL want sockets or shared files, and a box has neither. Ranks are processes of one box, joined by socket
pairs; this is the backend that `dist.all_reduce` and its kin then use. Before every collective operation the rank tells
the referee, which lets it go on when all ranks have come that far: what one rank had committed by then came before
everything that another does afterwards, and that is a fact, not a claim.

Numbers cross as bytes, and sums go by rank: two runs are the same to the last bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from harness.sandbox.peers import REDUCE, Peers

BACKEND = "wires"


class _Done(dist.Work):
    """A collective is over when it returns."""

    def wait(self, timeout: timedelta = timedelta(0)) -> bool:
        """Nothing to wait for."""
        return True

    def is_completed(self) -> bool:
        """It is."""
        return True


_Base: Any = dist.ProcessGroup  # its stubs overload every method


class WireGroup(_Base):  # type: ignore[misc]
    """The collectives of one rank. All ranks must call the same ones in the same order.

    Args:
        peers: the other ranks.
        meet: called before every exchange; returns when the referee knows that all ranks have come that far.
    """

    def __init__(self, peers: Peers, meet: Callable[[], None]) -> None:
        super().__init__(peers.rank, peers.size)
        self._peers = peers
        self._meet = meet

    def size(self) -> int:
        """Ranks."""
        return self._peers.size

    def getBackendName(self) -> str:
        """For torch's messages."""
        return BACKEND

    def allreduce(self, tensors: list[Tensor], opts: Any = None) -> dist.Work:
        """Every rank's tensors become what the operation makes of all ranks'."""
        found = self._exchange(tensors)
        for index, tensor in enumerate(tensors):
            tensor.copy_(_reduce([parts[index] for parts in found], opts))
        return _Done()

    def allreduce_coalesced(self, tensors: list[Tensor], opts: Any = None) -> dist.Work:
        """The same."""
        return self.allreduce(tensors, opts)

    def reduce(self, tensors: list[Tensor], opts: Any = None) -> dist.Work:
        """As `allreduce`: what other ranks than the root have afterwards is not defined."""
        return self.allreduce(tensors, opts)

    def broadcast(self, tensors: list[Tensor], opts: Any) -> dist.Work:
        """Every rank's tensors become the root's."""
        found = self._exchange(tensors)[opts.rootRank]
        for tensor, value in zip(tensors, found, strict=True):
            tensor.copy_(value)
        return _Done()

    def allgather(self, outputs: list[list[Tensor]], inputs: list[Tensor], opts: Any = None) -> dist.Work:
        """Every rank gets every rank's tensor."""
        for output, parts in zip(outputs, zip(*self._exchange(inputs), strict=True), strict=True):
            for target, value in zip(output, parts, strict=True):
                target.copy_(value)
        return _Done()

    def gather(self, outputs: list[list[Tensor]], inputs: list[Tensor], opts: Any = None) -> dist.Work:
        """The root gets every rank's tensor."""
        found = self._exchange(inputs)
        for output, parts in zip(outputs, zip(*found, strict=True), strict=False):  # other ranks have no outputs
            for target, value in zip(output, parts, strict=True):
                target.copy_(value)
        return _Done()

    def _allgather_base(self, output: Tensor, input: Tensor, opts: Any = None) -> dist.Work:
        found = torch.cat([parts[0].reshape(-1) for parts in self._exchange([input])])
        output.copy_(found.view_as(output))
        return _Done()

    all_gather_single = _allgather_base

    def _reduce_scatter_base(self, output: Tensor, input: Tensor, opts: Any = None) -> dist.Work:
        whole = _reduce([parts[0] for parts in self._exchange([input])], opts)
        output.copy_(whole.reshape(self.size(), -1)[self._peers.rank].view_as(output))
        return _Done()

    reduce_scatter_single = _reduce_scatter_base

    def barrier(self, opts: Any = None) -> dist.Work:
        """Wait for all ranks."""
        self._exchange([])
        return _Done()

    def _exchange(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Every rank's tensors, by rank, on this rank's devices."""
        self._meet()
        found = self._peers.exchange(None, [_bytes(tensor) for tensor in tensors])
        return [[_tensor(array, like) for array, like in zip(arrays, tensors, strict=True)] for _, arrays in found]


@contextlib.contextmanager
def joined(peers: Peers, meet: Callable[[], None]) -> Any:
    """`torch.distributed` is initialised inside: rank, size, and collectives over the wires; nothing if alone."""
    if peers.alone:
        yield
        return
    if not hasattr(dist.Backend, BACKEND.upper()):
        dist.Backend.register_backend(BACKEND, _made, devices=["cpu", "cuda"])
    _joining.append((peers, meet))
    dist.init_process_group(BACKEND, store=HashStore(), rank=peers.rank, world_size=peers.size)
    try:
        yield
    finally:
        dist.destroy_process_group()


#: What torch's factory cannot be given.
_joining: list[tuple[Peers, Callable[[], None]]] = []


def _made(store: Any, rank: int, size: int, timeout: Any) -> WireGroup:
    peers, meet = _joining[-1]
    if size not in (1, peers.size):
        raise ValueError(f"groups of some ranks are not supported: {size} of {peers.size}")
    return WireGroup(peers if size == peers.size else Peers(), meet)


def _reduce(parts: Sequence[Tensor], opts: Any) -> Tensor:
    wanted = dist.ReduceOp.SUM if opts is None else opts.reduceOp
    for name, reduce in REDUCE.items():
        if wanted == getattr(dist.ReduceOp, name):
            found: Tensor = reduce(torch.stack(list(parts)))
            return found
    raise ValueError(f"this reduction is not supported between ranks here; there are {', '.join(REDUCE)}")


def _bytes(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    near = tensor.detach().to("cpu").contiguous().reshape(-1)
    return near.view(torch.uint8).numpy() if near.numel() else np.zeros(0, np.uint8)


def _tensor(array: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    return torch.from_numpy(array).view(like.dtype).view(like.shape).to(like.device)
