"""Rulings: which of them count for a submission, what they make of a practice, and that records carry them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import rules
from harness.audit.practices import Seen, ruled
from harness.cli import cli
from harness.errors import UsageError
from harness.papers.linting import lint, record_of
from harness.papers.replaying import replay_papers
from harness.record import Record, Status
from harness.report import markdown, view
from harness.rules import Ruleset, rulings
from harness.rules.rulings import Submitted
from tests.papers.papers import folder, three

SMEAR = "smear_across_documents"


def own(tmp_path: Path, text: str) -> Ruleset:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return rules.load(own_rulings=[path])


def of(practice: str, outcome: str = "forbidden", name: str = "one", **fields: str) -> str:
    told = {"by": '"somebody"', "date": "2026-04-10", "link": '"#1"', "text": '"as it says."', **fields}
    return f'[ruling.{name}]\npractice = "{practice}"\noutcome = "{outcome}"\n' + "".join(
        f"{key} = {value}\n" for key, value in told.items()
    )


def taken(ruleset: Ruleset, day: str, practice: str = SMEAR) -> tuple[str, str]:
    how = ruleset.judging(day).practice[practice]
    return how.ruling, how.text


def test_the_shipped_rulings_have_a_link_a_sentence_and_a_day_within_the_contest() -> None:
    shipped = rules.load().ruling
    assert len(shipped) >= 4 and any(one.retracted for one in shipped.values())
    for one in shipped.values():
        said = (one, *one.disputed, *([one.retracted] if one.retracted else []))
        assert all(re.match(r"https://github\.com/openai/parameter-golf/(pull|issues)/\d+$", it.link) for it in said)
        assert all(it.text.endswith(".") for it in said)
        assert "2026-03-18" <= str(one.date) <= "2026-05-02"


def test_a_ruling_counts_from_its_day() -> None:
    ruleset = rules.load()
    assert taken(ruleset, "2026-04-23")[0] == "unruled" and taken(ruleset, "2026-04-24")[0] == "forbidden"
    status, headline, witness = ruled(ruleset.judging("2026-04-24"), [Seen(SMEAR, "seen at 3 starts")])
    assert status == Status.FAIL and witness is not None
    assert "cocohearts" in headline and "/pull/1797" in headline and "Disputed" in headline and "#1851" in headline
    status, headline, _ = ruled(ruleset.judging("2026-04-16"), [Seen(SMEAR, "seen at 3 starts")])
    assert status == Status.UNRULED and "cocohearts" not in headline


def test_where_the_day_is_not_known_a_ruling_decides_nothing_and_is_named() -> None:
    how, text = taken(rules.load(), "spring")
    assert how == "unruled" and "is not known" in text and "/pull/1797" in text


def test_the_day_is_the_command_lines_then_the_files_then_the_folders() -> None:
    ruleset = rules.load().of(Submitted(date=rulings.day_in("2026-04-02"), said="the command line"))
    assert ruleset.judging("2026-04-25", "2026-04-25_X").submitted.said == "the command line"
    for claimed, name, said, day in (
        ("2026-04-25T10:00:00Z", "2026-04-02_X", "submission.json", "2026-04-25"),
        ("25 April", "2026-04-02_X", "the folder's name", "2026-04-02"),
        ("2026-13-45", "X", "", "None"),
    ):
        told = rules.load().judging(claimed, name).submitted
        assert (told.said, str(told.date)) == (said, day)


def test_a_shipped_ruling_decides_only_what_is_open_and_a_stage_before_it_does_not_know_it() -> None:
    strict, first = rules.load("strict"), rules.load("2026-03-18")
    assert taken(strict, "2026-04-23")[0] == "forbidden" and strict.judging("2026-04-25").counting == ()
    assert taken(first, "2026-04-25")[0] == "unruled"


def test_a_ruling_of_ones_own_decides_last_until_its_last_day(tmp_path: Path) -> None:
    text = of("adaptation_before_scoring", until="2026-04-20") + of(SMEAR, "tolerated", "two")
    ruleset = own(tmp_path, text)
    fitted = "adaptation_before_scoring"
    days = ("2026-04-09", "2026-04-10", "2026-04-20", "2026-04-21")
    assert [taken(ruleset, day, fitted)[0] for day in days] == ["unruled", "forbidden", "forbidden", "unruled"]
    assert taken(ruleset, "2026-04-25")[0] == "tolerated"  # the shipped one forbids
    assert ruleset.rulings_sha256 != rules.load().rulings_sha256 and ruleset.sha256 == rules.load().sha256


def test_a_retracted_ruling_stays_and_does_not_count(tmp_path: Path) -> None:
    back = '[ruling.one.retracted]\nby = "somebody"\nlink = "#2"\ntext = "no."\n'
    ruleset = own(tmp_path, of("letter_case") + back)
    assert "one" in ruleset.ruling and taken(ruleset, "2026-04-25", "letter_case")[0] == "unruled"
    assert "forbidden, retracted" in rulings.table(ruleset.ruling)
    assert taken(own(tmp_path, of("letter_case")), "2026-04-25", "letter_case")[0] == "forbidden"


def test_a_waiver_is_for_one_pull_request(tmp_path: Path) -> None:
    ruleset = own(tmp_path, of("second_pass", "waived", pull="77"))
    waived = ruleset.of(Submitted(pull=77)).judging()
    assert waived.practice["second_pass"].ruling == "tolerated" and len(waived.waivers) == 1
    assert "somebody waived this for #77" in ruled(waived, [Seen("second_pass", "seen")])[1]
    for other in (Submitted(pull=78), Submitted()):
        assert ruleset.of(other).judging().practice["second_pass"].ruling == "forbidden"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (of("smear"), r"ruling\.one\.practice: no practice 'smear'"),
        (of(SMEAR, "waived"), "a waiver names a practice and a pull request"),
        (of(SMEAR, pull="3"), "about no single pull request"),
        (of(SMEAR, "accepted", pull="3"), "as a whole"),
        (of(SMEAR, until="2026-04-01"), "ends before it begins"),
        (of(SMEAR, "allowed"), r"ruling\.one\.outcome"),
        (of(SMEAR, date='"soon"'), r"ruling\.one\.date"),
        (of(SMEAR, who='"x"'), r"ruling\.one\.who: no such field"),
        ("[ruling.one]\n", r"ruling\.one\.by: missing"),
        ("[ruling", "not TOML"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"own.toml: .*{says}") as caught:
        own(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_record_carries_the_rulings_that_judged(tmp_path: Path) -> None:
    place = folder(tmp_path, claims={"date": "2026-04-25"})
    text = of("outside_the_timer", "waived", pull="77") + of("letter_case", name="two")
    ruleset = own(tmp_path, text).of(Submitted(pull=77))
    record = record_of(lint(place, ruleset), ruleset)
    (tmp_path / "record.json").write_text(record.to_json())
    again = Record.load(tmp_path / "record.json")
    assert again == record and again.computed_digest() == record.digest and again.ruleset.intact
    told = again.ruleset.rulings
    assert told is not None and (told.submitted, told.said, told.pull, told.waivers) == (
        "2026-04-25", "submission.json", 77, 1,
    )  # fmt: skip
    assert again.ruleset.load() == ruleset.judging("2026-04-25")
    assert "1 waiver for this submission: somebody waived this for #77" in view.rulings(again)[0]
    assert "1 waiver" in markdown.render(again)
    body = json.loads(record.to_json())
    body["ruleset"]["rulings"]["texts"][1] = "# nothing"
    changed = Record.model_validate(body)
    assert not changed.ruleset.intact and "not those whose digest" in " ".join(view.doubts(changed))


def _eval_clock(place: Path, ruleset: Ruleset) -> Record:
    made = record_of(lint(place, ruleset), ruleset)
    return made.model_copy(update={"findings": [one for one in made.findings if one.id == "eval-clock"]})


def test_what_is_unruled_becomes_forbidden_or_tolerated_and_a_replay_knows_why(tmp_path: Path) -> None:
    """Compiling ahead of the timer: 598 s by the script's timer, 688 s with what precedes it."""
    place = folder(tmp_path, three(eval_ms=598_000, warmup=90.5), claims={"date": "2026-04-25"})
    practice = "outside_the_timer"
    for text, day, status in (
        ("", "2026-04-25", Status.UNRULED),
        (of(practice), "2026-04-25", Status.FAIL),
        (of(practice), "2026-04-09", Status.UNRULED),
        (of(practice, "tolerated"), "2026-04-25", Status.PASS),
        (of(practice) + of(practice, "waived", "two", pull="77"), "2026-04-25", Status.PASS),
    ):
        ruleset = own(tmp_path, text).of(Submitted(date=rulings.day_in(day), said="the command line", pull=77))
        record = _eval_clock(place, ruleset)
        (found,) = record.findings
        assert found.status == status, text
        assert ("somebody" in found.headline) == (status != Status.UNRULED)
        if status == Status.FAIL:
            assert replay_papers(record, found.id, place, record.ruleset.load()).reproduced


