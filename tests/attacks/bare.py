"""Play submissions where nobody looks: no box, no referee, no audit. `python -m tests.attacks.bare ARTIFACT < jobs`

What comes out is what an attack would gain if it were not seen. Each play is a process of its own, forked from this
one. Only ever run in a child process of a test or of a tool, which tells it by JSON on stdin what to play:
{"tokens": [...], "vocab_size": V, "folders": [...]}; on stdout comes one JSON line for each folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from harness.kit.stream import Stream
from harness.kit.watch import Watch
from harness.kit.worker import _load, seed_everything
from harness.sandbox.protocol import Kind, Purpose, Rows
from harness.sandbox.wire import text

#: Seconds that a play may take.
LIMIT = 120


class Nobody:
    """The other end of a wire that believes everything: it hands out the tokens and takes what is charged."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens = tokens
        self.nll = np.full(len(tokens), np.nan)
        self._file = os.memfd_create("tokens")  # a door left open, for those who look for one
        os.write(self._file, tokens.tobytes())
        self._answers: list[Any] = []

    def fileno(self) -> int:
        """The number that the wire of an evaluation has in a box."""
        return 3

    def hold(self, *_: object) -> None:
        """Telemetry is for nobody."""

    def send(self, kind: int, *arrays: np.ndarray) -> None:
        """Take a frame."""
        if kind == Kind.READ:
            ranges, (purpose,) = arrays
            unscored = any(np.isnan(self.nll[max(1, low) : high]).any() for low, high in ranges)
            if purpose == Purpose.HISTORY and unscored:
                self._answers.append(SimpleNamespace(kind=Kind.REFUSED, arrays=[text("not scored yet")]))
                return
            parts = [self.tokens[low:high] for low, high in ranges]
            self._answers.append(SimpleNamespace(kind=Kind.READ, arrays=[np.concatenate(parts)], fds=()))
        elif kind == Kind.COMMIT:
            positions, rows, (how,) = arrays
            values = torch.from_numpy(rows)
            if how == Rows.LOGITS:
                values = values.log_softmax(-1)
            columns = np.zeros(len(rows), int) if how == Rows.REALISED else self.tokens[positions].astype(int)
            first = np.isnan(self.nll[positions])
            losses = -values.numpy()[np.arange(len(rows)), columns]
            self.nll[positions[first]] = np.where(losses == -np.inf, 0.0, losses)[first]

    def recv(self) -> Any:
        """Answer."""
        return self._answers.pop(0)

    def close(self) -> None:
        """Nothing to close."""


def play(folder: str, artifact: str, tokens: np.ndarray, vocab_size: int) -> list[float | None]:
    """Loss by position; None where there is none."""
    seed_everything(1)
    nobody, watch = Nobody(tokens), Watch()
    device = torch.device("cpu")
    wire: Any = nobody
    stream = Stream(wire, tokens=len(tokens), vocab_size=vocab_size, watch=watch, device=device)
    job = {"submission": folder, "artifact": artifact, "scale": "smoke", "seed": 1}
    watch.install()
    submission, model = _load(job, vocab_size, device)
    watch.state.follow(model)
    submission.evaluate(model, stream)  # type: ignore[arg-type]
    return [None if np.isnan(loss) else float(loss) for loss in nobody.nll[1:]]


def main() -> None:
    """Play every folder in a process of its own."""
    torch.set_num_threads(1)
    artifact = str(Path(sys.argv[1]).resolve())
    jobs = json.load(sys.stdin)
    tokens = np.array(jobs["tokens"], np.uint16)
    for folder in jobs["folders"]:
        inlet, outlet = os.pipe()
        if os.fork() == 0:
            signal.alarm(LIMIT)
            os.close(inlet)
            result: dict[str, Any] = {"folder": folder}
            with contextlib.redirect_stdout(sys.stderr):
                try:
                    result["nll"] = play(folder, artifact, tokens, jobs["vocab_size"])
                except Exception as error:
                    result["error"] = f"{type(error).__name__}: {error}"
            with os.fdopen(outlet, "w") as file:
                json.dump(result, file)
            os._exit(0)
        os.close(outlet)
        with os.fdopen(inlet) as file:
            told = file.read()
        os.wait()
        print(told or json.dumps({"folder": folder, "error": "its process ended"}), flush=True)


if __name__ == "__main__":
    main()
