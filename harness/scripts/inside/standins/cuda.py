"""`torch.cuda`: one card that never runs out, with streams that do nothing because nothing runs beside them."""

from __future__ import annotations

import contextlib
import types
from typing import Any

import torch

from harness.scripts.inside import clock
from harness.scripts.inside.standins.uses import Anything, counted, missing

_GIB = 1 << 30
_PROPERTIES = types.SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", multi_processor_count=132, total_memory=80 * _GIB, major=9, minor=0,
    max_threads_per_multi_processor=2048, warp_size=32, shared_memory_per_block_optin=232448, L2_cache_size=50 << 20,
)  # fmt: skip


class Event:
    """An event keeps the script's clock, so that elapsed times repeat."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.seconds = 0.0

    def record(self, *_: Any) -> None:
        """Now."""
        self.seconds = clock.now()

    def synchronize(self) -> None:
        """Everything has happened already."""

    def query(self) -> bool:
        """Everything has happened already."""
        return True

    def wait(self, *_: Any) -> None:
        """Everything has happened already."""

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to `end`."""
        return (end.seconds - self.seconds) * 1e3


class Stream:
    """A stream in which everything is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = torch.device("cuda", 0)
        self.cuda_stream = 0
        self.stream_id = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        """Nothing is under way."""

    def query(self) -> bool:
        """Nothing is under way."""
        return True

    def wait_stream(self, other: Any) -> None:
        """Nothing is under way."""

    def wait_event(self, event: Any) -> None:
        """Nothing is under way."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event at this point."""
        event = event or Event()
        event.record()
        return event


class _Graph:
    def __init__(self, *_: Any, **__: Any) -> None:
        missing("torch.cuda.CUDAGraph", "a recorded graph cannot be replayed on a CPU")


def install() -> None:
    """Replace what scripts ask `torch.cuda` for."""
    cuda: Any = torch.cuda
    current = Stream()
    nothing = lambda *_, **__: None  # noqa: E731
    zero = lambda *_, **__: 0  # noqa: E731
    members: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: _PROPERTIES.name,
        "get_device_properties": lambda *_: _PROPERTIES,
        "get_device_capability": lambda *_: (9, 0),
        "get_arch_list": lambda: ["sm_90"],
        "is_bf16_supported": lambda *_, **__: True,
        "mem_get_info": lambda *_: (80 * _GIB, 80 * _GIB),
        "memory_stats": lambda *_: {},
        "memory_summary": lambda *_, **__: "",
        "is_current_stream_capturing": lambda: False,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "get_rng_state_all": lambda: [torch.get_rng_state()],
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "set_rng_state_all": lambda states: cuda.set_rng_state(states[0]),
    }
    for name in (
        "set_device", "synchronize", "empty_cache", "ipc_collect", "init", "manual_seed", "manual_seed_all",
        "_lazy_init",
        "reset_peak_memory_stats", "reset_max_memory_allocated", "set_per_process_memory_fraction", "set_stream",
        "reset_accumulated_memory_stats",
    ):  # fmt: skip
        members[name] = nothing
    for name in (
        "memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "utilization",
    ):  # fmt: skip
        members[name] = zero
    for name, function in members.items():
        setattr(cuda, name, counted(f"torch.cuda.{name}", function))
    cuda.Event, cuda.Stream, cuda.CUDAGraph = Event, Stream, _Graph
    cuda.current_stream = cuda.default_stream = lambda *_: current
    cuda.stream = cuda.device = lambda *_, **__: contextlib.nullcontext()
    cuda.nvtx = Anything()
    import torch.backends.cuda as switches

    for name in ("enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp"):
        setattr(switches, name, nothing)
    attention: Any = torch.nn.attention
    attention.sdpa_kernel = lambda *_, **__: contextlib.nullcontext()
