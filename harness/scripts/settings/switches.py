"""Switches that only a printed line tells of: what must be on for a script to print the label of the claimed score.

The logs of a submission may show `legal_ttt val_bpb:...` and no header that names TTT_ENABLED, which is off by
default. Then the source says what was set: the conditions around the statement that prints such a line. Only the syntax
tree is used, only switches and words are concluded (never a number), and only where the conditions leave no choice.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.scripts.settings.reads import TRUE, Read
from harness.scripts.trace import lines

#: How far calls and names are followed.
_DEEP = 6
_EXITS = ("exit", "_exit", "quit")

#: {name: value}; a way to make conditions true.
Assignment = dict[str, str]


@dataclass(frozen=True)
class Switch:
    """A setting that was concluded: its value, the label that needs it, and where the source prints that label."""

    value: str
    label: str
    file: str | None
    line: int


def implied(
    trees: Iterable[tuple[str | None, ast.Module]],
    reads: Mapping[str, Read],
    values: Mapping[str, str | None],
    said: Collection[str],
    labels: Collection[str],
) -> dict[str, Switch]:
    """What nobody says, but the claimed label needs.

    Args:
        trees: (file, tree) of the entry (file None) and of the side files that it imports.
        reads: the settings that the source reads, by name.
        values: their submitted values as far as they are known.
        said: names of the settings that a log, a command or an override gives; those are never contradicted.
        labels: of the lines with the claimed score, as `lines.plain` gives them.

    Returns:
        {name: switch}; empty where a line with such a label is printed anyway, where no statement prints one, and
        where several ways to print it differ and none needs less than the others.
    """
    ways: list[tuple[Assignment, Switch]] = []
    for file, tree in trees:
        places = _Places(tree, reads, values, frozenset(said))
        for node, label in _printing(tree, labels):
            for way in places.ways(node):
                if not way:
                    return {}
                ways.append((way, Switch("", label, file, node.lineno)))
    least = min((len(way) for way, _ in ways), default=0)
    best = [(way, switch) for way, switch in ways if len(way) == least]
    if not best or any(way != best[0][0] for way, _ in best):
        return {}
    way, found = best[0]
    return {name: Switch(value, found.label, found.file, found.line) for name, value in sorted(way.items())}


def comes_to(test: ast.expr, reads: Mapping[str, Read], values: Mapping[str, str | None]) -> bool | None:
    """What a test about one setting comes to with the submitted values; None where that is not clear.

    Args:
        test: a condition of the source.
        reads: the settings that the source reads, by the attributes and variables that hold them.
        values: {name: submitted value} where it is known.
    """
    places = _Places(ast.Module([], []), {read.name: read for read in reads.values()}, values, frozenset(), reads)
    return places.outcome(test)


def _printing(tree: ast.Module, labels: Collection[str]) -> Iterator[tuple[ast.expr, str]]:
    """Strings in the source that become the label of a line: f-strings with numbers behind it, or the label alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "1.5" for part in node.values)
            line = lines.read(text, 0)
            label = line.label if line is not None else ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            label = lines.plain(node.value) if " " not in node.value.strip() else ""
        else:
            continue
        if label and label in labels:
            yield node, label


