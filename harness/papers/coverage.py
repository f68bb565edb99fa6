"""How much of the validation text a score is of, where a program or a log says that it is a part.

A program that takes the first 500 sequences, 200 slices or 99,328 tokens scores a part: its number is of another text
than everybody else's. Caps are read where a program evaluates; what a log counts beside the score is read there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness.papers.logs import Run, integer
from harness.papers.reading import Paper, Quote
from harness.papers.sources import Source

_EVALUATES = re.compile(r"eval|valid|\bval|_val|bpb|elbo|score", re.I)
_VALIDATION = re.compile(r"\bval(?:id(?:ation)?)?(?:_|\b)", re.I)
_CAP = re.compile(
    r"^(?:max|num|n|limit)_?(?:eval_|val_)?(?:batch(?:es)?|seqs?|sequences|slices|windows|tokens|docs)$"
    r"|^(?:eval|val)_(?:max_)?(?:batches|seqs|sequences|slices|windows|tokens_limit)$",
    re.I,
)
_UNIT = re.compile(r"batch|seq|slice|window|token|doc", re.I)
#: Fewer tokens than this are a shape, not a cap on the validation text.
_LEAST_TOKENS = 1_000
_COUNTED = re.compile(
    r"\b(?:scored|eval(?:uated|uation)?|val(?:idation)?)[_ ]?tokens?(?:[_ ](?:scored|used|evaluated))?"
    r"[:= ]{1,3}(?P<count>\d[\d,]{3,15})\b"
    r"|\b(?P<other>\d[\d,]{3,15}) (?:val(?:idation)?|eval|scored) tokens\b",
    re.I,
)
_RANK = re.compile(r"rank|gpu \d|/\d", re.I)


@dataclass(frozen=True)
class Part:
    """A part of the validation text that is scored.

    Attributes:
        count: how many of `unit`.
        unit: "sequences", "tokens" and so on.
        tokens: what they come to, None where that is not known.
        at: the line.
    """

    count: int
    unit: str
    tokens: int | None
    at: Quote

    def said(self, whole: int | None) -> str:
        """In words, with the share of `whole` tokens where both are known."""
        tokens = f" ({self.tokens:,} tokens)" if self.tokens and self.unit != "tokens" else ""
        share = f", {100 * self.tokens / whole:.2g} % of its {whole:,} tokens" if self.tokens and whole else ""
        return f"{self.count:,} {self.unit}{tokens} of the validation text are scored{share} ({self.at})"


def of_programs(sources: list[Source]) -> list[Part]:
    """Caps on the validation text in what evaluates: `min(500, ...)`, a parameter's default, a slice."""
    found: list[Part] = []
    for source in sources:
        constants = _constants(source.nodes)
        found += _slices(source, constants)
        found += _least(source, constants)
        found += _defaults(source, constants)
    by_line = {(one.at.file, one.at.line): one for one in found}
    return sorted(by_line.values(), key=lambda one: (one.at.file, one.at.line))


def of_log(run: Run, paper: Paper, line: int, whole: int) -> Part | None:
    """Tokens that a log counts on the line of its score, or next to it, where they are a part of `whole`.

    Args:
        run: the run, for how many ranks may have dealt the text among them.
        paper: its log.
        line: where the score stands, from 1.
        whole: tokens of the whole text.
    """
    ranks = {1.0, 2.0, 4.0, 8.0, run.world_size.value if run.world_size else 1.0}
    for index in sorted(range(max(0, line - 3), min(len(paper.lines), line + 2)), key=lambda at: abs(at + 1 - line)):
        text = paper.lines[index]
        match = _COUNTED.search(text[:400])
        if match is None or _RANK.search(text[:400]):
            continue
        tokens = integer(match["count"] or match["other"])
        if 0 < tokens < 0.9 * whole and not any(abs(tokens * one / whole - 1) < 0.03 for one in ranks):
            return Part(tokens, "tokens", tokens, paper.quote(index))
    return None


