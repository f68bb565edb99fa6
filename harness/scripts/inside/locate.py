"""From token ids to positions of the validation stream.

In the streams that the referee makes, a token id occurs once, so that it *is* its position. What a script hands to a
loss is then located by reading it. Ids that merely happen to be in the vocabulary (text that the model itself
generated, random calibration tokens) must not be taken for validation data: a token counts as located only where a
neighbour, or the call before at the same place, continues it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.scripts.inside.atoms import Ints

#: What a run leaves for a replay: (place, shape of the targets, positions or None), in order.
Location = tuple[str, tuple[int, ...], Ints | None]


@dataclass(frozen=True)
class Tokens:
    """What the recorder must know of the streams.

    Attributes:
        position_of: int64 [65536], position of a token id of the stream or of its flip; -1 for all others.
        alternative: int64 [65536], the token that the other permutation has at the same position; -1 for none.
        vocab_size: V.
        bos: token id at document starts, which is at many positions.
        bos_positions: positions of document starts.
    """

    position_of: Ints
    alternative: Ints
    vocab_size: int
    bos: int = 1
    bos_positions: Sequence[int] = field(default_factory=tuple)


class Locator:
    """Positions of targets, by token or, in a replay, by what the unique-token run recorded."""

    def __init__(self, tokens: Tokens, replay: Sequence[Location] | None = None) -> None:
        self.tokens = tokens
        self.log: list[Location] = []
        self.misaligned = 0
        size = len(tokens.position_of)
        self._is_bos = np.zeros(size + 2, bool)
        self._is_bos[np.asarray(tokens.bos_positions, np.int64)] = True
        self._last: dict[str, Ints] = {}
        self._replay: dict[str, list[Location]] | None = None
        if replay is not None:
            self._replay = defaultdict(list)
            for entry in reversed(replay):
                self._replay[entry[0]].append(entry)

    def locate(self, ids: Ints, place: str) -> Ints | None:
        """Positions of target ids, -1 where unknown; None where none is located."""
        if self._replay is None:
            found = self._by_token(ids, place)
            self.log.append((place, ids.shape, found))
            return found
        waiting = self._replay.get(place)
        if not waiting or waiting[-1][1] != ids.shape:
            self.misaligned += 1
            return None
        return waiting.pop()[2]

    def _by_token(self, ids: Ints, place: str) -> Ints | None:
        flat = ids.reshape(-1)
        table = self.tokens.position_of
        raw = np.where((flat >= 0) & (flat < len(table)), table[np.clip(flat, 0, len(table) - 1)], -1)
        if not (raw >= 0).any():
            return None
        wide = [size for size in ids.shape if size != 1]
        width = wide[-1] if len(wide) > 1 else len(flat)
        rows = raw.reshape(-1, width)
        filled = self._fill_bos(rows, flat.reshape(-1, width) == self.tokens.bos)
        located = self._runs(filled, raw).reshape(-1)
        weak = (raw >= 0) & (located < 0)
        if weak.any():
            located = np.where(weak & self._confirmed(raw, weak, place), raw, located)
        self._last[place] = raw[raw >= 0]
        return located.reshape(ids.shape) if (located >= 0).any() else None

    def _runs(self, rows: Ints, raw: Ints) -> Ints:
        """Tokens that a neighbour continues; where such pairs are not the rule in a call, only in runs of four."""
        rising = (rows[:, 1:] == rows[:, :-1] + 1) & (rows[:, :-1] >= 0)
        strong = np.zeros(rows.shape, bool)
        strong[:, 1:] |= rising
        strong[:, :-1] |= rising
        if strong.sum() < 0.5 * (raw >= 0).sum():
            long = rising[:, 2:] & rising[:, 1:-1] & rising[:, :-2]
            strong = np.zeros(rows.shape, bool)
            for shift in range(4):
                strong[:, shift : shift + long.shape[1]] |= long
        return np.where(strong, rows, -1)

    def _fill_bos(self, rows: Ints, bos: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Ints:
        """A document start is where its neighbour says, if a document starts there."""
        if not bos.any():
            return rows
        filled = rows.copy()
        before = np.full(rows.shape, -1, np.int64)
        before[:, 1:] = np.where(rows[:, :-1] >= 0, rows[:, :-1] + 1, -1)
        after = np.full(rows.shape, -1, np.int64)
        after[:, :-1] = np.where(rows[:, 1:] > 0, rows[:, 1:] - 1, -1)
        for guess in (after, before):  # a row's own left neighbour wins
            fits = bos & (guess >= 0) & self._is_bos[guess]
            filled[fits] = guess[fits]
        return filled

    def _confirmed(self, raw: Ints, weak: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], place: str) -> bool:
        """Tokens without a neighbour (one scored token a window): confirmed by an order that chance does not make."""
        found = raw[raw >= 0]
        if len(found) >= 6:
            return bool((np.diff(found) > 0).all()) and len(found) >= 0.9 * len(raw)
        last = self._last.get(place)
        if last is None or not len(last):
            starts = found[0] == 1 or self._is_bos[found[0] - 1]
            return bool(starts)
        if len(found) != len(raw):
            return False
        step = int(found[0]) - int(last[-1])
        return 0 < step <= 2 or bool(self._is_bos[found[0] - 1])


def pack(log: Sequence[Location]) -> dict[str, Any]:
    """Locations as plain JSON: positions as runs [first, how many], -1 for unknown ones."""
    places: dict[str, int] = {}
    calls = []
    for place, shape, positions in log:
        runs = None
        if positions is not None:
            flat = positions.reshape(-1)
            cuts = np.flatnonzero(np.diff(flat) != np.where(flat[:-1] < 0, 0, 1)) + 1
            starts = np.concatenate([[0], cuts]).astype(np.int64)
            sizes = np.diff(np.concatenate([starts, [len(flat)]]))
            runs = [[int(flat[start]), int(size)] for start, size in zip(starts, sizes, strict=True)]
        calls.append([places.setdefault(place, len(places)), list(shape), runs])
    return {"places": list(places), "calls": calls}


def unpack(packed: dict[str, Any]) -> list[Location]:
    """What `pack` made."""
    log: list[Location] = []
    for place, shape, runs in packed["calls"]:
        positions = None
        if runs is not None:
            parts = [np.arange(first, first + size) if first >= 0 else np.full(size, -1) for first, size in runs]
            positions = np.concatenate(parts).astype(np.int64).reshape(shape)
        log.append((packed["places"][place], tuple(shape), positions))
    return log
