"""Several ranks: collectives do what their documentation says, and what stands behind a loss crosses with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from harness.record import Status
from harness.sandbox.peers import PeerEnded, Peers
from harness.scripts.inside.book import Book
from harness.scripts.inside.locate import Locator
from harness.scripts.inside.places import Places
from harness.scripts.inside.sharing import Sharing
from harness.scripts.inside.standins.ranks import Group, Ranks
from harness.scripts.trace import observed
from tests.scripts.audits import audit, write_script
from tests.scripts.recorder_support import streams
from tests.support import finding


def _apart(program: Callable[[Ranks, Sharing], Any], size: int, answers: Any) -> None:
    torch.set_num_threads(1)
    peers = Peers.start(size)
    book = Book(Locator(streams().tokens), Places(("test_ranks.py",)), peers.rank)
    sharing = Sharing(peers, book)
    try:
        answer = program(Ranks(sharing), sharing)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    answers.put((peers.rank, answer))
    answers.close()
    answers.join_thread()
    peers.farewell("done")
    if not peers.rank:
        peers.wait()


def together(program: Callable[[Ranks, Sharing], Any], size: int = 2) -> list[Any]:
    """What the program returns on each rank."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    first = context.Process(target=_apart, args=(program, size, answers))
    first.start()
    got = dict(answers.get(timeout=60) for _ in range(size))
    first.join(60)
    return [got[rank] for rank in range(size)]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_collectives_are_those_of_the_documentation(size: int, dtype: torch.dtype) -> None:
    def program(ranks: Ranks, sharing: Sharing) -> dict[str, list[float]]:
        own = torch.arange(4).to(dtype) + 10 * ranks.rank
        out: dict[str, torch.Tensor] = {}
        for name, op in (("sum", dist.ReduceOp.SUM), ("max", dist.ReduceOp.MAX), ("min", dist.ReduceOp.MIN)):
            out[name] = own.clone()
            ranks.all_reduce(out[name], op=op)
        out["broadcast"] = own.clone()
        ranks.broadcast(out["broadcast"], src=size - 1)
        listed = [torch.empty_like(own) for _ in range(size)]
        ranks.all_gather(listed, own)
        out["gather"] = torch.cat(listed)
        out["into"] = torch.empty(size, 4, dtype=dtype)
        assert ranks.all_gather_into_tensor(out["into"], own, async_op=True).wait()
        wide = torch.arange(2 * size).to(dtype) + ranks.rank
        out["scatter"] = torch.empty(2, dtype=dtype)
        ranks.reduce_scatter_tensor(out["scatter"], wide)
        out["all_to_all"] = torch.empty_like(wide)
        ranks.all_to_all_single(out["all_to_all"], wide)
        objects: list[Any] = [None] * size
        ranks.all_gather_object(objects, {"rank": ranks.rank})
        assert objects == [{"rank": rank} for rank in range(size)]
        ranks.barrier()
        alone = own.clone()
        ranks.all_reduce(alone, group=ranks.new_group([ranks.rank]))
        assert torch.equal(alone, own)
        return {name: item.reshape(-1).tolist() for name, item in out.items()}

    base = np.arange(4)
    everybody = [base + 10 * rank for rank in range(size)]
    wides = [np.arange(2 * size) + rank for rank in range(size)]
    for rank, got in enumerate(together(program, size)):
        assert isinstance(got, dict), got
        assert got["sum"] == list(np.sum(everybody, 0))
        assert got["max"] == list(np.max(everybody, 0)) and got["min"] == list(np.min(everybody, 0))
        assert got["broadcast"] == list(everybody[-1])
        assert got["gather"] == got["into"] == list(np.concatenate(everybody))
        assert got["scatter"] == list(np.sum(wides, 0)[2 * rank : 2 * rank + 2])
        assert got["all_to_all"] == [value for wide in wides for value in wide[2 * rank : 2 * rank + 2]]


def test_an_average_stays_itself_and_sums_twice_do_not_count_twice() -> None:
    def program(ranks: Ranks, sharing: Sharing) -> tuple[list[int], float]:
        book = sharing.book
        assert book is not None
        where = np.arange(5) + 1 + 10 * ranks.rank
        nll = 1.0 + np.arange(5) / 7 + ranks.rank
        marks = book.mint("nll_loss", where, nll, np.zeros(5), None)
        total = torch.tensor([nll.sum()], dtype=torch.float64)
        book.shadows.put(total, book.atoms.combine(marks, nll, np.array([5])))
        ranks.all_reduce(total)
        ranks.all_reduce(total, op=dist.ReduceOp.AVG)  # everybody has the same: nothing changes
        both = book.shadows.marked(total)
        assert both is not None
        atoms, weights = book.atoms.expand(both, total.numpy())
        return sorted(book.atoms.positions(atoms).tolist()), float(weights.sum() / total.item())

    for got in together(program):
        assert got[0] == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15], got
        assert got[1] in (pytest.approx(1.0), pytest.approx(2.0))  # a factor common to all is no weight


