"""What a syntax tree spells out: literals as the texts that set them, and the labels of log lines."""

from __future__ import annotations

import ast
import re


def printed_labels(tree: ast.Module) -> dict[str, tuple[str, bool]]:
    """{label: (attribute, rounded)} of f-strings such as f"train_seq_len:{args.train_seq_len}"."""
    found: dict[str, tuple[str, bool]] = {}
    clashing: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, part in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(before, ast.Constant) and isinstance(part, ast.FormattedValue)):
                continue
            label = re.search(r"(?:^|[\s(])([a-z]\w*)[:=]\s?$", str(before.value))
            if label and isinstance(part.value, ast.Attribute):
                entry = (part.value.attr, part.format_spec is not None)
                if found.setdefault(label[1], entry)[0] != entry[0]:
                    clashing.add(label[1])
            elif label:
                clashing.add(label[1])
    return {label: entry for label, entry in found.items() if label not in clashing}


def text_of(node: ast.expr | None) -> str | None:
    """A literal (or arithmetic on literals) as the text that sets it; None for anything else."""
    if node is None:
        return None
    value = _literal(node)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(value)
    return None if value is None else str(value)


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return -value if isinstance(value, (int, float)) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "int", "float"):
        return _literal(node.args[0]) if len(node.args) == 1 else None
    if isinstance(node, ast.BinOp):
        left, right = _literal(node.left), _literal(node.right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and abs(left) + abs(right) < 1e12:
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Add):
                return left + right
            if isinstance(node.op, ast.Sub):
                return left - right
            if isinstance(node.op, (ast.Div, ast.FloorDiv)) and right:
                return left / right if isinstance(node.op, ast.Div) else left // right
            if isinstance(node.op, ast.Pow) and 0 <= right <= 40 and abs(left) <= 10:
                return left**right
            if isinstance(node.op, ast.LShift) and isinstance(left, int) and isinstance(right, int) and right <= 40:
                return left << right if right >= 0 else None
    return None
