"""What a switch guards: the arms of branches that run only where it is on, and what only they call.

Only the syntax tree is used. A switch is followed by name: through `use_slot = args.slot_enabled`, through keywords and
parameters, and through what is made under it and is None without it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.scripts.settings.reads import Read
from harness.scripts.settings.switches import comes_to
from harness.scripts.trace import lines
from harness.scripts.trace.branches import Branch, Function, branches, functions

#: How often names are followed to further names.
_ROUNDS = 4
_CASTS = ("bool", "int", "float", "str", "getattr")
#: Names of validation text, and names of numbers about it.
_TEXT, _NUMBERS = re.compile(r"(?:^|_)val(?:_|\d|$)|valid"), re.compile(r"loss|bpb|nll|every|time|_ms$|step")
#: Functions that every evaluation comes through.
_MODEL = re.compile(r"^(?:forward\w*|__call__|compute_logits)$")
_TRAINS = re.compile(r"^(?:is_)?training$")
_SAYS = re.compile(r"^(?:print\w*|_?log\w*|say|info|write_line|append_log)$")
_RANK = re.compile(r"rank|master|is_main")
_UPDATES = ("backward", "grad", "step")


@dataclass(frozen=True)
class Guarded:
    """The code that runs only where a switch is on.

    Attributes:
        file: of the first branch that asks for the switch; None for the entry.
        line: of its test.
        test: as text.
        nodes: the arms, and the functions that nothing else calls.
        held: the names that hold the switch.
        scores: the counted pass comes through it or would, as far as names tell: it stands in a function that
            evaluation calls, is given validation text, or prints a score.
        repeats: it has a loop, or updates something.
    """

    file: str | None
    line: int
    test: str
    nodes: tuple[ast.AST, ...]
    held: frozenset[str]
    scores: bool
    repeats: bool

    @property
    def names(self) -> set[str]:
        """Names and attributes in it, and literal texts."""
        return {name for node in self.nodes for name in _names(node)}


class Guards:
    """Branches and functions of a script, asked for what one switch guards."""

    def __init__(self, trees: Iterable[tuple[str | None, ast.Module]], values: Mapping[str, str | None]) -> None:
        self._trees, self._values = list(trees), values
        self._branches: list[tuple[str | None, Branch]] = [
            (file, branch) for file, tree in self._trees for branch in branches(tree)
        ]
        self.functions: dict[str, list[Function]] = {}
        self._classes: dict[str, ast.ClassDef] = {}
        self._calls: list[ast.Call] = []
        self._assigned: list[ast.Assign] = []
        self._uses: dict[str, list[ast.AST]] = {}
        self._values_of: dict[str, list[ast.Assign]] = {}
        self._ids: dict[int, frozenset[str]] = {}
        for _, tree in self._trees:
            for function in functions(tree):
                self.functions.setdefault(function.name, []).append(function)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    self._calls.append(node)
                elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                    self._assigned.append(node)
                    if name := _target(node.targets[0]):
                        self._values_of.setdefault(name, []).append(node)
                elif isinstance(node, ast.ClassDef):
                    self._classes[node.name] = node
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    self._uses.setdefault(node.id, []).append(node)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    self._uses.setdefault(node.attr, []).append(node)

    def of(self, read: Read, on: str, reads: Mapping[str, Read]) -> Guarded | None:
        """What a switch guards; None where no branch asks for it.

        Args:
            read: the switch.
            on: its other value.
            reads: all settings by the attribute or variable that they are kept in.
        """
        asked = _Asked(read, self._values.get(read.name), on, reads, self._values)
        for _ in range(_ROUNDS):
            if not self._follow(asked):
                break
        arms = list(self._arms(asked))
        if not arms:
            return None
        nodes = [node for _, _, arm in arms for node in arm]
        nodes += self._exclusive(nodes)
        own = asked.same | {read.name}
        file, first, _ = next((arm for arm in arms if self._names_of(arm[1].test) & own - asked.made), arms[0])
        text = " ".join(ast.unparse(first.test).split())
        return Guarded(
            file, first.node.lineno, text if len(text) <= 100 else text[:97] + "...", tuple(nodes),
            frozenset(asked.same),
            scores=any(self._at_work(branch) for _, branch, _ in arms) or any(_about_text(node) for node in nodes),
            repeats=any(_repeats(node) for node in nodes),
        )  # fmt: skip

    def compared(self, read: Read) -> list[str]:
        """The words that tests compare a setting with."""
        found: list[str] = []
        for _, branch in self._branches:
            for node in ast.walk(branch.test):
                if isinstance(node, ast.Compare) and _target(node.left) == read.attribute is not None:
                    found += [part.value for one in node.comparators for part in ast.walk(one)
                              if isinstance(part, ast.Constant) and isinstance(part.value, str)]  # fmt: skip
        return found

    def outside(self, guarded: Guarded) -> Iterator[ast.AST]:
        """All nodes that are not guarded."""
        inside = {id(part) for node in guarded.nodes for part in ast.walk(node)}
        return (node for _, tree in self._trees for node in ast.walk(tree) if id(node) not in inside)

    def _arms(self, asked: _Asked) -> Iterator[tuple[str | None, Branch, list[ast.AST]]]:
        for file, branch in self._branches:
            if isinstance(branch.node, ast.For) or not self._names_of(branch.test) & asked.names:
                continue
            if _training_only(branch.test):
                continue
            way = asked.way(branch.test)
            arm = branch.arms[0] if way > 0 else branch.arms[1] if way < 0 else ()
            if arm:
                yield file, branch, list(arm)

    def _follow(self, asked: _Asked) -> bool:
        """Add the names that hold the switch, and what is made under it; whether there were any."""
        before = len(asked.same) + len(asked.made)
        for node in self._assigned:
            name = _target(node.targets[0])
            if name is None or not self._names_of(node.value) & asked.names:
                continue
            if isinstance(node.value, ast.IfExp):
                if asked.way(node.value.test) > 0 and _nothing(node.value.orelse):
                    asked.made.add(name)
            elif asked.holds(node.value):
                asked.same.add(name)
            elif asked.is_made(node.value):
                asked.made.add(name)
        inside = {id(part) for _, _, arm in self._arms(asked) for node in arm for part in ast.walk(node)}
        for name, values in self._values_of.items():
            if all(_nothing(node.value) or id(node) in inside for node in values):
                if not all(_nothing(node.value) for node in values) and len(values) > 1:
                    asked.made.add(name)
        for call in self._calls:
            if not self._names_of(call) & asked.names:
                continue
            for name, value in self.given(call):
                if asked.holds(value):
                    asked.same.add(name)
                elif asked.is_made(value):
                    asked.made.add(name)
        return len(asked.same) + len(asked.made) > before

    def _names_of(self, node: ast.AST) -> frozenset[str]:
        """What a node names, found once."""
        if id(node) not in self._ids:
            self._ids[id(node)] = frozenset(_names(node))
        return self._ids[id(node)]

    def given(self, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """(parameter, value) of a call, by position for the script's own functions."""
        yield from ((word.arg, word.value) for word in call.keywords if word.arg)
        for function in self.called(call):
            names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
            yield from zip(names[names[:1] in (["self"], ["cls"]) :], call.args, strict=False)

    def called(self, call: ast.Call) -> list[Function]:
        """The script's own functions that a call may reach, by name; of a class its constructor."""
        name = _target(call.func)
        if name in self._classes and isinstance(call.func, ast.Name):
            made = self._classes[name].body
            return [one for one in made if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return self.functions.get(name or "", [])

    def _exclusive(self, arms: list[ast.AST]) -> list[ast.AST]:
        """Functions and classes of which every use stands in the arms, or in one of these."""
        inside = {id(part) for node in arms for part in ast.walk(node)}
        found: list[ast.AST] = []
        defined: dict[str, list[ast.AST]] = {name: list(made) for name, made in self.functions.items()}
        defined |= {name: [one] for name, one in self._classes.items()}
        while True:
            fresh = [name for name, made in defined.items() if not any(id(one) in inside for one in made)
                     and (uses := self._uses.get(name)) and all(id(use) in inside for use in uses)]  # fmt: skip
            if not fresh:
                return found
            for name in fresh:
                for node in defined.pop(name):
                    found.append(node)
                    inside |= {id(part) for part in ast.walk(node)}

    def _at_work(self, branch: Branch) -> bool:
        return any(getattr(scope, "name", None) in self._evaluation for scope in branch.around)

    @cached_property
    def _evaluation(self) -> set[str]:
        """Names of functions that are given validation text, of what those call, and of the model's own."""
        found = {name for name in self.functions if _MODEL.match(name)}
        for call in self._calls:
            given = [*call.args, *(word.value for word in call.keywords)]
            if any(isinstance(one, ast.Name) and _is_text(one.id) for one in given):
                found |= {one.name for one in self.called(call)}
        waiting = list(found)
        while waiting:
            for function in self.functions.get(waiting.pop(), []):
                for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                    fresh = {one.name for one in self.called(call)} - found
                    found |= fresh
                    waiting += fresh
        return found


class _Asked:
    """One switch, the names that hold it (`same`), and those that hold something only where it is on (`made`)."""

    def __init__(
        self, read: Read, off: str | None, on: str, reads: Mapping[str, Read], values: Mapping[str, str | None]
    ) -> None:
        self._read, self._off, self._on, self._reads, self._values = read, off, on, reads, values
        self.same: set[str] = {read.attribute} if read.attribute else set()
        self.made: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """All names by which the switch, or what is made under it, is known."""
        return frozenset((*self.same, *self.made, self._read.name))

    def way(self, test: ast.expr) -> int:
        """1 where a test can come true by the switch, -1 where it can come false, 0 where it cannot by it."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return -self.way(test.operand)
        if isinstance(test, ast.BoolOp):
            ways = [self.way(part) for part in test.values]
            settled = isinstance(test.op, ast.Or)  # what another part settles, the switch does not decide
            for way, part in zip(ways, test.values, strict=True):
                if not way and comes_to(part, self._reads, self._values) is settled:
                    return 0
            return next((way for way in ways if way), 0)
        if self.is_made(test):
            return 1
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and self.is_made(test.left):
            if _nothing(test.comparators[0]) and isinstance(test.ops[0], (ast.Is, ast.IsNot)):
                return 1 if isinstance(test.ops[0], ast.IsNot) else -1
        before, after = (self._outcome(test, value) for value in (self._off, self._on))
        return 0 if before is after or None in (before, after) else 1 if after else -1

    def holds(self, value: ast.expr) -> bool:
        """Whether an expression is true only where the switch is on, and made of it and no more than `and`."""
        if isinstance(value, ast.BoolOp):
            return isinstance(value.op, ast.And) and self.way(value) > 0
        plain = isinstance(value, (ast.Name, ast.Attribute, ast.Compare)) or (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _CASTS
        )
        return plain and not self.is_made(value) and self.way(value) > 0

    def is_made(self, value: ast.expr) -> bool:
        """Whether an expression is a name of something that is made only where the switch is on."""
        return _target(value) in self.made

    def _outcome(self, test: ast.expr, value: str | None) -> bool | None:
        if value is None:
            value = ""
        names = {name: self._read for name in self.same} | {self._read.name: self._read}
        return comes_to(test, names, {self._read.name: value})


def said(guards: Guards, guarded: Guarded) -> list[re.Pattern[str]]:
    """What lines begin with that guarded code prints whenever it runs, and that no other code prints.

    Where such a line shows the switch's own value, that is the group "value".
    """
    outside = list(guards.outside(guarded))
    compared = {id(part) for node in outside if isinstance(node, ast.Compare) for part in ast.walk(node)}
    other = {text for node in outside if id(node) not in compared for text in _beginning(node)}
    found: dict[str, str] = {}
    for node in guarded.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for text, line in _prints(node, guards, 2):
            if text not in other and len(re.findall(r"[A-Za-z]", text)) >= 4:
                found.setdefault(text, _pattern(text, line, guarded.held))
    return [re.compile(pattern) for pattern in found.values()]


def _pattern(text: str, line: ast.AST, held: frozenset[str]) -> str:
    """A line by its beginning, and up to the value of the switch where it shows that within a few others."""
    plain = re.escape(text)
    if not isinstance(line, ast.JoinedStr):
        return plain
    made = ""
    for part in line.values[:8]:
        if isinstance(part, ast.Constant):
            made += re.escape(str(part.value).lstrip() if not made else str(part.value))
        elif isinstance(part, ast.FormattedValue) and _target(part.value) in held:
            return made + r"(?P<value>\d{1,12}(?:\.\d{1,12})?)(?![\d.])"
        else:
            made += ".{0,40}?"
    return plain


def _prints(node: ast.AST, guards: Guards, depth: int) -> Iterator[tuple[str, ast.AST]]:
    """(beginning, text) of the lines that a statement prints each time, those of functions that it calls among them."""
    if isinstance(node, ast.If) and not _RANK.search(ast.unparse(node.test)):
        return
    if isinstance(node, (ast.For, ast.While, ast.FunctionDef, ast.Lambda, ast.IfExp)):
        return
    if isinstance(node, ast.Call):
        name = _target(node.func) or ""
        if _SAYS.match(name) and node.args:
            yield from ((text, node.args[0]) for text in _beginning(node.args[0]))
        elif depth:
            for function in guards.called(node):
                yield from ((text, node) for text in _labels(node, function, guards))
                for part in function.body:
                    yield from _prints(part, guards, depth - 1)
    for child in ast.iter_child_nodes(node):
        yield from _prints(child, guards, depth)


def _labels(call: ast.Call, function: Function, guards: Guards) -> Iterator[str]:
    """Texts that a call gives to a parameter with which a function begins its line: `f"{name} val_loss:..."`."""
    for name, value in guards.given(call):
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            continue
        passed, reached = {name}, [function]
        for inner in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            fresh = {one for one, given in guards.given(inner) if _target(given) in passed}
            if fresh:
                passed |= fresh
                reached += guards.called(inner)
        for node in (node for one in reached for node in ast.walk(one)):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.FormattedValue):
                if _target(node.values[0].value) in passed:
                    yield value.value


def _beginning(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value.strip()
    elif isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        yield str(node.values[0].value).strip()


def _about_text(node: ast.AST) -> bool:
    """Whether validation text is named in a node, or a score printed."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and _is_text(part.id):
            return True
        if isinstance(part, ast.JoinedStr):
            text = "".join(str(one.value) if isinstance(one, ast.Constant) else "1.5" for one in part.values)
            if (line := lines.read(text, 0)) is not None and line.bpb is not None:
                return True
    return False


def _is_text(name: str) -> bool:
    return _TEXT.search(name) is not None and _NUMBERS.search(name) is None


def _repeats(node: ast.AST) -> bool:
    return any(
        isinstance(part, (ast.For, ast.While)) or (isinstance(part, ast.Attribute) and part.attr in _UPDATES)
        for part in ast.walk(node)
    )


def _training_only(test: ast.expr) -> bool:
    """Whether a test asks for training, and is no `or`."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_training_only(part) for part in test.values)
    return (name := _target(test)) is not None and _TRAINS.match(name) is not None


def _names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and len(part.value) < 80:
            yield part.value


def _target(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _nothing(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in (None, False, 0)
