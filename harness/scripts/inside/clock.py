"""The script's clock and its luck: the same in every run.

Schedules that depend on elapsed time make two identical runs differ (up to 0.15 nats were seen), which would look
like a leak. So each look at a clock finds it a millisecond later, and sleeping moves it. Whatever draws randomness
without a seed gets one.
"""

from __future__ import annotations

import datetime
import random
import time
import uuid
from typing import Any

import numpy as np

#: Seconds that pass between two looks.
STEP = 1e-3
_EPOCH = 1_750_000_000.0
_state = {"now": 0.0}
#: The real ones, for the harness's own use.
real_monotonic = time.monotonic
real_sleep = time.sleep


def now() -> float:
    """Seconds since the start, a step later than the last time."""
    _state["now"] += STEP
    return _state["now"]


def _sleep(seconds: float) -> None:
    _state["now"] += max(0.0, float(seconds))


class _DateTime(datetime.datetime):
    """`datetime.datetime` by the same clock."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return datetime.datetime.fromtimestamp(_EPOCH + now(), tz or datetime.UTC).replace(tzinfo=tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()

    @classmethod
    def today(cls) -> Any:
        return cls.now()


def _date(seconds: float | None) -> float:
    return _EPOCH + now() if seconds is None else seconds


def install() -> None:
    """Replace the clocks of `time` and `datetime`."""
    library: Any = time
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(library, name, now)
        setattr(library, f"{name}_ns", lambda: int(now() * 1e9))
    library.time = lambda: _EPOCH + now()
    library.time_ns = lambda: int((_EPOCH + now()) * 1e9)
    library.sleep = _sleep
    gmtime, strftime = time.gmtime, time.strftime
    library.gmtime = library.localtime = lambda seconds=None: gmtime(_date(seconds))
    library.ctime = lambda seconds=None: time.asctime(gmtime(_date(seconds)))
    library.strftime = lambda form, moment=None: strftime(form, moment or gmtime(_date(None)))
    dates: Any = datetime
    dates.datetime = _DateTime


def seed(value: int = 0) -> None:
    """Seed whatever the script may leave unseeded: random, numpy, torch, uuid."""
    import torch

    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    luck = random.Random(value + 1)
    library: Any = uuid
    library.uuid4 = lambda: uuid.UUID(int=luck.getrandbits(128), version=4)
    library.uuid1 = lambda *_, **__: uuid.uuid4()
    generators: Any = np.random
    default_rng = np.random.default_rng
    generators.default_rng = lambda seed=None: default_rng(value if seed is None else seed)
    drawn: Any = random

    class Seeded(random.Random):
        """`random.Random` with a seed in any case."""

        def __init__(self, x: Any = None) -> None:
            super().__init__(value if x is None else x)

    drawn.Random = Seeded
    torch_seed: Any = torch
    torch_seed.seed = lambda: value if torch.manual_seed(value) else value
