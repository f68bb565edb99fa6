"""Which settings were really submitted: what is asked for now, else log, command, printed label, default.

A submitted run is usually one process; some train first and score what was saved in a second one, a stage of its own.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from harness.errors import UsageError
from harness.scripts.opening import Script
from harness.scripts.settings import switches
from harness.scripts.settings.claimed import Claim
from harness.scripts.settings.commands import Command, Listed, from_markdown, from_shell
from harness.scripts.settings.dumps import Dumped, read_dump
from harness.scripts.settings.reads import Read, find_reads, is_place, same
from harness.source.unwrap import parse

NOTHING_CLAIMED = Claim()

_SECOND = re.compile(r"EVAL_ONLY|ONLY_EVAL|SKIP_TRAIN|TTT_ONLY|LOAD_|_LOAD|RESUME|EXPORT_ONLY|REQUANT")
_OFF = {"", "0", "false", "False", "no", "none", "None"}
_SAID = re.compile(r"^([A-Z][A-Z0-9_]+)=1\b")

Origin = Literal["override", "log", "command", "printed", "default"]


@dataclass(frozen=True)
class Setting:
    """One setting as submitted.

    Attributes:
        name: environment variable or flag.
        value: its text; None where nobody sets it and the script's default is computed.
        default: the script's own.
        origin: who says so; "printed" where only the label of the claimed score does (see `switches`).
        file: where it is said; line likewise. None for an override.
    """

    name: str
    value: str | None
    default: str | None
    origin: Origin
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Conflict:
    """Sources that disagree: (value, where) of each, and the value that is used."""

    name: str
    values: tuple[tuple[str, str], ...]
    used: str


@dataclass(frozen=True)
class Stage:
    """One process of the submitted run; `where` is "file:line" or "" for the plain command."""

    env: dict[str, str]
    argv: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Settings:
    """The submitted settings of a script.

    Attributes:
        values: {name: setting}, in the order of the source.
        reads: what the source reads, with types, defaults and lines.
        stages: the processes of the run: usually one, with nothing of its own.
        conflicts: where log, commands or logs among themselves disagree.
        unread: {name: value} that a command sets and the source never reads.
        constants: {attribute: (value, line)}: sizes and switches that are written into the source.
        notes: choices that were made.
    """

    values: dict[str, Setting]
    reads: tuple[Read, ...]
    stages: tuple[Stage, ...] = (Stage({}),)
    conflicts: tuple[Conflict, ...] = ()
    unread: dict[str, str] | None = None
    constants: dict[str, tuple[str, int]] | None = None
    notes: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """The submitted value of a setting, None if unknown or not set."""
        return self.values[name].value if name in self.values else None

    @property
    def submitted(self) -> dict[str, str]:
        """Settings that differ from the script's default; where a run lies and how it is launched left out."""
        return {
            name: setting.value
            for name, setting in self.values.items()
            if setting.value is not None and not is_place(name) and not name.startswith("-")
            and not same(setting.value, setting.default)
        }  # fmt: skip

    def table(self) -> list[dict[str, str | int | None]]:
        """Plain rows for a report: name, value, default, origin, file, line."""
        return [
            {"name": item.name, "value": item.value, "default": item.default, "origin": item.origin,
             "file": item.file, "line": item.line}
            for item in self.values.values()
        ]  # fmt: skip


def read_settings(
    script: Script, overrides: Mapping[str, str] | None = None, claim: Claim = NOTHING_CLAIMED
) -> Settings:
    """The settings that a script was submitted with.

    Args:
        script: the opened script.
        overrides: {name: value} that is asked for now; wins over everything.
        claim: settings of the logs that show the claimed score come before those of other logs, and what nobody says
            is set as the label of that score needs it.

    Raises:
        UsageError: an override names something that the script never reads.
    """
    trees = tuple(trees_of(script))
    reads = find_reads(trees)
    known = reads.by_name()
    for name in overrides or {}:
        if name not in known:
            near = [other for other in known if name.split("_")[0] in other][:5]
            hint = f"; it reads {', '.join(near)}" if near else ""
            raise UsageError(f"--env {name}: {script.entry} never reads {name}{hint}")
    notes: list[str] = []
    texts = [(name, script.text(name)) for name in script.logs]
    dumps = {name: read_dump(text, name, reads, claim.labels) for name, text in texts}
    dump, others = _chosen_log(dumps.values(), notes, claim.logs)
    commands, listed = _commands(script)
    stages, chosen = _documented(commands, known, notes)
    if len(stages) == 1 and (later := _logged(texts, known, dumps, dump)):
        stages = (*stages, later)
        notes.append(f"the run has two processes: {later.where} goes on from what the first one saved")
    values: dict[str, Setting] = {}
    conflicts: list[Conflict] = []
    for name, read in known.items():
        said = list(_said(name, read, overrides or {}, dump, chosen, listed))
        values[name] = Setting(name, read.default, read.default, "default", read.file or script.entry, read.line)
        if said:
            origin, value, file, line = said[0]
            values[name] = Setting(name, value, read.default, origin, file, line)
        sources = [(text, f"{place}:{row}") for kind, text, place, row in said if kind != "override"]
        sources += [(log.values[name][0], f"{log.file}:{log.values[name][1]}") for log in others if name in log.values]
        distinct = [source for index, source in enumerate(sources)
                    if not any(same(source[0], before[0]) for before in sources[:index])]  # fmt: skip
        if len(distinct) > 1 and name != "SEED" and not is_place(name):
            conflicts.append(Conflict(name, tuple(distinct), str(values[name].value)))
    current = {name: setting.value for name, setting in values.items()}
    told = {name for name, setting in values.items() if setting.origin != "default"}
    for name, switch in switches.implied(trees, known, current, told, claim.labels).items():
        place = switch.file or script.entry
        values[name] = Setting(name, switch.value, known[name].default, "printed", place, switch.line)
        notes.append(f'{name}={switch.value} is concluded: the logs show the score as "{switch.label}", which '
                     f"{place}:{switch.line} prints only then")  # fmt: skip
    unread = {name: value for command in chosen for name, value in command.env.items()
              if name not in known and not is_place(name)}  # fmt: skip
    return Settings(values, reads.reads, stages, tuple(conflicts), unread, reads.constants, tuple(notes))


