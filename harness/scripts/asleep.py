"""Code that never ran although the counted pass came to it: what of it would run at full size, and how to wake it.

A tiny run passes whatever sleeps until 5,000 tokens were seen, or until a window has 512. So every branch of the
script's own files is watched. An arm that never ran matters where its test was met while the counted pass ran, where
it does something with values that come from the text, and where the test depends on more than settings and on where
the script runs. Where it compares a number whose value at full size is known (a length, the tokens so far) with a
threshold, it is known whether the arm runs at full size. If so, the threshold is scaled as settings are, and the
script is run again.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, Literal

import numpy as np

from harness.scripts.settings.reads import Read
from harness.scripts.settings.switches import comes_to
from harness.scripts.trace.branches import Branch, Function, Scope, branches, functions
from harness.scripts.trace.observed import Observed
from harness.scripts.trace.passes import Pass
from harness.source.unwrap import parse

#: Words for where a script runs, and for what it was told at its start.
_PLACE = re.compile(
    r"rank|world_?size|distributed|is_main|master|is_initialized|cuda|device|dtype|capability|^_?has_|compile|autocast"
    r"|^training$|is_available|ddp|triton|flash|verbose|debug|profil|^log|wandb",
    re.I,
)
#: Guards against broken numbers.
_GUARDS = re.compile(
    r"\.dtype\b|\.device\b|is_cuda|is_?nan|is_?inf|is_?finite|hasattr|isinstance|exists|is_?file|is_?dir"
)
#: What a value has that says nothing of the text.
_SHAPES = {"shape", "dtype", "device", "ndim", "is_cuda", "size", "numel", "dim", "element_size", "stride", "__class__"}
#: Where text, or a loss of it, comes from.
_TEXT = re.compile(r"val_tokens|val_data|targets?\b|load_\w{0,40}(?:tokens|shard|val)|\bnll\b|loss")
#: Calls that are for people.
_SAYS = re.compile(
    r"^(print|log\w*|_log\w*|say|info|warn\w*|debug|write|flush|write_line|append_log|log0|barrier|exit)$"
)
#: Parameters that are no text.
_THINGS = re.compile(
    r"^(self|cls|args|h|hp|hparams|cfg|config|conf|device|rank|world_size|model|base_model|net|module|optimizers?|opt|sp"
    r"|tokenizer|logf?|logger|path|name|dtype|params?|master_process|master|distributed|group|pg)$"
)
_MAKERS = {"int", "float", "bool", "str", "max", "min", "getattr", "set", "list", "tuple", "sorted", "range",
           "enumerate", "zip", "reversed", "len"}  # fmt: skip
_COMPARES: dict[type[ast.cmpop], Any] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
#: How near a counter's highest value must come to the stream's length to be taken for one of its tokens.
_COUNTER = 0.4


class _Never(Enum):
    """What a test does not come to at full size either."""

    COMES = True


@dataclass(frozen=True)
class Text:
    """What is known of a script before it is run.

    Attributes:
        sources: text of its own Python files by name, the entry's first.
        reads: the settings that it reads, by the attribute they are kept in.
        values: {setting: submitted value} where it is known.
        made_small: names of settings and constants that the run has at another value.
        lengths: (at the tiny size, as submitted) of training sequences, windows and strides.
        tokens: targets of the tiny stream, and of the real one.
        dead: (line of the function, line) of assignments in arms that the settings rule out.
        over: (file, number) of functions that did not run while the pass was made.
    """

    sources: Mapping[str, str]
    reads: Mapping[str, Read]
    values: Mapping[str, str | None]
    made_small: frozenset[str]
    lengths: tuple[tuple[int, int], ...]
    tokens: tuple[int, int]
    dead: frozenset[tuple[int, int]] = frozenset()
    over: frozenset[tuple[str, int]] = frozenset()
    _known: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was made for a key, made once: scripts have functions of a thousand lines."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Files that can be parsed."""
        parsed = {name: parse(source) for name, source in self.sources.items()}
        return {name: tree for name, tree in parsed.items() if tree is not None}

    @cached_property
    def branches(self) -> dict[str, list[Branch]]:
        """All branches of each file, by their numbers."""
        return {name: branches(tree) for name, tree in self.trees.items()}

    @cached_property
    def functions(self) -> dict[str, list[Function]]:
        """The script's functions and methods by name."""
        found: dict[str, list[Function]] = {}
        for tree in self.trees.values():
            for node in functions(tree):
                found.setdefault(node.name, []).append(node)
        return found

    @cached_property
    def changing(self) -> frozenset[str]:
        """Attributes and global names that are set while the pass is made: what has a history in it."""
        found: set[str] = set()
        for file, tree in self.trees.items():
            over = {id(one) for number, one in enumerate(functions(tree)) if (file, number) in self.over}
            _changing(tree, "", found, over)
        return frozenset(found)


