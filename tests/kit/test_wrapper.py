"""Wrapped code runs as what it was made from, is opened by the static unwrapper, and weighs what it is long."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.adapters.weigh import weigh
from harness.kit.wrapper import minified, wrap
from harness.source.unwrap import unwrap
from tests.support import TINY, write_submission

PROGRAM = '''"""A program that shows where it runs."""
from __future__ import annotations
import sys
from dataclasses import dataclass


@dataclass
class Point:
    """Two numbers."""

    x: int  # a comment
    y: int = 2

    def norm(self) -> int:
        """Their sum of squares: "quoted" and \\N{GREEK SMALL LETTER ALPHA}."""
        return self.x**2 + self.y**2


class Empty:
    """Nothing else."""


if __name__ == "__main__":
    print(Point(int(sys.argv[1])).norm(), Empty.__name__, Point.__module__, "\u00e9\u2713", repr("""a
b"""))
'''


@pytest.mark.parametrize("form", ["raw", "xz"])
@pytest.mark.parametrize("minify", [False, True])
def test_it_runs_in_a_plain_python(tmp_path: Path, form, minify) -> None:
    (tmp_path / "plain.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "wrapped.py").write_text(wrap(PROGRAM, form=form, minify=minify), encoding="utf-8")
    said = []
    for name in ("plain.py", "wrapped.py"):
        command = [sys.executable, "-I", "-S", "-X", "utf8", name, "5"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1] == "29 Empty __main__ \u00e9\u2713 'a\\nb'\n"


@pytest.mark.parametrize("form", ["raw", "xz"])
def test_the_unwrapper_reads_it(form) -> None:
    opened = unwrap(wrap(PROGRAM, form=form))
    assert opened.source == PROGRAM and opened.problem is None
    assert [layer.how for layer in opened.layers] == ["exec(lzma(base85))"]
    twice = unwrap(wrap(wrap(PROGRAM), form=form))
    assert twice.source == PROGRAM and len(twice.layers) == 2


def test_it_saves_bytes_and_the_same_code_gives_the_same_bytes() -> None:
    source = Path(wrap.__code__.co_filename).with_name("artifact.py").read_text()
    assert wrap(source) == wrap(source)
    assert len(wrap(source, minify=True)) < len(wrap(source)) < len(wrap(source, form="xz")) < 0.7 * len(source)


def test_minified_code_has_no_prose() -> None:
    small = minified(PROGRAM)
    assert "comment" not in small and "Nothing else" not in small and "Their sum" not in small
    assert minified(small) == small and minified('"""Only this."""') == "\n"


def test_a_wrapped_submission_loads_and_is_weighed_as_shipped(tmp_path: Path) -> None:
    code = wrap(TINY + "\nclass Mine(Tiny):\n    stride = 48\n", minify=True)
    folder = write_submission(tmp_path / "mine", code=code)
    assert weigh(folder, 7).code["shipped"] == len(code.encode())
    ask = (
        "from pathlib import Path; from harness.kit.worker import load_submission;"
        f"print(load_submission(Path({str(folder.path)!r}), 'smoke').stride)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120)
    assert done.stdout == "48\n", done.stderr


@pytest.mark.parametrize("bad", ["def f(:", "x = 1\n\0"])
def test_what_is_no_python_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="wrapper: .*not Python"):
        wrap(bad)
