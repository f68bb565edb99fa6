"""Byte tables that misread a tokenizer's pieces: the mark of a space, and byte pieces, with file and line.

A SentencePiece piece that begins a word begins with U+2581, which has three bytes in UTF-8 and stands for one space.
A table that looks for another character ("?" where an editor or a console has replaced it, or " ") never finds it and
counts three bytes for each space; one that adds the space to a piece's bytes, while the evaluation adds it again,
counts it twice. A byte piece is spelled <0xE2> and stands for one byte.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.papers.reading import Quote
from harness.papers.sources import Source

_SPACE = "\u2581"
_PIECE = {"id_to_piece", "IdToPiece", "piece"}
_LEADING = re.compile(r"has_space|space_lut|starts_with_space|\bhs\b|leading", re.I)
#: What a misreading is mostly written like.
_HINT = re.compile(
    r"startswith\(\(?['\"][?_ \ufffd\u00e2]|encode\([^)\n]{0,20}\)\)? ?\+ ?1\b|\b1 ?\+ ?len\("
    r"|strip\(['\"](?:\u2581|\\u2581)"
)


@dataclass(frozen=True)
class Marker:
    """A place where a table misreads pieces.

    Attributes:
        said: what is wrong, as a clause.
        at: the line.
        more: bytes are counted that the text does not have, so that a score gets too good; else too few are.
    """

    said: str
    at: Quote
    more: bool


def hinted(source: Source) -> bool:
    """Whether a look at the text finds what a misreading is mostly written like; much less than `read` does."""
    text = source.text
    return any(_HINT.search(line[:400]) for line in text.split("\n")) or not ("is_byte" in text or "0x" in text)


def read(sources: list[Source]) -> list[Marker]:
    """The places in these programs where a byte table misreads SentencePiece's pieces."""
    found: list[Marker] = []
    for source in sources:
        if not any(word in source.text for word in ("id_to_piece", "IdToPiece")):
            continue
        if not any(_is_piece(call) for call in source.calls):
            continue
        added = _added(source)
        for function in _functions(source):
            found += _of_function(source, function, added)
    by_line = {(one.at.file, one.at.line, one.said): one for one in found}
    return list(by_line.values())


def _functions(source: Source) -> Iterator[list[ast.AST]]:
    """The nodes of each function, and those outside of all of them, where pieces are read."""
    inside: set[ast.AST] = set()
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes = list(ast.walk(node))
            inside.update(nodes)
            if any(_is_piece(one) for one in nodes):
                yield nodes
    outside = [node for node in source.nodes if node not in inside]
    if any(_is_piece(one) for one in outside):
        yield outside


def _is_piece(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called(node) in ("id_to_piece", "IdToPiece")


def _of_function(source: Source, nodes: list[ast.AST], added: bool) -> Iterator[Marker]:
    pieces = _names_of_pieces(nodes)
    sizes = [node for node in nodes if _size_of(node, pieces)]
    if not sizes:
        return
    for node in nodes:
        if isinstance(node, ast.Call) and (mark := _looked_for(node, pieces)) is not None:
            shown = "the empty string" if not mark else repr(mark)
            yield Marker(
                f"looks for {shown} where a piece that begins a word begins with U+2581, so that a space counts three "
                "bytes",
                source.quote(node), True,
            )  # fmt: skip
        elif isinstance(node, ast.Call) and _called(node) in ("lstrip", "strip") and _on_piece(node, pieces):
            if node.args and isinstance(node.args[0], ast.Constant) and _SPACE in str(node.args[0].value):
                yield Marker("takes away all spaces at a piece's beginning, and counts one", source.quote(node), False)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and added and _plus_one(node, pieces):
            yield Marker(
                "adds one byte for the space to a piece's bytes, and the evaluation adds it again", source.quote(node),
                True,
            )  # fmt: skip
    if not any(_tests_bytes(node) for node in nodes):
        yield Marker("counts byte pieces by their spelling, <0xE2> as six bytes", source.quote(sizes[0]), True)


def _names_of_pieces(nodes: list[ast.AST]) -> set[str]:
    """Names that are bound to a piece as it is spelled: straight from the tokenizer, and never rewritten."""
    names: set[str] = set()
    rewritten: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if _is_piece(node.value):
                names.add(name)
            elif any(isinstance(one, ast.Call) and _called(one) == "replace" for one in ast.walk(node.value)):
                rewritten.add(name)
        elif isinstance(node, ast.NamedExpr) and _is_piece(node.value):
            names.add(node.target.id)
    return names - rewritten


def _on_piece(call: ast.Call, pieces: set[str]) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return (isinstance(owner, ast.Name) and owner.id in pieces) or (owner is not None and _is_piece(owner))


def _looked_for(call: ast.Call, pieces: set[str]) -> str | None:
    """What a piece is asked to begin with, where no piece does: another stand-in for the space."""
    if _called(call) != "startswith" or not _on_piece(call, pieces) or not call.args:
        return None
    asked = call.args[0]
    options = asked.elts if isinstance(asked, ast.Tuple) else [asked]
    marks = [one.value for one in options if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    wrong = [mark for mark in marks if mark in ("?", " ", "_", "\u2582", "\ufffd") or mark.startswith("\u00e2")]
    return wrong[0] if wrong and len(marks) == len(options) and _SPACE not in marks else None


def _size_of(node: ast.AST, pieces: set[str]) -> bool:
    """`len(piece.encode("utf-8"))`, of the piece or a part of it."""
    if not (isinstance(node, ast.Call) and _called(node) == "len" and len(node.args) == 1):
        return False
    inner = node.args[0]
    if not (isinstance(inner, ast.Call) and _called(inner) == "encode" and isinstance(inner.func, ast.Attribute)):
        return False
    owner: ast.AST = inner.func.value
    while isinstance(owner, ast.Subscript) or (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute)):
        if _is_piece(owner):
            return True
        inside = owner.value if isinstance(owner, ast.Subscript) else owner.func
        owner = inside.value if isinstance(inside, ast.Attribute) and not isinstance(owner, ast.Subscript) else inside
    return isinstance(owner, ast.Name) and owner.id in pieces


def _plus_one(node: ast.BinOp, pieces: set[str]) -> bool:
    sides = (node.left, node.right)
    one = any(isinstance(side, ast.Constant) and side.value == 1 for side in sides)
    return one and any(_size_of(side, pieces) for side in sides)


def _added(source: Source) -> bool:
    """The evaluation adds the spaces that pieces begin with, outside of what builds the table."""
    for node in source.nodes:
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            value = node.value
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            value = node.right
        else:
            continue
        items = [one for one in ast.walk(value) if isinstance(one, ast.Subscript)]
        if any(_LEADING.search(ast.unparse(one.value)) for one in items):
            return True
    return False


def _tests_bytes(node: ast.AST) -> bool:
    """Byte pieces are told apart: by the tokenizer, or by how they are spelled."""
    if isinstance(node, ast.Call) and _called(node) in ("is_byte", "IsByte"):
        return True
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "0x" in node.value


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