@dataclass(frozen=True)
class Asleep:
    """An arm that never ran.

    Attributes:
        file: of the script.
        line: of the test.
        test: its text.
        arm: line of the arm's first statement.
        wanted: what the test would have to be.
        threshold: the operand ("train_gpt.py:12") that can be scaled so that the arm runs, and to what; None for none.
        real: what that operand was.
    """

    file: str
    line: int
    test: str
    arm: int
    wanted: bool
    threshold: tuple[str, float] | None = None
    real: float | None = None

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    @property
    def told(self) -> str:
        """The condition, and what it would have to be."""
        return f"`{self.test}` was never {'true' if self.wanted else 'false'}"


@dataclass(frozen=True)
class Sleep:
    """What a run shows of branches.

    Attributes:
        asleep: arms that never ran and matter.
        watched: tests that the whole run came to.
        met: those of them that the counted pass came to and that have an arm which never ran.
        unknown: why that is not all, one clause; empty where it is.
        woken: arms that slept until a threshold was scaled.
        at_length: arms that slept in the tiny runs and ran in the pass at the submitted sequence length.
    """

    asleep: tuple[Asleep, ...]
    watched: int
    met: int
    unknown: str = ""
    woken: tuple[Asleep, ...] = ()
    at_length: tuple[Asleep, ...] = ()


def not_woken(one: Asleep) -> Asleep:
    """The same, where scaling its threshold led elsewhere."""
    return replace(one, threshold=None, real=None)


def look(seen: Observed, main: Pass, text: Text) -> Sleep:
    """The arms that never ran and matter, and how many tests the counted pass came to.

    Args:
        seen: the base run.
        main: its pass that counts.
        text: what is known of the script.
    """
    first, begins = int(main.event_seq.min(initial=main.seq)), _begins(seen, main)
    working = _working(main)
    ranges = {f"{row['file']}:{row['number']}": (row["low"], row["high"]) for row in seen.facts.get("operands") or []}
    rows = []
    for row in seen.facts.get("branches") or []:
        known = text.branches.get(str(row["file"]), [])
        if row["number"] >= len(known) or row["first"] > main.seq:
            continue
        # What a function that makes the pass does before the first row belongs to the evaluation, too.
        at_work = any(_name(scope) in working for scope in known[row["number"]].around)
        if row["last"] >= (begins if at_work else first):
            rows.append(row)
    text = replace(text, over=frozenset(_over(seen, working, begins, text)))
    text = replace(text, dead=frozenset(_dead(rows, text)))
    found: list[Asleep] = []
    for row in rows:
        branch = text.branches[str(row["file"])][row["number"]]
        for index, arm in enumerate(branch.arms):
            if index and row["filled"] and not isinstance(branch.node, ast.For):
                continue  # a list, table or text that never was empty is no emptier with more text
            if arm and not row["ran"] & (1 << index):
                one = _asleep(str(row["file"]), branch, index == 0, ranges, text)
                found += [one] if one else []
    counts = seen.facts.get("watched") or {}
    return Sleep(tuple(found), int(counts.get("tests", 0)), len(rows), _unknown(seen))


def awake(sleep: Sleep, seen: Observed, text: Text) -> Sleep:
    """The same without the arms that ran in another run of the script, at the submitted sequence length.

    Only tests that compare numbers are looked at: of these a run tells that it came to them.
    """
    if _unknown(seen):
        return sleep
    rows = {(row["file"], row["number"]): row["ran"] for row in seen.facts.get("branches") or []}
    met = {(row["file"], row["number"]) for row in seen.facts.get("operands") or []}

    def ran(one: Asleep) -> bool:
        return any(
            (one.file, branch.first) in met and rows.get((one.file, branch.number), 3) & (1 if one.wanted else 2)
            for branch in text.branches.get(one.file, [])
            if branch.compares and branch.node.lineno == one.line and _shown(branch) == one.test
        )

    awake = tuple(one for one in sleep.asleep if ran(one))
    return replace(sleep, asleep=tuple(one for one in sleep.asleep if one not in awake), at_length=awake)


