"""Rulesets as data: what ships, where they differ, one's own, and one clear line for a broken one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from harness import rules
from harness.errors import UsageError

#: The contest's own, and those of sibling contests.
OWN, SIBLINGS = ("2026-03-18", "2026-04-28", "strict"), ("hutter", "nanogpt-speedrun")
NAMES = tuple(sorted((*OWN, *SIBLINGS)))
SHIPPED = Path(rules.__file__).parent / f"{rules.DEFAULT}.toml"


def own(tmp_path: Path, old: str, new: str) -> str:
    text = SHIPPED.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


def refused(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        rules.load(name)
    assert "\n" not in str(caught.value)


def test_these_ship() -> None:
    assert tuple(rules.available()) == NAMES
    assert rules.load().name == rules.DEFAULT == "2026-04-28"


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_ruleset_is_complete(name: str) -> None:
    ruleset = rules.load(name)
    assert ruleset.name == name
    assert set(rules.CITED) <= set(ruleset.rule)
    assert {"readme", "progress"} == set(ruleset.significance.bar)  # both bars are always shown
    for rule in ruleset.rule.values():
        assert rule.title and rule.source and rule.text.endswith(".") and rule.remedy.endswith(".")
        assert rule.source == "harness" or re.search(r"README|#\d+|metric|train_gpt|hrules", rule.source), rule.title


def test_stages_differ_as_the_contest_did() -> None:
    first, last, strict = (rules.load(name) for name in OWN)
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


def test_the_default_is_the_contests() -> None:
    ruleset = rules.load()
    limits = ruleset.limits
    assert (limits.total_bytes, limits.train_seconds, limits.eval_seconds) == (16_000_000, 600.0, 600.0)
    assert ruleset.sha256 == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_a_ruleset_of_ones_own(tmp_path: Path) -> None:
    ruleset = rules.load(own(tmp_path, "16_000_000", "20_000_000"))
    assert ruleset.limits.total_bytes == 20_000_000 and ruleset.sha256 != rules.load().sha256
    assert ruleset.rule == rules.load().rule


def test_a_ruleset_may_give_only_what_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\nextends = "2026-04-28"\n\n[practice.letter_case]\nruling = "forbidden"\n')
    own, base = rules.load(str(path)), rules.load()
    assert own.practice["letter_case"].ruling == "forbidden" and own.rule == base.rule and own.sha256 != base.sha256
    assert own.practice["letter_case"].text == base.practice["letter_case"].text
    for base_name, says in (("2020-01-01", "extends: '2020-01-01' is none of"), ("strict", "extends another itself")):
        path.write_text(f'name = "own"\nextends = "{base_name}"\n')
        refused(str(path), says)


@pytest.mark.parametrize("name", ["2020-01-01", "", "/", "a" * 5000, "nul\0nul", "../rules/2026-04-28", "lenient"])
def test_unknown_names_are_answered_with_the_known_ones(name: str) -> None:
    refused(name, f"no ruleset .*{', '.join(NAMES)}, or give a .toml file")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("total_bytes = 16_000_000", "", "limits.total_bytes: missing"),
        ("total_bytes = 16_000_000", "total_bytes = 0", "limits.total_bytes: .*greater than 0"),
        ("train_seconds = 600.0", "train_seconds = inf", "limits.train_seconds: .*finite"),
        ("eval_seconds = 600.0", 'eval_seconds = "long"', "limits.eval_seconds: .*number"),
        ('size_convention = "wrapped"', 'size_convention = "guessed"', "limits.size_convention"),
        ("[rule.C1]", "[rule.C1]\nseverity = 3", "rule.C1.severity: no such field"),
        ("[rule.C1]", "[rule.C9]", "rule.C1: missing; the checks cite"),
        ("[practice.gap]", "[practice.hole]", "practice.gap: missing; checks may find"),
        ("[practice.gap]", "[practice.hole.x]\n[practice.gap]", "practice.hole.title: missing"),
        ('ruling = "tolerated"', 'ruling = "allowed"', "practice.tail_scored_again.ruling"),
        ('rule = "C4"', 'rule = "C5"', "practice.tail_scored_again.rule: no rule 'C5'"),
        ("[significance]", "[limit]\nx = 1\n\n[significance]", "limit: no such field"),
        ('ruling = "unruled"', 'rulin = "unruled"', r"practice\.document_starts_never_scored\.ruling: missing"),
        ('decides = "progress"', 'decides = "luck"', "significance.decides: no bar 'luck'; there are progress, readme"),
        ('test = "welch"', 'test = "student"', r"significance\.test"),
        ("p_value = 0.25", "p_value = 1.5", r"significance\.bar\.progress\.p_value"),
        ('margin_unit = "token"', 'margin_unit = "word"', r"significance\.bar\.progress\.margin_unit"),
        ("min_seeds = 3", "min_seeds = 11", r"significance\.min_seeds: 11 are more than max_seeds, 10"),
        ("min_seeds = 3", "min_seeds = 1", r"significance\.min_seeds"),
        ("[rule.records]", "[rule.record]", r"rule\.records: missing"),
        ('name = "2026-04-28"', 'name = "2026-04-28"\nsha256 = "0"', "sha256: no such field"),
        ("[limits]", "[limits", "is not TOML"),
        ('name = "2026-04-28"', "", "name: missing"),
    ],
)
def test_a_broken_ruleset_is_named_with_the_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    name = own(tmp_path, old, new)
    refused(name, says)
    refused(name, "ruleset .*own.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    refused(str(tmp_path / "own.toml"), "is not TOML")


def test_what_nobody_knew_of_when_a_record_was_written_is_unruled_by_its_rules() -> None:
    name = "smear_across_documents"
    text = SHIPPED.read_text()
    begin = text.index(f"[practice.{name}]")
    older = text[:begin] + text[text.index("\n[", begin) + 1 :]
    with pytest.raises(UsageError, match=f"practice.{name}: missing"):
        rules.parse((older,), "older")
    found = rules.parse((older,), "older", recorded=True)
    assert found.practice[name].ruling == "unruled" and {*found.practice} == {*rules.load().practice}
    known = {key: one for key, one in rules.load().practice.items() if key != name}
    assert {key: one for key, one in found.practice.items() if key != name} == known


@pytest.mark.parametrize("name", rules.available())
def test_a_ruleset_is_read_again_from_its_own_texts(name: str) -> None:
    ruleset = rules.load(name)
    text = (SHIPPED.parent / f"{name}.toml").read_text()
    assert ruleset.texts[-1] == text and rules.parse(ruleset.texts, "again", ruleset.ruling_texts) == ruleset
    assert rules.digest(ruleset.texts) == ruleset.sha256
    alone, later = ((SHIPPED.parent / f"{one}.toml").read_text() for one in ("strict", rules.DEFAULT))
    for texts in (ruleset.texts * 2, (later, later), (alone,)):
        with pytest.raises(UsageError, match="ruleset again: "):
            rules.parse(texts, "again")


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_sibling_contest_is_data_and_nothing_else(name: str) -> None:
    ruleset, ours = rules.load(name), rules.load()
    assert ruleset.limits != ours.limits and ruleset.rulings_until is not None
    assert ruleset.judging("2026-04-26").counting == ()  # rulings of the contest decide nothing here
    assert ruleset.rule["C1"] == ours.rule["C1"]  # what a prediction may know is the same everywhere


def test_what_the_siblings_ask_for() -> None:
    compression, speedrun = (rules.load(name) for name in SIBLINGS)
    assert compression.limits.size_convention == "all_files"
    assert compression.practice["adaptation"].ruling == compression.practice["letter_case"].ruling == "tolerated"
    assert compression.practice["second_pass"].ruling == "forbidden"
    assert "byte for byte" in compression.rule["proof"].text
    assert speedrun.practice["adaptation"].ruling == speedrun.practice["longest_document_first"].ruling == "forbidden"
    bar = speedrun.significance.bar[speedrun.significance.decides]
    assert bar.p_value == 0.01 and bar.margin_unit == "token" and "3.28" in bar.title
