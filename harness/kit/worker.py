"""The process in the box: waits for instructions, trains a submission or evaluates its artifact.

One box trains and is thrown away. Another box evaluates: it imports everything once and then forks one fresh
process per evaluation, so that no state crosses from one evaluation to the next.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import random
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from harness.kit.artifact import unpack
from harness.kit.calibration import collect
from harness.kit.config import ModelConfig
from harness.kit.generate import Generator
from harness.kit.model import GPT
from harness.kit.pruning import pack_to_fit
from harness.kit.quantize import dequantize, quantize
from harness.kit.ranks import joined
from harness.kit.stream import Stream
from harness.kit.submission import Submission, TrainData
from harness.kit.trainer import train
from harness.kit.watch import Watch
from harness.sandbox.peers import Peers
from harness.sandbox.protocol import Kind, Mark
from harness.sandbox.wire import Wire, WireClosed, text, untext


class BrokenSubmission(Exception):
    """The folder's code does not give a usable submission; the message is one line for its author."""


def main(wire: Wire, args: Sequence[str]) -> int:
    """Serve instructions until the parent hangs up. Called by the boot script of the box."""
    seed_everything(0)  # what torch imports only now, the processes that are forked need not pay for
    wire.send(Kind.READY)
    while True:
        try:
            frame = wire.recv()
        except WireClosed:
            return 0
        job = json.loads(untext(frame.arrays[0], 1 << 20))
        if frame.kind == Kind.TRAIN:
            _guarded(lambda: wire, partial(_train, wire, job))
        elif frame.kind in (Kind.EVALUATE, Kind.GENERATE):
            _spawn(_evaluate if frame.kind == Kind.EVALUATE else _generate, frame.fds, job, wire)


def _train(wire: Wire, job: dict[str, Any]) -> None:
    torch.set_num_threads(job["threads"])
    device = device_of(job)
    importlib.import_module("torch._dynamo")  # the first optimizer would, on the training's clock
    seed_everything(job["seed"])
    submission = load_submission(Path(job["submission"]), job["scale"])
    model = submission.build_model(job["vocab_size"]).to(device)
    if isinstance(model, GPT):
        shape = {"config": asdict(model.cfg), "length": submission.length, "stride": submission.stride}
        wire.send(Kind.SHAPE, text(json.dumps(shape)))
    _mark(wire, Mark.LOADED)
    shards = tuple(Path(shard) for shard in job["shards"])
    config = submission.train_config()
    _mark(wire, Mark.LOOP_START)
    train(model, list(shards), config, seed=job["seed"], notify=lambda facts: _progress(wire, facts))
    validation = tuple(Path(shard) for shard in job.get("validation", ()))
    data = TrainData(shards, job["vocab_size"], job["seed"], validation)
    hessians = collect(model, data, submission.quantize_config(), inside_clock=True)
    _mark(wire, Mark.LOOP_END)
    submission.after_training(model, data)
    _mark(wire, Mark.ADAPTED)
    how = submission.quantize_config()
    hessians |= collect(model, data, how, inside_clock=False)
    payload, meta = quantize(model.state_dict(), how, hessians)
    _mark(wire, Mark.QUANTIZED)
    container = pack_to_fit(payload, meta, how)
    _mark(wire, Mark.PACKED)
    sys.stdout.flush()  # what was printed belongs into the log, and the parent ends this process when it is done
    wire.send(Kind.ARTIFACT, np.frombuffer(container, np.uint8))
    wire.send(Kind.DONE)


def _spawn(work: Callable[..., int], fds: Sequence[int], job: dict[str, Any], control: Wire) -> None:
    """Fork the process that does the work; a small one in between reaps it, so this one never waits.

    Args:
        work: called with the job, and a wire for each descriptor.
        fds: what the parent sent along.
        job: what is to be done.
        control: this process's own wire, which the new one has no business with.
    """
    pid = os.fork()
    if pid:
        for fd in fds:
            os.close(fd)
        os.waitpid(pid, 0)
        return
    if os.fork():
        os._exit(0)
    control.close()
    status = 1
    try:
        status = work(job, *(Wire(socket.socket(fileno=fd)) for fd in fds))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _evaluate(job: dict[str, Any], *wires: Wire) -> int:
    """One process for each wire: the ranks of an evaluation."""
    torch.set_num_threads(1)  # forks happen in mid-evaluation, and a thread pool does not survive them
    peers = Peers.start(len(wires))
    wire = wires[peers.rank]
    for other in wires[: peers.rank] + wires[peers.rank + 1 :]:
        other.close()
    hello = wire.recv()
    tokens, vocab_size = (int(value) for value in hello.arrays[0])
    watch = Watch()
    cpu = torch.device("cpu")
    stream = Stream(
        wire, tokens=tokens, vocab_size=vocab_size, watch=watch, device=cpu, rank=peers.rank, size=peers.size
    )

    def run() -> None:
        # here, where a GPU that is not there is told like any other failure
        stream.device = device = device_of(job, peers.rank)
        seed_everything(job["seed"])
        watch.install()
        submission, model = _load(job, vocab_size, device)
        watch.state.follow(model)
        with joined(peers, stream.meet), torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            submission.evaluate(model, stream)
        stream.close()

    # A fork inside `run` gives the clone another wire; failures go to whichever is this process's own.
    status = _guarded(lambda: stream.wire, run)
    peers.farewell("it failed" if status else "it was done")
    return status