def _unknown(seen: Observed) -> str:
    """Why what the run told of branches is not all of it."""
    counts = seen.facts.get("watched") or {}
    if not counts.get("tests"):
        return "no branch of the script's files was seen at all"
    if counts.get("unwatched"):
        return f"{counts['unwatched']} of the script's files could not be watched"
    if any(len(seen.facts.get(name) or []) != counts.get(name) for name in ("branches", "functions")):
        return "it has more branches than a run can tell of"
    return ""


def _name(scope: Scope) -> str:
    """As places call it."""
    return "<module>" if isinstance(scope, ast.Module) else getattr(scope, "name", "<lambda>")


def _working(main: Pass) -> set[str]:
    """Names of the functions that were at work while the pass was made, from its places."""
    stacks = (place.split(" < ") for place in (main.place, main.scored_at))
    return {frame.rpartition(" ")[2].partition(":")[0] for stack in stacks for frame in stack}


def _over(seen: Observed, working: set[str], begins: int, text: Text) -> Iterator[tuple[str, int]]:
    """Functions that neither began while the pass was made nor were at work all along."""
    began = {(row["file"], row["number"]) for row in seen.facts.get("functions") or [] if row["last"] >= begins}
    for file, tree in text.trees.items():
        for number, function in enumerate(functions(tree)):
            if (file, number) not in began and function.name not in working:
                yield file, number


def _dead(rows: Sequence[Mapping[str, Any]], text: Text) -> Iterator[tuple[int, int]]:
    """Assignments in arms that never ran and that settings rule out."""
    for row in rows:
        branch = text.branches[str(row["file"])][row["number"]]
        for index, arm in enumerate(branch.arms):
            if row["ran"] & (1 << index) or not _settled(branch.test, not index, branch, text):
                continue
            for node in (part for statement in arm for part in ast.walk(statement)):
                if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
                    yield _line(branch.around[-1]), node.lineno


def _begins(seen: Observed, main: Pass) -> int:
    """When the code began that led to the pass: after the last step, number or line before it."""
    first = int(main.event_seq.min(initial=main.seq))
    earlier = np.concatenate([seen.report_seq, seen.step_seq, seen.printed_seq, seen.training_seq])
    return int(earlier[earlier < first].max(initial=0))


def woken(found: Sequence[Asleep]) -> dict[str, float]:
    """{operand: what it is set to} of all arms that can be woken."""
    return {one.threshold[0]: one.threshold[1] for one in found if one.threshold is not None}


def _asleep(
    file: str, branch: Branch, wanted: bool, ranges: Mapping[str, tuple[float, float]], text: Text
) -> Asleep | None:
    """The arm as one that matters; None where it does not, or does not run at full size either."""
    arm = branch.arms[0 if wanted else 1]
    if not _matters(arm, branch, text) or _settled(branch.test, wanted, branch, text):
        return None
    line = branch.node.lineno
    plain = Asleep(file, line, _shown(branch), getattr(arm[0], "lineno", line), wanted)
    if isinstance(branch.node, ast.For):
        return plain
    number = branch.first
    for compare in branch.compares:
        operands = [f"{file}:{number + place}" for place in range(1 + len(compare.comparators))]
        number += len(operands)
        if len(operands) != 2 or any(name not in ranges for name in operands):
            continue
        scaled = _scaled(compare.ops[0], [ranges[name] for name in operands], _sign(branch.test, compare, wanted), text)
        if scaled is _Never.COMES:
            return None
        if scaled is not None:
            side, value, real = scaled
            return Asleep(file, line, plain.test, plain.arm, wanted, (operands[side], value), real)
    return plain


def _sign(test: ast.expr, part: ast.expr, wanted: bool) -> bool:
    """What a part of a test has to be for the test to come out as wanted."""
    if test is part:
        return wanted
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _sign(test.operand, part, not wanted)
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            if any(node is part for node in ast.walk(value)):
                return _sign(value, part, wanted)
    return wanted


