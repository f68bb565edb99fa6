"""Which lines a source can print: for every way to make a text a line that it makes, and one that it does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.papers.collect import open_case
from harness.papers.printed import Program, Sources, printing, program
from harness.papers.reading import Paper
from tests.papers.papers import folder, three

MINE = "final_roundtrip_exact val_loss:2.07269931 val_bpb:1.22436570"
OTHER = "final_sliding_exact val_loss:2.07269931 val_bpb:1.22436570"

#: Every way to print MINE.
WAYS = {
    "f-string": 'print(f"final_roundtrip_exact val_loss:{a:.8f} val_bpb:{b:.8f}")',
    "f-string in parts": 'print(f"final_{kind}_exact " f"val_loss:{a:.8f} " f"val_bpb:{b:.8f}")\nkind = "roundtrip"',
    "percent": 'print("final_roundtrip_exact val_loss:%.8f val_bpb:%.8f" % (a, b))',
    "percent with names": 'print("final_roundtrip_exact val_loss:%(a).8f val_bpb:%(b).8f" % {"a": a, "b": b})',
    "format": 'print("final_roundtrip_exact val_loss:{:.8f} val_bpb:{:.8f}".format(a, b))',
    "format with names": (
        'print("final_{kind} val_loss:{a:.8f} val_bpb:{b:.8f}"'
        '.format(kind="roundtrip_exact", a=a, b=b))'
    ),
    "sum": 'print("final_roundtrip_exact val_loss:" + str(a) + " val_bpb:" + str(b))',
    "arguments": 'print("final_roundtrip_exact", f"val_loss:{a:.8f}", f"val_bpb:{b:.8f}")',
    "separator": 'print("final_roundtrip_exact val_loss:", a, " val_bpb:", b, sep="")',
    "logging": 'logging.info("final_roundtrip_exact val_loss:%.8f val_bpb:%.8f", a, b)',
    "wrapper": (
        'def log0(msg, console=True):\n    print(f"{msg}")\n'
        'log0(f"final_roundtrip_exact val_loss:{a:.8f} val_bpb:{b:.8f}")'
    ),
    "label as an argument": (
        'def show(tag, a, b):\n    log(f"{tag}_exact val_loss:{a:.8f} val_bpb:{b:.8f}")\n'
        'show("final_roundtrip", 1, 2)'
    ),
    "written": 'file.write(f"final_roundtrip_exact val_loss:{a:.8f} val_bpb:{b:.8f}\\n")',
    "in several writes": 'w(f"final_roundtrip_exact ", end="")\nprint(f"val_loss:{a:.8f} val_bpb:{b:.8f}")',
    "one of several lines": 'print(f"\\ndone\\nfinal_roundtrip_exact val_loss:{a:.8f} val_bpb:{b:.8f}\\n===")',
    "from a table": (
        'for k, v in table.items():\n    out.append(f"{k}:{v:.8f}")\n'
        'print("final_roundtrip_exact " + " ".join(out))\nt = {"val_loss": a, "val_bpb": b}'
    ),
    "padded": 'print(f"final_roundtrip_exact val_loss:{a:<12.8f}val_bpb:{b:.8f}")',
    "newer f-string": "print(f'final_{d['kind']}_exact val_loss:{a:.8f} val_bpb:{b:.8f}')\nd = {'kind': 'roundtrip'}",
}  # fmt: skip


def read(home: Path, source: str) -> Program:
    (home / "train_gpt.py").write_text("import torch\n" + source + "\n")
    return program(Paper("train_gpt.py", len(source), home))


@pytest.mark.parametrize("way", WAYS)
def test_a_line_is_printable_however_it_is_put_together(tmp_path: Path, way: str) -> None:
    source = read(tmp_path, WAYS[way])
    assert source.tree is not None and printing(source, MINE), source.templates
    assert not printing(source, OTHER)  # the same line with another label
    assert not printing(source, MINE.replace("2.07269931", "two"))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('print(f"step:{n} bpb:{b:.4f}")', "step:7 bpb:1.0812 more:1"),  # more than the text
        ('print(f"step:{n} bpb:{b:.4f}")', "bpb:1.0812"),  # less
        ('print(f"bpb:{b:.4f} step:{n}")', "step:7 bpb:1.0812"),  # another order
        ('def log(m):\n    print(m)\nlog(f"loss:{a}")', "bpb:1.0812"),  # a wrapper alone makes no text
        ('def log(m):\n    print(f"[{rank}] {m}", flush=True)\nlog(f"bpb {a} loss")', "[0] loss bpb 1"),
    ],
)
def test_other_lines_are_not(tmp_path: Path, source: str, line: str) -> None:
    assert not printing(read(tmp_path, source), line)


def test_what_somebody_sets_from_outside_may_stand_in_a_line(tmp_path: Path) -> None:
    source = read(tmp_path, 'print(f"val_loader:shards pattern={files} tokens:{n}")')
    assert printing(source, "val_loader:shards pattern=/somewhere/else/entirely_*.bin tokens:62021632")
    assert not printing(source, "val_loader:shards pattern=unheard tokens:62021632")


def test_numbers_that_names_stand_for_are_known(tmp_path: Path) -> None:
    source = read(tmp_path, 'B = 1.0565\nx = 2.0\nx = f()\nprint(f"val_bpb:{B:.4f}")\nprint(f"bpb={x:.4f}")')
    (found,) = printing(source, "val_bpb:1.0565")
    assert [part.constant for part in found.parts if not isinstance(part, str)] == [1.0565]
    (computed,) = printing(source, "bpb=2.0000")
    assert [part.constant for part in computed.parts if not isinstance(part, str)] == [None]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("import own_package", "own_package, which is not in the folder"),
        ("import runpy\nrunpy.run_path('../other/train.py')", "runs code that is not in the folder"),
        ("import subprocess\nsubprocess.run(['python', 'elsewhere.py'])", "starts python"),
        ("import subprocess\nsubprocess.run(command)", "a command that is put together"),
        ("x = = 1", "no Python that can be read"),
    ],
)
def test_where_code_cannot_be_read_it_is_said(tmp_path: Path, more: str, why: str) -> None:
    path = folder(tmp_path, three(), script=f"import torch\n{more}\n")
    case = open_case(path, rules.load())
    assert why in str(Sources(case.papers, case.code).unread)


def test_quiet_commands_and_files_beside_the_script_are_readable(tmp_path: Path) -> None:
    script = "import numpy, helper\nimport torch, subprocess\nsubprocess.run(['nvidia-smi'])\nimport importlib\n"
    path = folder(tmp_path, three(), script=script + "importlib.import_module('helper')\n" + "x = 1\n" * 12)
    (path / "helper.py").write_text('def show(b):\n    print(f"helped val_bpb:{b:.4f}")\n')
    case = open_case(path, rules.load())
    sources = Sources(case.papers, case.code)
    assert sources.unread is None and sources.can_print("helped val_bpb:1.0812")
    assert not sources.can_print("helped val_bpc:1.0812")


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200), st.text(max_size=80))
def test_strangers_texts_never_break_it(tmp_path_factory: pytest.TempPathFactory, source: str, line: str) -> None:
    home = tmp_path_factory.mktemp("strangers")
    (home / "x.py").write_bytes(source.encode("utf-8", "replace"))
    printing(program(Paper("x.py", 1, home)), line)


def test_the_work_grows_with_the_line_and_the_text_and_not_with_their_powers(tmp_path: Path) -> None:
    """A text of many gaps against a line that nearly fits it."""
    gaps = " ".join("{x}a" for _ in range(100))
    source = read(tmp_path, f'print(f"{gaps}!")')
    begin = time.process_time()
    assert not printing(source, "a " * 500)
    assert not printing(source, "a" * 1000)
    assert time.process_time() - begin < 20  # seconds; backtracking would not end at all
