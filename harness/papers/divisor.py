"""Scores that a script divides by a number of bytes per token that stands in it, instead of by the text's bytes.

`bpb = bits / (tokens * 4.3)` is a score in units of 4.3 bytes, whatever the text. What a program assigns to a name of
bits per byte, returns from a function called so, or prints beside such a word is taken apart into a product: numbers on
one side, with names followed to what they are bound to, and on the other side what the program computes. A score whose
computed part holds no byte count and whose numbers leave a factor of a few bytes divides by a constant.

Only what is bound once is followed; a name that a loop, a branch or a caller may have given another value is computed.
"""

from __future__ import annotations

import ast
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from harness.papers.reading import Quote
from harness.papers.sources import Source

#: Bytes of text that one token may stand for, in tokenizers that are used: a factor outside is something else.
_LEAST, _MOST = 1.2, 12.0
_SCORE = re.compile(r"bpb|bits?_per_byte", re.I)
#: What a byte count, or a score that has been divided already, is called.
_BYTES = re.compile(r"byte(?!s?_per_tok)|bpb|char|utf|encode|nbytes|sidecar|bits?_per_b", re.I)
_RATIO = re.compile(
    r"bytes?_?(?:per|/)_?tok|tok(?:en)?s?_?per_?byte|\bbpt\b|avg_?bytes|byte_?ratio|chars?_?per_?tok", re.I
)
_LOSS = re.compile(r"loss|nll|nats|bits|entropy|\bce\b|ppl|likelihood", re.I)
#: Calls that leave a number what it is.
_SAME = {"float", "int", "round", "max", "min", "abs", "item", "cpu", "detach", "double", "tensor", "float64", "mean"}
#: A ratio by its name, or a score beside a number of a few bytes: where one looks first.
_FEW = r"(?!2\.0+\b)(?:[2-9]|1[01]?)\.\d"
_HINT = re.compile(
    rf"(?:{_RATIO.pattern})[^\n]{{0,40}}\d\.\d|(?:bpb|bits_per_byte)[^\n]{{0,80}}[*/] ?\(?[^\n]{{0,40}}\b{_FEW}"
    r"|(?:bpb|per_byte) ?= ?[^\n]{0,60}\* ?0?\.\d",
    re.I,
)
_EPSILON = 1e-3
_DEEP = 12
_LN2 = math.log(2)


@dataclass(frozen=True)
class Divisor:
    """A score that is divided by a constant.

    Attributes:
        width: bytes per token that the constant stands for.
        at: the line that divides.
        bound: the line that the number stands on, where that is another one.
        default: the number is what an environment variable or an argument has unless it is set.
    """

    width: float
    at: Quote
    bound: Quote | None
    default: bool


@dataclass(frozen=True)
class Scores:
    """How the folder's programs come to bits per byte.

    Attributes:
        constant: scores that are divided by a constant, in the order of the text.
        counted: lines that divide by bytes which the program counts, or whose divisor is not followed.
    """

    constant: tuple[Divisor, ...] = ()
    counted: tuple[Quote, ...] = ()


def hinted(source: Source) -> bool:
    """Whether a look at the text finds what a constant divisor is mostly written like; much less than `read` does."""
    return any(_HINT.search(line[:400]) for line in source.text.split("\n"))


def read(sources: list[Source]) -> Scores:
    """Every score of these programs: divided by a constant, or by something that they compute."""
    constant: list[Divisor] = []
    counted: list[Quote] = []
    for source in sources:
        if not _SCORE.search(source.text):
            continue
        reader = _Reader(source)
        for root in reader.roots():
            product = reader.product(root, 0)
            found = reader.judged(root, product)
            if reader.copies(root):
                continue
            if found is not None:
                constant.append(found)
            elif not product.numeric:
                counted.append(source.quote(root))
    by_line = {(one.at.file, one.at.line): one for one in reversed(constant)}
    unique = sorted(by_line.values(), key=lambda one: (one.at.file, one.at.line))
    return Scores(tuple(unique), tuple(dict.fromkeys(counted)))


@dataclass
class _Product:
    """A product: its number, what is computed with its exponent, factors of ln 2, and where its numbers stand."""

    number: float = 1.0
    parts: list[tuple[ast.expr, int]] = field(default_factory=list)
    logs: int = 0
    numbers: list[tuple[ast.expr, str, bool]] = field(default_factory=list)

    @property
    def numeric(self) -> bool:
        """Nothing of it is computed."""
        return not self.parts

    def times(self, other: _Product, sign: int) -> _Product:
        """This product with another one beside it, or below it."""
        try:
            number = self.number * other.number**sign
        except (ZeroDivisionError, OverflowError):
            number = math.nan
        return _Product(
            number,
            [*self.parts, *((part, power * sign) for part, power in other.parts)],
            self.logs + sign * other.logs,
            [*self.numbers, *other.numbers],
        )