def _scaled(
    order: ast.cmpop, ranges: Sequence[tuple[float, float]], wanted: bool, text: Text
) -> tuple[int, float, float] | Literal[_Never.COMES] | None:
    """Which operand to scale, to what, and what it was; None where that is not known."""
    compare = _COMPARES[type(order)]
    (a, b), (c, d) = ranges
    if bool(compare(a, c)) == wanted or bool(compare(b, d)) == wanted:
        return None  # this part came out so, and another did not
    for side in (1, 0):
        (low, high), (moving_low, moving_high) = ranges[side], ranges[1 - side]
        if low != high:
            continue
        if _needs_less(compare, low, side, moving_low, wanted):
            return _Never.COMES
        real = _at_full_size(moving_low, moving_high, text)
        if real is None:
            continue
        both = [full for tiny, full in text.lengths if tiny == low and tiny < full]
        if both:  # a length that was made small, too
            outcome = compare(real, min(both)) if side else compare(min(both), real)
            return None if bool(outcome) == wanted else _Never.COMES
        reached = [compare(value, low) if side else compare(low, value) for value in (min(moving_low, real), real)]
        if wanted not in [bool(one) for one in reached]:
            return _Never.COMES
        if moving_high <= 0 or real <= moving_high:
            return None
        value = low * moving_high / real
        value = float(int(value)) if float(low).is_integer() else value
        tried = [compare(at, value) if side else compare(value, at) for at in (moving_low, moving_high)]
        return (side, value, low) if wanted in [bool(one) for one in tried] else None
    return None


def _needs_less(compare: Any, threshold: float, side: int, lowest: float, wanted: bool) -> bool:
    """Whether a whole number would have to be lower than it ever was: with more text, counts and lengths grow."""
    if not all(float(value).is_integer() for value in (threshold, lowest)) or threshold > lowest:
        return False
    higher = [lowest + more for more in (0, 1, 1000, 10**6, 10**9)]
    return all(bool(compare(value, threshold) if side else compare(threshold, value)) != wanted for value in higher)


def _at_full_size(low: float, high: float, text: Text) -> float | None:
    """What a number that runs from `low` to `high` in the tiny run is at full size; None where that is not known."""
    fitting = [real for tiny, real in text.lengths if 1 < tiny <= real and low == high and abs(high - tiny) <= 1]
    if fitting:
        return float(min(fitting))
    tokens, real = text.tokens
    if tokens * _COUNTER <= high <= 1.1 * tokens:
        return float(real)
    return None


def _settled(test: ast.expr, wanted: bool, branch: Branch, text: Text) -> bool:
    """Whether the test comes out the same way at full size: it is about settings, or about where the script runs."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _settled(test.operand, not wanted, branch, text)
    if isinstance(test, ast.BoolOp):
        parts = [_settled(part, wanted, branch, text) for part in test.values]
        # For `a and b` to be true both must be; one that never is settles it. For it to be false one suffices.
        return any(parts) if isinstance(test.op, ast.And) == wanted else all(parts)
    outcome = comes_to(test, text.reads, text.values)
    if outcome is not None:
        return outcome != wanted
    return _fixed(test, branch, text)


def _fixed(test: ast.AST, branch: Branch, text: Text, depth: int = 4) -> bool:
    """Whether nothing in a test has a history or comes from the text."""
    if _GUARDS.search(ast.unparse(test)):
        return True
    called = {id(node.func) for node in ast.walk(test) if isinstance(node, ast.Call)}
    if not all(_answers_alike(node, text) for node in ast.walk(test) if isinstance(node, ast.Call)):
        return False
    if isinstance(test, ast.Call) and _own(test, text):
        around = branch.around[-1]
        of_text = text.once(("whole", id(around)), lambda: _tainted(around, whole=True))
        names = {
            part.id for value in (*test.args, *test.keywords) for part in ast.walk(value) if isinstance(part, ast.Name)
        }
        if not names & of_text:
            return True
    about_none = _about_none(test)
    words = isinstance(test, ast.Compare) and any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) for part in (test.left, *test.comparators)
    )
    flag = about_none or words or isinstance(test, (ast.Name, ast.Attribute))
    owners = {
        id(node.value) for node in ast.walk(test) if isinstance(node, ast.Attribute) and id(node) not in called and flag
    }
    for node in ast.walk(test):
        if isinstance(node, ast.Attribute):
            if _PLACE.search(node.attr) or id(node) in called:
                continue
            read = text.reads.get(node.attr)
            if read is not None and read.name not in text.made_small:
                continue
            if read is not None or node.attr in text.changing | text.made_small or node.attr in _SHAPES:
                return False
        elif isinstance(node, ast.Name) and id(node) not in called and id(node) not in owners:
            if not _name_is_fixed(node.id, branch, text, flag, depth, about_none):
                return False
    return True


def _about_none(test: ast.AST) -> bool:
    return isinstance(test, ast.Compare) and any(isinstance(op, (ast.Is, ast.IsNot)) for op in test.ops)


def _own(call: ast.Call, text: Text) -> bool:
    """Whether it calls a function of the script that answers alike at any size."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in text.functions and _answers_alike(call, text)