class _Places:
    """The conditions under which parts of one file run."""

    def __init__(
        self,
        tree: ast.Module,
        reads: Mapping[str, Read],
        values: Mapping[str, str | None],
        said: frozenset[str],
        held: Mapping[str, Read] | None = None,
    ) -> None:
        self._reads, self._values, self._said = reads, values, said
        own = {read.attribute: read for read in reversed(list(reads.values())) if read.attribute}
        self._attributes: Mapping[str, Read] = own if held is None else held
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._calls: dict[str, list[ast.expr]] = {}
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._calls.setdefault(node.id, []).append(node)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned.setdefault(node.targets[0].id, []).append(node.value)

    def ways(self, node: ast.AST, depth: int = _DEEP, seen: frozenset[str] = frozenset()) -> list[Assignment]:
        """Every way to get to a node; [] if there is none, [{}] if it is run anyway."""
        found: list[Assignment] = [{}]
        child = node
        while (parent := self._parents.get(child)) is not None:
            for test, wanted in _guards(parent, child):
                found = _both(found, self._solve(test, wanted, depth))
            if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)) and child in parent.body:
                uses = [use for use in self._calls.get(parent.name, []) if not self._inside(use, parent)]
                if uses and depth and parent.name not in seen:
                    inner = [way for use in uses for way in self.ways(use, depth - 1, seen | {parent.name})]
                    return _both(found, inner)
                return found
            child = parent
        return found

    def _inside(self, node: ast.AST, outer: ast.AST) -> bool:
        while (parent := self._parents.get(node)) is not None:
            if parent is outer:
                return True
            node = parent
        return False

    def _solve(self, test: ast.expr, wanted: bool, depth: int) -> list[Assignment]:
        """Ways to make a test come out as wanted; what is not about one setting is taken to come out so."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return self._solve(test.operand, not wanted, depth)
        if isinstance(test, ast.BoolOp):
            parts = [self._solve(part, wanted, depth) for part in test.values]
            if isinstance(test.op, ast.And) == wanted:
                found: list[Assignment] = [{}]
                for part in parts:
                    found = _both(found, part)
                return found
            return [way for part in parts for way in part]
        if isinstance(test, ast.Name) and test.id not in self._attributes and depth:
            sources = self._assigned.get(test.id, [])
            return self._solve(sources[0], wanted, depth - 1) if len(sources) == 1 else [{}]
        names = {read.name for part in ast.walk(test) if (read := self._read(part)) is not None}
        if len(names) != 1:
            return [{}]
        return self._leaf(test, self._reads[names.pop()], wanted)

    def outcome(self, test: ast.expr) -> bool | None:
        """What a test about one setting comes to; None where it is about more, or that is not clear."""
        found = {read.name: read for part in ast.walk(test) if (read := self._read(part)) is not None}
        if len(found) != 1:
            return None
        (name,) = found
        value = self._values.get(name)
        return None if value is None else self._outcome(test, found[name], value)

    def _read(self, node: ast.AST) -> Read | None:
        """The setting that a node stands for: an attribute or variable that holds it, or its name in a read."""
        if isinstance(node, ast.Attribute):
            return self._attributes.get(node.attr)
        if isinstance(node, ast.Name):
            return self._attributes.get(node.id)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._reads.get(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            named = node.args[1] if len(node.args) > 1 else None
            return self._attributes.get(str(named.value)) if isinstance(named, ast.Constant) else None
        return None

    def _leaf(self, test: ast.expr, read: Read, wanted: bool) -> list[Assignment]:
        now = self._values.get(read.name)
        outcome = None if now is None else self._outcome(test, read, now)
        if outcome is None or outcome == wanted:
            return [{}]
        if read.name in self._said:
            return []
        candidates = [read.yes, read.no] if read.cast == "bool" else []
        if read.cast == "text":
            candidates = [part.value for part in ast.walk(test)
                          if isinstance(part, ast.Constant) and isinstance(part.value, str)
                          and part.value not in (read.name, now)]  # fmt: skip
        fitting = [value for value in candidates if self._outcome(test, read, value) == wanted]
        return [{read.name: value} for value in dict.fromkeys(fitting)]

    def _outcome(self, test: ast.expr, read: Read, value: str) -> bool | None:
        """What a test comes to where the setting has a value; None where that takes more than comparing literals."""
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = self._value(test.left, read, value), self._value(test.comparators[0], read, value)
            if left is None or right is None:
                return None
            return _compared(left, test.ops[0], right)
        found = self._value(test, read, value)
        return None if found is None else bool(found)

    def _value(self, node: ast.expr, read: Read, value: str) -> object:
        """What a node is where the setting has a value; None where that is not clear."""
        if isinstance(node, (ast.Attribute, ast.Name, ast.Call)) and self._read(node) is read:
            return _typed(read, value)
        if isinstance(node, ast.Compare):
            return self._outcome(node, read, value) if len(node.ops) == 1 else None
        if isinstance(node, ast.Call):
            if any(self._read(part) is read for part in [*node.args[:1]] if isinstance(part, ast.Constant)):
                return value
            if isinstance(node.func, ast.Name) and node.func.id in ("bool", "int", "float", "str") and node.args:
                inner = self._value(node.args[0], read, value)
                return None if inner is None else _cast(node.func.id, inner)
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("lower", "strip") and not node.args:
                inner = self._value(node.func.value, read, value)
                return inner.lower().strip() if isinstance(inner, str) else None
            return None
        try:
            found: object = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
        return found


def _guards(parent: ast.AST, child: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The tests between a node and its part, and the exits before the part in the same block."""
    if isinstance(parent, (ast.If, ast.While, ast.IfExp)):
        body = parent.body if isinstance(parent.body, list) else [parent.body]
        other = parent.orelse if isinstance(parent.orelse, list) else [parent.orelse]
        if child in body:
            yield parent.test, True
        elif child in other and not isinstance(parent, ast.While):
            yield parent.test, False
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if isinstance(block, list) and child in block:
            for before in block[: block.index(child)]:
                if isinstance(before, ast.If) and not before.orelse and _leaves(before.body[-1]):
                    yield before.test, False


def _leaves(last: ast.stmt) -> bool:
    if isinstance(last, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
        return True
    call = last.value if isinstance(last, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _EXITS


def _both(one: list[Assignment], other: list[Assignment]) -> list[Assignment]:
    """Ways that do both, without those that contradict themselves and without repeats."""
    found: list[Assignment] = []
    for first in one:
        for second in other:
            if all(first.get(name, value) == value for name, value in second.items()):
                way = {**first, **second}
                if way not in found:
                    found.append(way)
    return found[:64]


def _typed(read: Read, value: str) -> object:
    if read.cast == "bool":
        return value == read.yes or (value != read.no and value.lower() in TRUE)
    return _cast(read.cast, value) if read.cast in ("int", "float") else value


def _cast(name: str, value: object) -> object:
    try:
        if name == "bool":
            return bool(value)
        return str(value) if name == "str" else float(value)  # type: ignore[arg-type]  # the except is for the rest
    except (TypeError, ValueError):
        return None


def _compared(left: object, operator: ast.cmpop, right: object) -> bool | None:
    try:
        match operator:
            case ast.Eq():
                return left == right
            case ast.NotEq():
                return left != right
            case ast.Gt():
                return bool(left > right)  # type: ignore[operator]  # the except is for it
            case ast.GtE():
                return bool(left >= right)  # type: ignore[operator]
            case ast.Lt():
                return bool(left < right)  # type: ignore[operator]
            case ast.LtE():
                return bool(left <= right)  # type: ignore[operator]
            case ast.In():
                return left in right  # type: ignore[operator]
            case ast.NotIn():
                return left not in right  # type: ignore[operator]
    except TypeError:
        return None
    return None
