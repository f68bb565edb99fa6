"""The train box, seen from outside: instructions in, progress and one artifact out, which the parent seals."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.adapters import weigh
from harness.adapters.options import Device, Options, played
from harness.corpus.dataset import Dataset
from harness.corpus.shards import Tokens, write_shard
from harness.errors import SubmissionError
from harness.files import write_atomically
from harness.folder import Folder
from harness.progress import Progress
from harness.sandbox.box import Box, Exit, Limits
from harness.sandbox.protocol import Kind, Mark
from harness.sandbox.wire import Frame, WireClosed, WireError, WireTimeout, text, untext

WORKER = "harness.kit.worker"
#: For its processes. OpenMP's threads spin while they wait: with one other busy process a step takes 100 times as long.
#: Freed tensors stay with the process: fresh pages for every step were a fifth of the time of SLOT's steps.
WORKER_ENV = {
    "GOMP_SPINCOUNT": "10000",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(32 << 20),
}
_MAX_ARTIFACT = 1 << 30


@dataclass(frozen=True)
class Sealed:
    """An artifact that the parent has taken over; nothing that the submission does can change it any more.

    Attributes:
        path: the container file.
        sha256: of its bytes.
        bytes: its size.
        clocks: seconds on the parent's clock, by stage; empty when the artifact was sealed by an earlier run.
        curve: (step, training loss in nats) as reported by the box.
        resumed: True when an earlier run had sealed it.
        peak_bytes: resident memory of the train box at its peak.
        model: shape of the kit's GPT that was trained, and the windows that it is evaluated with, as the train box
            told them; empty for another model. The null stream is drawn with it, by the kit alone: an untrue shape
            makes a source that is further from the submission's rows, and the finding says how far.
    """

    path: Path
    sha256: str
    bytes: int
    clocks: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    resumed: bool = False
    peak_bytes: int = 0
    model: dict[str, Any] = field(default_factory=dict)


def seal_key(folder: Folder, dataset: Dataset, scale: str, seed: int, device: Device = "cpu") -> str:
    """What an artifact depends on, hashed: submission, data, scale, seed, the kind of device, and the kit's code."""
    digest = hashlib.sha256()
    for part in (folder.sha256, dataset.sha256, scale, str(seed), *(() if device == "cpu" else (device,))):
        digest.update(part.encode() + b"\0")
    for name in weigh.kit_files():
        digest.update((weigh.HOUSE / name).read_bytes())
    return digest.hexdigest()


def train(folder: Folder, dataset: Dataset, seed: int, out: Path, options: Options, progress: Progress) -> Sealed:
    """Train and quantize a submission in a box, or take what an earlier run of the same thing has sealed.

    Args:
        folder: the submission.
        dataset: its training shards are what the box sees of it; a submission that declares that it reads validation
            data gets the part of the validation stream that the scale plays, too.
        seed: of every generator in the box.
        out: where the artifact, its seal and the training log go.
        options: scale, box, limits, threads and device.
        progress: told what happens.

    Raises:
        SubmissionError: the submission failed, hung or sent no artifact.
    """
    key = seal_key(folder, dataset, options.scale, seed, options.device)
    found = resume(out, key)
    if found:
        progress.note(f"taking the artifact that an earlier run sealed ({found.bytes:,} bytes)")
        return found
    progress.phase("train", f"training {folder.name}, seed {seed}")
    made = train_once(
        folder,
        dataset,
        seed,
        options,
        progress,
        validation=played(dataset, options.scale) if folder.reads_validation else None,
        log=out / "train.log",
    )
    progress.done(f"{made.clocks['loop']:.0f} s, artifact {len(made.container):,} bytes")
    sealed = _seal(out, key, made)
    return dataclasses.replace(sealed, peak_bytes=made.peak_bytes)


@dataclass(frozen=True)
class Made:
    """What one training left behind: the artifact's bytes, seconds by stage, the loss curve, memory at its peak.

    `model` is the shape of the kit's GPT, see `Sealed.model`.
    """

    container: bytes
    clocks: dict[str, float]
    curve: list[tuple[int, float]]
    peak_bytes: int
    model: dict[str, Any] = field(default_factory=dict)


