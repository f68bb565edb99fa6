"""Paths and modules that are kept as text lead somewhere: whoever moves a file learns here who else named it."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [
    *(ROOT / name for name in ("Makefile", "action.yml", "pyproject.toml", ".pre-commit-hooks.yaml", ".gitignore")),
    *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.yml"),
    *(path for path in ROOT.glob(".ci/*") if path.is_file()),
    *ROOT.glob("benchmarks/*.py"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("reports/*.py"),
    *ROOT.glob("harness/**/*.py"),
]  # fmt: skip
#: Files that are not there, because CONTRIBUTING shows how they would be made.
MADE = ("harness/audit/evenness.py", "harness/report/line.py")
#: A path from the root of the repository.
_PATH = re.compile(r"(?<![\w./{}-])(?:harness|tests|docs|benchmarks|\.github|\.ci)/(?:[\w./*-]*[\w*])?")


def named(text: str) -> Iterator[str]:
    """Paths of this repository that a text names, with * for NAME."""
    for found in _PATH.findall(text):
        yield found.replace("NAME", "*")


def exists(name: str) -> bool:
    """Whether a path, or any that a pattern stands for, is in the repository."""
    return bool(next(iter(ROOT.glob(name)), None)) if "*" in name else (ROOT / name).exists()


def modules(tree: ast.AST) -> Iterator[str]:
    """Text constants of a module's code that are the name of a module of the house or a file below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"harness(\.[a-z_]\w*)+|[a-z]\w*(/\w+)+\.(py|json|toml)", node.value):
                yield node.value


def leads_somewhere(name: str) -> bool:
    """Whether there is such a module, or such a file below the package."""
    return (ROOT / "harness" / name).is_file() if "/" in name else importlib.util.find_spec(name) is not None


def test_every_path_in_a_text_leads_somewhere() -> None:
    found = [(path.relative_to(ROOT).as_posix(), name) for path in TEXTS for name in named(path.read_text())]
    assert len(found) > 100 and (".github/workflows/gate-comment.yml", "harness/gate/comment.py") in found
    assert {(file, name) for file, name in found if not exists(name)} == {
        *(("CONTRIBUTING.md", name) for name in MADE),
        ("pyproject.toml", "harness/examples"),  # where the wheel puts submissions/
    }


def test_every_module_that_is_named_by_text_is_there() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in ROOT.glob("harness/**/*.py")
        for name in modules(ast.parse(path.read_text()))
    }
    assert {name for _, name in found} >= {"harness.kit.worker", "harness.scripts.inside.worker", "gate/run.py"}
    assert not {(file, name) for file, name in found if not leads_somewhere(name)}


def test_a_lost_path_is_noticed() -> None:
    text = (
        "see `harness/cli/run.py`, docs/*.md, tests/gone.py and harness/cli_run.py; not x/harness/y.py or harness.cli"
    )
    assert [name for name in named(text) if not exists(name)] == ["tests/gone.py", "harness/cli_run.py"]
    tree = ast.parse('A = "harness.cli_run"\nB = "harness.cli.run"\nC = "gate/gone.py"\nD = "train_gpt.py"')
    assert [name for name in modules(tree) if not leads_somewhere(name)] == ["harness.cli_run", "gate/gone.py"]


def test_every_document_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "index.md").read_text()))
    assert linked == {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}


def walked(text: str) -> list[str]:
    """Modules that a walk through the code names below the package, as in `scripts/collect.py: gather`."""
    return re.findall(r"`((?!harness/|tests/|docs/)[a-z]\w*(?:/\w+)+\.py)\b", text)


def test_every_module_on_the_walks_is_there() -> None:
    names = walked((ROOT / "ARCHITECTURE.md").read_text())
    assert len(names) > 20 and "scripts/collect.py" in names
    assert [name for name in names if not leads_somewhere(name)] == []
    assert walked("`scripts/gone.py: gather`, `harness/cli/run.py` and `audit.judge`") == ["scripts/gone.py"]
