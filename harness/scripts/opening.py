"""A contest script as files: which file runs, what it says once unpacked, what lies beside it. Nothing is imported."""

from __future__ import annotations

import ast
import contextlib
import functools
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from harness.errors import UsageError
from harness.files import Copy, digest, read, walk
from harness.folder import is_adapter, safe_name
from harness.papers.metadata import claimed_bpb
from harness.source import submission_json
from harness.source.fstrings import lower
from harness.source.unwrap import Layer, Shows, Unwrapped, parse, unwrap

_MAX_FILE = 8 << 20  # bytes
_LONGEST = 500  # characters of a line that are looked at
_ENTRY = "train_gpt.py"
_DIGEST_SKIPS = {"README.md", "LICENSE"}
_PROSE = {".md", ".rst", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".html"}
_LOG_NAMES = ("log", "train", "run", "seed", "output")
_LOG_LINE = re.compile(r"^.{0,40}(step:\d+/\d+ |\d+/\d+ (train|val)_loss: ?\d|val_bpb[:=] ?\d)", re.M)
_RUNNER = re.compile(r"(?:torchrun|python3?|accelerate launch)\b")
_WORD = re.compile(r"[\w./\-]++")
#: A script that scores: what tells an entry from a helper, when the name does not.
_SCORES = ("val_bpb", "val_loss")


#: Makes what runs stubs, for the files of a folder by name and the name of the one that runs.
Opener = Callable[[Mapping[str, bytes], str], Shows]


@dataclass(frozen=True)
class Script:
    """A contest folder (or bare file), read as data.

    Attributes:
        path: what was given, absolute.
        folder: the folder that holds the files.
        name: the folder's name; for a bare file `NAME.py` in it, the file's.
        entry: the file that the contest's command runs, relative to the folder.
        source: plain text to run under the entry's name: unwrapped, readable by this Python.
        shipped: the entry as it is in the folder.
        unwrapped: the wrappers that were opened.
        side: files that a run may need, relative: other code, tokenizers, shell scripts.
        logs: training logs, told by name or by content.
        readmes: Markdown files, README.md first.
        commands: shell scripts.
        files: (relative name, bytes) of every file.
        sha256: over names and bytes of all files in sorted order; README.md, LICENSE and logs left out.
        claims: submission.json as it is, {} without one.
        metadata_file: its name; None without one.
        author: who sent it, None if not given; likewise github_id, title, claimed_bpb.
        notes: choices that were made while reading, one sentence each.
        unseen: why not all code that runs is known, one clause; None where it is.
        opened: plain text of those side files that are wrappers.
    """

    path: Path
    folder: Path
    name: str
    entry: str
    source: str
    shipped: bytes
    unwrapped: Unwrapped
    side: tuple[str, ...]
    logs: tuple[str, ...]
    readmes: tuple[str, ...]
    commands: tuple[str, ...]
    files: tuple[tuple[str, int], ...]
    sha256: str
    claims: dict[str, Any] = field(default_factory=dict)
    metadata_file: str | None = None
    author: str | None = None
    github_id: str | None = None
    title: str | None = None
    claimed_bpb: float | None = None
    notes: tuple[str, ...] = ()
    unseen: str | None = None
    opened: Mapping[str, str] = field(default_factory=dict, repr=False)
    kind: Literal["script"] = "script"
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    _copies: dict[str, Copy] = field(default_factory=dict, repr=False, compare=False)

    def text(self, name: str) -> str:
        """The text of one of the files; odd bytes are replaced, and what is too long for a text is empty."""
        if name in self.opened:
            return self.opened[name]
        content = self.contents[name]
        return "" if len(content) > _MAX_FILE else content.decode("utf-8", "replace")

    def kept(self) -> Path:
        """A copy of the side files as they were read, the same for every run; it stays as long as this object.

        Raises:
            UsageError: the copy has been changed.
        """
        return self._copy("kept", {name: self._ships(name) for name in self.side})

    def _copy(self, which: str, contents: Mapping[str, bytes]) -> Path:
        if which not in self._copies:
            self._copies[which] = Copy(safe_name(self.name), contents)
        return self._copies[which].folder()

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A copy of the side files, with the plain text under the entry's name, and of nothing else."""
        contents = {name: self._runs(name) for name in self.side} | {self.entry: self.source.encode()}
        yield self._copy("staged", contents)

    def _ships(self, name: str) -> bytes:
        return self.opened[name].encode() if name in self.opened else self.contents[name]

    def _runs(self, name: str) -> bytes:
        if not name.endswith(".py"):
            return self.contents[name]
        code = self.text(name)
        return (code if parse(code) else lower(code)).encode()


def is_script(path: Path) -> bool:
    """Whether a path is a contest script, not an adapter: a .py file, or a folder of code that is no adapter's."""
    if path.is_file():
        return path.suffix == ".py" and path.name != "submission.py"
    if not path.is_dir() or is_adapter(path):
        return False
    return any(path.glob("*.py"))


