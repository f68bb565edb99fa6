from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.record import Record
from harness.report.terminal import summary

from . import records
from .test_html import HOSTILE, spoiled

ALL = [records.passing, records.failing, records.unruled, records.inconclusive, records.unscored]


def printed(record: Record, *, width: int = 80, terminal: bool = False, report: Path | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    summary(record, console, report=report)
    return stream.getvalue()


def test_a_failure_is_told_in_full() -> None:
    lines = printed(records.failing(), report=Path("runs/x/report.html")).splitlines()
    assert lines[0].startswith("score   INVALID: causality shows that this score cannot be believed: a row")
    assert any(line.startswith("limits  WITHIN: every limit that applies is kept") for line in lines[:6])
    assert any(line.startswith("claim   NOT CLAIMED: ") for line in lines[:6])
    assert "Exit code 1: a rule is violated." in lines[:8]
    text = "\n".join(lines)
    assert "BPB       1.6840 (honest estimate 1.9013, claimed 1.0846, unigram model" in text
    one_line = " ".join(text.split())
    assert "artifact 812,345 bytes, with code 821,465 shipped, 816,216 wrapped (decides), of 16,000,000" in one_line
    assert "run       track B, smoke scale, seed 1337, ruleset 2026-04-28" in text
    assert lines[-1] == "report    runs/x/report.html"


def test_findings_have_a_line_each_worst_first() -> None:
    lines = printed(records.failing(), width=100).splitlines()
    starts = [" ".join(line.split()[:2]) for line in lines if line and line[0].isupper() and ":" not in line[:14]]
    findings = [start for start in starts if start.split()[0] in ("FAIL", "INCONCLUSIVE", "PASS", "NOT")]
    assert findings[:3] == ["FAIL causality", "INCONCLUSIVE normalization", "PASS determinism"]
    assert findings[-1] == "NOT APPLICABLE"
    assert len(findings) == 9


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (records.passing, "score   VALID: nothing that was tried shows that this score used tokens before"),
        (records.unruled, "score   UNRULED: no ruling covers what null-stream found: adapts on context"),
        (records.inconclusive, "score   UNDECIDED: causality could not be decided: 6 of 24 probes moved no row"),
        (records.unscored, "score   UNDECIDED: determinism could not be judged, because the check broke: the"),
    ],
)
def test_every_verdict_has_its_sentence(make: Callable[[], Record], first: str) -> None:
    assert printed(make()).startswith(first)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("width", [80, 60, 40])
def test_lines_fit_and_carry_nothing_but_text_without_a_terminal(make: Callable[[], Record], width: int) -> None:
    text = printed(make(), width=width)
    assert "\x1b" not in text
    assert not set("│┃─━╭╰┏┗") & set(text)
    for line in text.splitlines():
        assert cell_len(line) <= width or line.startswith("replay    ")  # a command that is wrapped cannot be copied
        assert line == line.rstrip()


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[1;31mINVALID" in printed(records.failing(), terminal=True)


def test_a_long_path_is_kept_in_one_piece() -> None:
    path = Path("/".join(["folder"] * 20)) / "report.html"
    assert str(path) in printed(records.passing(), report=path).splitlines()[-1]


def test_an_edited_record_is_called_out() -> None:
    record = records.passing()
    assert "warning:" not in printed(record)
    record.findings[0].headline = "something else"
    assert "warning: The digest in this record does not match" in printed(record)


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.sampled_from([*HOSTILE, "[bold red]markup[/]", "[/]", "[link=x]", "全角" * 60]), st.text(max_size=40))
)
def test_text_of_a_submission_is_printed_and_not_obeyed(tail: str) -> None:
    for terminal in (False, True):
        text = printed(spoiled(tail), terminal=terminal)
        for colour in ("\x1b[1;31m", "\x1b[1;33m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[0m"):
            text = text.replace(colour, "")
        assert not [char for char in text if char != "\n" and ord(char) < 32 or 127 <= ord(char) < 160]
        assert not [char for char in text if char in "\u202e\u2066\u200b\u2028"]
        assert not [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line]
        assert all(cell_len(line) <= 80 for line in text.splitlines() if not line.startswith("replay    "))


def test_markup_in_a_headline_is_shown_as_it_is() -> None:
    record = records.failing()
    record.findings[1].headline = "[bold]not bold[/bold] [x"
    assert "[bold]not bold[/bold] [x" in printed(record, terminal=True)
