"""What a shell offers after Tab: submissions, checks, rulesets and data, besides the options that click knows itself.

Nothing here may fail or print: a completion that does not know better leaves it to the shell, which knows files.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

#: The variable by which a shell asks `harness` for completions, as click calls it.
VARIABLE = "_HARNESS_COMPLETE"
#: How a submission that ships with the harness is named on the command line.
EXAMPLE = "example:"
_PLAIN = re.compile(r"\w[\w.,:+/-]*")
Items = list[CompletionItem[Any]]


def named(known: Mapping[str, str], incomplete: str) -> Items:
    """What begins as it was written, but for names that would mean something to a shell, as a stranger's may.

    What is offered here is put into the command line as it is, whereas a shell quotes what it finds itself.
    """
    return [
        CompletionItem(name, help=said or None)
        for name, said in known.items()
        if name.startswith(incomplete) and _PLAIN.fullmatch(name)
    ]


def checks(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Ids of checks, comma-separated; a script has some of its own, which `harness run` does not make."""
    from harness.audit.check import SCORE
    from harness.audit.checks import CHECKS
    from harness.scripts.checks import judging

    before, comma, last = incomplete.rpartition(",")
    known = dict.fromkeys([*CHECKS, *([] if ctx.info_name == "run" else judging.CHECKS)])
    alone = [] if comma else ["all", SCORE]
    left = [*alone, *(name for name in known if name not in before.split(","))]
    return named({f"{before}{comma}{name}": _asks(name) for name in left}, incomplete)


def rulesets(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Names of rulesets, or a file of one's own."""
    from harness import rules

    return named(dict.fromkeys(rules.available(), ""), incomplete) or _left_to_the_shell(incomplete)


def data(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """What ships, or a file or folder."""
    known = {"commons": "ships with the harness", "stdlib": "docstrings of this Python", "fineweb:sp1024": "downloaded"}
    return named(known, incomplete) or _left_to_the_shell(incomplete)


def submissions(incomplete: str) -> Items:
    """Folders under submissions/, those that ship with the harness, or any file or folder."""
    from harness.environment import examples

    found = named(dict.fromkeys(_folders(Path("submissions")), ""), incomplete)
    home = examples()
    shipped = sorted(one.parent.name for one in home.glob("*/submission.py")) if home else []
    found += named({f"{EXAMPLE}{name}": "ships with the harness" for name in shipped}, incomplete)
    return found or _left_to_the_shell(incomplete)


def folders(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Folders under submissions/ or of the contest's records, or any folder."""
    places = [Path("submissions"), *sorted(Path("records").glob("track_*"))]
    found = named(dict.fromkeys((name for place in places for name in _folders(place)), ""), incomplete)
    return found or _left_to_the_shell(incomplete, "dir")


def examples_alone(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Names of submissions that ship with the harness."""
    return [
        CompletionItem(one.value.removeprefix(EXAMPLE), help=one.help)
        for one in submissions(EXAMPLE + incomplete)
        if one.value.startswith(EXAMPLE) and one.type == "plain"
    ]


def findings(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Findings of the record that was named before that have a witness; all checks where there is no such record."""
    from harness.audit.check import REGISTRY
    from harness.record import Record

    names: Iterable[str] = REGISTRY
    with contextlib.suppress(Exception):  # whatever is wrong with it, `harness replay` will say
        names = [one.id for one in Record.load(Path(ctx.params["record"])).findings if one.witness]
    return named({name: _asks(name) for name in names}, incomplete)


def register() -> None:
    """Have bash complete names with a colon in them."""
    add_completion_class(_Bash)


class _Bash(BashComplete):
    """Bash ends a word at ":", so that `example:NAME` comes as three words, and only the last is replaced."""

    _cut = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words = _joined([*args, incomplete])
        colon = ":" in (incomplete, *args[-1:])
        self._cut = words[-1][: words[-1].rfind(":") + 1] if colon else ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        shown = CompletionItem(str(item.value).removeprefix(self._cut), type=item.type)
        return super().format_completion(shown)


def _joined(words: list[str]) -> list[str]:
    """Words that bash has cut at colons, put together again."""
    found: list[str] = []
    for word in words:
        if found and (word == ":" or found[-1].endswith(":")):
            found[-1] += word
        else:
            found.append(word)
    return found


def _left_to_the_shell(incomplete: str, kind: str = "file") -> Items:
    return [CompletionItem(incomplete, type=kind)]


def _folders(parent: Path) -> list[str]:
    found = [one for one in parent.glob("*") if one.is_dir() and not one.name.startswith((".", "_"))]
    return sorted(one.as_posix() for one in found)


def _asks(name: str) -> str:
    """What a check asks, in a sentence."""
    from harness.audit.check import REGISTRY

    return REGISTRY[name].asks if name in REGISTRY else ""