def _constants(nodes: list[ast.AST]) -> dict[str, int]:
    """Names that are bound to one whole number wherever they are bound, class attributes among them."""
    found: dict[str, set[int | None]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name | ast.Attribute):
                    found.setdefault(_name(target), set()).add(_whole(node.value))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            found.setdefault(_name(node.target), set()).add(_whole(node.value))
        elif isinstance(node, ast.AugAssign | ast.For):
            found.setdefault(_name(node.target), set()).add(None)
    return {
        name: value
        for name, values in found.items()
        if name and len(values) == 1 and (value := next(iter(values))) is not None
    }


def _slices(source: Source, constants: dict[str, int]) -> Iterator[Part]:
    """`val_tokens[:99_328]`."""
    for node in source.nodes:
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and node.slice.upper is not None):
            continue
        tokens = _value(node.slice.upper, constants)
        of = ast.unparse(node.value)
        low = node.slice.lower is None or _whole(node.slice.lower) == 0
        if tokens and low and tokens >= _LEAST_TOKENS and _VALIDATION.search(of) and "tok" in of.lower():
            yield Part(tokens, "tokens", tokens, source.quote(node))


def _least(source: Source, constants: dict[str, int]) -> Iterator[Part]:
    """`n_seqs = min(500, val_tokens.numel() // seq_len)`."""
    for node in source.nodes:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.value.args) == 2):
            continue
        name, call = _name(node.targets[0]), node.value
        if not (isinstance(call.func, ast.Name) and call.func.id == "min" and (unit := _UNIT.search(name))):
            continue
        pairs = [(_value(one, constants), other) for one, other in (call.args, reversed(call.args))]
        caps = [(count, other) for count, other in pairs if count and _VALIDATION.search(ast.unparse(other))]
        if caps:
            count, other = caps[0]
            yield _part(count, unit[0].lower(), _length(other, constants), source.quote(node))


def _defaults(source: Source, constants: dict[str, int]) -> Iterator[Part]:
    """`def evaluate(model, val_tokens, max_batches=200)`, where no caller gives another number."""
    for node in source.nodes:
        if not isinstance(node, ast.FunctionDef) or not _EVALUATES.search(node.name):
            continue
        places = node.args.args
        pairs = [*zip(places[len(places) - len(node.args.defaults) :], node.args.defaults, strict=True)]
        pairs += [(one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
        for one, default in pairs:
            count, unit = _value(default, constants), _UNIT.search(one.arg)
            if not (count and unit and _CAP.search(one.arg)) or (unit[0].lower() == "token" and count < _LEAST_TOKENS):
                continue
            given = [call for call in source.calls if _called(call) == node.name]
            index = places.index(one) if one in places else len(places)
            if all(len(call.args) <= index and one.arg not in {k.arg for k in call.keywords} for call in given):
                yield _part(count, unit[0].lower(), None, source.quote(node))


def _part(count: int, unit: str, length: int | None, at: Quote) -> Part:
    words = {"seq": "sequences", "batch": "batches", "slice": "slices", "window": "windows", "doc": "documents"}
    if unit == "token":
        return Part(count, "tokens", count, at)
    return Part(count, words[unit], count * length if length and unit in ("seq", "slice", "window") else None, at)


def _length(node: ast.expr, constants: dict[str, int]) -> int | None:
    """The length of a sequence, in `numel // length`."""
    for one in ast.walk(node):
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.FloorDiv):
            return _value(one.right, constants)
    return None


def _value(node: ast.expr, constants: dict[str, int]) -> int | None:
    if isinstance(node, ast.Name | ast.Attribute):
        return constants.get(_name(node))
    return _whole(node)


def _whole(node: ast.expr) -> int | None:
    """A whole number that is spelled out, products of some and defaults of environment variables among them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value if 0 < node.value < 10**12 else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\d{1,12}", node.value):
        return int(node.value) or None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _whole(node.left), _whole(node.right)
        return left * right if left and right and left * right < 10**12 else None
    if isinstance(node, ast.Call) and _called(node) == "int" and len(node.args) == 1:
        return _whole(node.args[0])
    if isinstance(node, ast.Call) and _called(node) in ("get", "getenv") and len(node.args) == 2:
        return _whole(node.args[1])
    return None


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
