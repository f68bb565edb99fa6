"""Options that one repeats, from a file: `[tool.harness]` in pyproject.toml, or harness.toml; the command line wins.

The nearest such file counts, from the working folder upwards to the repository's root. At its top stand options that
several commands share, in a table that is called like a command any of that command's. A file may lie in a stranger's
checkout, so what was taken from it is said on stderr, it cannot open the sandbox, and `gate` reads none.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.errors import UsageError
from harness.text import meant, prose

__all__ = ["NONE", "VARIABLE", "defaults", "find"]

#: The variable that names a file to read instead, or `NONE` for none.
VARIABLE, NONE = "HARNESS_CONFIG", "none"
_PROGRAM = "harness"
_NAMES = (f"{_PROGRAM}.toml", "pyproject.toml")
_CLOSED = ("sandbox", "no-sandbox")
_WITHOUT = ("gate",)
_MOST_BYTES = 1 << 20


def find(start: Path) -> tuple[Path, dict[str, Any]] | None:
    """The nearest file with options, from a folder upwards, and what it says; None where there is none.

    Raises:
        UsageError: one is not TOML.
    """
    for folder in (start, *start.parents):
        for name in _NAMES:
            if (folder / name).is_file() and (said := read(folder / name)) is not None:
                return folder / name, said
        if (folder / ".git").exists():
            return None
    return None


def read(file: Path) -> dict[str, Any] | None:
    """What a file says of the harness; None for a pyproject.toml that does not speak of it.

    Raises:
        UsageError: it is not there, or is not TOML.
    """
    try:
        with file.open("rb") as opened:
            data = tomllib.loads(opened.read(_MOST_BYTES).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if file.name == "pyproject.toml" and file.is_file():
            return None  # its own tools say what is wrong with it
        raise UsageError(f"cannot read options from {os.path.relpath(file)}: {prose(error, 200)}") from None
    if file.name != "pyproject.toml":
        return data
    tool = data.get("tool")
    said = tool.get(_PROGRAM) if isinstance(tool, dict) else None
    return said if isinstance(said, dict) else None


def defaults(
    file: Path, said: Mapping[str, Any], command: click.Command, commands: Mapping[str, str]
) -> dict[str, Any]:
    """Values for a command's parameters, by their names in it.

    Args:
        file: where they are from; paths in it are relative to its folder.
        said: what it says.
        command: that is about to run.
        commands: all that there are.

    Raises:
        UsageError: a name is not known, is not for a file to say, or a value does not fit; the file is named.
    """
    name = str(command.name)
    if name in _WITHOUT:
        return {}
    own = {
        option.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    table = said.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{file}: {name} is a command; give its options as a table [{name}]")
    found = {}
    for key, value in said.items():
        if key in commands and isinstance(value, dict):
            continue
        if key not in own and key not in _shared():
            known = [*own, *_shared(), *commands]
            raise UsageError(f"{file}: no option {key!r} that several commands share{meant(key, known)}")
        if key in own:
            found[str(own[key].name)] = _value(file, key, value, own[key])
        elif key in _CLOSED:
            _closed(file, key)
    for key, value in table.items():
        if key not in own:
            raise UsageError(f"{file}: `harness {name}` has no option {key!r}{meant(key, own)}")
        found[str(own[key].name)] = _value(file, key, value, own[key])
    return found


def _closed(file: Path, key: str) -> None:
    raise UsageError(f"{file}: {key} is for the command line alone; a file may be a stranger's")


def _value(file: Path, key: str, value: Any, option: click.Option) -> Any:
    if key in _CLOSED:
        _closed(file, key)
    texts = [str(one) if not isinstance(one, bool) else one for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        raise UsageError(f"{file}: {key} takes one value")
    if option.is_bool_flag != isinstance(value, bool):
        raise UsageError(
            f"{file}: {key} takes {'true or false' if option.is_bool_flag else 'a value, no true or false'}"
        )
    here = [_placed(file.parent, one, option) for one in texts]
    try:
        for one in here:
            option.type.convert(one, option, None)
    except click.BadParameter as error:
        raise UsageError(f"{file}: {key}: {error.message}") from None
    return here if option.multiple else here[0]


def _placed(folder: Path, value: Any, option: click.Option) -> Any:
    """A path relative to the file's folder; a text that may be one, where there is such a file."""
    if not isinstance(value, str) or os.path.isabs(value):
        return value
    where = os.path.relpath(folder / value)
    may = isinstance(option.type, click.types.StringParamType) and "/" in value
    return where if isinstance(option.type, click.Path) or (may and os.path.exists(where)) else value


def _shared() -> list[str]:
    """Names of the options that several commands share."""
    from harness.cli import options

    groups = [one for one in vars(options).values() if dataclasses.is_dataclass(one) and isinstance(one, type)]
    fields = [field for group in groups for field in dataclasses.fields(group) if "option" in field.metadata]
    names = [name for field in fields for name in field.metadata["option"][0]]
    return [name.removeprefix("--") for name in dict.fromkeys(names) if name.startswith("--")]
