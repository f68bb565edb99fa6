"""Play attacks in several processes, each with an arena of its own."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from tests.attacks import table
from tests.attacks.suite import Attack, Played, arena, fight
from tests.support import tiny_dataset


def _work(part: int, parts: int, chosen: list[Attack], seeds: list[int], seen: Queue[tuple[str, int, Played]]) -> None:
    """Play every `parts`-th attack, and tell of each run as it is done."""
    mine = chosen[part::parts]
    with tempfile.TemporaryDirectory(prefix="golf-attacks-") as scratch:
        home = Path(scratch)
        with arena(tiny_dataset(home), home, mine) as zoo:
            for attack in mine:
                for seed in seeds:
                    seen.put((attack.name, seed, fight(zoo, attack, seed)))


def played(chosen: list[Attack], seeds: list[int], workers: int) -> dict[str, dict[int, Played]]:
    """Play attacks side by side; one line each as they are done."""
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    seen: Queue[tuple[str, int, Played]] = context.Queue()
    workers = max(1, min(workers, len(chosen)))
    running = [context.Process(target=_work, args=(part, workers, chosen, seeds, seen)) for part in range(workers)]
    for worker in running:
        worker.start()
    found: dict[str, dict[int, Played]] = {attack.name: {} for attack in chosen}
    total, done = len(chosen) * len(seeds), 0
    while any(worker.is_alive() for worker in running) or not seen.empty():
        try:
            name, seed, result = seen.get(timeout=1)
        except Empty:
            continue
        done += 1
        found[name][seed] = result
        print(
            f"{time.monotonic() - started:6.0f} s  {done}/{total}  {name} seed {seed}: {result.verdict}, "
            f"gain {result.gain:.4f}, {100 * result.share:.1f} % of rows, {table.caught_by([result])}"
            + (f"; TWIN ACCUSED by {', '.join(result.accused)}" if result.accused else "")
            + (" -- SUCCESS" if result.success else ""),
            flush=True,
        )
    for worker in running:
        worker.join()
        if worker.exitcode:
            raise SystemExit("a worker broke; nothing was kept")
    return found
