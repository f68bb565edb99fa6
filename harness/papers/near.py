"""What other submissions a folder comes near, as plain data: who, when, what they share, and what differs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shared:
    """What one log of a folder shares with another submission's logs.

    Attributes:
        log: its name in the folder.
        lines: its measurements, see `harness.papers.sketch`.
        of_them: how many of these the other has.
        numbers: long numbers in it that the other has.
        example: one of the shared measurements.
    """

    log: str
    lines: int
    of_them: int
    numbers: int
    example: str = ""


@dataclass(frozen=True)
class Near:
    """Another submission that shares code or measurements with the folder.

    Attributes:
        name: of its folder.
        pull: its pull request, the lowest number that has it; None where it is in none.
        day: of the submission, as its files or its commit say.
        author: as it says.
        same_author: it is of the same author.
        before: it is older; None where nobody knows.
        identical: all its files are the folder's, byte for byte.
        code: share of the folder's shingles of code that it has, exact.
        same_code: the scripts are the same but for comments and blanks.
        own: lines of code that it has not.
        left_out: lines of code that only it has.
        differs: some of the lines, `+` the folder's and `-` the other's.
        logs: of the folder's logs that share something.
    """

    name: str
    pull: int | None
    day: datetime.date | None
    author: str
    same_author: bool
    before: bool | None
    identical: bool = False
    code: float = 0.0
    same_code: bool = False
    own: int = 0
    left_out: int = 0
    differs: tuple[str, ...] = ()
    logs: tuple[Shared, ...] = ()

    @property
    def told(self) -> str:
        """What it is called in a sentence."""
        who = f"#{self.pull}" if self.pull is not None else self.name
        about = [self.author or "author unknown", *([str(self.day)] if self.day else [])]
        when = {True: "earlier", False: "later", None: "which came first is not known"}[self.before]
        return f"{who} ({', '.join([*about, when])})"


@dataclass(frozen=True)
class Neighbours:
    """A folder held against a backlog.

    Attributes:
        where: the repository or the folder of folders.
        folders: different states of folders that it was held against.
        pulls: pull requests that these are from.
        digest: sha256 over what they were.
        absent: scripts and logs of theirs whose contents were not there.
        itself: pull requests that hold the folder itself, whatever its state.
        measurements: lines of the folder's own logs that were compared, by log.
        near: those that share something: the earlier ones first, and of these the nearest.
    """

    where: str
    folders: int
    pulls: int
    digest: str
    absent: int = 0
    itself: tuple[int, ...] = ()
    measurements: dict[str, int] = field(default_factory=dict)
    near: tuple[Near, ...] = ()
