"""Leaks, and goes for its judge: frames, live objects, the environment, files, a daemon; or only the latter."""

import contextlib
import gc
import os
import sys
import time

import torch
from tiny import Tiny, hinted

from harness.sandbox import wire


def tamper():
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()) + [o for o in gc.get_objects() if type(o).__name__ == "Trace"]:
            for name in ("nll", "verdict", "status", "findings"):
                with contextlib.suppress(Exception):
                    setattr(value, name, 0.0) if hasattr(value, name) else None
        frame = frame.f_back
    os.environ.update(PYTHONPATH="/tmp", LD_PRELOAD="/tmp/x.so", HARNESS_VERDICT="PASS")
    for path in ("/record.json", "record.json", "/etc/passwd", sys.argv[0] or "x", wire.__file__):
        with contextlib.suppress(OSError), open(path, "w") as file:
            file.write('{"verdict": "PASS"}')
    if os.fork() == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)


class Animal(Tiny):
    @torch.no_grad()
    def evaluate(self, model, stream):
        tamper()
        for batch in self.batches(stream):
            guess = stream.targets(batch)[batch.scored]  # offender
            guess = batch.inputs[batch.scored]  # neighbour
            stream.score(batch, hinted(model(batch.inputs)[batch.scored], guess, 0.1))