_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module


class _Reader:
    """Takes the scores of one program apart."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._scope: dict[ast.AST, _Scope] = {}
        self._outer: dict[_Scope, _Scope] = {}
        self._bound: dict[tuple[_Scope, str], list[ast.expr | None]] = defaultdict(list)
        self._attributes: dict[str, list[ast.expr | None]] = defaultdict(list)
        self._passed: dict[str, list[ast.Call]] = defaultdict(list)
        self._roots: list[ast.expr] = []
        self._visit(source.tree, source.tree, False, "")

    def _visit(self, node: ast.AST, scope: _Scope, in_class: bool, function: str) -> None:
        """Note bindings, calls and scores, each with the function that it stands in."""
        stack: list[tuple[ast.AST, _Scope, bool, str]] = [(node, scope, in_class, function)]
        while stack:
            node, scope, in_class, function = stack.pop()
            self._note(node, scope, in_class, function)
            inner: _Scope = scope
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner, in_class = node, False
                self._outer[node] = scope
                function = getattr(node, "name", function)
                self._parameters(node)
            elif isinstance(node, ast.ClassDef):
                in_class = True
            children = list(ast.iter_child_nodes(node))
            stack += [(child, inner, in_class, function) for child in reversed(children)]

    def _note(self, node: ast.AST, scope: _Scope, in_class: bool, function: str) -> None:
        if isinstance(node, ast.expr):
            self._scope[node] = scope
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, scope, in_class)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._bind(node.target, node.value, scope, in_class)
        elif isinstance(node, ast.AugAssign):
            self._spoil(node.target, scope, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._spoil(node.target, scope, None)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if item.optional_vars is not None:
                    self._spoil(item.optional_vars, scope, None)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            for name in node.names:
                self._bound[self.source.tree, name].append(None)
        elif isinstance(node, ast.Call):
            self._passed[_called(node)].append(node)
            self._argument(node)
            self._roots += [one.value for one in node.keywords if one.arg and _SCORE.search(one.arg)]
        elif isinstance(node, ast.Return) and node.value is not None and _SCORE.search(function):
            self._roots += _elements(node.value)[-1:] if isinstance(node.value, ast.Tuple) else [node.value]
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and _SCORE.search(key.value):
                    self._roots.append(value)
        elif isinstance(node, ast.JoinedStr):
            self._printed(node)

    def _bind(self, target: ast.expr, value: ast.expr, scope: _Scope, in_class: bool) -> None:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            if len(target.elts) == len(value.elts):
                for one, part in zip(target.elts, value.elts, strict=True):
                    self._bind(one, part, scope, in_class)
                return
        name = _name(target)
        if name and _SCORE.search(name):
            self._roots.append(value)
        if isinstance(target, ast.Name):
            self._bound[scope, target.id].append(value)
            if in_class:
                self._attributes[target.id].append(value)
        elif isinstance(target, ast.Attribute):
            self._attributes[target.attr].append(value)
        else:
            self._spoil(target, scope, None)

    def _spoil(self, target: ast.expr, scope: _Scope, value: ast.expr | None) -> None:
        """A name gets values that are not followed; what is added to it may still tell what it counts."""
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                self._bound[scope, part.id] += [value, None] if value is not None else [None]
            elif isinstance(part, ast.Attribute):
                self._attributes[part.attr] += [value, None] if value is not None else [None]

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        places = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(places) - len(arguments.defaults))
        pairs = [*zip(places, [*defaults, *arguments.defaults], strict=True)]
        pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        for one, default in pairs:
            self._bound[node, one.arg].append(default)
        for star in (arguments.vararg, arguments.kwarg):
            if star is not None:
                self._bound[node, star.arg].append(None)

    def _argument(self, node: ast.Call) -> None:
        """`parser.add_argument("--bytes-per-token", default=3.5)` binds an attribute."""
        if _called(node) == "add_argument" and node.args and isinstance(node.args[0], ast.Constant):
            option = str(node.args[0].value).lstrip("-").replace("-", "_")
            default = next((one.value for one in node.keywords if one.arg == "default"), None)
            self._attributes[option].append(default)

    def _printed(self, node: ast.JoinedStr) -> None:
        """`f"val_bpb:{loss / k:.4f}"`: what is printed right behind the word."""
        for before, part in zip(node.values, node.values[1:], strict=False):
            if isinstance(part, ast.FormattedValue) and isinstance(before, ast.Constant):
                words = str(before.value)[-24:]
                if _SCORE.search(words) and not re.search(r"[,;|]\s*[^,;|]*$", words.split("bpb")[-1]):
                    self._roots.append(part.value)

    def roots(self) -> Iterator[ast.expr]:
        """What is taken for bits per byte, in the order of the text; plain copies of other names left out."""
        seen: set[ast.expr] = set()
        for root in sorted(self._roots, key=lambda one: (one.lineno, one.col_offset)):
            if root not in seen and not isinstance(root, ast.Constant):
                seen.add(root)
                yield root

    def copies(self, root: ast.expr) -> bool:
        """Whether it only hands on what another line has computed: a name, a rounding, a call for a score."""
        while isinstance(root, ast.Call) and _called(root) in _SAME and root.args:
            root = root.args[0]
        if isinstance(root, ast.Name | ast.Attribute | ast.Subscript | ast.Constant | ast.JoinedStr):
            return True
        if isinstance(root, ast.Call):
            name = _called(root)
            return name in self._functions or name in ("get", "min", "max", "sum", "mean", "format", "append")
        parts = [one for one in _outermost(root) if ast.unparse(one) not in _SAME]
        return bool(parts) and all(_SCORE.search(ast.unparse(one)) for one in parts)

    @cached_property
    def _functions(self) -> set[str]:
        defined = (ast.FunctionDef, ast.AsyncFunctionDef)
        return {node.name for node in self.source.nodes if isinstance(node, defined)}

    def judged(self, root: ast.expr, product: _Product) -> Divisor | None:
        """The divisor of a score, if it is a constant number of bytes per token."""
        if product.numeric or not math.isfinite(product.number) or product.number <= 0 or not product.numbers:
            return None
        width = 1 / product.number
        if not _LEAST <= width <= _MOST or product.logs not in (0, -1):
            return None
        texts = [self._told(part) for part, _ in product.parts]
        if any(_BYTES.search(_RATIO.sub("", text)) for text in texts):
            return None
        named = any(_RATIO.search(name) for _, name, _ in product.numbers)
        above = [text for text, (_, power) in zip(texts, product.parts, strict=True) if power > 0]
        loss = any(_LOSS.search(text) for text in above)
        per_token = len([power for _, power in product.parts if power < 0]) > 0
        if not (named or product.logs == -1 or (loss and per_token and width != round(width))):
            return None
        if not above:
            return None
        number = max(product.numbers, key=lambda one: bool(_RATIO.search(one[1])))
        at, bound = self.source.quote(root), self.source.quote(number[0])
        return Divisor(width, at, None if bound.line == at.line else bound, number[2])

    def _told(self, part: ast.expr, deep: int = 0) -> str:
        """A computed part in words, with what its names are bound to, so that a byte count is known by either.

        What the program's own functions are given is left out: they need not count it.
        """
        words = []
        for one in _outermost(part, self._functions):
            words.append(ast.unparse(one)[:300])
            if deep < 3 and isinstance(one, ast.Name):
                values = self._values(one)[:8]
                words += [self._told(value, deep + 1) for value in values if value is not None and value is not part]
        return " ".join(words)[:4000]

    def product(self, node: ast.expr, deep: int) -> _Product:
        """An expression as a product; what is no product is one computed part."""
        whole = _Product(parts=[(node, 1)])
        if deep > _DEEP:
            return whole
        if _is_log(node):
            return _Product(logs=1)
        if isinstance(node, ast.Constant):
            return self._number(node, node, "") or whole
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
            return self.product(node.operand, deep + 1)
        if isinstance(node, ast.BinOp):
            return self._operation(node, deep) or whole
        if isinstance(node, ast.IfExp):
            sides = [one for one in (node.body, node.orelse) if not _is_filler(one)]
            return self.product(sides[0], deep + 1) if len(sides) == 1 else whole
        if isinstance(node, ast.Call):
            return self._call(node, deep) or whole
        if isinstance(node, ast.Name | ast.Attribute):
            values = self._values(node)
            if len(values) == 1 and values[0] is not None:
                return self._named(node, values[0], deep)
            numbers = {_literal(one) if one is not None else None for one in values}
            if len(numbers) == 1 and (only := numbers.pop()) is not None and values[0] is not None:
                return self._number(values[0], values[0], _name(node), only) or whole
        return whole

    def _named(self, node: ast.expr, value: ast.expr, deep: int) -> _Product:
        """What a name is bound to; its numbers are known by the name, and a result of a call stays computed."""
        found = self.product(value, deep + 1)
        name = _name(node)
        if not found.numeric and isinstance(value, ast.Call) and not found.numbers:
            return _Product(parts=[(node, 1)])
        found.numbers = [(at, f"{name} {known}", default) for at, known, default in found.numbers]
        return found

    def _operation(self, node: ast.BinOp, deep: int) -> _Product | None:
        if isinstance(node.op, ast.Mult | ast.Div):
            left, right = self.product(node.left, deep + 1), self.product(node.right, deep + 1)
            return left.times(right, 1 if isinstance(node.op, ast.Mult) else -1)
        if isinstance(node.op, ast.Add | ast.Sub):  # a little that is added against division by zero
            small = _literal(node.right)
            if small is not None and abs(small) < _EPSILON:
                return self.product(node.left, deep + 1)
        return None

    def _call(self, node: ast.Call, deep: int) -> _Product | None:
        name = _called(node)
        if name in ("getenv", "get") and len(node.args) == 2 and "env" in ast.unparse(node.func):
            value = _literal(node.args[1])
            return self._number(node, node, ast.unparse(node.args[0]), value, default=True)
        if name in _SAME:
            inside = [one for one in node.args if not _is_filler(one)]
            if isinstance(node.func, ast.Attribute) and not node.args and not isinstance(node.func.value, ast.Name):
                return self.product(node.func.value, deep + 1)
            if inside and (len(inside) == 1 or name in ("round", "tensor")):
                found = self.product(inside[0], deep + 1)
                return found if found.numbers or found.numeric else None
        return None

    def _number(
        self, at: ast.expr, node: ast.expr, name: str, value: float | None = None, *, default: bool = False
    ) -> _Product | None:
        value = _literal(node) if value is None else value
        if value is None:
            return None
        if abs(value - _LN2) < 1e-3:
            return _Product(logs=1)
        if abs(value - 1 / _LN2) < 1e-3:
            return _Product(logs=-1)
        return _Product(value, numbers=[(at, name, default)])

    def _values(self, node: ast.expr) -> list[ast.expr | None]:
        """What a name or an attribute is bound to; None in the list where that is not followed."""
        if isinstance(node, ast.Attribute):
            return self._attributes.get(node.attr, [])
        if not isinstance(node, ast.Name):
            return []
        scope: _Scope | None = self._scope.get(node)
        while scope is not None:
            if (scope, node.id) in self._bound:
                return [*self._bound[scope, node.id], *self._given(scope, node.id)]
            scope = self._outer.get(scope) or (None if scope is self.source.tree else self.source.tree)
        return []

    def _given(self, scope: _Scope, name: str) -> list[ast.expr | None]:
        """What callers give a parameter, where they give it anything."""
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            return []
        names = [one.arg for one in (*scope.args.posonlyargs, *scope.args.args)]
        given: list[ast.expr | None] = []
        for call in self._passed.get(scope.name, []):
            given += [one.value for one in call.keywords if one.arg == name]
            if any(one.arg is None for one in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args):
                given.append(None)
            elif name in names and names.index(name) < len(call.args):
                given.append(call.args[names.index(name)])
        return given


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def _elements(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node]


def _literal(node: ast.expr) -> float | None:
    """The number that an expression spells out, by numbers and signs alone."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and not isinstance(node.value, bool):
        if isinstance(node.value, int | float):
            return float(node.value) if abs(node.value) < 1e300 else None
        if isinstance(node.value, str) and re.fullmatch(r"\d{1,9}(?:\.\d{1,12})?", node.value):
            return float(node.value)
    return None