def test_the_command_line_takes_rulings_a_day_and_a_pull_request(tmp_path: Path) -> None:
    place = folder(tmp_path, claims={"date": "2026-04-02"})
    path = tmp_path / "own.toml"
    path.write_text(of("outside_the_timer", "waived", pull="77"))
    words = ["lint", str(place), "--rulings", str(path), "--submitted", "2026-04-25", "--pull", "77"]
    shown = CliRunner().invoke(cli, words)
    assert "1 waiver for this submission" in " ".join(shown.output.split())
    (made,) = json.loads(CliRunner().invoke(cli, [*words, "--json"]).output)
    assert made["ruleset"]["rulings"]["said"] == "the command line" and made["ruleset"]["rulings"]["waivers"] == 1
    assert "waiver" not in CliRunner().invoke(cli, ["lint", str(place), "--rulings", str(path)]).output
    refused = CliRunner().invoke(cli, ["lint", str(place), "--rulings", str(tmp_path / "none.toml")])
    assert isinstance(refused.exception, UsageError) and "cannot read the rulings" in str(refused.exception)


def test_the_documents_show_the_shipped_rulings() -> None:
    page = (Path(rules.__file__).parents[2] / "docs" / "rulings.md").read_text()
    assert rulings.table(rules.load().ruling) in page
