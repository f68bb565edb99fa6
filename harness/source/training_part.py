"""Which part of an adapter's code its training can have read, told from the source alone, without running it.

An artifact depends on what runs while it is made: the model, the trainer's settings, the quantizer. `evaluate`, and
what nothing but `evaluate` mentions, does not run then, so that a change there leaves the artifact what it was.
Everything here errs to the other side: a name that is mentioned anywhere else, a definition that does something when it
is made, or code that looks at code (`inspect`, `__file__`, `getattr` with a computed name) counts as read.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_ENTRY = "submission.py"
_EVALUATE = "evaluate"
#: What looks at code, or at files that may be code, rather than at values.
_LOOKS = frozenset(
    "open exec eval compile globals locals vars dir setattr delattr inspect sys os io importlib runpy pkgutil "
    "linecache tokenize ast subprocess pathlib Path glob shutil marshal pickle gc types traceback ctypes builtins "
    "fromfile memmap getsource getmembers mro atexit".split()
)
_DUNDERS = frozenset(
    "__init__ __name__ __future__ __call__ __len__ __getitem__ __iter__ __enter__ __exit__ __post_init__ __all__ "
    "__doc__".split()
)
#: Importing these changes nothing that training reads; the worker has imported most of them before the submission.
_QUIET_MODULES = (
    "harness.kit",
    "torch",
    "numpy",
    "math",
    "typing",
    "dataclasses",
    "collections",
    "functools",
    "itertools",
)
_QUIET_DECORATORS = frozenset(
    "staticmethod classmethod property dataclass dataclasses.dataclass torch.no_grad torch.inference_mode no_grad "
    "inference_mode functools.cache functools.lru_cache cache lru_cache cached_property".split()
)
_QUIET_BASES = ("torch.", "nn.", "typing.", "enum.")
_QUIET_BASE_NAMES = frozenset({"NamedTuple", "Enum", "IntEnum", "Protocol", "object", "Generic"})
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class TrainingPart:
    """What training may have read of a submission.

    Attributes:
        sha256: over it, in hexadecimal.
        left_out: names that only the evaluation uses, sorted; empty where nothing can be left out.
        why: why everything counts, one line; "" where something is left out.
    """

    sha256: str
    left_out: tuple[str, ...] = ()
    why: str = ""


def training_part(contents: Mapping[str, bytes], called: Iterable[str]) -> TrainingPart:
    """The digest of what training may have read of these files.

    Args:
        contents: every file that the train box sees, by name.
        called: names that the kit itself asks a submission for; they count as read, `evaluate` left out.
    """
    whole = _digest(contents)
    trees: dict[str, ast.Module] = {}
    for name, content in contents.items():
        if not name.endswith(".py"):
            continue
        try:
            trees[name] = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return TrainingPart(whole, why=f"{name} cannot be parsed")
    if _ENTRY not in trees:
        return TrainingPart(whole, why=f"there is no {_ENTRY}")
    entry = trees.pop(_ENTRY)
    others = [node for tree in trees.values() for node in tree.body]
    units = list(_units(entry))
    kept = _only_evaluation(units, entry, others, frozenset(called) - {_EVALUATE})
    defined = any(isinstance(node, _Function) and node.name == _EVALUATE for node in ast.walk(entry))
    if defined and _EVALUATE not in {unit.name for unit in kept}:
        return TrainingPart(whole, why="evaluate is used outside the evaluation, or does something when it is defined")
    gone = {id(unit.node) for unit in kept}
    rest = [*_without(entry.body, gone), *others]
    if look := next(_looks(rest), ""):
        return TrainingPart(whole, why=f"code that training may run uses {look}, which can look at code")
    made = hashlib.sha256(_digest({name: content for name, content in contents.items() if name != _ENTRY}).encode())
    shown = ast.Module(body=_without(entry.body, gone), type_ignores=[])
    made.update(ast.dump(shown, include_attributes=False).encode(errors="surrogatepass"))
    return TrainingPart(made.hexdigest(), tuple(sorted({unit.name for unit in kept})))


def _digest(contents: Mapping[str, bytes]) -> str:
    made = hashlib.sha256()
    for name, content in contents.items():
        made.update(f"{len(name)}:{name}:{len(content)}:".encode())
        made.update(content)
    return made.hexdigest()


@dataclass(frozen=True)
class _Unit:
    """A definition that can be left out: its name, and the statement or the imported name."""

    name: str
    node: ast.AST


def _units(module: ast.Module) -> Iterator[_Unit]:
    """Definitions whose making does nothing but bind a name, at the module's top and in the submission's classes."""
    configs = {
        alias.asname or alias.name
        for node in module.body
        if isinstance(node, ast.ImportFrom) and not node.level and _within(node.module or "", ("harness.kit",))
        for alias in node.names
        if alias.name.endswith("Config")
    }
    adapters: set[str] = {
        alias.asname or alias.name
        for node in module.body
        if isinstance(node, ast.ImportFrom) and not node.level and _within(node.module or "", ("harness.kit",))
        for alias in node.names
        if alias.name == "Submission"
    }
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and not node.level and _within(node.module or "", _QUIET_MODULES):
            yield from (_Unit(alias.asname or alias.name, alias) for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Import):
            quiet = (alias for alias in node.names if _within(alias.name, _QUIET_MODULES))
            yield from (_Unit(alias.asname or alias.name.partition(".")[0], alias) for alias in quiet)
        elif isinstance(node, ast.ClassDef) and _is_adapter(node, adapters):
            adapters.add(node.name)
            yield from (unit for inner in node.body for unit in _simple(inner, configs))
        elif isinstance(node, ast.ClassDef):
            if _quiet_class(node, configs):
                yield _Unit(node.name, node)
        else:
            yield from _simple(node, configs)


def _is_adapter(node: ast.ClassDef, adapters: set[str]) -> bool:
    bases = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
    return bool(bases) and set(bases) <= adapters and not node.keywords and not node.decorator_list


def _simple(node: ast.stmt, configs: set[str]) -> Iterator[_Unit]:
    """A function, or a name for a plain value."""
    if isinstance(node, _Function) and _quiet_function(node):
        yield _Unit(node.name, node)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        if _plain_value(node.value, configs):
            yield _Unit(node.targets[0].id, node)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        if _plain_value(node.value, configs) and not _calls(node.annotation):
            yield _Unit(node.target.id, node)


def _plain_value(node: ast.expr, configs: set[str]) -> bool:
    """A literal, or one of the kit's settings objects made of literals."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in configs:
        values = [*node.args, *(word.value for word in node.keywords)]
        return all(_plain_value(value, configs) for value in values)
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _quiet_function(node: _Function) -> bool:
    every = node.args
    notes = [one.annotation for one in (*every.posonlyargs, *every.args, *every.kwonlyargs) if one.annotation]
    notes += [one.annotation for one in (every.vararg, every.kwarg) if one and one.annotation]
    made = [
        *every.defaults,
        *(one for one in every.kw_defaults if one),
        *notes,
        *([node.returns] if node.returns else []),
    ]
    return all(_dotted(one) in _QUIET_DECORATORS for one in node.decorator_list) and not any(map(_calls, made))


