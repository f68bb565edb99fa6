"""Run the whole zoo over ten seeds and write docs/checks.md: `python -m tests.zoo.table [--render | ANIMAL ...]`.

`--hand` judges the exhibits alone, in seconds; `--render` only writes the page. The code in docs/violations/ is made of
the same files: `python -m tests.zoo.examples`.

`ZOO_SEEDS=3-10 python -m tests.zoo.table --more` adds seeds to what is kept; what was observed is kept as it comes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

from tests.support import tiny_dataset
from tests.zoo import observed
from tests.zoo.cases import ANIMALS, BY_CONSTRUCTION
from tests.zoo.hand import HAND
from tests.zoo.runner import SIDES, opened

WORKERS = 2

INTRO = """# What the checks catch

Every class of violation that the contest has seen, as a minimal offender and a clean neighbour that differs from it in
the offence alone. Both run through the whole pipeline at a tiny size, all checks on, over some seeds (a seed changes
the probes, the null stream and every generator). Written by `python -m tests.zoo.table`; `tests/test_zoo.py` fails
when a row stops being true. V and B number the classes of violations and of byte errors, #numbers are pull requests.

A check in **bold** is the one that has to name the rule. "moved" is the largest change of a row's loss under a flip
that must not change it, "saved" is what the scorer won against the entropy of a drawn stream; the smallest over
all seeds.
"""

EXHIBITED = """No submission is run here: what an exhibit of a few lines makes is put into hand-made evidence, or into a
folder whose papers fit together otherwise, and judged once."""


def render(kept: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = [INTRO]
    lines += _rows(
        (
            "class",
            "offender; or its neighbour",
            "the offender is caught by",
            "smallest seen",
            "the neighbour",
            "seeds",
        ),
        (
            (
                f"{case.classes} `{case.animal}`",
                " ".join(part for part in (observed.summary(case), case.note) if part),
                _bold(observed.caught(kept["animals"][case.animal]["offender"]), case.check),
                observed.smallest(kept["animals"][case.animal]["offender"]),
                observed.caught(kept["animals"][case.animal]["neighbour"]),
                str(min(len(kept["animals"][case.animal][side]) for side in SIDES)),
            )
            for case in observed.all_cases()
        ),
    )
    lines += ["", "## Files, clocks, numbers and papers", "", EXHIBITED, ""]
    lines += _rows(
        ("class", "offender; or its neighbour", "the offender is caught by", "the neighbour"),
        (
            (
                f"{case.classes} `{case.name}`",
                case.what,
                _bold(observed.caught({"1": kept["hand"][case.name]["offender"]}), case.check),
                observed.caught({"1": kept["hand"][case.name]["neighbour"]}),
            )
            for case in HAND
        ),
    )
    lines += ["", "## By construction", "", "What an adapter cannot do, and what shows it.", ""]
    lines += _rows(("class", "what", "why not"), BY_CONSTRUCTION)
    return "\n".join(lines) + "\n"


def _bold(caught: str, check: str) -> str:
    return caught.replace(check, f"**{check}**", 1) if check else caught


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _animals(part: int, seeds: list[int], names: list[str], seen: Queue[tuple[str, Any]]) -> None:
    """Observe every WORKERS-th of some cases, and tell of each as it is done."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        with opened(observed.zoo_dataset(tiny_dataset(home)), home / "zoo", ANIMALS) as zoo:
            for case in [case for case in observed.all_cases() if case.animal in names][part::WORKERS]:
                sides = observed.observe(zoo, case, seeds)
                both = {side: observed.caught(sides[side]) for side in SIDES}
                print(f"{time.monotonic() - started:6.0f} s  {case.animal}: {both}", flush=True)
                seen.put((case.animal, sides))


def _hand() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        dataset = tiny_dataset(home)
        return {case.name: {side: observed.entry(case.judge(dataset, home, side)) for side in SIDES} for case in HAND}


def main() -> None:
    """Observe everything, unless told to render only."""
    if "--hand" in sys.argv:
        observed.save(observed.load() | {"hand": _hand()})
    elif "--render" not in sys.argv:
        first, _, last = os.environ.get("ZOO_SEEDS", "1-10").rpartition("-")
        seeds = list(range(int(first or 1), 1 + int(last)))
        names = [name for name in sys.argv[1:] if name != "--more"] or ANIMALS
        context = multiprocessing.get_context("spawn")
        seen: Queue[tuple[str, Any]] = context.Queue()
        workers = [context.Process(target=_animals, args=(part, seeds, names, seen)) for part in range(WORKERS)]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) or not seen.empty():
            try:
                name, sides = seen.get(timeout=1)
            except Empty:
                continue
            kept = observed.load()
            if "--more" in sys.argv:
                sides = {side: kept["animals"].get(name, {}).get(side, {}) | sides[side] for side in SIDES}
            observed.save({"animals": kept["animals"] | {name: sides}, "hand": kept["hand"]})
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise SystemExit("a worker broke; what was observed before is kept")
        kept = observed.load()
        current = {case.animal for case in observed.all_cases()}
        animals = {name: sides for name, sides in kept["animals"].items() if name in current}
        observed.save({"animals": animals, "hand": _hand()})
    observed.TABLE.write_text(render(observed.load()))


if __name__ == "__main__":
    main()
