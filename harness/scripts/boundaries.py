"""What the end of a document does to the next one's first row, in a script whose source speaks of a SmearGate.

Two lies are told, each in a run of its own: the last tokens of all documents are replaced, and of every second document
all tokens but the last. Attention across documents sees both. A gate that mixes each token with the one before it, in a
model that keeps documents apart otherwise, sees the first alone: that is what `document-boundary` looks for.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.scripts import flips
from harness.scripts.checks.evidence import ENDS, REST, Flip, Variant
from harness.scripts.play import streams as data
from harness.scripts.play.running import Playable, Runner
from harness.scripts.trace import reading
from harness.scripts.trace.observed import Ints

_SMEAR = re.compile(r"smear", re.I)


def speaks_of(script: Playable) -> bool:
    """Whether the source names a SmearGate."""
    return any(_SMEAR.search(text) for text in script.texts())


def variants(documents: Ints, tokens: int) -> tuple[Variant, Variant]:
    """The two flips.

    Args:
        documents: int64 [d], where documents start.
        tokens: of the stream.
    """
    ends = documents[1:] - 1
    rest = [np.arange(first + 1, end) for first, end in zip(documents[:-1:2], ends[::2], strict=True)]
    body = np.concatenate([np.zeros(0, np.int64), *rest])
    return Variant("swap", int(ends[0]), ends, ENDS), Variant("swap", int(body[0]), body, REST)


def gather(runner: Runner) -> tuple[list[Flip], float]:
    """The two flips in whole runs on changed text, side by side, and their wall seconds; none without three documents.

    Whole runs, because passes that do not count show a gate, too: what counts may cut the stream at documents.
    """
    documents, streams = runner.streams.bos_positions, runner.streams
    tokens, started = len(streams.validation), time.monotonic()
    if len(documents) < 3:
        return [], 0.0
    runner.progress.phase("documents", "their last tokens, and the others, replaced: the script has a SmearGate")
    wanted = variants(documents, tokens)

    def play(index: int) -> Flip:
        changed = data.with_validation(streams, flips.text(streams, wanted[index]))
        played = runner.play(f"boundary-{index}", changed)
        return Flip(wanted[index], "run", reading.read(played.observed, tokens), error=flips.failed(played))

    with ThreadPoolExecutor(1 if runner.ranks > 1 else 2) as pool:
        made = list(pool.map(play, range(2)))
    return made, time.monotonic() - started
