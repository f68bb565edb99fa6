"""A backlog of submissions to hold a folder against: all pull requests of a repository, or a folder of folders.

Of a repository every ref is looked at whose folders lie at `records/track_*/NAME` or `submissions/NAME`. Most heads
hold the folders of the main line besides their own: what the main line has, or ever had, belongs to the pull request
that its commit names; any other state of a folder to the lowest pull request that has it. Nothing is checked out, and
nothing is run. Files are sketched once each (see `sketch`), and the sketches are kept, so that the second look costs
seconds.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.git import Repository
from harness.papers.collect import Case
from harness.papers.near import Near, Neighbours, Shared
from harness.papers.reading import Paper, Papers, read
from harness.papers.sketch import (
    MOST_CODE,
    MOST_LOG,
    PERMUTATIONS,
    Code,
    Log,
    code_of,
    lines_apart,
    log_of,
    measurements_of,
    shingles_of,
    source_of,
)
from harness.rules.rulings import day_in
from harness.source import submission_json
from harness.text import clean

#: Those that come nearest (by measurements, by code among the earlier ones, by code) and are compared in full; least
#: share of code, and measurements, that are worth a word.
MOST_NEAR, LEAST_SHARE, LEAST_LINES = 3, 0.3, 5
#: Lines of a difference that are shown, of each side.
_SHOWN = 3
_VERSION = 2
_PULL = re.compile(r"(?:^|/)(?:pull|pr)/(\d{1,9})(?:/head|/merge)?$")
_NAMED = re.compile(r"(?:\(|^Merge pull request )#(\d{1,9})(?:\)| from )")
_LOGS = (".log", ".txt", ".out")
#: The main line, the first of these that there is; else HEAD, which may be anybody's in a working copy.
_MAIN = ("refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master", "refs/remotes/origin/main")
_DEPTH = 3


@dataclass(frozen=True)
class Item:
    """One state of a folder: name, pull requests that have it, day, and its files' git object ids by name."""

    name: str
    pulls: tuple[int, ...]
    day: datetime.date | None
    files: Mapping[str, str]

    @property
    def script(self) -> str | None:
        """Object id of the training script."""
        names = [name for name in self.files if name.endswith(".py") and "/" not in name]
        trains = [name for name in names if name.startswith("train")]
        best = "train_gpt.py" if "train_gpt.py" in names else next(iter(sorted(trains) or sorted(names)), None)
        return self.files[best] if best else None

    @property
    def logs(self) -> dict[str, str]:
        """Object ids of what may be logs, by name."""
        return {name: oid for name, oid in self.files.items() if name.lower().endswith(_LOGS)}


