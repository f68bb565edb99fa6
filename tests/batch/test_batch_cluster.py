"""A local Ray of several nodes: results come home, and what is lost with a worker or a node is done again, once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from harness.batch import cluster
from harness.batch.outcome import settle
from harness.batch.playing import Ended
from harness.batch.tasks import Task, task_of
from harness.errors import HarnessError
from tests.batch.batches import items_of, linting, parent_of, wait_until_gone, write_script


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head that plays nothing."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def tasks(folder: Path, *names: str) -> list[Task]:
    return [task_of(name, write_script(folder / name), linting(), folder / "records", 300.0) for name in names]


def play(made: Any, wanted: list[Task], **more: Any) -> list[tuple[Task, Ended]]:
    return list(cluster.play(wanted, address=made.address, cpus=1, **more))


@contextmanager
def when_an_item_runs(act: Callable[[int, int], None]) -> Iterator[list[int]]:
    """Calls `act(item, worker)` for the first item that is seen running; gives a list of all items that are seen."""
    seen: list[int] = []
    known = set(items_of())
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for pid, parent in items_of().items():
                if pid not in known:
                    known.add(pid)
                    seen.append(pid)
                    if len(seen) == 1:
                        act(pid, parent)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_losses_are_made_good_and_results_come_once(nodes: Any, tmp_path: Path) -> None:
    first = nodes.add_node(num_cpus=1)
    (one,) = tasks(tmp_path / "worker", "one")
    with when_an_item_runs(lambda item, worker: os.kill(worker, signal.SIGKILL)) as seen:
        ((task, ended),) = play(nodes, [one])
    assert len(seen) == 2 and wait_until_gone(seen[0]), "the item goes with its worker, and is played again"
    assert settle(task, ended, tmp_path / "worker").kind == "evidence" and (one.home / "said.txt").is_file()
    assert not ray.is_initialized()

    nodes.add_node(num_cpus=1)  # the two nodes that there are then: whichever plays the item is lost
    by_worker = {node.all_processes["raylet"][0].process.pid: node for node in nodes.worker_nodes}
    assert len(by_worker) == 2 and first in nodes.worker_nodes

    def lose(item: int, worker: int) -> None:
        os.kill(item, signal.SIGSTOP)  # it takes a while to lose a node, and the item would be done
        nodes.remove_node(by_worker[parent_of(worker)], allow_graceful=False)

    (two,) = tasks(tmp_path / "node", "two")
    with when_an_item_runs(lose) as seen:
        ((task, ended),) = play(nodes, [two])
    assert len(nodes.worker_nodes) == 1 and len(seen) == 2 and wait_until_gone(seen[0])
    assert settle(task, ended, tmp_path / "node").kind == "evidence"

    three, four = tasks(tmp_path / "given up", "three", "four")
    with when_an_item_runs(lambda item, worker: os.kill(worker, signal.SIGKILL)):
        results = play(nodes, [three, four], retries=0, jobs=1)
    outcomes = [settle(task, ended, tmp_path / "given up") for task, ended in results]
    assert [one.outcome for one in outcomes][:1] == ["CRASHED"] and "Ray gave up" in outcomes[0].headline
    assert outcomes[1].kind == "evidence", "what follows is played all the same"


def test_another_harness_on_a_machine_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = tasks(tmp_path, "one")
    ended, files = cluster._play_there(one, b"", "another")
    assert ended.code == 4 and "another harness" in ended.said and files == b""


def test_what_travels_arrives_and_nothing_leaves_its_folder(tmp_path: Path) -> None:
    script = write_script(tmp_path / "in" / "one")
    (script / "logs").mkdir()
    (script / "logs" / "a.log").write_bytes(b"\x00\xff")
    (script / ".hidden").write_text("no")
    cluster._unpack(cluster._packed(script), tmp_path / "out")
    arrived = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert arrived == {"one/train_gpt.py", "one/submission.json", "one/logs/a.log"}
    assert (tmp_path / "out" / "one" / "logs" / "a.log").read_bytes() == b"\x00\xff"


def test_no_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(HarnessError, match="no Ray cluster at 127.0.0.1:1"):
        next(cluster.play(tasks(tmp_path, "one"), address="127.0.0.1:1", cpus=1))


def test_a_ray_of_our_own_tells_nobody_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (one,) = tasks(tmp_path, "one")
    raylets: list[int] = []
    told: list[bytes] = []

    def look(item: int, worker: int) -> None:
        raylets.append(parent_of(worker))
        told.extend(Path(f"/proc/{raylets[0]}/environ").read_bytes().split(b"\0"))

    with when_an_item_runs(look):
        ((task, ended),) = cluster.play([one], address=cluster.LOCAL, cpus=1)
    assert settle(task, ended, tmp_path).kind == "evidence"
    assert b"RAY_USAGE_STATS_ENABLED=0" in told
    assert wait_until_gone(raylets[0]) and not ray.is_initialized()
