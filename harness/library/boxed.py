"""A model or scorer in a box, for `harness check`: this side sends tokens, takes rows, and believes nothing else."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from harness.errors import SubmissionError, UsageError
from harness.sandbox.box import Box, Level, Limits, Sandbox
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Frame, WireError, untext
from harness.text import clean

WORKER = "harness.library.serving"
Played = Literal["model", "scorer"]


class Boxed:
    """A function from tokens to logits, or to what a scorer returns, that is called in a box.

    Attributes:
        level: the box's.
        vocab_size: what the model's config says there, None without one; nobody has to believe it.
        length: likewise.
        name: what it is called there.
    """

    def __init__(self, box: Box, limits: Limits, log: Path) -> None:
        self._box = box
        self._limits = limits
        self._log = log
        self.level: Level = box.level
        facts = json.loads(untext(self._wait(Kind.SHAPE).arrays[0], 1 << 16))
        self.vocab_size = _count(facts.get("vocab_size"))
        self.length = _count(facts.get("length"))
        self.name = clean(facts.get("name"), 80)

    def __call__(self, tokens: torch.Tensor) -> Any:
        """One call in the box. Int64 [B, T] or [T]; float32 or float64 rows come back, or (positions, values).

        Raises:
            SubmissionError: what is in the box broke, or sent something else.
        """
        return self._asked(tokens, exact=False)

    def in_float64(self, tokens: torch.Tensor) -> Any:
        """The same with a copy of the module in float64.

        Raises:
            NotImplementedError: there is none.
        """
        return self._asked(tokens, exact=True)

    def _asked(self, tokens: torch.Tensor, *, exact: bool) -> Any:
        try:
            self._box.wire.send(
                Kind.TOKENS, tokens.cpu().numpy().astype(np.int64), np.array([exact], np.uint8),
                timeout=self._limits.patience,
            )  # fmt: skip
        except WireError as error:
            raise self._broke(str(error)) from None
        frame = self._wait(Kind.ROWS, Kind.REFUSED)
        if frame.kind == Kind.REFUSED:
            raise NotImplementedError("it is no module that can be copied in float64")
        arrays = frame.arrays
        if not arrays or len(arrays) > 2 or arrays[-1].dtype not in (np.float32, np.float64):
            raise self._broke("it sent something that is no rows")
        if len(arrays) == 2 and arrays[0].dtype != np.int64:
            raise self._broke("it sent positions that are no whole numbers")
        made = [torch.from_numpy(array) for array in arrays]
        return made[0] if len(made) == 1 else (made[0], made[1])

    def _wait(self, *kinds: Kind) -> Frame:
        try:
            frame = self._box.wire.recv(timeout=self._limits.patience)
        except WireError as error:
            raise self._broke(str(error)) from None
        frame.close()
        if frame.kind == Kind.FAILED and frame.arrays:
            raise self._broke(clean(untext(frame.arrays[0], 500), 300))
        if frame.kind not in kinds or (frame.kind == Kind.SHAPE and len(frame.arrays) != 1):
            raise self._broke(f"it sent a frame of the kind {frame.kind}")
        return frame

    def _broke(self, why: str) -> SubmissionError:
        with contextlib.suppress(TimeoutError):
            ended = self._box.wait(1.0)
            if ended.state not in ("ok", "RE", "KL"):
                why = ended.message
        return SubmissionError(f"what is checked broke: {why}", log=self._log)


@contextlib.contextmanager
def opened(
    target: str, played: Played, *, read: Sequence[Path], limits: Limits, log: Path, sandbox: Sandbox
) -> Iterator[Boxed]:
    """Import a target in a box, and end the box when done.

    Args:
        target: MODULE:NAME, as of `calling.found`; modules are looked for in the folder of this process.
        played: what it is.
        read: further files and folders that it may read, such as weights.
        limits: of the box.
        log: for what it prints.
        sandbox: which level.

    Raises:
        UsageError: the target is not written as MODULE:NAME, or its file is missing.
        SubmissionError: it cannot be imported there.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"{target!r} is not written as MODULE:CALLABLE")
    here = Path.cwd()
    if place.endswith(".py"):
        file = Path(place).resolve()
        if not file.is_file():
            raise UsageError(f"there is no file {place}")
        here, target = file.parent, f"{file}:{name}"
    with Box(
        WORKER, read=[*read], path=[here], limits=limits, log=log, args=[target, played], sandbox=sandbox,
        threads=max(1, len(os.sched_getaffinity(0)) // 2),
    ) as box:  # fmt: skip
        yield Boxed(box, limits, log)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None
