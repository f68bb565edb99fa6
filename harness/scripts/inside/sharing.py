"""What crosses from rank to rank: numbers, the atoms that they are made of, and what was trained on since last time.

A rank that takes part in a collective operation thereby learns what stands behind the others' numbers, so the loss that
rank 0 prints lists the positions that all of them scored.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.sandbox.peers import Peers
from harness.scripts.inside.atoms import Ints
from harness.scripts.inside.book import Book

Parts = list[NDArray[Any]]
_numpy = torch.Tensor.numpy  # the recorder patches it


def to_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """A tensor's memory, in its own order."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return np.asarray(_numpy(flat.view(torch.uint8)))


def from_bytes(raw: NDArray[Any], like: Tensor) -> Tensor:
    """A tensor of the dtype of another one, and of its shape where the size fits."""
    flat = torch.from_numpy(raw.copy()).view(like.dtype)
    return flat.reshape(like.shape) if flat.numel() == like.numel() else flat


def _alike(heard: list[tuple[Any, Parts]]) -> None:
    """Ranks that are not at the same place of the script would hang on real hardware."""
    shapes = [str(said["shape"]) if isinstance(said, dict) else "an object" for said, _ in heard]
    if len(set(shapes)) > 1:
        listed = ", ".join(f"rank {rank} {shape}" for rank, shape in enumerate(shapes))
        raise RuntimeError(f"the ranks do not exchange the same thing: {listed}")


