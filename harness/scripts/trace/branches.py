"""The branches of a script's own files, numbered alike on both sides: what ran of them, and what never did.

A branch is an `if`, a conditional expression, a `while` or a `for`. It has a test (for a loop over something, that),
and one or two arms: what runs where the test is true, and what runs where it is false. Where a true test leaves the
block (`return`, `continue` ...), the rest of the block is its second arm. Numbers that a test compares are its
operands.

Nothing but the syntax tree is changed to see what runs: names and lines stay, and each value stays the object it was.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: What an instrumented file calls: with the number of a test and its value, of an arm, of an operand and its value, of
#: a function that begins.
TEST, ARM, OPERAND, ENTRY = "_branch_test", "_branch_arm", "_branch_operand", "_branch_entry"
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_LEAVES = (ast.Return, ast.Continue, ast.Break, ast.Raise)
Node = ast.If | ast.IfExp | ast.While | ast.For
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.Lambda | ast.Module


@dataclass(frozen=True)
class Branch:
    """One branch.

    Attributes:
        number: in its file.
        node: the statement or expression.
        test: what decides; for a loop, what is looped over.
        arms: what runs where the test is true, and where it is false; the second may be empty.
        compares: the comparisons of numbers in the test, in the order of the source.
        first: the number in the file of the first operand of those.
        around: the functions around it, outermost first; the module alone where there are none.
    """

    number: int
    node: Node
    test: ast.expr
    arms: tuple[Sequence[ast.AST], Sequence[ast.AST]]
    compares: tuple[ast.Compare, ...]
    first: int
    around: tuple[Scope, ...]


def branches(tree: ast.Module) -> list[Branch]:
    """All branches of a file, by their numbers."""
    found: list[Branch] = []
    _collect(tree, (tree,), found, [0])
    return found


def functions(tree: ast.Module) -> list[Function]:
    """All functions of a file, by their numbers."""
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def _collect(
    node: ast.AST, around: tuple[Scope, ...], found: list[Branch], operands: list[int],
) -> None:  # fmt: skip
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        around = (*(one for one in around if not isinstance(one, ast.Module)), node)
    for name, value in ast.iter_fields(node):
        parts = value if isinstance(value, list) else [value]
        for index, part in enumerate(parts):
            if not isinstance(part, ast.AST):
                continue
            if isinstance(part, (ast.If, ast.IfExp, ast.While, ast.For)):
                after = (
                    parts[index + 1 :] if name in ("body", "orelse", "finalbody") and isinstance(value, list) else []
                )
                found.append(_branch(part, len(found), after, around, operands))
            _collect(part, around, found, operands)


def _branch(
    node: Node, number: int, after: Sequence[ast.AST], around: tuple[Scope, ...], operands: list[int]
) -> Branch:
    test = node.iter if isinstance(node, ast.For) else node.test
    first: Sequence[ast.AST] = node.body if isinstance(node.body, list) else [node.body]
    second: Sequence[ast.AST] = node.orelse if isinstance(node.orelse, list) else [node.orelse]
    if isinstance(node, (ast.For, ast.While)):
        second = []
    elif isinstance(node, ast.If) and not second and isinstance(node.body[-1], _LEAVES):
        second = after
    compares = () if isinstance(node, ast.For) else tuple(_compares(test))
    start = operands[0]
    operands[0] += sum(1 + len(compare.comparators) for compare in compares)
    return Branch(number, node, test, (first, second), compares, start, around)


def _compares(test: ast.expr) -> Iterator[ast.Compare]:
    """Comparisons of the test itself, none of what it calls or loops over."""
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _compares(part)
    elif isinstance(test, ast.UnaryOp):
        yield from _compares(test.operand)
    elif isinstance(test, ast.Compare) and all(isinstance(op, _ORDERED) for op in test.ops):
        yield test


def instrument(tree: ast.Module, start: int = 0) -> ast.Module:
    """The tree, changed in place: tests, arms and operands call what sees them, and do what they did.

    Args:
        tree: of a file.
        start: what is added to the numbers of tests and operands; an arm's is twice its test's, and one more where
            the test is false.
    """
    entered = functions(tree)
    for branch in branches(tree):
        node, number = branch.node, start + branch.number
        for offset, (compare, place) in enumerate(_slots(branch)):
            _wrap_operand(compare, place, start + branch.first + offset)
        if isinstance(node, ast.For):
            node.iter = _call(TEST, number, node.iter)
        else:
            node.test = _call(TEST, number, node.test)
        if isinstance(node, ast.IfExp):
            node.body = _call(ARM, 2 * number, node.body)
            node.orelse = _call(ARM, 2 * number + 1, node.orelse)
            continue
        node.body.insert(0, _tell(2 * number, node.body[0]))
        if isinstance(node, ast.If) and node.orelse:
            node.orelse.insert(0, _tell(2 * number + 1, node.orelse[0]))
        elif isinstance(node, ast.If) and branch.arms[1]:  # the rest of the block: nothing else comes there
            node.orelse = [_tell(2 * number + 1, node)]
    for index, function in enumerate(entered):
        first = function.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        function.body.insert(int(documented), _tell(start + index, first, ENTRY))
    return ast.fix_missing_locations(tree)


def settle(tree: ast.Module, values: Mapping[tuple[int, str], int | float]) -> ast.Module:
    """The tree, changed in place: constants of the source have other values.

    Args:
        tree: of a file.
        values: {(line, name)} of an assignment to the name at that line, of a function with that parameter, or of an
            entry of a call or a dictionary under that name: value.
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and (value := values.get((node.lineno, target.id))) is not None:
                node.value = ast.copy_location(ast.Constant(value), node.value)
        elif isinstance(node, ast.FunctionDef):
            for argument, default in defaults(node).items():
                if default is not None and (value := values.get((node.lineno, argument))) is not None:
                    _replace_default(node, default, ast.copy_location(ast.Constant(value), default))
        for name, entry in entries(node):
            if (value := values.get((entry.lineno, name))) is not None:
                _replace_entry(node, entry, ast.copy_location(ast.Constant(value), entry))
    return tree


