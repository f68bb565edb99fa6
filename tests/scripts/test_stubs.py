"""Wrappers that reading does not open: their stubs are run in the box, and what they show is audited."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.gate.stages import static
from harness.record import Status
from harness.scripts import stubs
from harness.scripts.opening import Script, open_script
from tests.scripts.audits import SCRIPT, audit, write_script

PLAIN = "import torch\nprint('val_loss', 'val_bpb', torch.ones(3).sum())\n"


def xored(code: str) -> str:
    """A definition of T, the text, that takes running a loop."""
    return f"T = bytes(b ^ 90 for b in {bytes(b ^ 90 for b in code.encode())!r})\n"


WRAPPERS: dict[str, Callable[[str], str]] = {
    "a computed text": lambda code: f"{xored(code)}exec(T)\n",
    "compiled under a name": lambda code: f"{xored(code)}F = __file__\nexec(compile(T, F, 'exec'))\n",
    "exec by another name": lambda code: f"import builtins\n{xored(code)}getattr(builtins, 'ex' + 'ec')(T)\n",
    "an own decoder": lambda code: (
        "def unpack(data):\n    out = bytearray()\n    for byte in data:\n        out.append((byte - 3) % 256)\n"
        f"    return bytes(out)\nT = unpack({bytes((b + 3) % 256 for b in code.encode())!r})\n"
        "exec(T, {'__name__': '__main__'})\n"
    ),
    "in a function": lambda code: (
        f"def main():\n    {xored(code)}    exec(T, globals())\nif __name__ == '__main__':\n    main()\n"
    ),
    "behind its own last line": lambda code: (
        "import base64, zlib\nT = open(__file__, 'rb').read().split(b'#' + b'!')[1]\n"
        "exec(zlib.decompress(base64.b64decode(T)))\n"
        f"#!{base64.b64encode(zlib.compress(code.encode())).decode()}"
    ),
    "from a syntax tree": lambda code: f"import ast\n{xored(code)}exec(compile(ast.parse(T), 'x.py', 'exec'))\n",
    "a file that is run": lambda code: (
        f"import runpy, os, tempfile\n{xored(code)}p = os.path.join(tempfile.mkdtemp(), 'x.py')\n"
        "open(p, 'wb').write(T)\nrunpy.run_path(p, run_name='__main__')\n"
    ),
    "a file that is imported": lambda code: f"{xored(code)}open('made_here.py', 'wb').write(T)\nimport made_here\n",
    "a file in a new process": lambda code: (
        f"import subprocess, sys\n{xored(code)}open('made_here.py', 'wb').write(T)\n"
        "sys.exit(subprocess.run([sys.executable, '-u', 'made_here.py']).returncode)\n"
    ),
    "two of them": lambda code: WRAPPERS["a computed text"](WRAPPERS["an own decoder"](code)),
}

TWO_TEXTS = "import {module}\nA, B = {a!r}, {b!r}\nexec({choose})\n"
CLOSED = {
    "it executes nothing": (f"{xored(PLAIN)}S = getattr(T, 'decode')()\n", "executed nothing"),
    "it loops": (f"{xored(PLAIN)}while True:\n    T = T[::-1]\nexec(T)\n", "ended"),
    "two runs, two texts": (
        TWO_TEXTS.format(module="os", a=PLAIN, b=PLAIN + "#", choose="B if os.environ.get('RANK') else A"),
        "different code",
    ),
    "another text with a GPU": (
        TWO_TEXTS.format(module="torch", a=PLAIN, b=PLAIN + "#", choose="[A, B][torch.cuda.is_available()]"),
        "where it runs",
    ),
    "two texts, one after the other": (f"{xored(PLAIN)}for part in (T, T):\n    exec(part)\n", "in a loop"),
    "mapped over two texts": (f"{xored(PLAIN)}list(map(exec, [T, T]))\n", "one text"),
    "one more where it fails": (f"{xored(PLAIN)}try:\n    exec(T)\nexcept Exception:\n    main()\n", "an exception"),
    "compiled code": ("import marshal\nexec(marshal.loads(bytes(b ^ 1 for b in b'x')))\n", "marshal"),
    "it breaks": (f"{xored(PLAIN)}T.no_such_thing()\nexec(T)\n", "AttributeError"),
    "names of its own": (f"import torch\nG = vars(torch)\n{xored(PLAIN)}exec(T, G)\n", "not spelled out"),
    "a process with arguments": (
        f"import subprocess, sys\n{xored(PLAIN)}open('m.py', 'wb').write(T)\n"
        "subprocess.run([sys.executable, 'm.py', '-x'])\n",
        "arguments",
    ),
}  # fmt: skip


def opened(folder: Path, text: str) -> Script:
    """A script that may be run to open it."""
    limits = dataclasses.replace(stubs.LIMITS, cpu_seconds=8.0)
    return open_script(write_script(folder, text), stubs.opener("auto", folder / "logs", limits))


@pytest.mark.parametrize("kind", WRAPPERS)
def test_running_opens_what_reading_does_not(kind: str, tmp_path: Path) -> None:
    text = WRAPPERS[kind](PLAIN)
    read = open_script(write_script(tmp_path, text))
    assert read.unseen is not None and PLAIN not in read.source
    script = opened(tmp_path, text)
    assert script.source.strip().endswith(PLAIN.strip()) and script.unseen is None
    assert all(layer.ran for layer in script.unwrapped.layers) and script.unwrapped.layers
    assert any("opened by running its stub in the box" in note for note in script.notes)


@pytest.mark.parametrize("kind", CLOSED)
def test_what_shows_no_text_of_its_own_stays_closed(kind: str, tmp_path: Path) -> None:
    text, why = CLOSED[kind]
    script = opened(tmp_path, text)
    assert script.unseen is not None and why in script.unseen, script.unseen
    assert script.source == text and any(why in note for note in script.notes)


def test_what_the_wrapper_does_besides_is_audited_with_the_text(tmp_path: Path) -> None:
    does = "import os, torch\nos.environ['STEPS'] = '7'\ntorch.min = torch.max\nSLOT = 3\n"
    wrapper = f"{does}{xored(PLAIN + 'print(SLOT)')}exec(T)\n"
    source = opened(tmp_path, wrapper).source
    assert (
        source.index("'7'") < source.index("torch.min = torch.max") < source.index("SLOT = 3") < source.index("val_bpb")
    )
    assert "^ 90" not in source


def test_what_reading_runs_nothing_for(tmp_path: Path) -> None:
    write_script(tmp_path, WRAPPERS["a computed text"](PLAIN))
    assert "a wrapper that reading does not open" in static(tmp_path, "script")


def test_a_wrapper_beside_the_script_is_opened_too(tmp_path: Path) -> None:
    packed = base64.b85encode(zlib.compress(b"def score():\n    return 'val_bpb'\n"))
    (tmp_path / "scorer.py").write_text(f"import zlib, base64\nexec(zlib.decompress(base64.b85decode({packed!r})))\n")
    write_script(tmp_path, "import torch\nfrom scorer import score\nscore()\n")
    script = open_script(tmp_path)
    assert "def score" in script.text("scorer.py") and script.unseen is None
    assert "def score" in (script.kept() / "scorer.py").read_text()
    (tmp_path / "scorer.py").write_text(f"{xored('def score(): pass')}exec(T)\n")
    closed = open_script(tmp_path)
    assert closed.unseen is not None and "scorer.py" in closed.unseen


def test_the_opened_text_is_audited(tmp_path: Path) -> None:
    """An offender and its clean neighbour, both in a wrapper that only running opens."""
    wrap = WRAPPERS["an own decoder"]
    text = SCRIPT.read_text()
    clean = audit(write_script(tmp_path / "clean", wrap(text)), tmp_path / "a", EVAL_MODE="ttt").record
    assert {item.status for item in clean.findings if item.question == "score"} <= {Status.PASS, Status.NOT_APPLICABLE}
    assert "opened by running its stub in the box" in clean.submission.settings["wrappers"][0]
    coverage = next(item for item in clean.findings if item.id == "coverage")
    assert any("the wrapper" in line for line in coverage.not_covered)
    leaks = audit(write_script(tmp_path / "leaks", wrap(text)), tmp_path / "b", EVAL_MODE="ttt_first").record
    assert next(item for item in leaks.findings if item.id == "score-before-update").status is Status.FAIL


def test_code_that_nobody_has_seen_is_undecided(tmp_path: Path) -> None:
    text = f"import os\n{xored(SCRIPT.read_text())}exec([T, T + b'#'][os.getpid() % 2])\n"
    record = audit(write_script(tmp_path / "s", text), tmp_path / "out", checks=("determinism",)).record
    assert record.answers is not None and record.answers.score.answer == "UNDECIDED"
    assert "not all code that decides the score was seen" in next(
        item.headline for item in record.findings if item.id == "coverage"
    )
