"""A batch in the order in which it happens: find, look up, play what is missing, write, sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.batch.items import Item
from harness.batch.outcome import Outcome, kept, settle, unusable
from harness.batch.playing import Ended
from harness.batch.tasks import Settings, Task, pull_of, task_of
from harness.errors import UsageError
from harness.papers.metadata import read_claims
from harness.papers.reading import read
from harness.progress import Progress
from harness.text import finite, plain

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
        started = time.monotonic()
        for done, (task, ended) in enumerate(engine(missing), 1):
            outcome = made[task.key] = settle(task, ended, out)
            left = (time.monotonic() - started) / done * (len(missing) - done)
            told = f"; about {duration(left)} left" if left else ""
            progress.note(
                f"{done:,} of {len(missing):,}: {outcome.outcome} {task.label} ({outcome.seconds:.0f} s){told}"
            )
            progress.update(done, len(missing), note=told.removeprefix("; "))
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
        told = {"pull": pull_of(item.label), "missing": item.missing}
        if isinstance(plan, Outcome):
            outcome = plan
        elif plan.key in first:
            copy = {"label": item.label, "same_as": first[plan.key], "seconds": 0.0}
            outcome = made[plan.key].model_copy(update=copy)
        else:
            first[plan.key] = item.label
            outcome = made[plan.key]
        if item.path is not None and (outcome.claimed_bpb is None or outcome.author is None):
            said = said_by(item.path)
            told |= {name: said[name] for name in said if getattr(outcome, name) is None}
        yield outcome.model_copy(update=told)


def said_by(path: Path) -> dict[str, Any]:
    """What a folder's submission.json says of itself: "author" and "claimed_bpb", as far as it can be read."""
    try:
        claims = read_claims(read(path if path.is_dir() else path.parent))
    except UsageError:
        return {}
    author = claims.author or claims.github_id
    return {
        "author": plain(author, 100) if author else None,
        "claimed_bpb": finite(claims.val_bpb.value) if claims.val_bpb else None,
    }


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    import fcntl  # Windows has none, and is told so before it comes to this

    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another batch writes into {out} now; wait for it, or choose another --out") from None
        yield