def _quiet_class(node: ast.ClassDef, configs: set[str]) -> bool:
    bases = [_dotted(base) for base in node.bases]
    if node.keywords or not all(one in _QUIET_BASE_NAMES or one.startswith(_QUIET_BASES) for one in bases):
        return False
    if not all(_dotted(one) in _QUIET_DECORATORS for one in node.decorator_list):
        return False
    return all(
        isinstance(inner, ast.Pass)
        or (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
        or (isinstance(inner, ast.AnnAssign) and inner.value is None and not _calls(inner.annotation))
        or any(True for _ in _simple(inner, configs))
        for inner in node.body
    )


def _dotted(node: ast.expr) -> str:
    """`torch.no_grad()` or `nn.Module` as they are written; "" for anything else."""
    if isinstance(node, ast.Call):
        plain = not node.args and all(isinstance(word.value, ast.Constant) for word in node.keywords)
        return _dotted(node.func) if plain else ""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value) if isinstance(node.value, ast.Name | ast.Attribute) else ""
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _calls(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call | ast.Await | ast.NamedExpr | ast.Lambda) for one in ast.walk(node))


def _only_evaluation(
    units: Sequence[_Unit], entry: ast.Module, others: Sequence[ast.stmt], called: frozenset[str]
) -> list[_Unit]:
    """The units that nothing but such units mentions: what is mentioned outside is taken out until nothing more is."""
    repeated = {unit.name for unit in units if sum(one.name == unit.name for one in units) > 1} - {_EVALUATE}
    kept = [
        unit
        for unit in units
        if unit.name not in called
        and unit.name not in repeated
        and not (unit.name.startswith("__") and unit.name.endswith("__"))
    ]
    while True:
        gone = {id(unit.node) for unit in kept}
        used = set(_mentions([*_without(entry.body, gone), *others]))
        left = [unit for unit in kept if unit.name not in used]
        if len(left) == len(kept):
            return kept
        kept = left


def _without(body: Sequence[ast.stmt], gone: set[int]) -> list[ast.stmt]:
    """Statements, without those (and those imported names) that are left out; docstrings say nothing to a run."""
    found: list[ast.stmt] = []
    for node in body:
        if id(node) in gone or isinstance(node, ast.Pass) or _is_text(node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias for alias in node.names if id(alias) not in gone]
            if not names:
                continue
            node = ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)
        elif isinstance(node, ast.ClassDef):
            node = ast.ClassDef(
                **{
                    **{name: getattr(node, name) for name in node._fields},
                    "body": _without(node.body, gone),
                }
            )
        found.append(node)
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _mentions(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Every identifier in code: names, attributes, imported names, and texts that are identifiers."""
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.alias):
                yield from _IDENTIFIER.findall(node.name)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                yield from node.names
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                yield from _IDENTIFIER.findall(node.value) if node.value.isidentifier() else ()


def _looks(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """What in code may look at code."""
    for name in _mentions(nodes):
        if name in _LOOKS or (name.startswith("__") and name.endswith("__") and name not in _DUNDERS):
            yield name
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                yield "import *"
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant):
                    yield node.func.id


def _within(module: str, places: Sequence[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def asked_for(sources: Iterable[bytes]) -> frozenset[str]:
    """Every attribute that these files use or define: what the kit may ask a submission for."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, _Function | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)