def test_trainings_of_other_ranks_are_known_after_an_exchange_and_come_before_it() -> None:
    def program(ranks: Ranks, sharing: Sharing) -> Any:
        book = sharing.book
        assert book is not None
        book.training("backward", np.array([3 + ranks.rank]))
        ranks.barrier()  # says nothing of trainings: the next tensor does
        ranks.all_reduce(torch.zeros(1))
        book.mint("nll_loss", np.array([3, 4]), np.ones(2), None, None)
        seen = book.observed()
        now = seen.event_seq
        return [[int(position), bool(observed.before(int(seq), now).all())] for position, seq in
                zip(seen.training_position, seen.training_seq, strict=True)]  # fmt: skip

    for got in together(program):
        assert sorted(got) == [[3, True], [4, True]]


def test_what_happened_side_by_side_is_not_before() -> None:
    first, second = (
        observed.floor(5, 0) + 1,
        np.array([observed.floor(5, 1) + 1, observed.floor(5, 0) + 2, observed.floor(6, 1)]),
    )
    assert observed.before(first, second).tolist() == [False, True, True]
    assert observed.epoch_of(second).tolist() == [5, 5, 6] and observed.rank_of(second).tolist() == [1, 0, 1]


def test_ranks_that_do_different_things_or_end_are_told_of() -> None:
    def different(ranks: Ranks, sharing: Sharing) -> None:
        ranks.all_reduce(torch.zeros(1 + ranks.rank))

    def object_and_tensor(ranks: Ranks, sharing: Sharing) -> None:
        if ranks.rank:
            ranks.all_gather_object([None, None], 1)
        else:
            ranks.all_reduce(torch.zeros(2))

    def gone(ranks: Ranks, sharing: Sharing) -> None:
        if not ranks.rank:
            ranks.all_reduce(torch.zeros(1))

    for program in (different, object_and_tensor):
        assert all("do not exchange the same thing" in got for got in together(program))
    assert together(gone)[0].startswith(f"{PeerEnded.__name__}: rank 1 ended before this one: done")


def test_groups_are_everybody_or_one() -> None:
    def program(ranks: Ranks, sharing: Sharing) -> list[int]:
        return [len(ranks.new_group().ranks), len(ranks.new_group([0]).ranks), len(Group([0, 1]).ranks)]

    assert together(program) == [[2, 1, 2]] * 2


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_script(tmp_path_factory.mktemp("script"))


@pytest.mark.parametrize("settings", [{"EVAL_MODE": "sliding"}, {"EVAL_MODE": "sliding", "DEAL_WINDOWS": "turns"},
                                      {"EVAL_MODE": "ttt"}], ids=["parts", "turns", "ttt"])  # fmt: skip
def test_a_clean_script_is_clean_on_two_ranks(script: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    record = audit(script, tmp_path, ranks=2, **settings).record
    for check in ("determinism", "causality", "score-before-update", "single-pass", "normalization"):
        assert finding(record, check).status == Status.PASS, finding(record, check).headline
    assert finding(record, "causality").value("difference_to_print") < 1e-6
    assert record.submission.settings["ranks"] == 2


def test_a_leak_from_rank_to_rank_needs_two_of_them(script: Path, tmp_path: Path) -> None:
    settings = {"EVAL_MODE": "slot_context", "EVAL_BATCH_SEQS": 1, "DEAL_WINDOWS": "turns"}
    alone = audit(script, tmp_path / "one", **settings).record
    assert finding(alone, "causality").status == Status.PASS, finding(alone, "causality").headline
    both = audit(script, tmp_path / "two", ranks=2, **settings).record
    assert finding(both, "causality").status == Status.FAIL, finding(both, "causality").headline
    assert finding(both, "score-before-update").status == Status.FAIL


def test_a_rank_that_breaks_is_named(tmp_path: Path) -> None:
    body = (
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group('nccl')\n"
        "if os.environ['RANK'] == '1':\n    raise RuntimeError('no kernel for rank 1')\n"
        "dist.all_reduce(torch.ones(1))\n"
    )
    record = audit(write_script(tmp_path / "s", body), tmp_path / "out", ranks=2).record
    assert record.verdict == Status.INCONCLUSIVE
    assert "no kernel for rank 1" in str(record.data.facts["error"])