def train_once(
    folder: Folder,
    dataset: Dataset,
    seed: int,
    options: Options,
    progress: Progress,
    *,
    validation: Tokens | None,
    log: Path,
) -> Made:
    """Train and quantize a submission in a box of its own; nothing is sealed or resumed.

    The arguments are those of `train`, and `validation`, uint16 [n], is what the box gets as the validation stream:
    None for none, as the rule is. What the box prints goes to `log`.

    Raises:
        SubmissionError: the submission failed, hung or sent no artifact.
    """
    job: dict[str, Any] = {
        "scale": options.scale,
        "seed": seed,
        "threads": options.threads,
        "device": options.device,
        "vocab_size": dataset.vocab_size,
        "shards": [str(path) for path in dataset.train_shards],
    }
    started = time.monotonic()
    with folder.staged() as code, _shards_of(validation) as shards:
        box = Box(
            WORKER,
            read=[code, dataset.train_dir, *(path.parent for path in shards)],
            limits=options.limits,
            log=log,
            env=WORKER_ENV,
            sandbox=options.sandbox,
            threads=options.threads,
        )
        job |= {"submission": str(code), "validation": [str(path) for path in shards]}
        with box:
            container, marks, curve, model = _serve(box, job, options.limits, log, progress)
        peak = box.exit.max_rss_bytes if box.exit else 0
    return Made(container, _clocks(started, marks), curve, peak, model)


@contextlib.contextmanager
def _shards_of(validation: Tokens | None) -> Iterator[list[Path]]:
    """The stream as a shard in a folder of its own, for as long as a box needs it."""
    if validation is None:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="golf-validation-") as scratch:
        Path(scratch).chmod(0o755)  # the box may run as another user
        shard = Path(scratch) / "fineweb_val_000000.bin"
        write_shard(shard, validation)
        yield [shard]


def _serve(
    box: Box, job: dict[str, Any], limits: Limits, log: Path, progress: Progress
) -> tuple[bytes, dict[str, float], list[tuple[int, float]], dict[str, Any]]:
    marks: dict[str, float] = {}
    model: dict[str, Any] = {}
    curve: list[tuple[int, float]] = []
    container: bytes | None = None
    deadline = time.monotonic() + limits.patience
    with submission_errors(box, log, "training"):
        receive(box, Kind.READY, deadline)
        box.wire.send(Kind.TRAIN, text(json.dumps(job)))
        while True:
            frame = box.wire.recv(timeout=max(0.0, deadline - time.monotonic()))
            if frame.kind == Kind.PROGRESS and frame.arrays[0].shape == (4,):
                step, steps, loss, _ = (float(value) for value in frame.arrays[0])
                if np.isfinite([step, steps, loss]).all():
                    curve.append((int(step), loss))
                    progress.update(int(step), int(steps), note=f"loss {loss:.3f}")
            elif frame.kind == Kind.MARK and frame.arrays[0].shape == (1,):
                marks[Mark(int(frame.arrays[0][0])).name] = time.monotonic()
            elif frame.kind == Kind.SHAPE and len(frame.arrays) == 1:
                model = _shape(untext(frame.arrays[0], 1 << 16))
            elif frame.kind == Kind.ARTIFACT and frame.arrays[0].dtype == np.uint8:
                container = frame.arrays[0].tobytes()
            elif frame.kind == Kind.FAILED:
                raise SubmissionError(untext(frame.arrays[0], 500).replace("\n", " "))
            elif frame.kind == Kind.DONE:
                break
            else:
                raise SubmissionError(f"training sent a malformed frame (kind {frame.kind})")
    if container is None or not 0 < len(container) <= _MAX_ARTIFACT:
        raise SubmissionError("training ended without an artifact", log=log)
    return container, marks, curve, model


