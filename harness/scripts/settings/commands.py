"""The commands that a submission says it was run with: README code blocks and shell scripts, read, never run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_ASSIGNED = re.compile(r"\A([A-Za-z_][A-Za-z0-9_]*+)=(.*)$", re.S)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?[-=]([^}]{0,200}))?\}|(\w+))")
_RUNNERS = re.compile(r"(torchrun|python[\d.]*|accelerate|uv|srun|modal)$")
_KEYWORDS = {"do", "then", "else", "time", "exec", "nohup", "env", "sudo", "!", "{", "("}


@dataclass(frozen=True)
class Command:
    """One command that runs the script.

    Attributes:
        env: what it sets, after substitution.
        argv: what follows the script's name.
        file: where it stands; likewise line and block (a number for the code block).
        whole: whether the variables of the surrounding shell were all known.
    """

    env: dict[str, str]
    argv: tuple[str, ...]
    file: str
    line: int
    block: int
    whole: bool = True


@dataclass(frozen=True)
class Listed:
    """NAME=VALUE in a code block that runs nothing: a configuration that is only stated."""

    name: str
    value: str
    file: str
    line: int
    block: int


def from_markdown(text: str, file: str, entry: str) -> tuple[list[Command], list[Listed]]:
    """Commands and stated settings in the fenced code blocks of a README."""
    commands: list[Command] = []
    listed: list[Listed] = []
    for number, (start, block) in enumerate(_blocks(text)):
        found, stated = from_shell(block.replace("\\_", "_"), file, entry, start=start, block=number)
        commands += found
        listed += stated
    return commands, listed


def from_shell(
    text: str, file: str, entry: str, *, start: int = 1, block: int = 0
) -> tuple[list[Command], list[Listed]]:
    """Commands and assignments in shell text.

    Args:
        text: the text.
        file: its name, for the origin.
        entry: file name of the script whose commands are wanted.
        start: line of the file at which the text begins.
        block: number of the code block.
    """
    shell: dict[str, str] = {}
    exported: dict[str, str] = {}
    commands: list[Command] = []
    listed: list[Listed] = []
    for line, words in _lines(text, start):
        words, missing = list(words), False
        if words[:1] == ["for"] and "in" in words[:3]:
            shell[words[1]] = words[3] if len(words) > 3 else ""
            continue
        exporting = words[0] in ("export", "declare", "set")
        if exporting:
            words = words[1:]
        env: dict[str, str] = {}
        while words:
            word = words[0]
            assigned = _ASSIGNED.match(word)
            if word in _KEYWORDS or (exporting and word.startswith("-")):
                words = words[1:]
            elif assigned:
                value, known = _substituted(assigned[2], {**shell, **exported, **env})
                if known:
                    env[assigned[1]] = value
                missing |= not known
                words = words[1:]
            else:
                break
        here = [index for index, word in enumerate(words) if PurePosixPath(word).name == entry]
        runs = bool(words) and _RUNNERS.search(words[0]) is not None
        if exporting:
            exported.update(env)
        elif not words:
            shell.update(env)
            listed += [Listed(name, value, file, line, block) for name, value in env.items()]
        elif here and (runs or here[0] == 0):
            argv = []
            for word in words[here[0] + 1 :]:
                if word in (">", ">>", "2>&1", "|", "&", "2>", "&>", "tee", "||"):
                    break
                argv.append(_substituted(word, {**shell, **exported})[0])
            commands.append(Command({**exported, **env}, tuple(argv), file, line, block, not missing))
    return commands, listed


def _blocks(text: str) -> Iterable[tuple[int, str]]:
    """(first line, text) of every fenced block."""
    lines, start, fence = text.splitlines(), 0, ""
    for number, line in enumerate(lines, 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if not fence and mark:
            fence, start = mark[1], number + 1
        elif fence and mark and mark[1].startswith(fence[:3]):
            yield start, "\n".join(lines[start - 1 : number - 1])
            fence = ""


def _lines(text: str, start: int) -> Iterable[tuple[int, list[str]]]:
    """(line number, words) of every simple command; continued lines are joined, separators cut."""
    joined: list[tuple[int, str]] = []
    pending, begun = "", start
    for number, line in enumerate(text.splitlines(), start):
        stripped = line.strip()
        if not pending:
            begun = number
        if stripped.startswith("#"):
            continue
        stripped = re.sub(r"^[$%]\s+", "", stripped)
        if stripped.endswith("\\"):
            pending += stripped.rstrip("\\") + " "
            continue
        joined.append((begun, pending + stripped))
        pending = ""
    joined.append((begun, pending))
    for number, line in joined:
        for piece in re.split(r"&&|;(?![^{]{0,200}\})", line):
            try:
                words = shlex.split(piece, comments=True)
            except ValueError:
                words = piece.split()
            if words:
                yield number, words


def _substituted(text: str, known: dict[str, str]) -> tuple[str, bool]:
    """The text with its variables filled in, and whether all were known."""
    complete = True

    def fill(match: re.Match[str]) -> str:
        nonlocal complete
        name = match[1] or match[3]
        if name in known:
            return known[name]
        if match[2] is not None:
            return match[2]
        complete = False
        return match[0]

    filled = _VARIABLE.sub(fill, text)
    return filled, complete and "$" not in filled and "`" not in filled