def _generate(job: dict[str, Any], wire: Wire) -> int:
    """Answer with rows for text that the referee draws: the kit's GPT with the artifact's weights, and no other code.

    The submission's folder is not even in this box, so nothing of it can tell this process from any other, weaken what
    is drawn, or leave a note about it.
    """
    torch.set_num_threads(1)
    (segments, _) = (int(value) for value in wire.recv().arrays[0])

    def run() -> None:
        seed_everything(job["seed"])
        device = device_of(job)
        shape = job["model"]
        config: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in shape["config"].items()
        }
        model = _weighted(GPT(ModelConfig(**config)), job, device)
        bos = torch.full((segments,), job["bos"], dtype=torch.int64, device=device)
        generator = Generator(model, bos, int(shape["length"]), int(shape["stride"]))
        while True:
            wire.send(Kind.ROWS, generator.rows().float().cpu().numpy())
            generator.append(torch.from_numpy(wire.recv().arrays[0]).to(device))

    return _guarded(lambda: wire, run)


def device_of(job: dict[str, Any], rank: int = 0) -> torch.device:
    """Where a job computes: on the CPU, or on the rank's GPU.

    Raises:
        BrokenSubmission: a GPU was asked for, and the box sees none.
    """
    if job.get("device", "cpu") == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BrokenSubmission("--device cuda: no GPU can be used in the box; see harness doctor")
    return torch.device("cuda", rank % torch.cuda.device_count())


def _load(job: dict[str, Any], vocab_size: int, device: torch.device) -> tuple[Submission, nn.Module]:
    """The submission, and its model with the artifact's weights."""
    submission = load_submission(Path(job["submission"]), job["scale"])
    return submission, _weighted(submission.build_model(vocab_size), job, device)


M = TypeVar("M", bound=nn.Module)


def _weighted(model: M, job: dict[str, Any], device: torch.device) -> M:
    """The model with the artifact's weights, in evaluation mode."""
    payload, meta = unpack(Path(job["artifact"]).read_bytes())
    model.load_state_dict(dequantize(payload, meta))
    return model.to(device).eval()


def load_submission(folder: Path, scale: str) -> Submission:
    """Import `submission.py` and build the one class in it that derives from Submission.

    Raises:
        BrokenSubmission: no such file, no such class, or more than one.
    """
    path = folder / "submission.py"
    spec = importlib.util.spec_from_file_location("submission", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BrokenSubmission(f"{folder.name}: no submission.py")
    sys.path.insert(0, str(folder))
    module = importlib.util.module_from_spec(spec)
    sys.modules["submission"] = module
    spec.loader.exec_module(module)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Submission) and value.__module__ == "submission"
    ]
    leaves = [c for c in classes if not any(c is not other and issubclass(other, c) for other in classes)]
    if len(leaves) != 1:
        found = ", ".join(sorted(c.__name__ for c in leaves)) or "none"
        raise BrokenSubmission(f"submission.py must define one class that derives from Submission; found: {found}")
    return leaves[0](scale)


def seed_everything(seed: int) -> None:
    """Python's, numpy's and torch's global generators, and deterministic algorithms where torch has them."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be reproducible
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # What torch.use_deterministic_algorithms does, without importing the compiler, which nothing here compiles with:
    # that takes longer than the rest of a box's start. (An optimizer imports it all the same, where there is one.)
    torch._C._set_deterministic_algorithms(True, warn_only=True)
    torch._C._set_deterministic_fill_uninitialized_memory(False)


def _guarded(wire: Callable[[], Wire], run: Callable[[], None]) -> int:
    """Run submission code; an exception becomes one line on the wire and a traceback in the log."""
    try:
        run()
        return 0
    except WireClosed:
        return 0  # the referee has seen enough
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        line = str(error) if isinstance(error, BrokenSubmission) else _one_line(error)
        try:
            wire().send(Kind.FAILED, text(line))
        except OSError:
            pass
        return 1


def _one_line(error: BaseException) -> str:
    """`ValueError: message (submission.py:12)`, with the submission's own line where the traceback has one."""
    where = ""
    home = os.path.dirname(getattr(sys.modules.get("submission"), "__file__", None) or "submission.py")
    for entry in traceback.extract_tb(error.__traceback__):
        if os.path.dirname(entry.filename) == home:
            where = f" ({Path(entry.filename).name}:{entry.lineno})"
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({Path(error.filename).name}:{error.lineno})"
        return f"SyntaxError: {error.msg}{where}"
    first = (str(error).splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {first}{where}"


def _mark(wire: Wire, mark: Mark) -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()  # the clock is for what has been done, not for what has been asked for
    wire.send(Kind.MARK, np.array([mark], np.int64))


def _progress(wire: Wire, facts: dict[str, float]) -> None:
    order = ("step", "steps", "loss", "seconds")
    wire.send(Kind.PROGRESS, np.array([facts.get(name, float("nan")) for name in order], np.float64))
