"""What the trusted side asks the box to run: one frame, unpacked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.sandbox.wire import Frame

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Order:
    """What is to be run; see `harness.scripts.play.running`, which writes it.

    Attributes:
        facts: the JSON part: entry, argv, env, stages, vocab_size, shards, bos, record, draw, ranks,
            forks, turn, thresholds, constants, exact.
        position_of: int64 [65536].
        alternative: int64 [65536].
        steps: int64 [k, 3], see `locate.Tokens`.
        bos_positions: int64.
        stream: uint16 [n], the validation stream as this box has it.
        edits: for each variant of each fork, in order: positions int64 and tokens uint16.
        locations: what an earlier run sent behind its observations, for streams whose tokens repeat; or nothing.
        fds: one wire for each variant, in the same order.
    """

    facts: dict[str, Any]
    position_of: Ints
    alternative: Ints
    steps: Ints
    bos_positions: Ints
    stream: np.ndarray[Any, np.dtype[np.uint16]]
    edits: list[tuple[Ints, np.ndarray[Any, np.dtype[np.uint16]]]]
    locations: list[np.ndarray[Any, Any]]
    fds: tuple[int, ...]

    @classmethod
    def of(cls, frame: Frame) -> Order:
        """Unpack the frame."""
        header, position_of, alternative, steps, bos, stream, start, positions, tokens, *locations = frame.arrays
        edits = edits_of(start, positions, tokens)
        return cls(json.loads(bytes(header)), position_of, alternative, steps, bos, stream, edits, locations, frame.fds)


def edits_of(start: Ints, positions: Ints, tokens: np.ndarray[Any, Any]) -> list[tuple[Ints, np.ndarray[Any, Any]]]:
    """Positions and tokens of each variant, from where each begins and all of them in a row."""
    cuts = start.tolist()
    return [(positions[a:b], tokens[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
