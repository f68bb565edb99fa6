"""What a pull request changes: which submissions, whether the judge too, and how much else."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.git import Moved, Repository
from harness.paths import is_judge, submission_of

How = Literal["added", "changed", "renamed"]


@dataclass(frozen=True)
class Change:
    """A submission's folder that the head has and that differs from the base's.

    Attributes:
        path: of the folder, relative to the repository's root.
        how: whether the base has it under this name, under another, or not at all.
        before: the name that it had, if it was renamed.
    """

    path: str
    how: How
    before: str | None = None


@dataclass(frozen=True)
class Changes:
    """All that differs.

    Attributes:
        submissions: to be judged, by path.
        removed: folders that the head no longer has, renamed ones left out.
        judge: changed files of the harness, its rules and its workflows.
        elsewhere: how many other files differ.
    """

    submissions: tuple[Change, ...]
    removed: tuple[str, ...]
    judge: tuple[str, ...]
    elsewhere: int


def find(repository: Repository, before: str, after: str) -> Changes:
    """What differs between two commits, of which the second is the head of a pull request."""
    moved = repository.changed(before, after)
    touched = {folder for item in moved for folder in _folders(item)}
    has = {folder: bool(repository.entries(after, folder)) for folder in touched}
    had = {folder: bool(repository.entries(before, folder)) for folder in touched}
    old = _old_names(moved, has, had)
    submissions = []
    for folder in sorted(folder for folder in touched if has[folder]):
        how: How = "changed" if had[folder] else "renamed" if folder in old else "added"
        submissions.append(Change(folder, how, old.get(folder) if how == "renamed" else None))
    renamed = {change.before for change in submissions}
    names = {name for item in moved for name in (item.path, item.before) if name is not None}
    judge = tuple(sorted(name for name in names if is_judge(_plain(name))))
    elsewhere = sum(not _folders(item) and not is_judge(_plain(item.path)) for item in moved)
    removed = tuple(sorted(folder for folder in touched if not has[folder] and folder not in renamed))
    return Changes(tuple(submissions), removed, judge, elsewhere)


def _folders(item: Moved) -> list[str]:
    """The submissions that a changed file belongs to: two where it was moved from one to another."""
    names = [item.path, *([item.before] if item.before else [])]
    return [folder for name in names if (folder := submission_of(name)) is not None]


def _old_names(moved: Sequence[Moved], has: dict[str, bool], had: dict[str, bool]) -> dict[str, str]:
    """For each folder that the base has not: the vanished folder that most of its files came from."""
    votes: dict[str, dict[str, int]] = {}
    for item in moved:
        new, old = submission_of(item.path), submission_of(item.before or "")
        if new and old and new != old and not had[new] and not has[old]:
            counted = votes.setdefault(new, {})
            counted[old] = counted.get(old, 0) + 1
    return {new: max(sorted(counted), key=lambda name: counted[name]) for new, counted in votes.items()}


def _plain(path: str) -> str:
    """A path as a file system would resolve it, so that `x/../harness/record.py` is the judge's."""
    return posixpath.normpath(path)
