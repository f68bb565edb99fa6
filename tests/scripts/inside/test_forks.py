"""Edits of live tokens: every copy that a script may keep is found; what merely looks like one is left alone."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import numpy as np
import pytest
import torch

from harness.scripts.inside.edits import Edit, _flat
from harness.scripts.play import streams
from harness.scripts.play.vocabulary import BOS

DATA = streams.make(8192)
PLACES = np.array([700, 701, 1500], np.int64)


def edit(stream: np.ndarray[Any, Any] | None = None, tokens: np.ndarray[Any, Any] | None = None) -> Edit:
    stream = DATA.validation if stream is None else stream
    tokens = DATA.flipped[PLACES] if tokens is None else tokens
    return Edit.of(stream.copy(), DATA.position_of, BOS, PLACES, tokens)


def apply(made: Edit, thing: Any) -> None:
    """As `everywhere` does, for one thing."""
    if isinstance(thing, list):
        made._list(thing)
    for flat in _flat(thing):
        made._flat(flat, int(flat.__array_interface__["data"][0]), [(0, 1 << 62)])


WANTED = DATA.at(PLACES)


@pytest.mark.parametrize(
    "copy",
    [
        lambda s: torch.from_numpy(s.astype(np.int64)),
        lambda s: torch.from_numpy(s.astype(np.int32)),
        lambda s: torch.from_numpy(s.copy()),  # uint16
        lambda s: torch.from_numpy(s.copy()).view(torch.int16),
        lambda s: s.astype(np.int64),
        lambda s: s.copy(),
        lambda s: s.astype(np.int32)[None, :],
        lambda s: np.frombuffer(s.tobytes(), np.uint16),  # read-only
        lambda s: bytearray(s.tobytes()),
        lambda s: array.array("H", s.tolist()),
        lambda s: s.tolist(),
    ],
)
def test_every_kind_of_copy_is_changed(copy: Any) -> None:
    made = edit()
    thing = copy(DATA.validation)
    apply(made, thing)
    if isinstance(thing, bytearray):
        thing = np.frombuffer(thing, np.uint16)
    if isinstance(thing, torch.Tensor):
        thing = thing.view(torch.uint16) if thing.dtype == torch.int16 else thing
        thing = thing.numpy()
    assert (np.asarray(thing).reshape(-1) == WANTED).all()
    assert made.done["tokens"] >= len(PLACES)


def test_slices_batches_and_reordered_documents_are_changed_too() -> None:
    windows = np.stack([DATA.validation[a : a + 128] for a in range(600, 1500, 64)]).astype(np.int64)
    wanted = np.stack([WANTED[a : a + 128] for a in range(600, 1500, 64)])
    made = edit()
    apply(made, torch.from_numpy(windows))
    assert (windows == wanted).all()
    cuts = [*DATA.bos_positions.tolist(), len(DATA.validation)]
    spans = sorted(zip(cuts[:-1], cuts[1:], strict=True), key=lambda span: span[0] - span[1])
    documents = np.concatenate([DATA.validation[a:b] for a, b in spans])
    apply(edit(), documents)
    assert (documents == np.concatenate([WANTED[a:b] for a, b in spans])).all()


def test_a_view_changes_what_it_looks_at() -> None:
    whole = torch.from_numpy(DATA.validation.astype(np.int64))
    apply(edit(), whole[1:][::2])
    assert (whole.numpy() == WANTED).all()


@pytest.mark.parametrize(
    "innocent",
    [
        np.arange(8192),
        np.random.default_rng(0).permutation(8192),
        np.arange(3073),
        DATA.position_of.copy(),
        DATA.alternative.copy(),
        DATA.flipped.astype(np.int64),
        DATA.train.astype(np.int64),
        np.sort(DATA.validation).astype(np.int64),
        DATA.validation[::-1].astype(np.int64).copy(),
    ],
)
def test_what_only_looks_like_tokens_is_left_alone(innocent: np.ndarray[Any, Any]) -> None:
    before = innocent.copy()
    made = edit()
    apply(made, innocent)
    assert (innocent == before).all() and made.done["tokens"] == 0


def test_a_stream_that_is_flipped_already_can_be_flipped_again() -> None:
    flipped = DATA.suffix(1000)
    tokens = DATA.validation[PLACES]
    tokens[:2] = DATA.flipped[PLACES[:2]]
    thing = flipped.astype(np.int64)
    apply(edit(flipped, tokens), thing)
    assert thing[1500] == DATA.validation[1500] and (thing[700:702] == DATA.flipped[700:702]).all()


def test_repeated_phrases_are_found_by_their_rows() -> None:
    stream, _ = streams.repeated(DATA)
    tokens = np.array([9, 10, 11], np.uint16)
    thing = torch.from_numpy(stream.astype(np.int64))
    part = stream[600:800].astype(np.int32)
    made = edit(stream, tokens)
    assert made.position_of is None
    apply(made, thing)
    apply(made, part)
    assert thing[PLACES].tolist() == [9, 10, 11] and part[[100, 101]].tolist() == [9, 10]
    assert int((thing.numpy() != stream).sum()) == 3


def test_memory_that_cannot_be_written_is_counted_not_touched() -> None:
    made = edit()
    thing = DATA.validation.copy()
    made._flat(thing, int(thing.ctypes.data), [])
    assert made.done["refused"] == 1 and (thing == DATA.validation).all()
    assert ctypes.sizeof(ctypes.c_uint8) == 1