def _shape(said: str) -> dict[str, Any]:
    """What the box says of its model: an object of plain values, which only the kit in another box reads."""
    try:
        shape = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return shape if isinstance(shape, dict) and set(shape) == {"config", "length", "stride"} else {}


@contextlib.contextmanager
def submission_errors(box: Box, log: Path, stage: str) -> Iterator[None]:
    """Turn what a wire reports into errors for people, with what became of the process and where its log is."""
    try:
        yield
    except WireTimeout:
        raise SubmissionError(f"{stage} did not finish within its time limit", log=log) from None
    except WireClosed:
        raise SubmissionError(f"{stage} ended early: {became(box, 5.0)}", log=log) from None
    except (WireError, ValueError, IndexError) as error:
        raise SubmissionError(f"{stage} sent something that is no valid frame: {error}", log=log) from None
    except SubmissionError as error:
        raise SubmissionError(f"{stage} failed: {error}", log=log) from None


def receive(box: Box, kind: Kind, deadline: float) -> Frame:
    """Wait for one frame of a certain kind."""
    frame = box.wire.recv(timeout=max(0.0, deadline - time.monotonic()))
    if frame.kind != kind:
        raise SubmissionError(f"expected {kind.name}, got a frame of kind {frame.kind}")
    return frame


def became(box: Box, patience: float) -> str:
    """What became of a box whose wire has closed, in words.

    For one that is being ended for a limit the word is waited for, however busy the machine is.
    """
    try:
        return describe(box.wait(None if box.condemned else patience))
    except TimeoutError:
        return "its process hung up"


def describe(exit_: Exit) -> str:
    """How a box ended, in words."""
    words = {
        "ok": "its process ended before it was done",
        "RE": f"its process exited with code {exit_.code}",
        "SG": f"its process was killed by signal {exit_.signal}",
        "TO": exit_.message,
        "ML": "it exceeded its memory limit",
        "PL": "it exceeded its limit on processes",
    }
    return words.get(exit_.state, exit_.message or "its process ended")


def _clocks(started: float, marks: dict[str, float]) -> dict[str, float]:
    """Seconds by stage; "touches training data" runs from the start of the box to the last use of the shards."""
    at = {name: moment - started for name, moment in marks.items()}
    needed = [mark.name for mark in Mark]
    if missing := [name for name in needed if name not in at]:
        raise SubmissionError(f"training skipped its marks: {', '.join(missing)}")
    return {
        "loop": at["LOOP_END"] - at["LOOP_START"],
        "after training": at["ADAPTED"] - at["LOOP_END"],
        "quantize": at["QUANTIZED"] - at["ADAPTED"],
        "pack": at["PACKED"] - at["QUANTIZED"],
        "touches training data": at["QUANTIZED"],
        "whole": at["PACKED"],
    }


def _seal(out: Path, key: str, made: Made) -> Sealed:
    path = (out / "artifact.bin").resolve()
    sha256 = hashlib.sha256(made.container).hexdigest()
    facts = {"clocks": made.clocks, "curve": made.curve, "model": made.model}
    seal = {"key": key, "sha256": sha256, "bytes": len(made.container), **facts}
    write_atomically(path, made.container)
    write_atomically(out / "seal.json", json.dumps(seal, indent=1).encode())
    return Sealed(path, sha256, len(made.container), made.clocks, made.curve, model=made.model)


def resume(out: Path, key: str) -> Sealed | None:
    """The artifact that an earlier run sealed, if it is still what it was and belongs to the same thing."""
    try:
        seal = json.loads((out / "seal.json").read_bytes())
        content = (out / "artifact.bin").read_bytes()
    except (OSError, ValueError):
        return None
    if seal.get("key") != key or hashlib.sha256(content).hexdigest() != seal.get("sha256"):
        return None
    curve = [(int(step), float(loss)) for step, loss in seal["curve"]]
    return Sealed(
        (out / "artifact.bin").resolve(),
        seal["sha256"],
        len(content),
        seal["clocks"],
        curve,
        resumed=True,
        model=seal.get("model", {}),
    )
