"""Rulesets as data: what ships, where they differ, and what the loader says of a broken one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import rules
from harness.errors import UsageError

SHIPPED = ("2026-03-18", "2026-04-28", "strict")


def text_of(name: str) -> str:
    return (Path(rules.__file__).parent / f"{name}.toml").read_text()


def test_these_ship() -> None:
    assert tuple(rules.available()) == SHIPPED
    assert rules.load().name == rules.DEFAULT == "2026-04-28"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_ruleset_is_complete(name: str) -> None:
    ruleset = rules.load(name)
    assert ruleset.name == name
    assert set(rules.CITED) <= set(ruleset.rule)
    assert {"readme", "progress"} == set(ruleset.significance.bar)  # both bars are always shown
    for rule in ruleset.rule.values():
        assert rule.source and rule.text.endswith(".") and rule.remedy.endswith(".")
        assert rule.source == "harness" or re.search(r"README|#\d+|metric|train_gpt", rule.source), rule.title


def test_stages_differ_as_the_contest_did() -> None:
    first, last, strict = (rules.load(name) for name in SHIPPED)
    assert (first.limits.size_convention, last.limits.size_convention) == ("shipped", "wrapped")
    assert first.significance.bar[first.significance.decides].p_value == 0.01
    assert first.significance.bar[first.significance.decides].margin_nats == 0.005
    assert last.significance.bar[last.significance.decides].p_value == 0.25
    assert last.significance.bar[last.significance.decides].margin_nats == 0.0
    fitted = "adaptation_before_scoring"
    assert first.practice[fitted].ruling == "tolerated"  # nobody had asked yet
    assert last.practice[fitted].ruling == "unruled"
    assert first.practice["adaptation"].ruling == last.practice["adaptation"].ruling == "tolerated"
    assert {practice.ruling for practice in strict.practice.values()} == {"forbidden"}
    assert strict.significance.bar[strict.significance.decides].margin_unit == "byte"


def test_no_source_of_the_first_stage_is_a_later_ruling() -> None:
    first = rules.load("2026-03-18")
    for name, rule in (first.rule | first.practice).items():
        for number in map(int, re.findall(r"#(\d+)", rule.source)):
            assert number <= 262 or "written down in issue #1017" in rule.source, name


@pytest.mark.parametrize("name", SHIPPED)
def test_a_ruleset_is_read_again_from_its_own_texts(name: str) -> None:
    ruleset = rules.load(name)
    assert ruleset.texts[-1] == text_of(name) and rules.parse(ruleset.texts, "again") == ruleset
    assert rules.digest(ruleset.texts) == ruleset.sha256
    for texts in (ruleset.texts * 2, (text_of(SHIPPED[0]), text_of(SHIPPED[1])), (text_of("strict"),)):
        with pytest.raises(UsageError, match="ruleset again: "):
            rules.parse(texts, "again")


def test_a_file_loads_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text_of("strict").replace('name = "strict"', 'name = "mine"'))
    mine = rules.load(str(path))
    assert mine.name == "mine"
    assert mine.sha256 != rules.load("strict").sha256
    assert mine.rule == rules.load("strict").rule


BROKEN = [
    ("[significance]", "[limit]\nx = 1\n\n[significance]", r"limit: no such field"),
    ('ruling = "unruled"', 'rulin = "unruled"', r"practice\.document_starts_never_scored\.ruling: missing"),
    ("total_bytes = 16_000_000", "total_bytes = 0", r"limits\.total_bytes: .*'0'"),
    ("train_seconds = 600.0", "train_seconds = nan", r"limits\.train_seconds"),
    ('size_convention = "wrapped"', 'size_convention = "best"', r"limits\.size_convention"),
    ('decides = "progress"', 'decides = "luck"', r"significance\.decides: no bar 'luck'; there are progress, readme"),
    ('test = "welch"', 'test = "student"', r"significance\.test"),
    ("p_value = 0.25", "p_value = 1.5", r"significance\.bar\.progress\.p_value"),
    ('margin_unit = "token"', 'margin_unit = "word"', r"significance\.bar\.progress\.margin_unit"),
    ("min_seeds = 3", "min_seeds = 11", r"significance\.min_seeds: 11 are more than max_seeds, 10"),
    ("min_seeds = 3", "min_seeds = 1", r"significance\.min_seeds"),
    ("[rule.records]", "[rule.record]", r"rule\.records: missing"),
    ('name = "2026-04-28"', 'name = "2026-04-28"\nsha256 = "0"', r"sha256: no such field"),
    ('name = "2026-04-28"', "name =", r"is not TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN, ids=[message for *_, message in BROKEN])
def test_a_broken_ruleset_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = text_of("2026-04-28")
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        rules.load(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("lenient", str(tmp_path), str(tmp_path / "none.toml"), "a\0b"):
        with pytest.raises(UsageError, match="2026-03-18, 2026-04-28, strict"):
            rules.load(name)


def test_a_binary_file_is_no_ruleset(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not TOML"):
        rules.load(str(path))