class Sharing:
    """One rank's exchange of tensors, with what stands behind them where a book is kept.

    Args:
        peers: the ranks.
        book: of the recorder; None where nothing is recorded.
    """

    def __init__(self, peers: Peers, book: Book | None) -> None:
        self.peers = peers
        self.book = book
        self._told = 0  # trainings that the others know
        self._ours: dict[tuple[int, int], int] = {}  # (rank, its atom) -> the copy here
        self._theirs: dict[int, tuple[int, int]] = {}  # and back
        self._events: dict[int, int] = {}  # stamp of another rank's event -> its copy here

    def tensors(self, tensor: Tensor) -> list[tuple[Tensor, Ints | None]]:
        """Everybody's tensor, in order of the ranks, with its marks in this rank's book."""
        book = self.book
        if book is None:
            heard = self.peers.exchange({"shape": list(tensor.shape)}, [to_bytes(tensor)])
            _alike(heard)
            return [(from_bytes(arrays[0], tensor), None) for _, arrays in heard]
        with self._paused():
            head, parts = self._packed(book, tensor)
            heard = self.peers.exchange(head, [to_bytes(tensor), *parts])
            _alike(heard)
            book.next_epoch(self.peers.epoch)
            found = []
            for rank, (said, arrays) in enumerate(heard):
                value = from_bytes(arrays[0], tensor)
                if rank == self.peers.rank:
                    own = book.shadows.marked(tensor) if tensor.is_floating_point() else None
                    found.append((value, None if own is None else own.copy()))
                else:
                    found.append((value, self._adopted(book, rank, said, arrays[1:], tuple(value.shape))))
            return found

    def objects(self, value: object) -> list[Any]:
        """Everybody's object, in order of the ranks. All ranks are one script's: the box's wall is not crossed here."""
        heard = self.peers.exchange(None, [np.frombuffer(pickle.dumps(value), np.uint8)])
        _alike(heard)
        if self.book is not None:
            self.book.next_epoch(self.peers.epoch)
        return [
            value if rank == self.peers.rank else pickle.loads(bytes(arrays[0]))  # noqa: S301
            for rank, (_, arrays) in enumerate(heard)
        ]

    def put(self, tensor: Tensor, value: Tensor, marks: Ints | None) -> None:
        """Overwrite a tensor, and what stands behind it."""
        with self._paused():
            tensor.copy_(value.reshape(tensor.shape))
            if self.book is None or not tensor.is_floating_point():
                return
            if marks is None:
                self.book.shadows.clear(tensor)
            else:
                self.book.shadows.put(tensor, marks.reshape(tuple(tensor.shape)))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """What happens here is not the script's doing: nothing is recorded, and no graph is made."""
        book = self.book
        was = book is not None and book.active
        try:
            if book is not None:
                book.active = False
            with torch.no_grad():
                yield
        finally:
            if book is not None:
                book.active = was

    def summed(self, found: list[tuple[Tensor, Ints | None]]) -> Ints | None:
        """The marks of the sum of what `tensors` gave."""
        if self.book is None or all(marks is None for _, marks in found):
            return None
        columns = [np.full(value.shape, -1, np.int64) if marks is None else marks for value, marks in found]
        numbers = [np.asarray(_numpy(value.detach().to(torch.float64))) for value, _ in found]
        children = np.stack([column.reshape(-1) for column in columns], 1)
        weights = np.stack([number.reshape(-1) for number in numbers], 1)
        sizes = np.full(len(children), len(found))
        return self.book.atoms.combine(children.reshape(-1), weights.reshape(-1), sizes).reshape(columns[0].shape)

    def _packed(self, book: Book, tensor: Tensor) -> tuple[dict[str, Any], Parts]:
        """This rank's part: trainings since last time, and the atoms below each number."""
        new = book.trainings_from(self._told)
        self._told += len(new)
        head: dict[str, Any] = {
            "shape": list(tensor.shape),
            "trainings": [[seq, what, place] for seq, what, place, _ in new],
        }
        cuts = np.cumsum([0, *(len(positions) for *_, positions in new)]).astype(np.int64)
        parts: Parts = [cuts, np.concatenate([np.zeros(0, np.int64), *(positions for *_, positions in new)])]
        marks = book.shadows.marked(tensor) if tensor.is_floating_point() else None
        if marks is None:
            return head, parts
        numbers = np.asarray(_numpy(tensor.detach().to(torch.float64))).reshape(-1)
        below = [
            book.atoms.expand(np.array([m]), np.array([v])) for m, v in zip(marks.reshape(-1), numbers, strict=True)
        ]
        atoms = np.concatenate([ids for ids, _ in below])
        used = np.unique(atoms)
        owners = [self._theirs.get(atom, (self.peers.rank, atom)) for atom in used.tolist()]
        rows = book.atoms
        events, event = np.unique(rows.event.values[used], return_inverse=True)
        head["events"] = book.event_rows(events.astype(np.int64))
        parts += [
            np.cumsum([0, *(len(ids) for ids, _ in below)]).astype(np.int64),
            np.searchsorted(used, atoms).astype(np.int64), np.concatenate([weights for _, weights in below]),
            np.array(owners, np.int64).reshape(-1, 2), rows.position.values[used], rows.nll.values[used],
            rows.lse.values[used], rows.alternative.values[used], rows.token.values[used], event.astype(np.int64),
        ]  # fmt: skip
        return head, parts

    def _adopted(self, book: Book, rank: int, head: Any, parts: Parts, shape: tuple[int, ...]) -> Ints | None:
        """Take over what another rank told; returns the marks of its numbers."""
        cuts, positions, *table = parts
        for (seq, what, place), first, last in zip(head["trainings"], cuts[:-1], cuts[1:], strict=True):
            book.adopt_training(int(seq), what, place, positions[first:last])
        if not table:
            return None
        starts, atoms, weights, owners, *columns, event = table
        ours = [self._copy(book, (int(a), int(b)), at, columns, head["events"][int(event[at])])
                for at, (a, b) in enumerate(owners)]  # fmt: skip
        children = np.array(ours, np.int64)[atoms]
        return book.atoms.combine(children, weights, np.diff(starts)).reshape(shape)

    def _copy(self, book: Book, owner: tuple[int, int], at: int, columns: Parts, event: list[Any]) -> int:
        """The atom here that stands for one of another rank (or is this rank's own, come back)."""
        if owner[0] == self.peers.rank:
            return owner[1]
        if owner not in self._ours:
            seq = int(event[0])
            if seq not in self._events:
                self._events[seq] = book.adopt_event(*event)
            position, nll, lse, alternative, token = (column[at : at + 1] for column in columns)
            made = int(book.atoms.mint(position, nll, lse, alternative, self._events[seq], token=token)[0])
            self._ours[owner], self._theirs[made] = made, owner
        return self._ours[owner]
