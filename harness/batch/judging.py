"""A batch in the order in which it happens: find, look up, play what is missing, write, sum up."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.batch.items import Item
from harness.batch.outcome import Outcome, kept, settle, unusable
from harness.batch.playing import Ended
from harness.batch.tasks import Settings, Task, task_of
from harness.errors import UsageError
from harness.progress import Progress

#: Plays tasks and gives them as they end, in any order.
Engine = Callable[[Sequence[Task]], Iterator[tuple[Task, Ended]]]


def judge(
    items: Sequence[Item],
    settings: Settings,
    out: Path,
    engine: Engine,
    progress: Progress,
    *,
    seconds: float | None = None,
    fresh: bool = False,
) -> list[Outcome]:
    """The outcomes of all items, in their order; what an earlier batch has in `out` is taken, equal files are one task.

    Args:
        items: what to judge.
        settings: how.
        out: folder of the batch; results are in `out`/records.
        engine: plays the tasks.
        progress: told what happens.
        seconds: after which one item is stopped; None for never.
        fresh: take nothing from an earlier batch.

    Raises:
        UsageError: another batch writes into `out` now.
    """
    out = out.absolute()
    with _alone(out):
        progress.phase("look", f"{len(items):,} submissions")
        plans = [_plan(item, settings, out / "records", seconds) for item in items]
        tasks = {plan.key: plan for plan in reversed(plans) if isinstance(plan, Task)}
        earlier = {} if fresh else {key: found for key, task in tasks.items() if (found := kept(task)) is not None}
        missing = [task for task in tasks.values() if task.key not in earlier]
        missing.reverse()
        progress.done(f"{len(missing):,} to judge, {len(earlier):,} kept from an earlier batch")
        made = dict(earlier)
        progress.phase("batch", f"judging {len(missing):,}")
        for done, (task, ended) in enumerate(engine(missing), 1):
            outcome = made[task.key] = settle(task, ended, out)
            progress.note(f"{outcome.outcome} {task.label} ({outcome.seconds:.0f} s)")
            progress.update(done, len(missing))
        progress.done()
    return list(_rows(items, plans, made))


def _plan(item: Item, settings: Settings, records: Path, seconds: float | None) -> Task | Outcome:
    if item.path is None:
        return unusable(item.label, item.problem)
    try:
        return task_of(item.label, item.path, settings, records, seconds)
    except UsageError as error:
        return unusable(item.label, str(error))
    except OSError as error:
        return unusable(item.label, f"cannot read {error.filename or item.path}: {error.strerror}")


def _rows(items: Sequence[Item], plans: Sequence[Task | Outcome], made: dict[str, Outcome]) -> Iterator[Outcome]:
    first: dict[str, str] = {}
    for item, plan in zip(items, plans, strict=True):
        if isinstance(plan, Outcome):
            yield plan
        elif plan.key in first:
            copy = {"label": item.label, "same_as": first[plan.key], "seconds": 0.0}
            yield made[plan.key].model_copy(update=copy)
        else:
            first[plan.key] = item.label
            yield made[plan.key]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another batch writes into {out} now; wait for it, or choose another --out") from None
        yield
