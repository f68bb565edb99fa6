"""Branches: an instrumented file does what it did, and tells what of it ran."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scripts.inside.branches import Branches
from harness.scripts.trace.branches import ARM, ENTRY, OPERAND, TEST, branches, settle

SOURCE = '''
"""A module with what branches can look like."""
from __future__ import annotations

seen = []


def told(n, limit=3):
    """Its name, lines and values stay."""
    global seen
    if n < 0:
        return "negative"
    kind = "even" if n % 2 == 0 else "odd"
    if 0 < n <= limit and kind:
        seen.append(n)
    elif n == 7 or not limit:
        kind += "!"
    else:
        for i in range(n):
            if i == 2:
                continue
            seen.append(-i)
            if i > limit:
                break
        else:
            kind += "?"
    while n > 10:
        n //= 2
    if (lambda x: x > 5 if x else False)(n):
        kind = kind.upper()
    return kind, n, [x for x in range(n) if x % 2], told.__code__.co_firstlineno
'''


@contextmanager
def watching(**thresholds: float) -> Iterator[Branches]:
    """Instrumented code calls this watcher; names are operands of made.py."""
    made = Branches(lambda: 1, ["made.py"], {f"made.py:{name[1:]}": value for name, value in thresholds.items()})
    names = {TEST: made._test, ARM: made._arm, OPERAND: made._operand, ENTRY: made._entry}
    for name, function in names.items():
        setattr(builtins, name, function)
    try:
        yield made
    finally:
        for name in names:
            delattr(builtins, name)


def _run(code: object, calls: list[tuple[int, int]]) -> tuple[list[object], object]:
    scope: dict[str, object] = {}
    exec(code, scope)  # type: ignore[arg-type]  # noqa: S102  # of this test
    return [scope["told"](*call) for call in calls], scope["seen"]  # type: ignore[operator]


@given(st.lists(st.tuples(st.integers(-3, 40), st.integers(0, 8)), max_size=12))
def test_an_instrumented_file_does_what_it_did(calls: list[tuple[int, int]]) -> None:
    with watching() as watched:
        code = watched.compiled(SOURCE, "made.py", 0)
        assert code is not None
        assert _run(code, calls) == _run(compile(SOURCE, "made.py", "exec"), calls)


def test_it_tells_which_arm_never_ran_and_what_was_compared() -> None:
    known = branches(ast.parse(SOURCE))
    by_text = {ast.unparse(branch.test): branch for branch in known}
    with watching() as watched:
        _run(watched.compiled(SOURCE, "made.py", 0), [(2, 3), (9, 3)])
        facts = watched.told()
    asleep = {row["number"]: row["ran"] for row in facts["branches"]}
    assert asleep[by_text["n < 0"].number] == 2, "the rest of the block ran, the return did not"
    assert by_text["n % 2 == 0"].number not in asleep, "both ran"
    assert asleep[by_text["n > 10"].number] == 0, "the loop was never entered"
    ranges = {row["number"]: (row["low"], row["high"]) for row in facts["operands"]}
    below = by_text["n < 0"]
    assert ranges[below.first] == (2, 9) and ranges[below.first + 1] == (0, 0)


def test_a_threshold_is_another_number_and_nothing_else_is() -> None:
    below = next(one for one in branches(ast.parse(SOURCE)) if ast.unparse(one.test) == "n < 0")
    with watching(**{f"n{below.first + 1}": 5.0}) as watched:
        found, _ = _run(watched.compiled(SOURCE, "made.py", 0), [(4, 3), (5, 3)])
    assert found[0] == "negative" and found[1] != "negative"


@pytest.mark.parametrize("text", ["def broken(:\n", "x = 1\n\0"])
def test_what_cannot_be_parsed_runs_as_it_is(text: str, tmp_path: Path) -> None:
    assert Branches(lambda: 1, ["made.py"], {}).compiled(text, str(tmp_path / "made.py"), 0) is None


def test_constants_and_defaults_get_other_values_and_nothing_else_does() -> None:
    source = "SIZE: int = 1 << 20\nother = 5\n\n\ndef size(a, chunk=4096, *, step=7, plain):\n"
    source += "    return chunk, step, SIZE, other\n"
    tree = settle(ast.parse(source), {(1, "SIZE"): 512, (5, "chunk"): 64, (5, "step"): 2, (2, "SIZE"): 9})
    scope: dict[str, Any] = {}
    exec(compile(tree, "made.py", "exec"), scope)  # noqa: S102  # of this test
    assert scope["size"](0, plain=1) == (64, 2, 512, 5)