def trees_of(script: Script) -> Iterator[tuple[str | None, ast.Module]]:
    """The entry, and the side files that it imports, directly or through each other."""
    tree = parse(script.source)
    queue: list[tuple[str | None, ast.Module]] = [(None, tree)] if tree else []
    code = {PurePosixPath(name).with_suffix("").as_posix().replace("/", "."): name
            for name in script.side if name.endswith(".py")}  # fmt: skip
    if script.unwrapped.runs_file and not script.unwrapped.layers:
        code.setdefault("", script.unwrapped.runs_file)
    seen: set[str] = set()
    while queue:
        file, module = queue.pop(0)
        yield file, module
        wanted = set()
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                wanted |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        if file is None and "" in code:
            wanted.add("")
        for name in sorted(wanted & set(code) - seen):
            seen.add(name)
            if code[name] in script.contents and (side := parse(script.text(code[name]))):
                queue.append((code[name], side))


def _chosen_log(
    found: Iterable[Dumped], notes: list[str], claimed: Collection[str]
) -> tuple[Dumped | None, list[Dumped]]:
    """Of the logs that show the claim the one whose settings most share, full dumps first; and the other logs."""
    dumps = [dump for dump in found if dump.values]
    if not dumps:
        return None, []

    def facts(dump: Dumped) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((name, value) for name, (value, _) in dump.values.items()
                            if name != "SEED" and not is_place(name)))  # fmt: skip

    meant = [dump for dump in dumps if dump.file in claimed] or dumps
    counts = Counter(facts(dump) for dump in meant)
    best = min(
        dumps,
        key=lambda dump: (not dump.full, dump not in meant, dump.file.count("/"), -counts[facts(dump)], dump.file),
    )
    others = [dump for dump in dumps if dump is not best and dump.full == best.full
              and dump.file.count("/") == best.file.count("/")]  # fmt: skip
    different = [dump.file for dump in others if facts(dump) != facts(best)]
    if different:
        notes.append(f"{len(different)} of {len(others) + 1} logs show other settings than {best.file}: {different[0]}")
    return best, others


def _commands(script: Script) -> tuple[list[Command], list[Listed]]:
    entry = PurePosixPath(script.entry).name
    commands: list[Command] = []
    listed: list[Listed] = []
    for name in script.readmes:
        if PurePosixPath(name).name.lower().startswith("readme"):
            found, stated = from_markdown(script.text(name), name, entry)
            commands += found
            listed += stated
    for name in script.commands:
        commands += from_shell(script.text(name), name, entry)[0]
    first = min((item.block for item in listed), default=0)
    return commands, [item for item in listed if item.block == first]


def _said(
    name: str,
    read: Read,
    overrides: Mapping[str, str],
    dump: Dumped | None,
    commands: list[Command],
    listed: list[Listed],
) -> Iterator[tuple[Origin, str, str | None, int | None]]:
    """All that is said about one setting, the best source first."""
    if name in overrides:
        yield "override", overrides[name], None, None
    if dump and name in dump.values:
        yield "log", dump.values[name][0], dump.file, dump.values[name][1]
    flagged = False
    for command in commands:
        if name in command.env:
            flagged = True
            yield "command", command.env[name], command.file, command.line
        if read.flag:
            for index, word in enumerate(command.argv):
                if word == name or word.startswith(name + "="):
                    after = command.argv[index + 1] if index + 1 < len(command.argv) else "1"
                    flagged = True
                    yield "command", word.partition("=")[2] or after, command.file, command.line
    if not flagged:
        for item in listed:
            if item.name == name:
                yield "command", item.value, item.file, item.line
                break


def _documented(
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
    rest = [command for command in training[1:] if _told(command) != _told(first)]
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


def _told(command: Command) -> dict[str, str]:
    return {name: value for name, value in command.env.items() if name != "SEED" and not is_place(name)}


def _logged(
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
