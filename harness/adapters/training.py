"""The train box, seen from outside: instructions in, progress and one artifact out, which the parent seals."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.adapters import weigh
from harness.adapters.options import Options, played
from harness.adapters.sound import sound
from harness.corpus.dataset import Dataset
from harness.corpus.shards import Tokens, write_shard
from harness.environment import need_run
from harness.errors import HarnessError, SubmissionError, UsageError
from harness.files import read, write_atomically
from harness.folder import Folder
from harness.progress import Progress
from harness.record import Device
from harness.sandbox.box import Box, Exit, Limits
from harness.sandbox.protocol import Kind, Mark
from harness.sandbox.wire import Frame, WireClosed, WireError, WireTimeout, text, untext
from harness.source.training_part import TrainingPart, asked_for, training_part
from harness.text import prose

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
#: Names in the folder of a run: the artifact, what is known of it, and the folder of one that is not in its place yet.
ARTIFACT, SEAL, NEXT = "artifact.bin", "seal.json", "next"


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
        trained_by: sha256 of the submission's folder as it was when this was trained; "" where that is not known.
        given: a file that somebody named; what it was made from is not known.
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
    trained_by: str = ""
    given: bool = False


@functools.cache
def _asked_for() -> frozenset[str]:
    """What the kit may ask a submission for."""
    return asked_for((weigh.HOUSE / "kit" / name).read_bytes() for name in ("submission.py", "worker.py"))


def part_of(folder: Folder) -> TrainingPart:
    """What training may have read of a submission's files: all of them, but for what only its evaluation uses."""
    return training_part(folder.contents, _asked_for())


def seal_key(folder: Folder, dataset: Dataset, scale: str, seed: int, device: Device = "cpu") -> str:
    """What an artifact depends on, hashed: what training reads of the submission, data, scale, seed, device, the kit.

    What only the evaluation uses is left out where the source shows that (`part_of`): who changes how a model is scored
    scores the same artifact again.
    """
    digest = hashlib.sha256()
    reads = "reads validation" if folder.reads_validation else "no validation"
    code = part_of(folder).sha256
    for part in (code, reads, dataset.sha256, scale, str(seed), *(() if device == "cpu" else (device,))):
        digest.update(part.encode() + b"\0")
    for name in weigh.kit_files():
        digest.update((weigh.HOUSE / name).read_bytes())
    return digest.hexdigest()


def train(
    folder: Folder,
    dataset: Dataset,
    seed: int,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    fresh: bool = False,
    given: Path | None = None,
) -> Sealed:
    """Train and quantize a submission in a box, or take what an earlier run of the same thing has sealed.

    Where `out` holds another artifact already, which a record there may be about, the new one lies in `out`/next until
    `promote` puts it in its place, when its run has ended well.

    Args:
        folder: the submission.
        dataset: its training shards are what the box sees of it; a submission that declares that it reads validation
            data gets the part of the validation stream that the scale plays, too.
        seed: of every generator in the box.
        out: where the artifact, its seal and the training log go.
        options: scale, box, limits, threads and device.
        progress: told what happens.
        fresh: train, whatever has been sealed.
        given: a file to take as the artifact; nothing is trained.

    Raises:
        UsageError: `given` cannot be read, or has another size than an artifact.
        SubmissionError: the submission failed, hung or sent no artifact.
    """
    need_run()
    sound(folder)
    key = seal_key(folder, dataset, options.scale, seed, options.device)
    if given is not None:
        return _take(given, key, out, progress)
    found = None if fresh else resume(out, key)
    if found:
        changed = found.trained_by not in ("", folder.sha256)
        since = "; what has changed since is used by the evaluation alone" if changed else ""
        progress.note(f"taking the artifact that an earlier run sealed ({found.bytes:,} bytes){since}")
        return found
    if why := part_of(folder).why:
        progress.note(f"a change of the evaluation will train again: {why}")
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
    sealed = _seal(_room(out), key, made, folder.sha256)
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
    """Wait for one frame of a certain kind.

    Raises:
        HarnessError: the box ended before it said that it is ready: no code of the submission had run by then.
        SubmissionError: another frame came.
    """
    try:
        frame = box.wire.recv(timeout=max(0.0, deadline - time.monotonic()))
    except WireClosed:
        if kind != Kind.READY:
            raise
        why = not_ready(box)
        if "memory" in why.lower():
            raise UsageError(f"a box cannot even start within its memory: {why}; --memory raises the limit") from None
        raise HarnessError(f"a box cannot start here: {why}; `harness doctor` says what is missing") from None
    if frame.kind != kind:
        raise SubmissionError(f"expected {kind.name}, got a frame of kind {frame.kind}")
    return frame