@dataclass
class _Sketches:
    """What is known of files by their object ids."""

    code: dict[str, Code] = field(default_factory=dict)
    logs: dict[str, Log] = field(default_factory=dict)
    authors: dict[str, tuple[str, str]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        arrays: dict[str, Any] = {
            "code_id": np.array(list(self.code), "S64"),
            "code_count": np.array([one.shingles for one in self.code.values()], np.int64),
            "code_signature": np.array([one.signature for one in self.code.values()], np.uint32).reshape(
                -1, PERMUTATIONS
            ),
            "log_id": np.array(list(self.logs), "S64"),
        }
        for name in ("measurements", "numbers"):
            parts = [getattr(one, name) for one in self.logs.values()]
            arrays[name] = np.concatenate([np.zeros(0, np.uint64), *parts])
            arrays[f"{name}_count"] = np.array([len(part) for part in parts], np.int64)
        arrays["authors"] = np.frombuffer(json.dumps(self.authors).encode(), np.uint8)
        made = io.BytesIO()
        np.savez(made, version=np.array(_VERSION), **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, made.getvalue())

    @classmethod
    def load(cls, path: Path) -> _Sketches:
        """Those that were kept; none where there are none, or others."""
        try:
            with np.load(path, allow_pickle=False) as held:
                if int(held["version"]) != _VERSION:
                    return cls()
                ids = [name.decode() for name in held["code_id"].tolist()]
                rows = zip(ids, held["code_count"].tolist(), held["code_signature"], strict=True)
                code = {name: Code(count, row) for name, count, row in rows}
                parts = [
                    np.split(held[name], np.cumsum(held[f"{name}_count"])[:-1]) if len(held["log_id"]) else []
                    for name in ("measurements", "numbers")
                ]
                logs = {
                    name.decode(): Log(*both)
                    for name, *both in zip(held["log_id"].tolist(), *parts, strict=True)
                }  # fmt: skip
                authors = json.loads(held["authors"].tobytes())
                return cls(code, logs, {name: (one[0], one[1]) for name, one in authors.items()})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return cls()


class Backlog:
    """States of folders with their sketches.

    Args:
        where: what it is called.
        items: the states.
        sketches: of all scripts, logs and submission.json of theirs.
        content: bytes of an object, by id.
        absent: scripts and logs whose contents are not there.
    """

    def __init__(
        self,
        where: str,
        items: Sequence[Item],
        sketches: _Sketches,
        content: Callable[[str], bytes],
        absent: int = 0,
    ) -> None:
        self.absent = absent
        self.where = where
        self.items = list(items)
        self._sketches = sketches
        self._content = content
        told = "\n".join(sorted(f"{one.name} {one.pulls} {sorted(one.files.items())}" for one in self.items))
        self.digest = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
        scripts = [one.script for one in self.items]
        known = [sketches.code.get(oid or "") for oid in scripts]
        blank = np.zeros(PERMUTATIONS, np.uint32)
        self._signatures = np.array([one.signature if one else blank for one in known], np.uint32).reshape(
            -1, PERMUTATIONS
        )
        self._shingles = np.array([one.shingles if one else 0 for one in known], np.int64)
        names = list(sketches.logs)
        self._lines, self._owners = _inverted([sketches.logs[name].measurements for name in names])
        self._numbers, self._number_owners = _inverted([sketches.logs[name].numbers for name in names])
        self._index = {name: index for index, name in enumerate(names)}

    def neighbours(self, case: Case, pull: int | None = None) -> Neighbours:
        """What the folder comes near.

        Args:
            case: the folder, read.
            pull: its pull request, where that is known.
        """
        papers, claims = case.papers, case.claims
        files = {paper.name: oid for paper, oid in _objects(papers)}
        own = Item(papers.path.resolve().name, (pull,) if pull else (), case.ruleset.submitted.date, files)
        author = {word for word in map(_plain, (claims.author, claims.github_id)) if word}
        itself = [index for index, one in enumerate(self.items) if self._is_itself(one, own, author)]
        pulls = sorted({number for index in itself for number in self.items[index].pulls})
        if pull is None and itself:
            # Of several states of it the one that it is; a state of the main line that no pull request is named for is
            # known by its day alone.
            same = [self.items[index] for index in itself if self.items[index].files == files]
            first = (same or [self.items[index] for index in itself])[0]
            own = Item(own.name, first.pulls, own.day or first.day, files)
        logs = {paper.name: paper.content for paper in papers.logs}
        sketched = {name: log_of(content) for name, content in logs.items()}
        script = case.code.script
        code = code_of(script.content) if script is not None else None
        shares = code.share_in(self._signatures, self._shingles) if code is not None else np.zeros(len(self.items))
        shared = {name: self._shared(one) for name, one in sketched.items()}
        lines = np.zeros(len(self.items))
        for index, one in enumerate(self.items):
            for oid in one.logs.values():
                at = self._index.get(oid)
                if at is not None:
                    lines[index] = max([lines[index], *(int(counts[0][at]) for counts in shared.values())])
        order = [
            int(index)
            for index in np.lexsort((self._ages(), -np.round(shares, 2), -lines))
            if int(index) not in itself and (lines[index] >= LEAST_LINES or shares[index] >= LEAST_SHARE)
        ]
        by_code = sorted(order, key=lambda index: (-round(float(shares[index]), 2), self._age(index)))
        earlier = [index for index in by_code if _before(self.items[index], own)]
        chosen = dict.fromkeys([*order[:MOST_NEAR], *earlier[:MOST_NEAR], *by_code[:MOST_NEAR]])
        source = source_of(script.content) if script is not None else ""
        near = [self._near(self.items[index], own, author, source, sketched, logs, shared) for index in chosen]
        count = {name: len(one.measurements) for name, one in sketched.items() if len(one.measurements)}
        return Neighbours(
            self.where,
            len(self.items),
            len({number for one in self.items for number in one.pulls}),
            self.digest,
            self.absent,
            tuple(pulls),
            count,
            tuple(sorted(near, key=lambda one: (one.before is not True, -round(one.code, 2)))),
        )

    def _is_itself(self, one: Item, own: Item, author: set[str]) -> bool:
        """The same folder, in this state or another: its name, and its author or all of its files."""
        return one.name == own.name and (bool(author & self._author_of(one)) or one.files == own.files)

    def _author_of(self, one: Item) -> set[str]:
        found = self._sketches.authors.get(one.files.get("submission.json", ""), ("", ""))
        return {word for word in map(_plain, found) if word}

    def _age(self, index: int) -> tuple[int, str]:
        one = self.items[index]
        return (one.pulls[0] if one.pulls else 1 << 30, str(one.day or "9"))

    def _ages(self) -> NDArray[np.int64]:
        order = sorted(range(len(self.items)), key=self._age)
        made = np.empty(len(order), np.int64)
        made[order] = np.arange(len(order))
        return made

    def _shared(self, log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many of a log's measurements, and long numbers, each known log has."""
        count = len(self._index)
        return (
            _hits(log.measurements, self._lines, self._owners, count),
            _hits(log.numbers, self._numbers, self._number_owners, count),
        )

    def _near(
        self,
        one: Item,
        own: Item,
        author: set[str],
        source: str,
        sketched: Mapping[str, Log],
        logs: Mapping[str, bytes],
        shared: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    ) -> Near:
        names = self._sketches.authors.get(one.files.get("submission.json", ""), ("", ""))
        known = one.script in self._sketches.code
        other = source_of(self._content(one.script)[:MOST_CODE]) if one.script and known else ""
        mine, theirs = shingles_of(source), shingles_of(other)
        only, left_out = lines_apart(source, other)
        shown = [*(f"+ {clean(line, 120)}" for line in only[:_SHOWN]),
                 *(f"- {clean(line, 120)}" for line in left_out[:_SHOWN])]  # fmt: skip
        held = [oid for oid in one.logs.values() if oid in self._index]
        places = [self._index[oid] for oid in held]
        found = []
        for name, (lines, numbers) in shared.items():
            common, longs = int(lines[places].max(initial=0)), int(numbers[places].max(initial=0))
            if common or longs:
                example = _example(logs[name], [self._content(oid) for oid in held] if common else [])
                found.append(Shared(name, len(sketched[name].measurements), common, longs, example))
        return Near(
            name=one.name,
            pull=one.pulls[0] if one.pulls else None,
            day=one.day,
            author=clean(names[0] or names[1], 80),
            same_author=bool(author & self._author_of(one)),
            before=_before(one, own),
            identical=one.files == own.files,
            code=float(np.isin(mine, theirs).mean()) if len(mine) else 0.0,
            same_code=bool(len(mine)) and not only and not left_out,
            own=len(only),
            left_out=len(left_out),
            differs=tuple(shown),
            logs=tuple(found),
        )


def open_backlog(where: Path, cache: Path, notify: Callable[[str], None] = lambda _: None) -> Backlog:
    """Look at all submissions of a git repository, or of a folder of folders.

    Args:
        where: either.
        cache: folder in which sketches are kept.
        notify: told what takes time.

    Raises:
        UsageError: there is neither, or no submission in it.
    """
    if not where.is_dir():
        raise UsageError(f"no folder {where}; --against takes a git repository, or a folder of submissions' folders")
    kept = cache / f"{hashlib.sha256(str(where.resolve()).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.npz"
    try:
        repository = Repository(where) if _is_repository(where) else None
        items = list(_of_repository(repository) if repository is not None else _of_folder(where))
    except HarnessError as error:
        raise UsageError(f"cannot read {where}: {error}") from None
    if not items:
        raise UsageError(f"{where} holds no submission: no folder records/track_*/NAME or submissions/NAME in any ref, "
                         "and no folder with a submission.json or a train_gpt.py")  # fmt: skip
    if repository is not None:
        return _sketched_repository(where, repository, items, kept, notify)
    return _sketched_folder(where, items)


def _is_repository(where: Path) -> bool:
    return (where / ".git").exists() or ((where / "objects").is_dir() and (where / "HEAD").exists())


def _sketched_repository(
    where: Path, repository: Repository, items: list[Item], kept: Path, notify: Callable[[str], None]
) -> Backlog:
    known = _Sketches.load(kept)
    scripts = {oid for one in items if (oid := one.script) is not None}
    logs = {oid for one in items for oid in one.logs.values()}
    claims = {oid for one in items if (oid := one.files.get("submission.json")) is not None}
    wanted = {
        "code": (sorted(scripts - known.code.keys()), MOST_CODE),
        "logs": (sorted(logs - known.logs.keys()), MOST_LOG),
        "claims": (sorted(claims - known.authors.keys()), submission_json.MOST_BYTES),
    }
    new = sum(len(names) for names, _ in wanted.values())
    if new:
        notify(f"{new:,} files of {len(items):,} folders to sketch")
    for kind, (names, most) in wanted.items():
        sizes = repository.sizes(names)
        small = [name for name, size in zip(names, sizes, strict=True) if size is not None and size <= most]
        for name, size in zip(names, sizes, strict=True):
            if size is not None and size > most:
                _enter(known, kind, name, b"")
        for name, content in zip(small, repository.blobs(small), strict=True):
            _enter(known, kind, name, content)
    if new:
        known.save(kept)
    only = _Sketches(
        {oid: known.code[oid] for oid in scripts if oid in known.code},
        {oid: known.logs[oid] for oid in sorted(logs) if oid in known.logs},
        {oid: known.authors[oid] for oid in claims if oid in known.authors},
    )
    absent = len(scripts | logs) - len(only.code.keys() | only.logs.keys())
    return Backlog(where.resolve().name, items, only, lambda oid: next(repository.blobs([oid])), absent)


def _enter(known: _Sketches, kind: str, name: str, content: bytes) -> None:
    if kind == "code":
        known.code[name] = code_of(content)
    elif kind == "logs":
        known.logs[name] = log_of(content)
    else:
        try:
            said = submission_json.read(content).data
        except submission_json.Unreadable:
            said = {}
        known.authors[name] = (
            clean(submission_json.author(said) or "", 80), clean(submission_json.github_id(said) or "", 80),
        )  # fmt: skip


def _sketched_folder(where: Path, items: list[Item]) -> Backlog:
    known, contents = _Sketches(), dict[str, bytes]()
    for papers in _folders_below(where):
        for paper, oid in _objects(papers):
            contents[oid] = paper.content
    for one in items:
        if one.script is not None:
            _enter(known, "code", one.script, contents[one.script])
        for oid in one.logs.values():
            _enter(known, "logs", oid, contents[oid])
        if (oid := one.files.get("submission.json", "")) in contents:
            _enter(known, "claims", oid, contents[oid])
    return Backlog(where.resolve().name, items, known, contents.__getitem__)


def _of_folder(where: Path) -> Iterator[Item]:
    for papers in _folders_below(where):
        files = {paper.name: oid for paper, oid in _objects(papers)}
        said = papers.named("submission.json")
        day = day_in(said.content.decode("utf-8", "replace")) if said is not None else None
        name = papers.path.resolve().name
        yield Item(name, (), day_in(name) or day, files)


def _folders_below(where: Path) -> Iterator[Papers]:
    """Folders with a submission.json or a training script, at most three below."""
    pending = [(where, 0)]
    while pending:
        folder, depth = pending.pop()
        if any((folder / name).is_file() for name in ("submission.json", "train_gpt.py", "submission.py")):
            yield read(folder)
        elif depth < _DEPTH:
            below = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
            pending += [(one, depth + 1) for one in reversed(below) if not one.name.startswith(".")]


def _objects(papers: Papers) -> Iterator[tuple[Paper, str]]:
    """Files with the id that git gives their contents."""
    for paper in papers.files:
        content = paper.content
        yield paper, hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _of_repository(repository: Repository) -> list[Item]:
    """Every state of every submission's folder in every ref, each once."""
    refs = {ref: _PULL.search(ref) for ref in ["HEAD", *repository.refs("refs/")] if "refs/tags/" not in ref}
    known = set(repository.refs("refs/"))
    history = repository.history(next((ref for ref in _MAIN if ref in known), "HEAD"))[::-1]
    homes = _homes(repository, [*(commit for commit, _, _ in history), *refs])
    states: dict[tuple[str, str], tuple[set[int], datetime.date | None]] = {}
    for commit, text, subject in history:
        named = _NAMED.findall(subject)
        pulls = {int(named[-1])} if named else set()
        for state in homes[commit]:
            states.setdefault(state, (pulls, day_in(text)))
    settled = set(states)
    for ref, match in refs.items():
        for state in homes[ref] - settled:
            pulls, _ = states.setdefault(state, (set(), None))
            pulls |= {int(match[1])} if match else set()
    listed = _listed(repository, sorted({tree for _, tree in states}))
    made = []
    for (path, tree), (pulls, day) in states.items():
        name = path.rsplit("/", 1)[-1]
        made.append(Item(name, tuple(sorted(pulls)), day_in(name) or day, listed[tree]))
    return sorted(made, key=lambda one: (one.pulls or (1 << 30,), one.name, sorted(one.files.items())))


def _homes(repository: Repository, revisions: Sequence[str]) -> dict[str, set[tuple[str, str]]]:
    """Of each revision the (path, tree) of its submissions' folders."""
    found: dict[str, set[tuple[str, str]]] = {one: set() for one in revisions}
    tracks: dict[str, list[tuple[str, str]]] = {}
    for root in ("records", "submissions"):
        tops = repository.trees([f"{one}:{root}" for one in revisions])
        for revision, entries in zip(revisions, tops, strict=True):
            for entry in entries or []:
                if entry.mode != "040000":
                    continue
                path = f"{root}/{entry.path}"
                if root == "submissions":
                    found[revision].add((path, entry.object))
                elif entry.path.startswith("track_"):
                    tracks.setdefault(entry.object, []).append((revision, path))
    for (_, places), entries in zip(tracks.items(), repository.trees(list(tracks)), strict=True):
        below = [(entry.path, entry.object) for entry in entries or [] if entry.mode == "040000"]
        for revision, path in places:
            found[revision] |= {(f"{path}/{name}", tree) for name, tree in below}
    return found


def _listed(repository: Repository, trees: Sequence[str]) -> dict[str, dict[str, str]]:
    """Files of trees by name, as object ids; at most three levels deep."""
    found: dict[str, dict[str, str]] = {tree: {} for tree in trees}
    pending = [(tree, tree, "") for tree in trees]
    for _ in range(_DEPTH):
        after = []
        for (home, _, prefix), entries in zip(pending, repository.trees([one[1] for one in pending]), strict=True):
            for entry in entries or []:
                if entry.mode in ("100644", "100755"):
                    found[home][prefix + entry.path] = entry.object
                elif entry.mode == "040000":
                    after.append((home, entry.object, f"{prefix}{entry.path}/"))
        pending = after
    return found


def _inverted(parts: Sequence[NDArray[np.uint64]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all logs, sorted, and the log of each."""
    hashes = np.concatenate([np.zeros(0, np.uint64), *parts])
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts]) if parts else np.zeros(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    return hashes[order], owners[order].astype(np.int64)


def _hits(
    wanted: NDArray[np.uint64], hashes: NDArray[np.uint64], owners: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """How many of the wanted hashes each log has, int64 [count]."""
    first, end = np.searchsorted(hashes, wanted, "left"), np.searchsorted(hashes, wanted, "right")
    at = np.concatenate([np.zeros(0, np.int64), *(owners[a:b] for a, b in zip(first, end, strict=True) if b > a)])
    return np.bincount(at, minlength=count).astype(np.int64)


def _example(own: bytes, others: Iterable[bytes]) -> str:
    known = {line for other in others for line in measurements_of(other)}
    lines = [line for line in measurements_of(own) if line in known]
    return clean(lines[len(lines) // 2].decode("utf-8", "replace"), 160) if lines else ""


def _before(one: Item, own: Item) -> bool | None:
    """Whether another state is older: by the numbers of the pull requests, else by the days."""
    if one.pulls and own.pulls and one.pulls[0] != own.pulls[0]:
        return one.pulls[0] < own.pulls[0]
    if one.day is not None and own.day is not None and one.day != own.day:
        return one.day < own.day
    return None


def _plain(word: str) -> str:
    return re.sub(r"\W", "", word).lower()