def _answers_alike(call: ast.Call, text: Text) -> bool:
    """Whether a function of the script makes its answer of arguments and settings alone; others are not asked."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    for function in text.functions.get(name, []):
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read = text.reads.get(node.attr)
                small = read is not None and read.name in text.made_small
                if small or (read is None and node.attr in text.changing):
                    return False
    return True


def _name_is_fixed(name: str, branch: Branch, text: Text, plain: bool, depth: int, missing: bool = False) -> bool:
    """Whether a name stands for the same at any size; see `_name_stays`."""
    key = ("name", name, id(branch.around[-1]), plain, depth, missing)
    return bool(text.once(key, lambda: _name_stays(name, branch, text, plain, depth, missing)))


def _name_stays(name: str, branch: Branch, text: Text, plain: bool, depth: int, missing: bool) -> bool:
    """Whether a name stands for the same at any size.

    `plain`: it is asked for as a flag, a word or a missing thing; `missing`: it is asked whether it is there.
    """
    if _PLACE.search(name) or _THINGS.match(name):
        return True
    read = text.reads.get(name)
    if read is not None:
        return read.name not in text.made_small
    for function in reversed(branch.around):
        names = {one.arg for one in _parameters(function)}
        sources = [
            source for source in _assigned(function, name, text) if (_line(function), _line(source)) not in text.dead
        ]
        if name in names and plain:
            return True  # as its callers say, and these are the same at any size
        if sources:
            again = text.once(("again", id(function), depth), lambda: _now_and_then(function, branch, text, depth))  # noqa: B023
            return depth > 0 and all(
                (missing and id(source) not in again and not isinstance(source, (ast.AugAssign, ast.NamedExpr)))
                or _source_is_fixed(source, len(sources) > 1 and id(source) in again, branch, text, depth)
                for source in sources
            )
        if name in names:
            return False
    return name not in text.changing | text.made_small


def _now_and_then(function: Scope, branch: Branch, text: Text, depth: int) -> set[int]:
    """Ids of what loops of a function set to a constant, or under a condition that may come out otherwise."""
    found: set[int] = set()
    for loop in _within(function):
        if not isinstance(loop, (ast.For, ast.While)):
            continue
        for node in ast.walk(loop):
            if isinstance(node, ast.If) and not _about_none(node.test):  # what is missing is made once
                if id(node) not in found and (depth <= 0 or not _fixed(node.test, branch, text, depth - 2)):
                    found |= {id(part) for part in ast.walk(node)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                found.add(id(node.value))
    return found


def _source_is_fixed(source: ast.AST, again: bool, branch: Branch, text: Text, depth: int) -> bool:
    """Whether what a name is set to is the same at any size; `again`: it is set now and then."""
    if isinstance(source, ast.For):
        return _parts_are_fixed(source.iter, branch, text, depth)
    return isinstance(source, ast.expr) and not again and _parts_are_fixed(source, branch, text, depth)


def _parts_are_fixed(source: ast.expr, branch: Branch, text: Text, depth: int) -> bool:
    """Whether all that an expression is made of is: settings, constants, and what was made of them."""
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    if not all(_plain_call(node) or _own(node, text) for node in calls):
        return False
    each = {
        part.id
        for node in ast.walk(source)
        if isinstance(node, ast.comprehension)
        for part in ast.walk(node.target)
        if isinstance(part, ast.Name)
    }
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute):
            read = text.reads.get(node.attr)
            made_small = read is not None and read.name in text.made_small
            if made_small or (read is None and (node.attr in text.changing | text.made_small or node.attr in _SHAPES)):
                return False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in each:
            if not _name_is_fixed(node.id, branch, text, False, depth - 1):
                return False
    return True


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _plain_call(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in ("split", "strip", "lower", "upper")
    return isinstance(call.func, ast.Name) and call.func.id in _MAKERS


def _parameters(scope: Scope) -> list[ast.arg]:
    if isinstance(scope, ast.Module):
        return []
    return [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]


def _within(scope: Scope) -> Iterator[ast.AST]:
    """All nodes of a function; of a module those that are in none."""
    waiting: list[ast.AST] = [scope]
    while waiting:
        node = waiting.pop()
        yield node
        parts = ast.iter_child_nodes(node)
        inner = isinstance(scope, ast.Module)
        waiting += [part for part in parts if not (inner and isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)))]


def _assigned(function: Scope, name: str, text: Text) -> list[ast.AST]:
    """What a name is set to in a function; the statement where that is no plain assignment."""
    found: dict[str, list[ast.AST]] = text.once(("assigned", id(function)), lambda: _assignments(function))
    return found.get(name, [])


def _assignments(function: Scope) -> dict[str, list[ast.AST]]:
    found: dict[str, list[ast.AST]] = {}
    for node in _within(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
                elif isinstance(target, (ast.Tuple, ast.List)):
                    for name in {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}:
                        found.setdefault(name, []).append(node)
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For, ast.NamedExpr)):
            for name in {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}:
                found.setdefault(name, []).append(node)
    return found


def _changing(node: ast.AST, function: str, found: set[str], over: set[int]) -> None:
    if id(node) in over:
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        function = node.name
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and function not in ("", "__init__"):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            found |= {part.attr for part in ast.walk(target) if isinstance(part, ast.Attribute)}
    if isinstance(node, ast.Global):
        found |= set(node.names)
    for child in ast.iter_child_nodes(node):
        _changing(child, function, found, over)


def _matters(arm: Sequence[ast.AST], branch: Branch, text: Text) -> bool:
    """Whether an arm does more than tell of something, and works with values of the text or is chosen by it."""
    does = [node for node in arm if not _idle(node)]
    if not does:
        return False
    function = branch.around[-1]
    tainted = text.once(("tainted", id(function)), lambda: _tainted(function))
    return any(_reads(node, tainted) for node in does) or _asks(branch.test, function, tainted, text)


def _asks(test: ast.expr, function: Scope, tainted: set[str], text: Text) -> bool:
    """Whether a test is made of the text, of its values or their number, at once or by way of one name."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    sources = [source for name in names - tainted for source in _assigned(function, name, text)]
    return bool(names & tainted) or any(
        isinstance(node, ast.Name) and node.id in tainted for source in sources for node in ast.walk(source)
    )