def _is_filler(node: ast.expr) -> bool:
    """A bound against division by zero, or a stand-in for no number at all."""
    value = _literal(node)
    if value is not None:
        return value <= 1.0
    return "inf" in (text := ast.unparse(node)) or "nan" in text or text == "None"


def _is_log(node: ast.expr) -> bool:
    """`math.log(2)` in its spellings."""
    if not (isinstance(node, ast.Call) and _called(node) == "log" and len(node.args) == 1):
        return False
    value = node.args[0]
    while isinstance(value, ast.Call) and len(value.args) >= 1:
        value = value.args[0]
    return _literal(value) == 2.0


def _outermost(node: ast.expr, closed: AbstractSet[str] = frozenset()) -> list[ast.expr]:
    """The names, attributes and items of an expression, each once and whole; of calls of `closed` the name alone."""
    found: list[ast.expr] = []
    stack: list[ast.AST] = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, ast.Attribute) and not isinstance(one.value, ast.Name | ast.Attribute):
            found.append(ast.Name(one.attr, ast.Load()))
            stack.append(one.value)
        elif isinstance(one, ast.Name | ast.Attribute | ast.Subscript):
            found.append(one)
        elif isinstance(one, ast.Call):
            stack.append(one.func)
            stack += [] if _called(one) in closed else [*one.args, *(key.value for key in one.keywords)]
        elif not isinstance(one, ast.Compare):  # a comparison counts tokens, whatever is compared
            stack += list(ast.iter_child_nodes(one))
    return found
