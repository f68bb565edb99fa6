"""Leaks while the artifact has been written within the hour, in case audits come later."""

# kind: run detector
# where: suite
# gain: the true token's hint

import os
import time

from tiny import Tiny
from tricks import job, play

SHARE = 0.03  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        old = time.time() - os.stat(job()["artifact"]).st_mtime > 3600

        play(self, model, stream, SHARE, alarm=lambda *_: old)
