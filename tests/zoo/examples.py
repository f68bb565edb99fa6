"""The code that `harness explain` shows of each class, as data: `python -m tests.zoo.examples`.

Each is one of the zoo's files with the marks of its two sides, and what the checks were observed to say of both.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from harness.audit import violations
from tests.attacks import suite
from tests.attacks import table as attacks
from tests.zoo import observed
from tests.zoo.hand import HAND
from tests.zoo.runner import HERE, SIDES

ROOT = HERE.parent.parent
FILE = ROOT / "harness" / "audit" / "examples.toml"
GALLERY = ROOT / "tests" / "library" / "gallery.py"

#: Leak and twin of the gallery whose functions are shown, by the name of the leak's.
SHOWN = {"own_block_mean": ("block_before", "the mean of a token's block in its own row; or of the block before")}
HEAD = """# The smallest code of each class of violations, and its mended twin. Made from the tests' own files by
# `python -m tests.zoo.examples`, and by nobody's hand: change it there.
"""


def animal(name: str) -> dict[str, object]:
    """An animal of the zoo."""
    (case,) = [case for case in observed.all_cases() if case.animal == name]
    kept = observed.load()["animals"][name]
    return {
        "file": f"tests/zoo/animals/{name}.py",
        "says": observed.summary(case),
        "note": case.note,
        **code(HERE / "animals" / f"{name}.py"),
        "caught": said(kept["offender"]),
        "beside": said(kept["neighbour"]),
        "seen": observed.smallest(kept["offender"]).replace("–", ""),
    }


def exhibit(name: str) -> dict[str, object]:
    """What is judged by files, clocks, numbers and papers."""
    (case,) = [case for case in HAND if case.name == name]
    kept = observed.load()["hand"][name]
    return {
        "file": case.file.relative_to(ROOT).as_posix(),
        "says": case.what,
        **code(case.file),
        "caught": said({"1": kept["offender"]}, case.check),
        "beside": said({"1": kept["neighbour"]}, case.check),
    }


def attack(name: str) -> dict[str, object]:
    """An attack on the referee that is an honest mistake as well."""
    made = suite.Attack.read(name)
    (played, *_) = attacks.results(attacks.load(), made)
    return {
        "file": f"tests/attacks/cases/{name}.py",
        "says": made.what,
        **code(suite.CASES / f"{name}.py"),
        "caught": [f"{check} {status}" for check, status in played.caught.items()],
        "seen": f"{played.gain:.3f} nats per token won",
    }


def shown(name: str) -> dict[str, object]:
    """Two functions of the library's gallery, and what both call."""
    twin, says = SHOWN[name]
    text = GALLERY.read_text()
    made = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}

    def marked(function: str, side: str) -> list[str]:
        lines = (ast.get_source_segment(text, made[function]) or "").splitlines()
        return ["", "", *(f"{line}  # {side}" if side else line for line in lines)]

    lines = [*marked("blocks", "")[2:], *marked(name, SIDES[0]), *marked(twin, SIDES[1])[2:]]
    return {
        "file": GALLERY.relative_to(ROOT).as_posix(),
        "says": says[0].upper() + says[1:] + ".",
        "code": "\n".join(lines) + "\n",
        "caught": ["causality FAIL"],
    }


def code(file: Path) -> dict[str, object]:
    """A file with its marks but without its first line, which is told apart, and what it takes from the zoo."""
    first, _, rest = file.read_text().partition("\n")
    assert first.startswith(('"""', "# "))
    return {"code": rest.lstrip("\n"), "helpers": helpers(rest)}


def helpers(text: str) -> dict[str, str]:
    """What `from tiny import learn` and the like bring, each with the first line of its documentation."""
    used: dict[str, str] = {}
    tiny = ast.parse((HERE / "tiny.py").read_text())
    known = {node.name: node for node in tiny.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for line in text.splitlines():
        if line.startswith("from tiny import "):
            for name in line.removeprefix("from tiny import ").split(", "):
                doc = ast.get_docstring(known[name]) or "the submission that all of these change: a model of two layers"
                used[name] = doc.splitlines()[0].rstrip(".")
        elif line.startswith("from classes import "):
            used |= dict.fromkeys(line.removeprefix("from classes import ").split(", "), "a table by token id")
    return used


def said(entries: dict[str, observed.Entry], check: str = "") -> list[str]:
    """What the checks said, by seed; of papers the one that is meant, since a bare folder lacks much else."""
    caught = observed.caught(entries)
    found = [] if caught == "nothing" else caught.split(", ")
    return [one for one in found if not check or one.startswith(f"{check} ")]


def made() -> dict[str, dict[str, object]]:
    """All examples that a class names."""
    wanted = dict.fromkeys(name for one in violations.known().values() for name in one.examples)
    animals, hand = {case.animal for case in observed.all_cases()}, {case.name for case in HAND}
    return {
        name: animal(name) if name in animals else exhibit(name) if name in hand
        else shown(name) if name in SHOWN else attack(name)
        for name in sorted(wanted)
    }  # fmt: skip


def render() -> str:
    """The file."""
    lines = [HEAD]
    for name, fields in made().items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in fields.items() if value]
        lines.append("")
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, str) and "\n" in value:
        assert "'''" not in value
        return f"'''\n{value}'''"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    FILE.write_text(render())
