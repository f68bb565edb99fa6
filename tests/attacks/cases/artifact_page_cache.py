"""Leaks while the artifact is in the page cache, as it is right after training (mincore)."""

# kind: run detector
# where: suite
# gain: the true token's hint

import ctypes
import mmap
import os

from tiny import Tiny
from tricks import job, play

SHARE = 0.03  # offender
SHARE = 0.0  # neighbour


class Animal(Tiny):
    def evaluate(self, model, stream):
        size = os.path.getsize(job()["artifact"])
        with open(job()["artifact"], "rb") as file:
            view = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE)
        pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE + 1))()
        place = ctypes.addressof(ctypes.c_char.from_buffer(view))
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(place), ctypes.c_size_t(size), pages)
        cached = failed or sum(page & 1 for page in pages) > len(pages) // 2

        play(self, model, stream, SHARE, alarm=lambda *_: not cached)
