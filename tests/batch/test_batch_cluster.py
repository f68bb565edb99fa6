"""A local Ray of several nodes: results come home, and what is lost with a worker or a node is done again, once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from harness.batch import cluster
from harness.batch.outcome import settle
from harness.batch.playing import Ended
from harness.batch.tasks import Task, task_of
from harness.errors import HarnessError
from tests.batch.batches import items_of, linting, wait_until_gone, write_script


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


def when_an_item_runs(act: Callable[[int, int], None]) -> tuple[threading.Thread, list[int]]:
    """Calls `act(item, worker)` for the first item that is seen running, and lists all items that are seen."""
    seen: list[int] = []
    known = set(items_of())

    def watch() -> None:
        acted = False
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (acted and len(seen) > 1):
            for pid, parent in items_of().items():
                if pid in known:
                    continue
                known.add(pid)
                seen.append(pid)
                if not acted:
                    acted = True
                    act(pid, parent)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, seen


def test_losses_are_made_good_and_results_come_once(nodes: Any, tmp_path: Path) -> None:
    first = nodes.add_node(num_cpus=1)
    (one,) = tasks(tmp_path / "worker", "one")
    thread, seen = when_an_item_runs(lambda item, worker: os.kill(worker, signal.SIGKILL))
    ((task, ended),) = play(nodes, [one])
    thread.join()
    assert len(seen) == 2 and wait_until_gone(seen[0]), "the item goes with its worker, and is played again"
    assert settle(task, ended, tmp_path / "worker").kind == "evidence" and (one.home / "said.txt").is_file()
    assert not ray.is_initialized()

    nodes.add_node(num_cpus=1)  # the two nodes that there are then: whichever plays the item is lost
    by_worker = {node.all_processes["raylet"][0].process.pid: node for node in nodes.worker_nodes}
    assert len(by_worker) == 2 and first in nodes.worker_nodes

    def lose(item: int, worker: int) -> None:
        raylet = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        nodes.remove_node(by_worker[raylet], allow_graceful=False)

    (two,) = tasks(tmp_path / "node", "two")
    thread, seen = when_an_item_runs(lose)
    ((task, ended),) = play(nodes, [two])
    thread.join()
    assert len(nodes.worker_nodes) == 1 and len(seen) == 2 and wait_until_gone(seen[0])
    assert settle(task, ended, tmp_path / "node").kind == "evidence"

    three, four = tasks(tmp_path / "given up", "three", "four")
    thread, seen = when_an_item_runs(lambda item, worker: os.kill(worker, signal.SIGKILL))
    results = play(nodes, [three, four], retries=0, jobs=1)
    thread.join()
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
    (script / "link").symlink_to("/etc/passwd")
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


def test_ray_does_not_report_its_use() -> None:
    from ray._private.usage.usage_lib import usage_stats_enabled

    cluster._ray()
    assert not usage_stats_enabled()
