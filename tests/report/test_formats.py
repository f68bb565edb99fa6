"""Views as files: whole or not there, and none that is older than the record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import rules
from harness.errors import HarnessError
from harness.record import Record, RulesetInfo
from harness.report import html
from harness.report.formats import VIEWS, render, save, write
from tests.report import records


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_replaces_an_older_one(name: str, tmp_path: Path) -> None:
    path = tmp_path / VIEWS[name].file
    path.write_text("older")
    write(name, records.passing(), path)
    assert path.read_text() == render(name, records.passing()) != "older"
    assert os.listdir(tmp_path) == [path.name]


def test_a_view_that_cannot_be_made_leaves_no_older_one_behind(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    record = records.passing()
    record.findings = record.findings * 60
    with pytest.raises(HarnessError):
        write("html", record, path)
    assert os.listdir(tmp_path) == []


def test_an_unwritable_place_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"^cannot write .*missing.report\.html: No such file"):
        write("html", records.passing(), tmp_path / "missing" / "report.html")


def test_a_saved_record_is_read_again_and_its_report_has_the_rules_that_judged(tmp_path: Path) -> None:
    ruleset = rules.load()
    record = records.passing().model_copy(update={"ruleset": RulesetInfo.of(ruleset)})
    save(record, tmp_path)
    assert Record.load(tmp_path) == record
    texts = {name: rule.text for name, rule in ruleset.rule.items()}
    assert (tmp_path / "report.html").read_text() == html.render(record, texts) != html.render(record)


def test_rules_that_are_not_at_hand_leave_their_place_empty() -> None:
    text = rules.load().rule["C1"].text[:40]
    known = RulesetInfo.of(rules.load()).model_copy(update={"texts": []})  # as older records have it
    other = known.model_copy(update={"sha256": "0" * 64})
    assert text in render("html", records.passing().model_copy(update={"ruleset": known}))
    assert text not in render("html", records.passing().model_copy(update={"ruleset": other}))