def open_script(path: Path, runs: Opener | None = None) -> Script:
    """Read a record folder, a pull request's folder or a bare script.

    Args:
        path: where it is.
        runs: runs the stub of a wrapper that reading does not open; without it such a wrapper stays closed.

    Raises:
        UsageError: there is nothing there, or no file in it that trains and scores.
    """
    if not path.exists():
        raise UsageError(f"no script at {path}; give a record folder or a train_gpt.py")
    absolute = path.resolve()
    folder = absolute if absolute.is_dir() else absolute.parent
    notes: list[str] = []
    contents = _contents(folder, only=None if absolute.is_dir() else absolute.name)
    files = tuple((name, len(content)) for name, content in contents.items())
    names = [name for name, _ in files]
    readmes = sorted((name for name in names if name.lower().endswith(".md")), key=lambda name: (
        "/" in name, not name.lower().startswith("readme"), name))  # fmt: skip
    commands = [name for name in names if name.endswith(".sh")]
    entry = absolute.name if absolute.is_file() else _entry(folder, contents, [*readmes, *commands], notes)
    shipped = contents[entry]
    if len(shipped) > _MAX_FILE:
        raise UsageError(f"{folder / entry} has {len(shipped):,} bytes; that is no training script")
    if not shipped.strip():
        raise UsageError(f"{folder / entry} is empty; there is no code to audit")
    beside = {name: content for name, content in contents.items() if not _prose(name)}
    unwrapped = unwrap(
        shipped,
        sibling=lambda name: _sibling(contents, entry, name),
        shows=runs(beside, entry) if runs is not None else None,
    )
    source = unwrapped.source
    opened, closed = _side_wrappers(contents, entry, source)
    unseen = _told(entry, unwrapped, runs is not None) or closed
    if unseen:
        notes.append(unseen)
    notes += [_shown(entry, layer) for layer in unwrapped.layers if layer.ran]
    if parse(source) is None:
        source = lower(source)
        notes.append(
            f"{entry} is written for a newer Python; its f-strings were rewritten for this one"
            if parse(source)
            else f"{entry} is not Python that can be read here"
        )
    logs = [name for name in names if _is_log(name, contents[name])] if absolute.is_dir() else []
    metadata_file, claims = _claims(contents, notes) if absolute.is_dir() else (None, {})
    apart = {entry, metadata_file, *logs}
    side = tuple(name for name in names if name not in apart and not _prose(name))
    judged = {name: one for name, one in contents.items() if name not in _DIGEST_SKIPS and name not in logs}
    return Script(
        path=absolute, folder=folder, name=folder.name if absolute.is_dir() else absolute.stem, entry=entry,
        source=source, shipped=shipped, unwrapped=unwrapped, side=side, logs=tuple(logs), readmes=tuple(readmes),
        commands=tuple(commands), files=files, sha256=digest(judged), claims=claims,
        metadata_file=metadata_file, author=submission_json.author(claims),
        github_id=submission_json.github_id(claims), title=submission_json.title(claims),
        claimed_bpb=claimed_bpb(claims), notes=tuple(notes), unseen=unseen, opened=opened,
        contents=contents,
    )  # fmt: skip


def _told(name: str, found: Unwrapped, may_run: bool) -> str | None:
    """Why not all code of a file is known, in a sentence; None where it is."""
    if found.problem:
        more = "" if may_run or found.layers else "; running its stub in the box may (harness audit)"
        return f"{name} is in a wrapper that reading does not open ({found.problem}){more}"
    if found.made:
        return f"{name} executes code that is made while it runs ({found.made})"
    return None


def _shown(name: str, layer: Layer) -> str:
    return (
        f"{name} is a wrapper that reading does not open; it was opened by running its stub in the box, where it would "
        f"have executed {layer.plain:,} bytes of code (line {layer.line}: {layer.how}), the same in two runs. That "
        "code is what was audited. Whether the wrapper executes the same code everywhere, no run in a box can say"
    )


def _side_wrappers(contents: Mapping[str, bytes], entry: str, source: str) -> tuple[dict[str, str], str | None]:
    """Plain texts of the wrappers among the files that the script names, and why one stays closed."""
    opened: dict[str, str] = {}
    closed: str | None = None
    left = {name for name in contents if name.endswith(".py") and name != entry}
    texts = [source]
    while texts:
        names = _named(texts.pop())
        for name in sorted(left):
            if posixpath.basename(name) not in names or len(contents[name]) > _MAX_FILE:
                continue
            left.discard(name)
            found = unwrap(contents[name], sibling=functools.partial(_sibling, contents, name), helper=True)
            if found.layers:
                opened[name] = found.source
            closed = closed or _told(name, found, True)
            texts.append(found.source)
    return opened, closed


