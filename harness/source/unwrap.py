"""From the text of a train_gpt.py to plain source: self-extracting wrappers are opened by reading, never by running.

Many submissions ship code that is packed to save bytes, typically `exec(lzma.decompress(base64.b85decode("...")))`, in
several layers, or a stub that executes another file. Only the syntax tree and literal bytes are used.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from harness.source.literals import Literals, Sibling, Unknown

LIMIT = 8 << 20
_DEPTH = 8
#: A file with fewer statements than this that hands over to another file is a stub.
_STUB = 12
_BREAKING = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Layer:
    """One wrapper around the code.

    Attributes:
        how: what runs it, e.g. "exec(lzma(base85))" or "exec(train_gpt_decode.py)".
        line: line of the call in the text that wraps.
        packed: bytes of the text that wraps.
        plain: bytes of the text inside.
    """

    how: str
    line: int
    packed: int
    plain: int


@dataclass(frozen=True)
class Unwrapped:
    """What a script really says.

    Attributes:
        source: the innermost text that could be reached.
        layers: the wrappers, outermost first.
        runs_file: the file that a stub executes or imports, as it names it; None without one.
        problem: what could not be opened and why; None when everything could.
    """

    source: str
    layers: tuple[Layer, ...] = ()
    runs_file: str | None = None
    problem: str | None = None


def unwrap(text: str | bytes, *, limit: int = LIMIT, sibling: Sibling | None = None) -> Unwrapped:
    """Open all wrappers around a script. Any input is fine; what cannot be opened is said in `problem`.

    Args:
        text: the file.
        limit: most bytes that a layer may unpack to.
        sibling: reads a file next to the script, for stubs that execute one; without it they stay closed.
    """
    if isinstance(text, bytes):
        content, text = text, text.decode("utf-8-sig", "replace")
        if "\ufffd" in text and "\ufffd".encode() not in content:
            return Unwrapped(text, problem="the file is not UTF-8 text")
    if len(text) > limit:
        return Unwrapped(text, problem=f"the file is larger than {limit:,} bytes")
    done = Unwrapped(text)
    for _ in range(_DEPTH):
        opened = _open_once(done, limit, sibling)
        if opened is None:
            return done
        done = opened
        if done.problem:
            return done
    return replace(done, problem=f"there are more than {_DEPTH} wrappers inside each other")


def parse(source: str | bytes) -> ast.Module | None:
    """The syntax tree of a text or file, or None where it has none (broken, or nested too deep)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # strangers' escape sequences
            return ast.parse(source)
    except _BREAKING:
        return None


def _open_once(done: Unwrapped, limit: int, sibling: Sibling | None) -> Unwrapped | None:
    """One layer less; None where there is none."""
    tree = parse(done.source)
    if tree is None:
        return None
    if "exec" not in done.source and not _stub(tree):
        return None
    known = Literals(tree, limit, sibling)
    for index, statement in enumerate(tree.body):
        call = _executed(statement, known)
        if call is None:
            continue
        if isinstance(call, str):
            return replace(done, problem=f"line {statement.lineno}: {call}")
        try:
            value = known.value(call.args[0])
        except Unknown as reason:
            file = known.opened[-1] if known.opened else None
            if file is None and not _stub(tree):
                continue  # a long script that also calls exec is not a wrapper
            return replace(done, runs_file=file, problem=f"line {statement.lineno}: {reason}")
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str):
            return replace(done, problem=f"line {statement.lineno}: what exec is given is no text")
        inside = _spliced(tree, index, done.source, value)
        how = _how(known)
        layer = Layer(how, statement.lineno, len(done.source.encode()), len(value.encode()))
        file = known.opened[-1] if known.opened else done.runs_file
        return Unwrapped(inside, (*done.layers, layer), file, None)
    imported = _imported(tree, known, sibling)
    return replace(done, runs_file=imported) if imported and done.runs_file is None else None