def entries(node: ast.AST) -> list[tuple[str, ast.expr]]:
    """(name, value) of a call's keyword arguments, or of a dictionary's entries; nothing for other nodes."""
    if isinstance(node, ast.Call):
        return [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
    if isinstance(node, ast.Dict):
        return [(key.value, value) for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)]  # fmt: skip
    return []


def _replace_entry(node: ast.AST, old: ast.expr, new: ast.expr) -> None:
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        if keyword.value is old:
            keyword.value = new
    if isinstance(node, ast.Dict):
        node.values = [new if value is old else value for value in node.values]


def defaults(function: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """{parameter: its default} of those that have one, and keyword-only ones."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    with_default = plain[len(plain) - len(arguments.defaults) :]
    found: dict[str, ast.expr | None] = {
        argument.arg: default for argument, default in zip(with_default, arguments.defaults, strict=True)
    }
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {argument.arg: default for argument, default in keywords}


def _replace_default(function: ast.FunctionDef, old: ast.expr, new: ast.expr) -> None:
    for held in (function.args.defaults, function.args.kw_defaults):
        for index, one in enumerate(held):
            if one is old:
                held[index] = new


def _slots(branch: Branch) -> list[tuple[ast.Compare, int]]:
    return [(compare, place) for compare in branch.compares for place in range(1 + len(compare.comparators))]


def _wrap_operand(compare: ast.Compare, place: int, number: int) -> None:
    if place == 0:
        compare.left = _call(OPERAND, number, compare.left)
    else:
        compare.comparators[place - 1] = _call(OPERAND, number, compare.comparators[place - 1])


def _tell(number: int, at: ast.AST, name: str = ARM) -> ast.stmt:
    call = ast.copy_location(ast.Call(ast.Name(name, ast.Load()), [ast.Constant(number)], []), at)
    return ast.copy_location(ast.Expr(call), at)


def _call(name: str, number: int, value: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), [ast.Constant(number), value], []), value)