def not_ready(box: Box) -> str:
    """Why a box ended before it was ready: the last line that it printed, where it printed one."""
    said = became(box, 5.0)
    printed = [line for line in box.printed().splitlines() if line.strip()]
    return f"{prose(printed[-1], 300)} ({said})" if printed else said


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


def _room(out: Path) -> Path:
    """Where a new artifact goes: beside one that is there."""
    if not (out / ARTIFACT).exists():
        return out
    (out / NEXT).mkdir(exist_ok=True)
    return out / NEXT


def _take(file: Path, key: str, out: Path, progress: Progress) -> Sealed:
    """A file that somebody named, copied to where a replay will look for it."""
    if (beside := _resumed(file, file.with_name(SEAL), key)) is not None:
        progress.note(f"taking {file}, which an earlier run of the same training sealed")
        beside = dataclasses.replace(beside, given=False)
    content = read(file.parent, file.name, most=_MAX_ARTIFACT)
    if not content:
        raise UsageError(f"{file} is empty; --artifact takes the file that a training sealed")
    known = beside or Sealed(file, hashlib.sha256(content).hexdigest(), len(content), resumed=True, given=True)
    here = (out / ARTIFACT).resolve()
    if file.resolve() == here:
        return known
    room = _room(out)
    facts = {"clocks": known.clocks, "curve": known.curve, "model": known.model, "trained_by": known.trained_by}
    _write(room, key if beside else "", content, facts)
    if beside is None:
        progress.note(f"taking {file} as the artifact; what it was made from is not known")
    return dataclasses.replace(known, path=(room / ARTIFACT).resolve())


def promote(out: Path, sealed: Sealed) -> Sealed:
    """Put an artifact that `train` has laid beside an older one in its place; `out` is that of `train`."""
    aside, place = out / NEXT, out / ARTIFACT
    if sealed.path.parent == aside.resolve():
        os.replace(aside / ARTIFACT, place)
        os.replace(aside / SEAL, out / SEAL)
        sealed = dataclasses.replace(sealed, path=place.resolve())
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    return sealed


def _seal(out: Path, key: str, made: Made, by: str) -> Sealed:
    facts = {"clocks": made.clocks, "curve": made.curve, "model": made.model, "trained_by": by}
    sha256 = _write(out, key, made.container, facts)
    path = (out / ARTIFACT).resolve()
    return Sealed(path, sha256, len(made.container), made.clocks, made.curve, model=made.model, trained_by=by)


def _write(out: Path, key: str, content: bytes, facts: dict[str, Any]) -> str:
    """An artifact and what is known of it; its sha256."""
    sha256 = hashlib.sha256(content).hexdigest()
    seal = {"key": key, "sha256": sha256, "bytes": len(content), **facts}
    write_atomically(out / ARTIFACT, content)
    write_atomically(out / SEAL, json.dumps(seal, indent=1).encode())
    return sha256


def resume(out: Path, key: str) -> Sealed | None:
    """The artifact that an earlier run sealed, if it is still what it was and belongs to the same thing."""
    places = (out, out / NEXT)
    return next((found for at in places if (found := _resumed(at / ARTIFACT, at / SEAL, key)) is not None), None)


def _resumed(file: Path, beside: Path, key: str) -> Sealed | None:
    try:
        seal = json.loads(beside.read_bytes())
        content = file.read_bytes()
    except (OSError, ValueError):
        return None
    if seal.get("key") != key or hashlib.sha256(content).hexdigest() != seal.get("sha256"):
        return None
    curve = [(int(step), float(loss)) for step, loss in seal["curve"]]
    return Sealed(
        file.resolve(),
        seal["sha256"],
        len(content),
        seal["clocks"],
        curve,
        resumed=True,
        model=seal.get("model", {}),
        trained_by=str(seal.get("trained_by", "")),
    )
