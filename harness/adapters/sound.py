"""What in a submission's code can be seen to break before a box is started: syntax, and imports that cannot succeed.

The code is compiled and its imports are looked up; nothing of it is imported or run.
"""

from __future__ import annotations

import ast
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from functools import cache

from harness.adapters.weigh import HOUSE
from harness.audit.recording import shown
from harness.errors import UsageError
from harness.folder import Folder
from harness.text import meant, prose

_ENTRY = "submission.py"
_MOST_BYTES = 8 << 20


def sound(folder: Folder) -> None:
    """Look through `submission.py` and the folder's modules that it imports, wherever in it they are imported.

    Raises:
        UsageError: one line that begins with the file and the line at fault.
    """
    pending, seen = [_ENTRY], {_ENTRY}
    while pending:
        name = pending.pop()
        tree = _compiled(folder, name)
        for node in ast.walk(tree):
            for module in _modules(node):
                for local in _local(module, folder.contents):
                    if local not in seen:
                        seen.add(local)
                        pending.append(local)
        for node in tree.body:
            if problem := _unimportable(node, folder.contents):
                raise UsageError(f"{shown(folder.path / name)}:{node.lineno}: {problem}")


def _compiled(folder: Folder, name: str) -> ast.Module:
    content = folder.contents[name]
    if len(content) > _MOST_BYTES:
        raise UsageError(
            f"{shown(folder.path / name)} has {len(content):,} bytes; that is no code that can be read here"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content, filename=name)
            compile(tree, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        kind = type(error).__name__
        said = f"{shown(folder.path / name)}:{error.lineno or 1}: {kind}: {prose(error.msg, 200)}"
        line = prose((error.text or "").strip(), 120)
        raise UsageError(f"{said}: {line}" if line else said) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{shown(folder.path / name)}:1: {type(error).__name__}: {prose(error, 200)}") from None
    return tree


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _local(module: str, contents: Mapping[str, bytes]) -> Iterator[str]:
    """The folder's files that importing a module runs."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        place = "/".join(parts[:count])
        yield from (name for name in (f"{place}.py", f"{place}/__init__.py") if name in contents)


def _unimportable(node: ast.stmt, contents: Mapping[str, bytes]) -> str:
    """What an import at the top of a module is going to say; "" for all that may succeed."""
    for module in _modules(node) if isinstance(node, ast.Import) else ():
        if problem := _absent(module, contents):
            return problem
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        if problem := _absent(node.module, contents):
            return problem
        names = _names(node.module) if node.module.partition(".")[0] == "harness" else None
        for alias in node.names:
            if names is not None and alias.name != "*" and alias.name not in names:
                hint = meant(alias.name, names)
                return f"ImportError: cannot import name {alias.name!r} from {node.module!r}{hint}"
    return ""


def _absent(module: str, contents: Mapping[str, bytes]) -> str:
    root = module.partition(".")[0]
    if any(name == f"{root}.py" or name.startswith(f"{root}/") for name in contents):
        return ""
    if root == "harness":
        there = _file(module) is not None
        known = ["harness.kit", *(f"harness.kit.{path.stem}" for path in (HOUSE / "kit").glob("*.py"))]
        return "" if there else f"ModuleNotFoundError: No module named {module!r}{meant(module, known)}"
    try:
        found = importlib.util.find_spec(root) is not None
    except (ImportError, ValueError):
        found = True  # something is there, of a kind that only importing it tells
    return "" if found else f"ModuleNotFoundError: No module named {root!r}"


def _file(module: str) -> str | None:
    """A module of the harness, as a path below the package."""
    place = HOUSE.joinpath(*module.split(".")[1:])
    if place.is_dir():
        return str(place / "__init__.py")
    return str(place.with_suffix(".py")) if place.with_suffix(".py").is_file() else None


@cache
def _names(module: str) -> frozenset[str] | None:
    """What can be imported from a module of the harness; None where only running it tells."""
    file = _file(module)
    if file is None:
        return None
    with open(file, "rb") as source:
        tree = ast.parse(source.read())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    below = HOUSE.joinpath(*module.split(".")[1:])
    found |= {path.stem for path in below.glob("*.py")} if below.is_dir() else set()
    return None if "__getattr__" in found else frozenset(found)
