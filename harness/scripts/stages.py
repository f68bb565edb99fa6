"""The processes of a submitted run: usually one; some train first and score what was saved in a second one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.scripts.commands import Command
from harness.scripts.dumps import Dumped, same
from harness.scripts.places import is_place
from harness.scripts.reads import Read

_SECOND = re.compile(r"EVAL_ONLY|ONLY_EVAL|SKIP_TRAIN|TTT_ONLY|LOAD_|_LOAD|RESUME|EXPORT_ONLY|REQUANT")
_OFF = {"", "0", "false", "False", "no", "none", "None"}
_SAID = re.compile(r"^([A-Z][A-Z0-9_]+)=1\b")


@dataclass(frozen=True)
class Stage:
    """One process of the submitted run; `where` is "file:line" or "" for the plain command."""

    env: dict[str, str]
    argv: tuple[str, ...] = ()
    where: str = ""


def documented(
    commands: list[Command], known: Mapping[str, Read], notes: list[str]
) -> tuple[tuple[Stage, ...], list[Command]]:
    """The processes of a run: the first command that trains, and what loads its result after it.

    Args:
        commands: all commands that run the script.
        known: the settings that it reads.
        notes: gets a sentence for each choice.

    Returns:
        The stages, and the command whose settings count.
    """
    if not commands:
        return (Stage({}),), []

    def second(command: Command) -> bool:
        return any(_SECOND.search(name) and name in known and value not in _OFF
                   and not same(value, known[name].default) for name, value in command.env.items())  # fmt: skip

    training = [command for command in commands if not second(command)]
    if not training:
        return (Stage({}, commands[0].argv, f"{commands[0].file}:{commands[0].line}"),), commands[:1]
    first = training[0]
    rest = [command for command in training[1:] if _facts(command) != _facts(first)]
    if rest:
        notes.append(f"the command at {first.file}:{first.line} is taken; {len(rest)} more differ from it, "
                     f"the first at {rest[0].file}:{rest[0].line}")  # fmt: skip
    if not first.whole:
        notes.append(f"the command at {first.file}:{first.line} uses shell variables that are not set there")
    later = [command for command in commands if command.file == first.file and command.block == first.block
             and command.line > first.line and second(command)]  # fmt: skip
    stages = [Stage({}, first.argv, f"{first.file}:{first.line}")]
    for command in later[:1]:
        own = {name: value for name, value in command.env.items()
               if name in known and first.env.get(name) != value and not is_place(name)}  # fmt: skip
        if own:
            stages.append(Stage(own, command.argv, f"{command.file}:{command.line}"))
    if len(stages) > 1:
        notes.append(f"the run has two processes: {stages[1].where} goes on from what the first one saved")
    return tuple(stages), [first]


def _facts(command: Command) -> dict[str, str]:
    return {name: value for name, value in command.env.items() if name != "SEED" and not is_place(name)}


def logged(
    texts: Iterable[tuple[str, str]], known: Mapping[str, Read], dumps: Mapping[str, Dumped], first: Dumped | None
) -> Stage | None:
    """A second process that only a log tells of: one of its lines says that it skips training.

    Args:
        texts: (name, text) of the logs.
        known: the settings that the script reads.
        dumps: {name: what the log says of its settings}.
        first: the log of the first process.
    """
    for file, text in texts:
        if first is None or file == first.file:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            said = _SAID.match(line)
            if said is None or said[1] not in known or not _SECOND.search(said[1]):
                continue
            own = {name: value for name, (value, _) in dumps[file].values.items() if name in first.values
                   and not same(value, first.values[name][0]) and not is_place(name) and name != "SEED"}  # fmt: skip
            return Stage({**own, said[1]: known[said[1]].yes}, (), f"{file}:{number}")
    return None
