"""No pattern of the harness that meets a stranger's text can be made to work much harder than the text is long."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.batch import repository
from harness.files import MOST_BYTES, MOST_FILE_BYTES
from harness.papers import data_split, reading
from harness.scripts import opening, scale
from harness.scripts.settings import dumps
from harness.scripts.trace import lines
from tests.patterns.hostile import WAYS, grows

HOUSE = Path(harness.__file__).parent
#: What runs in a box meets its own text only.
IN_THE_BOX = ("harness.kit", "harness.scripts.inside")
#: Calls of `re` whose pattern is no constant; what is put together is an escaped name, a number or a table of ours.
PUT_TOGETHER = {
    "gate/conform.py": 1,  # from gate.schema.json, our own
    "papers/claims.py": 1,
    "papers/metadata.py": 1,
    "scripts/lengthened.py": 1,  # names of settings, as in scale
    "scripts/play/running.py": 1,  # names of packages, our own
    "scripts/scale.py": 1,
    "scripts/trace/lines.py": 1,
}


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Every compiled pattern that a module of the trusted side holds, in tuples, lists and tables too."""
    seen: set[int] = set()
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if module.name.startswith(IN_THE_BOX) or module.name.endswith("__main__"):
            continue
        pending = [(f"{module.name}.{key}", value) for key, value in vars(importlib.import_module(module.name)).items()]
        while pending:
            name, value = pending.pop()
            if isinstance(value, re.Pattern) and id(value) not in seen:
                seen.add(id(value))
                yield name, value
            elif isinstance(value, tuple | list):
                pending += [(f"{name}[{index}]", one) for index, one in enumerate(value)]
            elif isinstance(value, dict):
                pending += [(f"{name}[{key!r}]", one) for key, one in value.items()]


def written() -> Iterator[tuple[str, str, str]]:
    """(file, function, pattern or "") of every call of `re` that brings its own pattern."""
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        if name.startswith(("kit/", "scripts/inside/")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)):
                continue
            assert isinstance(node, ast.Call)
            if called.value.id == "re" and called.attr not in ("compile", "escape") and node.args:
                first = node.args[0]
                constant = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
                yield name, called.attr, constant


FOUND = dict(patterns())
INLINE = sorted({(name, how, text) for name, how, text in written() if text})


def test_they_are_found() -> None:
    assert len(FOUND) > 60 and len(INLINE) > 15
    assert {"harness.folder._HARNESS", "harness.papers.logs.METRIC", "harness.git._OBJECT"} <= FOUND.keys()


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_compiled_pattern_works_much_harder_than_its_text_is_long(name: str) -> None:
    assert grows(FOUND[name]) is None


@pytest.mark.parametrize(("file", "how", "text"), INLINE)
def test_no_pattern_in_a_call_does_either(file: str, how: str, text: str) -> None:
    ways = [how] if how in WAYS else ["findall"]  # sub, split and finditer go through a text as findall does
    assert grows(re.compile(text), ways) is None and grows(re.compile(text, re.I), ways) is None


def test_what_is_put_together_is_known() -> None:
    assert Counter(name for name, _, text in written() if not text) == PUT_TOGETHER


#: Patterns that the harness had, and others of their kind.
OFFENDERS = [
    r"^(?:\w+:)?\s*(?:[a-z]\w*[:=][^\s{}\"']+)(?:[\s,]+[a-z]\w*[:=][^\s{}\"']+)*\s*$",
    r"(?m)^\s*(?:from|import)\s+harness\b",
    r"(?:torchrun|python3?)\b[^\n]*?([\w./\-]+\.py)\b",
    r"loss\s*[:=]?\s*([0-9]+)",
    r"\d+/\d+",
    r"(a|aa)+$",
    r"(\w+\s?)*;",
    r"\b(?:ln|cp)\b.*\bfineweb_val",
]


@pytest.mark.parametrize("text", OFFENDERS)
def test_offenders_are_seen(text: str) -> None:
    assert grows(re.compile(text)) is not None


@pytest.mark.parametrize("text", [r"\d/\d", r"^[a-z]+$", r"(?<!\w)[a-z]\w*+=", r"loss\s*+(?:[:=]\s*+)?([0-9]+)", "abc"])
def test_clean_neighbours_are_not(text: str) -> None:
    assert grows(re.compile(text)) is None


LOG = "a=b" + ",a=b" * 200_000 + "{"


def test_long_hostile_lines_are_read_to_their_end() -> None:
    """Each of these took minutes, or for ever."""
    assert not dumps._is_pairs(LOG) and dumps._is_pairs(LOG[:-1])
    assert list(opening._run("python " * 100_000 + "\n" + "python3 " + "a.b" * 100_000)) == []
    assert lines.read("val_loss" + " " * 200_000 + "x", 0) is None and lines.tidy("x" * 200_000) == "x" * 200_000
    assert not data_split._renamed("ln " * 100_000 + "fineweb_val_ " * 10_000)
    assert repository.parse("a@" * 100_000) is None
    assert scale._shortest("".join(f"batch{n} = 1\n" for n in range(20_000)), 1000, 64) == 64


def test_what_they_read_is_the_same_as_before() -> None:
    for text, said in {
        "seed:1337 lr=0.1": True, "model: a=1,b=2 c:3": True, "a=1 ,b=2": True, "a=1 , b=2": True, "a=1 ,": False,
        "": False, "A=1": False, "a=": False, "a=1 b": False, "a={x}": False, "cfg:a=1": True, "x a=1": False,
    }.items():  # fmt: skip
        assert dumps._is_pairs(text) is said, text
    script = "run `torchrun --nproc 8 x/train_gpt.py --a b.py` then python3 -u eval.py.\npython pyx; python a.pyx b.py"
    assert list(opening._run(script)) == ["x/train_gpt.py", "eval.py", "b.py"]
    assert data_split._renamed("ln -s data/fineweb_val_000000.bin data/fineweb_train_000080.bin")
    assert not data_split._renamed("ln -s data/fineweb_train_0.bin data/fineweb_val_0.bin")
    assert lines.tidy("no /tmp/golf-box-a1_b/scratch/x here") == "no scratch/x here"
    for name, said in {"seed42.txt": True, "a/train_1.txt": True, "notes.txt": False, "x_log1.txt": True,
                       "log/notes.txt": False, "x.log.txt": True, "mylog.txt": False}.items():  # fmt: skip
        assert opening._is_called_log(name) is said, name


def test_sizes_have_bounds() -> None:
    assert reading.LONGEST <= 20_000 and reading.MOST_BYTES <= MOST_FILE_BYTES <= MOST_BYTES <= 1 << 30
