"""A record that somebody has changed is marked in every view, and takes no rank, no badge and no win."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.record import Finding, Record, Status, Witness
from harness.report import badge, board, compare, formats, markdown, view

from . import records

CLEAN = records.scored("clean", [1.0801, 1.0803, 1.0799])
SAYS = "it was changed after it was written"


def forged() -> Record:
    """PASS at 1.0000, written over a record whose digest stays."""
    body = CLEAN.model_copy(deep=True)
    assert body.score is not None
    body.score.val_bpb = 1.0
    for one in body.score.per_seed:
        one.val_bpb = 1.0
    body.submission.name = "forged"
    body.submission.sha256 = "f" * 64
    assert body.verdict == Status.PASS and view.doubts(body) and not view.doubts(CLEAN)
    return body


def test_a_forged_record_has_no_rank_and_the_clean_one_has() -> None:
    (table,) = board.standings([board.Entry(forged()), board.Entry(CLEAN)])
    assert [(line.rank, line.entry.record.submission.name) for line in table.lines] == [(1, "clean"), (None, "forged")]
    page = board.render([board.Entry(forged()), board.Entry(CLEAN)])
    assert SAYS in page and "<s>1.0000</s>" in page and "<s>1.0801" not in page
    assert SAYS not in board.render([board.Entry(CLEAN)])


def test_a_forged_record_has_no_badge_and_beats_nobody() -> None:
    assert "record was altered" in badge.render(forged()) and "1.0000" not in badge.render(forged())
    assert "1.08" in badge.render(CLEAN) and "altered" not in badge.render(CLEAN)
    made = compare.compare(forged(), CLEAN)
    assert any(SAYS in doubt for doubt in made.doubts) and "neither is called better" in made.sentence
    assert not [doubt for doubt in compare.compare(CLEAN, CLEAN).doubts if SAYS in doubt]


@pytest.mark.parametrize("name", ["html", "md"])
def test_its_own_views_say_so(name: str) -> None:
    assert SAYS in formats.render(name, forged()) and SAYS not in formats.render(name, CLEAN)


def test_the_command_names_the_file(tmp_path: Path) -> None:
    for name, record in (("forged", forged()), ("clean", CLEAN)):
        (tmp_path / f"{name}.json").write_text(record.to_json())
    words = ["--config", "none", "board", str(tmp_path), "--out", str(tmp_path / "out" / "index.html")]
    (tmp_path / "out").mkdir()
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 0 and "forged.json has no rank: The digest in this record" in said.stderr
    assert "clean.json" not in said.stderr


def test_markdown_carries_file_and_line_and_one_command() -> None:
    quotes = [{"file": "train_seed42.log", "line": 3, "text": "val_bpb: 1.2|`x`"}, {"place": "train_gpt.py:812 f < g"}]
    witness = Witness(kind="evidence", summary="s", data={"quotes": quotes})
    found = Finding(id="claims", rule="claims", title="t", status=Status.FAIL, headline="h", witness=witness)
    text = markdown.render(records.record([found]))
    assert "- `train_seed42.log:3` ``val_bpb: 1.2|`x` ``" in text or "- `train_seed42.log:3` `` val" in text
    assert "- `train_gpt.py:812`\n" in text and text.count("harness replay ") == 1
    assert ":812" not in markdown.render(records.passing())
