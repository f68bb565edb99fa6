"""The folder's programs as text and syntax tree, unpacked by reading, with quotations of their lines.

What a script does with a number is read here and never run. A wrapper is opened once for all that want to read it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property, lru_cache

from harness.papers.reading import Paper, Papers, Quote
from harness.source.unwrap import parse, unwrap
from harness.text import clean

_MOST_BYTES = 2_000_000
#: Programs of one folder that are read.
_MOST_FILES = 8
#: Letters of a line that holds packed code.
_LONG = 1_000
#: Bytes of a file that is looked into in any case.
_SHORT = 4_000
#: Files that prepare, test or draw something: what they compute is no score of the submission.
_ASIDE = ("test_", "prepare", "download", "plot", "check_", "setup", "export_", "analy", "sweep")


@dataclass(frozen=True, eq=False)
class Source:
    """One program: where it stands, its innermost text, and its syntax tree.

    Attributes:
        name: the file's name; with a note where the text is not the file's own but what it unpacks to.
        text: the innermost text.
        tree: its syntax tree.
    """

    name: str
    text: str
    tree: ast.Module

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All parts of the tree, breadth first."""
        return list(ast.walk(self.tree))

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Its calls."""
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    def quote(self, node: ast.AST) -> Quote:
        """The line on which a part of the program begins."""
        line = int(getattr(node, "lineno", 1))
        lines = self.text.split("\n")
        return Quote(self.name, line, clean(lines[line - 1].strip(), 200) if line <= len(lines) else "")


def tree_of(content: bytes, *, unpack: bool = True) -> tuple[str, ast.Module] | None:
    """The text of a program and its syntax tree, of what it unpacks to if asked; None where it has none."""
    return _parsed(content, unpack) if len(content) <= _MOST_BYTES else None


@lru_cache(maxsize=16)
def _parsed(content: bytes, unpack: bool) -> tuple[str, ast.Module] | None:
    text = unwrap(content).source if unpack else content.decode("utf-8-sig", "replace")
    tree = parse(text)
    return None if tree is None else (text, tree)


def programs(papers: Papers, needed: tuple[Paper, ...]) -> list[Source]:
    """The script and the Python files that it needs; where no script is known, the folder's Python files.

    Args:
        papers: the folder.
        needed: what its script needs, the script first.
    """
    chosen = [one for one in needed if one.name.endswith(".py")]
    if not chosen:
        chosen = [p for p in papers.code if p.name.endswith(".py") and not _aside(p.name)]
    found = []
    for paper in chosen[:_MOST_FILES]:
        if (read := tree_of(paper.content, unpack=_packed(paper.content))) is not None:
            text, tree = read
            own = text.split("\n", 1)[0].strip() == (paper.lines[0].strip().lstrip("\ufeff") if paper.lines else "")
            found.append(Source(paper.name if own else f"{paper.name} (unpacked)", text, tree))
    return found


def _packed(content: bytes) -> bool:
    """Whether a program may be a wrapper: it executes a text, and is short or has a longer line than people write."""
    return b"exec" in content and (len(content) < _SHORT or any(len(line) > _LONG for line in content.split(b"\n")))


def _aside(name: str) -> bool:
    return name.rsplit("/", 1)[-1].lower().startswith(_ASIDE)