def _named(source: str) -> set[str]:
    """Base names of the Python files that a text imports or spells."""
    found: set[str] = set()
    for node in ast.walk(parse(source) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            found |= {name.name.rpartition(".")[2] + ".py" for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{name.name}.py" for name in node.names} | {(node.module or "").rpartition(".")[2] + ".py"}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            found.add(posixpath.basename(node.value))
    return found


def _prose(name: str) -> bool:
    return Path(name).suffix.lower() in _PROSE or Path(name).name == "LICENSE"


def _contents(folder: Path, only: str | None) -> dict[str, bytes]:
    """The bytes of every file, read once, in the order of their paths.

    Raises:
        UsageError: one is no regular file, is too large, or has a name that cannot be shown.
    """
    names = [only] if only else [found.name for found in walk(folder)]
    for name in names:
        if not name.isprintable():
            raise UsageError(f"{folder} holds a file with an unreadable name, {name!a}; rename it")
    return {name: read(folder, name) for name in sorted(names, key=PurePosixPath)}


def _entry(folder: Path, contents: Mapping[str, bytes], texts: list[str], notes: list[str]) -> str:
    """train_gpt.py; else the script that README or a shell script runs; else the only one that scores."""
    names = list(contents)
    if _ENTRY in names:
        return _ENTRY
    code = [name for name in names if name.endswith(".py") and name.count("/") < 3]
    if not code:
        raise UsageError(f"{folder} has no train_gpt.py and no other Python file; there is no code to audit")
    called: list[str] = []
    for text in texts:
        content = contents[text][:_MAX_FILE].decode("utf-8", "replace").replace("\\_", "_")
        called += [posixpath.basename(script) for script in _run(content)]
    runs = [name for name in code if Path(name).name in called]
    scores = [name for name in code if _scores(contents[name])]
    for kind, why in (([name for name in runs if name in scores], "the commands run it"), (scores, "it scores"),
                      (runs, "the commands run it")):  # fmt: skip
        if not kind:
            continue
        best = min(kind, key=lambda name: (
            Path(name).name != _ENTRY, "/" in name, not Path(name).name.startswith("train_gpt"),
            called.index(Path(name).name) if Path(name).name in called else 99, len(name), name))  # fmt: skip
        others = [name for name in kind if name != best]
        more = f", not {', '.join(others)}; to audit another, give that file" if others else ""
        notes.append(f"there is no train_gpt.py; {best} is taken because {why}{more}")
        return best
    if len(code) == 1:
        notes.append(f"there is no train_gpt.py; {code[0]} is the only Python file")
        return code[0]
    raise UsageError(f"{folder} has no train_gpt.py; say which of {', '.join(code[:6])} to audit by giving that file")


def _run(text: str) -> Iterator[str]:
    """The script behind each launcher: the first Python file on the rest of its line."""
    for line in text.splitlines():
        at = 0
        while runner := _RUNNER.search(line, at):
            found = next(
                ((word, end) for word in _WORD.finditer(line, runner.end()) if (end := _script_end(word))), None
            )
            if found is None:
                break  # what stands behind a later launcher stands behind this one, too
            word, end = found
            yield word[0][: end - word.start()]
            at = end


def _script_end(word: re.Match[str]) -> int:
    """Where the last `.py` of a word ends that no letter follows; 0 where there is none."""
    end = len(word[0])
    while (end := word[0].rfind(".py", 1, end)) > 0:
        after = word[0][end + 3 : end + 4]
        if not (after.isalnum() or after == "_"):
            return word.start() + end + 3
        end += 2
    return 0


def _scores(content: bytes) -> bool:
    text = content[:_MAX_FILE].decode("utf-8", "replace")
    plain = unwrap(text).source
    return "torch" in plain and all(word in plain for word in _SCORES)


def _sibling(contents: Mapping[str, bytes], entry: str, name: str) -> bytes | None:
    """A file that the script names, if it lies in the folder: beside the script or below it."""
    for base in (posixpath.dirname(entry), ""):
        path = posixpath.normpath(posixpath.join(base, name))
        content = contents.get(path)
        if content is not None and len(content) <= _MAX_FILE and posixpath.basename(path) != posixpath.basename(entry):
            return content
    return None


def _is_log(name: str, content: bytes) -> bool:
    if not name.lower().endswith((".log", ".txt", ".out")) or name.endswith("requirements.txt"):
        return False
    if name.lower().endswith(".log"):
        return True
    start = content[: 1 << 20].decode("utf-8", "replace")
    return (_is_called_log(name) and len(start) > 2000) or any(
        _LOG_LINE.match(line[:_LONGEST]) for line in start.splitlines()
    )


def _is_called_log(name: str) -> bool:
    """Whether a text file's own name says that it is a log."""
    own = posixpath.basename(name).lower()
    return own.endswith(".log.txt") or own.endswith(".txt") and (own.startswith(_LOG_NAMES) or "_log" in own[:-4])


def _claims(contents: Mapping[str, bytes], notes: list[str]) -> tuple[str | None, dict[str, Any]]:
    """The name of submission.json, or of what is called nearly so, and what it says."""
    name = next(iter(submission_json.find(contents)), None)
    if name is None:
        notes.append("there is no submission.json")
        return None, {}
    try:
        said = submission_json.read(contents[name])
    except submission_json.Unreadable as problem:
        notes.append(f"{name} {problem}")
        return name, {}
    notes += [f"{name} {odd}" for odd in said.odd]
    return name, said.data
