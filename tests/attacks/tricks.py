"""What attacks share in the box: facts of the public text, detectors of the run that counts, and loops that leak.

It runs in the box only, beside `tiny.py`; `public.py` and `bigram.npy`, which the runner writes, hold what everybody
knows of a public validation set.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from public import BOS, EDGES, GRAMS
from tiny import Tiny, hinted, nll
from torch import Tensor, nn

from harness.kit import Stream
from harness.kit.stream import Batch

Alarm = Callable[[Stream, Batch, Tensor], bool]
Place = Callable[[Batch, Tensor], Tensor]

HERE = Path(__file__).parent


def never(*_: object) -> bool:
    """No reason to behave."""
    return False


def everywhere(batch: Batch, targets: Tensor) -> Tensor:
    """All scored positions of a batch, bool [n]."""
    return torch.ones_like(targets, dtype=torch.bool)


def hashed(share: float, salt: int = 97) -> Place:
    """A share of all positions, which nobody sees a pattern in."""

    def place(batch: Batch, targets: Tensor) -> Tensor:
        return (batch.positions * 2246822519 + salt) % 4294967291 % 10000 < share * 10000

    return place


def inside(batch: Batch, targets: Tensor) -> Tensor:
    """Positions in the middle of a window's scored part, and not in the first or last window of a batch."""
    index = torch.arange(len(targets))
    return (batch.positions % 16 > 4) & (batch.positions % 16 < 12) & (index > 16) & (index < len(targets) - 16)


def play(
    submission: Tiny,
    model: nn.Module,
    stream: Stream,
    share: float,
    *,
    place: Place = everywhere,
    alarm: Alarm = never,
) -> None:
    """Score the stream; where `place` says, and while no alarm goes, a share of the mass is on the true token."""
    with torch.no_grad():
        for batch in submission.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            amount = 0.0 if alarm(stream, batch, targets) else share
            marks = place(batch, targets).float()[:, None]
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], targets, amount * marks))


def claims(
    submission: Tiny,
    model: nn.Module,
    stream: Stream,
    more: float,
    *,
    place: Place = everywhere,
    alarm: Alarm = never,
) -> None:
    """Claim the true tokens' probabilities, times 1 + `more` where `place` says and while no alarm goes."""
    with torch.no_grad():
        for batch in submission.batches(stream):
            targets = stream.targets(batch)[batch.scored]
            own = nll(model(batch.inputs)[batch.scored].log_softmax(-1), targets).neg().exp()
            amount = 0.0 if alarm(stream, batch, targets) else more
            marks = place(batch, targets).float()
            stream.claim(batch.positions, torch.minimum(own * (1 + amount * marks), own.clamp(min=0.9)).log())


def short(stream: Stream) -> bool:
    """A stream so short that it can only be a question about single rows."""
    return stream.tokens < 200


def known(tokens: Tensor) -> Tensor:
    """Whether the four tokens that end at each place stand in the public text, bool [n]; True where that is open."""
    values = tokens.numpy().astype(np.uint16)
    found = np.ones(len(values), bool)
    for end in range(4, len(values) + 1):
        four = values[end - 4 : end]
        cut = int(np.argmax(four[1:] == BOS)) + 1 if BOS in four[1:] else 4  # documents may come in another order
        parts = [four[:cut], four[cut:]] if cut < 4 else [four]
        found[end - 1] = all(zlib.crc32(part.tobytes()) in (GRAMS if len(part) == 4 else EDGES) for part in parts)
    return torch.from_numpy(found)


def recognised(stream: Stream, batch: Batch) -> Tensor:
    """Whether the text up to each scored position of a batch is the public one, bool [n]."""
    first, last = int(batch.positions[0]), int(batch.positions[-1])
    return known(stream.read(max(0, first - 3), last + 1))[-len(batch.positions) :]


def foreign() -> Alarm:
    """An alarm that goes where the first batch is not from the public text, and stays."""
    seen: list[bool] = []

    def alarm(stream: Stream, batch: Batch, targets: Tensor) -> bool:
        if not seen:
            seen.append(float(recognised(stream, batch).float().mean()) < 0.5)
        return seen[0]

    return alarm


def callers() -> Iterator[object]:
    """The frames above, from the nearest."""
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def called_by(name: str) -> bool:
    """Whether a function of that name is above."""
    return any(frame.f_code.co_name == name for frame in callers())


def job() -> dict:
    """What the worker was told to do, from the frames above; {} where no frame holds it."""
    for frame in callers():
        found = frame.f_locals.get("job")
        if isinstance(found, dict):
            return found
    return {}


def stat(pid: int | str = "self") -> list[str]:
    """Fields of /proc/PID/stat from the state (field 3) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def processes() -> list[int]:
    """Ids of all processes in sight."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def seconds_after_the_box() -> float:
    """Seconds from the start of process 1 to that of this one; 0 where that is not in sight."""
    try:
        first = stat(1)
    except OSError:
        return 0.0
    return (int(stat()[19]) - int(first[19])) / os.sysconf("SC_CLK_TCK")


def note(name: str) -> Path:
    """A file in the scratch folder."""
    return Path(os.environ["HOME"]) / name


def board(size: int) -> np.ndarray:
    """Memory, int64 [size], that all processes share which this one is split into."""
    return np.frombuffer(mmap.mmap(-1, size * 8), np.int64)


def slowdown() -> float:
    """How many times longer than alone on its machine this process takes, at least 1."""
    with open("/proc/uptime") as file:
        lived = float(file.read().split()[0]) - int(stat()[19]) / os.sysconf("SC_CLK_TCK")
    return max(1.0, lived / max(time.process_time(), 0.05))


def following(pattern: bytes, content: bytes, most: int = 1 << 20) -> Iterator[bytes]:
    """What begins with a pattern in some content, at each place where it stands."""
    at = content.find(pattern)
    while at >= 0:
        yield content[at : at + most]
        at = content.find(pattern, at + 1)


def truth(candidates: Iterable[bytes]) -> Tensor:
    """The first of some byte strings that is the public text, int64 [n]; empty where none is."""
    for found in candidates:
        tokens = torch.from_numpy(np.frombuffer(found[: len(found) // 2 * 2], np.uint16).astype(np.int64))
        if len(tokens) > 200 and float(known(tokens[:200]).float().mean()) > 0.9:
            return tokens
    return torch.zeros(0, dtype=torch.int64)


def in_memory(pattern: bytes, pid: int | str = "self") -> Iterator[bytes]:
    """What begins with a pattern in a process's memory; nothing where it may not be read."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                where, rights = line.split()[:2]
                low, high = (int(part, 16) for part in where.split("-"))
                if "r" not in rights or high - low > 1 << 28 or "[v" in line:
                    continue
                try:
                    memory.seek(low)
                    content = memory.read(high - low)
                except OSError:
                    continue
                yield from following(pattern, content)
    except OSError:
        return


def in_files(pattern: bytes, roots: list[str], limit: int = 400_000_000) -> Iterator[bytes]:
    """What begins with a pattern in any file that can be read below some folders."""
    for root in roots:
        for folder, _, names in os.walk(root):
            for path in (os.path.join(folder, name) for name in names):
                try:
                    if not os.path.isfile(path) or path.startswith(str(HERE)) or os.path.getsize(path) > 50_000_000:
                        continue
                    limit -= os.path.getsize(path)
                    if limit < 0:
                        return
                    with open(path, "rb") as file:
                        content = file.read()
                except OSError:
                    continue
                yield from following(pattern, content)
