"""A queue of pull requests as items of a batch: what each of them adds or changes, found as the gate finds it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.batch.items import Item, item_of
from harness.batch.repository import offered
from harness.errors import UsageError
from harness.git import Repository
from harness.progress import Progress


@dataclass(frozen=True)
class Found:
    """What a queue comes to.

    Attributes:
        items: submissions, by number and path; labels name the pull request.
        without: numbers of those that add and change none.
        absent: numbers that the repository has no head of.
    """

    items: list[Item]
    without: list[int]
    absent: list[int]


def find(repository: Path, refs: str, wanted: Collection[int], base: str, sources: Path, progress: Progress) -> Found:
    """The submissions that pull requests add or change, written out below `sources`.

    Args:
        repository: a git repository on this machine.
        refs: the name of a pull request's head, with {} for its number.
        wanted: numbers.
        base: revision that they are to be merged into.
        sources: where folders are written to.
        progress: told how far it is.

    Raises:
        UsageError: there is no repository, or no such base; `refs` has no place for the number.
    """
    if refs.count("{}") != 1:
        raise UsageError(f"--refs {refs}: write {{}} where the number stands, such as refs/pull/{{}}/head")
    known = set(Repository(repository).refs(refs.replace("{}", "*")))
    numbered = {refs.replace("{}", str(number)): number for number in sorted(wanted)}
    found = Found([], [], [number for ref, number in numbered.items() if ref not in known])
    heads = [ref for ref in numbered if ref in known]
    for done, (ref, changes) in enumerate(offered(repository, heads, base), 1):
        progress.update(done, len(heads))
        label = f"{repository}@refs/pull/{numbered[ref]}/head"
        if isinstance(changes, str):
            found.items.append(Item(f"{label}:", None, changes))
            continue
        if not changes.submissions:
            found.without.append(numbered[ref])
        found.items.extend(
            item_of(f"{label}:{change.path}", repository, ref, change.path, sources) for change in changes.submissions
        )
    return found
