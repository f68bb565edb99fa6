"""From token ids to positions of the validation stream.

In the streams that the referee makes, a token id occurs once, so that it *is* its position. What a script hands to a
loss is then located by reading it. Where the vocabulary is too small for that, every step from a token to the next
occurs once, and steps in a row that follow each other in the stream are the position. Ids that merely happen to be in
the vocabulary (text that the model itself generated, random calibration tokens) must not be taken for validation data:
a token counts as located only where a neighbour, or the call before at the same place, continues it. What stands
between two located tokens at just their distance has its position from them, whatever its id is: a target that was made
another token is found out by that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.scripts.inside.atoms import Ints

#: Columns that two tokens may stand apart and still continue each other.
_REACH = 16
#: Steps in a row that text which only happens to be of the same tokens does not make (V = 256: 1 of 30 million places).
_STEPS = 4
#: What a run leaves for a replay: (place, shape of the targets, positions or None), in order.
Location = tuple[str, tuple[int, ...], Ints | None]


@dataclass(frozen=True)
class Tokens:
    """What the recorder must know of the streams.

    Attributes:
        position_of: int64 [65536], position of a token id of the stream or of its flip; -1 for all others.
        alternative: int64 [65536], the token that the other permutation has at the same position; -1 for none.
        vocab_size: V of the model.
        shards: ids of the shards are below, where that is more.
        bos: token id at document starts, which is at many positions.
        bos_positions: positions of document starts.
        steps: int64 [k, 3], for streams whose tokens repeat: the smaller ids of two neighbours' twins (a token and its
            alternative), and the position of the second; empty for others.
    """

    position_of: Ints
    alternative: Ints
    vocab_size: int
    bos: int = 1
    bos_positions: Sequence[int] = field(default_factory=tuple)
    shards: int = 0
    steps: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))


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
        ids = np.arange(size)
        twins = np.where(tokens.alternative >= 0, np.minimum(tokens.alternative, ids), ids)
        self._twins = np.append(twins, size)  # the last one is no token's
        order = np.argsort(_keys(tokens.steps[:, 0], tokens.steps[:, 1]))
        self._steps = _keys(tokens.steps[:, 0], tokens.steps[:, 1])[order]
        self._step_ends = tokens.steps[order, 2]
        self._replay: dict[str, list[Location]] | None = None
        if replay is not None:
            self._replay = defaultdict(list)
            for entry in reversed(replay):
                self._replay[entry[0]].append(entry)

    def locate(self, ids: Ints, place: str) -> Ints | None:
        """Positions of target ids, -1 where unknown; None where none is located."""
        if self._replay is None:
            found = self._by_step(ids, place) if len(self._steps) else self._by_token(ids, place)
            self.log.append((place, ids.shape, found))
            return found
        waiting = self._replay.get(place)
        if not waiting or waiting[-1][1] != ids.shape:
            self.misaligned += 1
            return None
        return waiting.pop()[2]

    def _by_step(self, ids: Ints, place: str) -> Ints | None:
        """Tokens of runs of steps that follow each other; what was last at this place stands before a call's first."""
        wide = [size for size in ids.shape if size != 1]
        width = wide[-1] if len(wide) > 1 else ids.size
        if not ids.size:
            return None
        rows = ids.reshape(-1, width)
        alone = len(rows) == 1
        before = self._last.get(place, np.zeros(0, np.int64)) if alone else np.zeros(0, np.int64)
        found = (
            self._stepped(np.concatenate([before, rows[0]])[None])[:, len(before) :] if alone else self._stepped(rows)
        )
        if alone:
            self._last[place] = np.concatenate([before, rows[0]])[-_STEPS:]
        return found.reshape(ids.shape) if (found >= 0).any() else None

    def _stepped(self, rows: Ints) -> Ints:
        size = len(self._twins) - 1
        twins = self._twins[np.where((rows >= 0) & (rows < size), rows, size)]
        keys = _keys(twins[:, :-1], twins[:, 1:])
        at = np.minimum(np.searchsorted(self._steps, keys), len(self._steps) - 1)
        ends = np.where(self._steps[at] == keys, self._step_ends[at], -1)  # [rows, width - 1]: position of the second
        needed = _STEPS if rows.shape[1] > _STEPS else 2
        first = ends[:, : max(ends.shape[1] - needed + 1, 0)]
        agree = first >= 0
        for shift in range(1, needed):
            agree &= ends[:, shift : shift + first.shape[1]] == first + shift
        found = np.full(rows.shape, -1, np.int64)
        for shift in range(needed + 1):
            found[:, shift : shift + first.shape[1]][agree] = first[agree] + shift - 1
        return found

    def _by_token(self, ids: Ints, place: str) -> Ints | None:
        flat = ids.reshape(-1)
        table = self.tokens.position_of
        raw = np.where((flat >= 0) & (flat < len(table)), table[np.clip(flat, 0, len(table) - 1)], -1)
        if not (raw >= 0).any():
            return self._lone_start(flat, place, ids.shape)
        wide = [size for size in ids.shape if size != 1]
        width = wide[-1] if len(wide) > 1 else len(flat)
        rows = raw.reshape(-1, width)
        filled = self._fill_bos(rows, flat.reshape(-1, width) == self.tokens.bos)
        located = self._runs(filled, raw).reshape(-1)
        weak = (raw >= 0) & (located < 0)
        if weak.any():
            located = np.where(weak & self._confirmed(raw, weak, place), raw, located)
        self._last[place] = raw[raw >= 0]
        whole = _between(located.reshape(-1, width)).reshape(ids.shape)
        return whole if (whole >= 0).any() else None

    def _lone_start(self, flat: Ints, place: str, shape: tuple[int, ...]) -> Ints | None:
        """A document start by itself (a last chunk of one token): where the call before at the same place ended."""
        last = self._last.get(place)
        if len(flat) != 1 or flat[0] != self.tokens.bos or last is None or not self._is_bos[last[-1] + 1]:
            return None
        self._last[place] = last[-1:] + 1
        return np.full(shape, last[-1] + 1)

    def _runs(self, rows: Ints, raw: Ints) -> Ints:
        """Tokens that a neighbour continues; where such pairs are not the rule in a call, only in runs of four."""
        row, column = np.nonzero(rows >= 0)
        found = rows[row, column]
        step = np.diff(column)
        rising = (np.diff(row) == 0) & (np.diff(found) == step) & (step <= _REACH)
        strong = np.zeros(len(found), bool)
        strong[1:] |= rising
        strong[:-1] |= rising
        if strong.sum() < 0.5 * (raw >= 0).sum():
            long = rising[2:] & rising[1:-1] & rising[:-2]
            strong = np.zeros(len(found), bool)
            for shift in range(4):
                strong[shift : shift + len(long)] |= long
        located = np.full(rows.shape, -1, np.int64)
        located[row[strong], column[strong]] = found[strong]
        return located

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


def _between(rows: Ints) -> Ints:
    """Positions [rows, columns], and between two of a row that are as far apart as their columns those of the rest."""
    row, column = np.nonzero(rows >= 0)
    found, step = rows[row, column], np.diff(column)
    gaps = (np.diff(row) == 0) & (np.diff(found) == step) & (step > 1) & (step <= _REACH)
    if not gaps.any():
        return rows
    filled = rows.copy()
    for at in np.flatnonzero(gaps):
        inner = np.arange(1, step[at])
        filled[row[at], column[at] + inner] = found[at] + inner
    return filled


def _keys(first: Ints, second: Ints) -> Ints:
    """One number for each pair of token ids."""
    return first * (1 << 17) + second


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
