"""Untrusted text and numbers, made fit to be read.

Whatever came from a submission (names, tokens, log lines) may hold control characters, text that reorders its line,
invisible characters or a hundred thousand letters. `clean` makes all of that visible and short. Escaping for a format
(HTML, terminal markup) is the view's job and comes on top.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
import unicodedata
from collections.abc import Iterable

#: Longest text that a view shows unless it asks for another length, in characters.
LIMIT = 400

#: More combining marks than this on one letter are piled up to cover the neighbouring lines, not to be read.
_MARKS = 3

#: Unicode categories: control, format (bidi, zero width), lone surrogate, line and paragraph separator.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_COMMAND = re.compile(r":(?=:)|#(?=#)")
_WORDS = {"bpb": "BPB", "nll": "NLL", "xz": "xz", "sha256": "SHA-256", "p": "p", "id": "id"}


def clean(text: object, limit: int = LIMIT) -> str:
    """Shows `text` on one line, with nothing invisible in it and at most about `limit` characters of it.

    A newline becomes "↵". Other control characters, bidi controls, zero-width characters, lone surrogates and
    noncharacters become their code point, such as "[U+202E]".

    Args:
        text: anything; `str()` is applied.
        limit: characters of the input to keep. What is left out is counted at the end.

    Returns:
        One line of printable text that encodes to UTF-8.
    """
    whole = text if isinstance(text, str) else str(text)
    out: list[str] = []
    marks = 0
    for char in whole[:limit]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS:
            continue
        out.append(_visible(char) if category in _INVISIBLE or ord(char) & 0xFFFE == 0xFFFE else char)
    if len(whole) > limit:
        out.append(f"… (+{len(whole) - limit:,} characters)")
    return "".join(out)


def brief(text: object, limit: int) -> str:
    """Like `clean`, for places where a few words must do: at most `limit` characters, the last one "…" if cut."""
    shown = clean(text, limit)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def prose(text: object, limit: int = 4 * LIMIT) -> str:
    """Like `clean`, for sentences: runs of blanks and line ends become one space."""
    return clean(" ".join(str(text).split()), limit)


def plain(text: object, limit: int = LIMIT) -> str:
    """Like `prose`, for output that a CI runner reads: "::error" and "##[error]" no longer look like its commands."""
    return _COMMAND.sub(r"\g<0> ", prose(text, limit))


def shell(word: str) -> str:
    """A word of a command line, so that what any view shows of it can be pasted into bash.

    Views change letters that are invisible or that mean something to a CI runner. A word that has any is written in
    bash's $'...' form, which has none.
    """
    quoted = shlex.quote(word)
    if plain(quoted, len(quoted)) == quoted:
        return quoted
    return "$'" + "".join(_escaped(char) for char in word) + "'"


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message, "; did you mean NAME?", where a known name is close to what was written; else ""."""
    close = nearest(name, known)
    return f"; did you mean {close}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that is close to what was written, whatever its case; None where none is."""
    names = sorted(known)
    by_small = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name, names, n=1)
    return close[0] if close else next(map(by_small.get, difflib.get_close_matches(name.lower(), by_small, n=1)), None)


def _escaped(char: str) -> str:
    code = ord(char)
    if char.isascii() and (char.isalnum() or char in "/._-"):
        return char
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _visible(char: str) -> str:
    return "↵" if char == "\n" else f"[U+{ord(char):04X}]"


def number(value: object) -> str:
    """A scalar for people: 16000000 -> "16,000,000", 1.23456789 -> "1.23457", None -> "none"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # A huge integer costs quadratic time to print, and Python refuses above 4,300 digits.
        return f"{value:,}" if value.bit_length() <= 128 else f"an integer of {value.bit_length():,} bits"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if 1e5 <= abs(value) < 1e15:
            return f"{value:,.2f}".removesuffix(".00")
        # 1.0000021 must not read as 1.
        near_integer = round(value) != 0 and abs(value - round(value)) < 1e-4
        digits = f"{value:.10g}" if near_integer else f"{value:.6g}"
        return digits.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return clean(value)


def bpb(value: float) -> str:
    """Bits per byte with the four decimals that the contest reports; more where four would show 0.0000."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"


def label(name: object) -> str:
    """A field's name for people: "val_bpb" -> "val BPB"."""
    words = clean(name, 120).replace("_", " ").split()
    return " ".join(_WORDS.get(word.lower(), word) for word in words)


def finite(value: object) -> float | None:
    """The number that a claim or a figure means: numbers and numeric strings; None for NaN, infinity and the rest."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def real(value: object) -> float:
    """Like `finite`, where there is nothing to show without a number.

    Raises:
        ValueError: it is not a finite number.
    """
    result = finite(value)
    if result is None:
        raise ValueError("not a finite number")
    return result
