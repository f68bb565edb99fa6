"""f-strings of Python 3.12 and later, rewritten so that Python 3.11 can read them.

Since 3.12 the braces of an f-string may hold the same quotes as the string itself, backslashes and line breaks
(PEP 701). A handful of contest scripts use that. Only such strings change: the quotes become triple, and an inner
literal with a backslash becomes a call that makes the same text.
"""

from __future__ import annotations

import ast
import re

_START = re.compile(r"(?P<prefix>[rbuf]{0,2})(?P<quote>'''|\"\"\"|'|\")", re.I)
_WORD = re.compile(r"\w")


def lower(source: str) -> str:
    """The same program with its f-strings in the older grammar; text that makes no sense comes back as it is."""
    out: list[str] = []
    at = 0
    try:
        while at < len(source):
            if source[at] == "#":
                end = _line_end(source, at)
            elif (found := _string_at(source, at)) is not None:
                prefix, quote = found
                end = _end(source, at, prefix, quote)
                text = source[at:end]
                out.append(_rewritten(text, prefix, quote) if "f" in prefix.lower() else text)
                at = end
                continue
            else:
                end = at + 1
            out.append(source[at:end])
            at = end
    except (IndexError, RecursionError):
        return source
    return "".join(out)


def _line_end(source: str, at: int) -> int:
    end = source.find("\n", at)
    return len(source) if end < 0 else end


def _string_at(source: str, at: int) -> tuple[str, str] | None:
    """(prefix, quote) of a string literal that begins here."""
    if at and _WORD.match(source[at - 1]) and source[at] not in "'\"":
        return None
    found = _START.match(source, at)
    return (found["prefix"], found["quote"]) if found else None


def _end(source: str, at: int, prefix: str, quote: str) -> int:
    """Where a literal ends, by the rules of 3.12. Raises IndexError if it does not."""
    at += len(prefix) + len(quote)
    formatted = "f" in prefix.lower()
    while True:
        if source.startswith(quote, at):
            return at + len(quote)
        char = source[at]
        if char == "\\":
            at += 2
        elif formatted and source.startswith(("{{", "}}"), at):
            at += 2
        elif formatted and char == "{":
            at = _field(source, at)
        else:
            if char == "\n" and len(quote) == 1:
                raise IndexError("the literal does not end")
            at += 1


def _field(source: str, at: int) -> int:
    """Where a replacement field ends, its closing brace included."""
    depth, at = 1, at + 1
    while depth:
        char = source[at]
        found = _string_at(source, at)
        if found is not None:
            at = _end(source, at, *found)
            continue
        if char == "#":
            at = _line_end(source, at)
            continue
        if char in "{[(":
            depth += 1
        elif char in "}])":
            depth -= 1
        elif char == ":" and depth == 1 and not source.startswith(":=", at):
            return _spec(source, at + 1)
        at += 1
    return at


def _spec(source: str, at: int) -> int:
    while source[at] != "}":
        at = _field(source, at) if source[at] == "{" else at + 1
    return at + 1


def _rewritten(text: str, prefix: str, quote: str) -> str:
    """One f-string literal, unchanged if the older grammar reads it."""
    if _reads(text):
        return text
    start = len(prefix) + len(quote)
    body = text[start : -len(quote)]
    pieces, at = [], 0
    while at < len(body):
        if body[at] == "\\":
            end = at + 2
        elif body.startswith(("{{", "}}"), at):
            end = at + 2
        elif body[at] == "{":
            end = _field(body, at)
            pieces.append(_inner(body[at:end]))
            at = end
            continue
        else:
            end = at + 1
        pieces.append(body[at:end])
        at = end
    inner = "".join(pieces)
    for wide in (quote, quote[0] * 3, '"""', "'''"):
        candidate = prefix + wide + inner + wide
        if _reads(candidate):
            return candidate
    return text


def _inner(piece: str) -> str:
    """A replacement field whose own literals hold no backslash and no f-string of the newer kind."""
    out, at = [], 0
    while at < len(piece):
        found = _string_at(piece, at)
        if found is None:
            out.append(piece[at])
            at += 1
            continue
        prefix, quote = found
        end = _end(piece, at, prefix, quote)
        literal = piece[at:end]
        if "f" in prefix.lower():
            literal = _rewritten(literal, prefix, quote)
        elif "\\" in literal and "b" not in prefix.lower():
            numbers = ",".join(str(ord(char)) for char in ast.literal_eval(literal))
            literal = f"str().join(map(chr,({numbers},)))" if numbers else "str()"
        out.append(literal)
        at = end
    return "".join(out)


def _reads(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True
