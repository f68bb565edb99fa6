"""The shipped code, read but never run: what the script needs of the folder, what it weighs, whom it equals."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from harness.audit.wrapped import wrap
from harness.papers.reading import Paper, Papers
from harness.papers.sources import tree_of
from harness.source.unwrap import parse

_MOST_BYTES = 2_000_000
#: A stub makes fewer calls than this, and a file's name has fewer letters.
_SHORT = 200
#: A string of this length next to an `exec` is a packed program.
_PACKED = 2_000
#: Files that prepare data or a tokenizer before the contest's clocks start; the size rule does not count them.
_PREPARES = ("prepare", "download", "tokeniz", "export_", "retokeni", "setup", "upload", "test_", "check_", "sweep")


@dataclass(frozen=True)
class Code:
    """What the folder ships as code.

    Attributes:
        script: the training script, None where the folder has none.
        needed: the script and the files of the folder that it names: imported modules, sources that it compiles or
            executes, in the order in which they were found.
        executes: files that the script runs by `exec` or as a program, a stub's way.
        packed: the script unpacks itself, so its shipped bytes are compressed already.
        sha256: of the script's bytes.
        tree: the syntax tree of the script as it is, packed or not; None where it has none.
    """

    script: Paper | None
    needed: tuple[Paper, ...] = ()
    executes: tuple[Paper, ...] = ()
    packed: bool = False
    sha256: str = ""
    tree: ast.Module | None = field(default=None, repr=False, compare=False)

    @property
    def shipped(self) -> int | None:
        """Bytes of the script as it is; for a stub, of what it runs as well."""
        if self.script is None:
            return None
        return self.script.size + sum(paper.size for paper in self.executes)

    @property
    def all_files(self) -> int | None:
        """Bytes of every file that the script needs, as they are."""
        return sum(paper.size for paper in self.needed) if self.script else None

    @cached_property
    def same(self) -> str:
        """Digest of the unpacked syntax tree without docstrings, so that comments and layout do not count; or ""."""
        read = tree_of(self.script.content) if self.script else None
        tree = parse(read[0]) if read else None  # a tree of its own, because it is changed
        return normalised(tree) if tree is not None else ""

    @cached_property
    def wrapped(self) -> int | None:
        """Bytes of a self-extracting wrapper of the script, and of what a stub runs, built and weighed."""
        if self.script is None or any(paper.size > _MOST_BYTES for paper in self.needed):
            return None
        files = {paper.name: paper.content for paper in (self.script, *self.executes)}
        built = len(wrap(files))
        return min(built, self.shipped or built)


def read_code(papers: Papers) -> Code:
    """The script of the folder: train_gpt.py, or the one Python file that is called like a training script."""
    script = papers.named("train_gpt.py") or _only(papers)
    if script is None or script.size > _MOST_BYTES:
        return Code(script, (script,) if script else ())
    needed, executes = [script], []
    outer = _parse(script, unpack=False)
    packed = _is_packed(outer)
    if outer is not None:
        executes = [paper for paper in _executed(outer, papers) if paper is not script]
    tree = _parse(script) if packed else outer
    if tree is not None:
        for paper in [*executes, *_named(tree, papers)]:
            if paper not in needed:
                needed.append(paper)
        for paper in needed[1:9]:
            if paper.name.endswith(".py") and (inner := _parse(paper)) is not None:
                needed += [one for one in _named(inner, papers) if one not in needed]
    return Code(script, tuple(needed), tuple(executes), packed, script.sha256, outer)


def _only(papers: Papers) -> Paper | None:
    top = [paper for paper in papers.code if paper.name.endswith(".py") and "/" not in paper.name]
    trains = [paper for paper in top if paper.name.startswith("train")]
    return trains[0] if len(trains) == 1 else top[0] if len(top) == 1 else None


def _parse(paper: Paper, *, unpack: bool = True) -> ast.Module | None:
    """The syntax tree of a file, of its innermost text where it unpacks itself; None where it has none."""
    if paper.size > _MOST_BYTES:
        return None
    read = tree_of(paper.content, unpack=unpack)
    return read[1] if read else None


def _named(tree: ast.Module, papers: Papers) -> list[Paper]:
    """Files of the folder that the code imports, or whose names stand in it as strings."""
    modules: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _SHORT:
            strings.add(node.value.rsplit("/", 1)[-1])
    found = []
    for paper in papers.code:
        base = paper.name.rsplit("/", 1)[-1]
        if base.lower().startswith(_PREPARES) or base == "train_gpt.py" or paper.name.endswith(".sh"):
            continue
        imported = base.endswith(".py") and base[:-3] in modules and "/" not in paper.name
        if imported or (base in strings and not base.endswith((".sh", ".md"))):
            found.append(paper)
    return found


def _executed(tree: ast.Module, papers: Papers) -> list[Paper]:
    """Files of the folder that a short script runs in its own place: `exec(open(...))`, runpy, a subprocess."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    runs = any(_call_name(call) in ("exec", "run_path", "execv", "execvp", "Popen", "call", "run") for call in calls)
    if len(calls) > _SHORT or not runs:
        return []
    return [paper for paper in _named(tree, papers) if paper.name.endswith(".py")]


def _call_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _is_packed(tree: ast.Module | None) -> bool:
    if tree is None:
        return False
    long = any(
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and len(node.value) > _PACKED
        for node in ast.walk(tree)
    )
    return long and any(isinstance(node, ast.Call) and _call_name(node) == "exec" for node in ast.walk(tree))


def normalised(tree: ast.Module) -> str:
    """Digest of the syntax tree, docstrings left out."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    try:
        return hashlib.sha256(ast.dump(tree).encode(errors="replace")).hexdigest()
    except (RecursionError, MemoryError):
        return ""