def _executed(statement: ast.stmt, known: Literals) -> ast.Call | str | None:
    """The `exec` call that a top-level statement is, or why it cannot be followed."""
    blocks = [statement]
    if isinstance(statement, (ast.If, ast.Try, ast.With)):
        blocks = [*statement.body]
    for block in blocks:
        if not (isinstance(block, ast.Expr) and isinstance(block.value, ast.Call)):
            continue
        call = block.value
        module, name = known.called(call)
        if name == "exec" and module in ("", "builtins") and call.args:
            if any(isinstance(part, ast.Attribute) and known.called(ast.Call(part, [], []))[0] == "marshal"
                   for part in ast.walk(call)):  # fmt: skip
                return "compiled code (marshal) is not opened"
            return call
    return None


def _stub(tree: ast.Module) -> bool:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) < _STUB


def _imported(tree: ast.Module, known: Literals, sibling: Sibling | None) -> str | None:
    """The file that a short script hands over to by import, runpy or a new process."""
    if not _stub(tree):
        return None
    for node in ast.walk(tree):
        texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        files = [text for text in texts if isinstance(text, str) and PurePosixPath(text).suffix == ".py"]
        if isinstance(node, ast.Call):
            module, name = known.called(node)
            if (module, name) == ("runpy", "run_path") or module in ("subprocess", "os"):
                if files:
                    return files[-1]
            elif name in ("run_module", "import_module") and texts and isinstance(texts[0], str):
                return texts[0].replace(".", "/") + ".py"
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        for name in names:
            file = name.replace(".", "/") + ".py"
            if sibling is not None and sibling(file) is not None:
                return file
    return None


def _how(known: Literals) -> str:
    inside = known.opened[-1] if known.opened else "..."
    for step in reversed(known.steps):
        inside = step if inside == "..." else f"{step}({inside})"
    return f"exec({inside})"


def _spliced(tree: ast.Module, index: int, outside: str, inside: str) -> str:
    """The text inside, with what the wrapper does besides in front of it and behind it."""
    rest = [node for node in tree.body[:index] if not _harmless(node)]
    after = [node for node in tree.body[index + 1 :] if not _harmless(node)]
    imports = [node for node in tree.body[:index] if isinstance(node, (ast.Import, ast.ImportFrom))]
    plain = parse(inside)
    if plain is None:
        return inside
    if not rest and not after:
        imports = [node for node in imports if _wanted(node, plain)]
    if not (rest or after or imports):
        return inside
    before = [node for node in tree.body[:index] if node in rest or node in imports]
    pieces = [ast.get_source_segment(outside, node) or ast.unparse(node) for node in before]
    future = [node for node in plain.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for node in future:
        pieces.insert(0, ast.unparse(node))
    tail = [ast.get_source_segment(outside, node) or ast.unparse(node) for node in after]
    return "\n".join([*pieces, _without(inside, future), *tail])


def _harmless(node: ast.stmt) -> bool:
    """Imports, docstrings and names for the packed text: gone once it is unpacked."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _wanted(node: ast.stmt, plain: ast.Module) -> bool:
    """Whether the text inside uses a name that only the wrapper imports."""
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return False
    names = {(name.asname or name.name).split(".")[0] for name in node.names}
    read: set[str] = set()
    bound: set[str] = set()
    for part in ast.walk(plain):
        if isinstance(part, ast.Name):
            (read if isinstance(part.ctx, ast.Load) else bound).add(part.id)
        elif isinstance(part, (ast.Import, ast.ImportFrom)):
            bound |= {(name.asname or name.name).split(".")[0] for name in part.names}
        elif isinstance(part, ast.arg):
            bound.add(part.arg)
        elif isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            bound.add(part.name)
    return bool(names & (read - bound))


def _without(text: str, statements: list[ast.ImportFrom]) -> str:
    """The text with some one-line statements blanked, so that line numbers stay."""
    lines = text.split("\n")
    for node in statements:
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            alone = lines[number - 1].strip()
            lines[number - 1] = "" if alone.startswith("from __future__") and ";" not in alone else lines[number - 1]
    return "\n".join(lines)