def _idle(node: ast.AST) -> bool:
    """It raises, goes on, or says something."""
    if isinstance(node, (ast.Raise, ast.Pass, ast.Assert, ast.Continue, ast.Break, ast.Constant)):
        return True
    if isinstance(node, ast.Return):
        return node.value is None or isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Expr):
        return _idle(node.value)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return bool(_SAYS.match(name))
    if isinstance(node, (ast.If, ast.For, ast.While, ast.With)):
        return all(_idle(part) for part in (*node.body, *getattr(node, "orelse", [])))
    return False


def _reads(node: ast.AST, tainted: set[str]) -> bool:
    """Whether something of the text is read in a node: its values, not their number."""
    if isinstance(node, ast.Attribute) and node.attr in _SHAPES:
        return False
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("len", "range", "isinstance", "type"):
            return False
        if isinstance(node.func, ast.Attribute) and node.func.attr in _SHAPES:
            return False
    if isinstance(node, ast.Name):
        return isinstance(node.ctx, ast.Load) and node.id in tainted
    return any(_reads(child, tainted) for child in ast.iter_child_nodes(node))


def _tainted(function: Scope, *, whole: bool = False) -> set[str]:
    """Names in a function that hold values of the text: its parameters, and what is made of them.

    `whole`: those that hold a number of them, too, a length or a count.
    """
    found = {one.arg for one in _parameters(function) if not _THINGS.match(one.arg) and not _of_number(one.annotation)}
    nodes = [
        node for node in _within(function) if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For))
    ]
    while True:
        before = len(found)
        for node in nodes:
            source = node.iter if isinstance(node, ast.For) else node.value
            if source is None:
                continue
            made = {part.id for part in ast.walk(source) if isinstance(part, ast.Name)} & found if whole else False
            if not (made or _reads(source, found) or _opens(source)):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        if len(found) == before:
            return found


def _opens(source: ast.AST) -> bool:
    """Whether text is read where no parameter gives it."""
    return _TEXT.search(ast.unparse(source)) is not None


def _of_number(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id in ("int", "float", "bool", "str")


def _shown(branch: Branch) -> str:
    text = " ".join(ast.unparse(branch.test).split())
    return text if len(text) <= 100 else text[:97] + "..."
