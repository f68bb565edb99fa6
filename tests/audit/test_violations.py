"""Classes of violations: their data is whole, their code is the tests' own, and every name that is used has a page."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import rules
from harness.audit import rulebook, violations
from harness.audit.check import REGISTRY
from harness.audit.violations import Violation
from harness.cli.explain import books, command, pages
from tests.attacks import suite
from tests.attacks import table as attacks
from tests.zoo import examples, observed
from tests.zoo.hand import HAND

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RULES = rules.load()
ALL = violations.known()
SHELF = books(RULES)
EACH = pytest.mark.parametrize("one", ALL.values(), ids=list(ALL))
#: Classes that no pull request is known to have.
NO_CASE = {"V23", "audit-aware", "tampering"}


def test_every_class_of_the_contest_is_there() -> None:
    numbered = [*(f"V{n}" for n in range(1, 24)), *(f"B{n}" for n in range(1, 14))]
    assert set(numbered) <= set(violations.names())
    assert len(violations.names()) == sum(1 + (one.name != one.id) + len(one.also) for one in ALL.values())


@EACH
def test_a_class_is_told_whole(one: Violation) -> None:
    assert len(re.findall(r"[.:]\s+[A-Z]|[.]$", one.what)) == 2, "two sentences"
    assert bool(re.search(r"#\d+", one.case)) != (one.id in NO_CASE or "-" in one.id and "#" not in one.case)
    assert set(one.checks) <= set(REGISTRY) and set(one.practices) <= set(rules.PRACTICES)
    assert all(one.rule in rules.load(name).rule for name in rules.available())
    assert all(step.endswith((".", ")")) and step[0] in "`" + step[0].upper() for step in one.mend)


@EACH
def test_its_code_is_caught_by_the_checks_that_it_names(one: Violation) -> None:
    for name in one.examples:
        example = violations.examples()[name]
        said = dict(entry.split(" ")[:2] for entry in example.caught)
        failed = {check for check, status in said.items() if status == "FAIL"}
        assert failed <= set(one.checks) and (set(said) & set(one.checks) or not said), (name, said)
        assert not [entry for entry in example.beside if "FAIL" in entry]
        assert example.offender != example.mended
        assert not re.search(r"# (offender|neighbour)$", example.offender + example.mended, re.M)
        if example.file.endswith(".py"):
            ast.parse(example.offender), ast.parse(example.mended)


def test_the_code_is_what_the_tests_run() -> None:
    assert examples.FILE.read_text() == examples.render(), "run: python -m tests.zoo.examples"
    assert set(violations.examples()) == set(examples.made())
    for example in violations.examples().values():
        assert (ROOT / example.file).is_file()


def test_the_gallerys_functions_are_those_of_its_leak_and_its_twin() -> None:
    text = examples.GALLERY.read_text()
    for leak, (twin, _) in examples.SHOWN.items():
        assert f"memory={leak})" in text and f"memory={twin})" in text


def test_an_attack_that_is_shown_was_played_as_it_stands_and_seen() -> None:
    shown = [name for name, one in violations.examples().items() if one.file.startswith("tests/attacks/")]
    assert shown
    for name in shown:
        (played,) = attacks.results(attacks.load(), suite.Attack.read(name))
        assert played.verdict == "FAIL" and not played.accused


def test_every_class_of_the_zoo_has_a_page_or_is_a_rule() -> None:
    told = [*(case.classes for case in observed.all_cases()), *(case.classes for case in HAND)]
    for name in {one for classes in told for one in classes.split(", ")}:
        assert name in violations.names() or name in RULES.rule, name


@EACH
def test_a_page_holds_what_an_author_needs_to_mend_a_submission(one: Violation) -> None:
    page = rulebook.violation(one, RULES)
    assert (DOCS / "violations" / f"{one.id}.md").read_text() == page, "run: harness explain --out docs/checks"
    for name in one.examples:
        example = violations.examples()[name]
        assert example.offender.strip() in page and example.mended.strip() in page
        assert re.search(r"^```diff\n[-+] *\S", page, re.M)
    assert all(step in page for step in one.mend) and one.what in page and RULES.rule[one.rule].text in page
    for number in re.findall(r"(?<![\w/])#(\d+)", one.case):
        assert f"https://github.com/openai/parameter-golf/pull/{number}" in page


def test_nothing_else_stands_among_the_pages_and_their_list_is_theirs() -> None:
    assert {path.stem for path in (DOCS / "violations").iterdir()} == {*ALL, "index"}
    assert (DOCS / "violations" / "index.md").read_text() == rulebook.index()
    assert (DOCS / "rules.md").read_text() == rulebook.document(RULES), "run: harness explain --out docs/checks"


@pytest.mark.parametrize("book", SHELF, ids=[book.kind for book in SHELF])
def test_every_name_is_explained(book: object) -> None:
    for name in book.names:  # type: ignore[attr-defined]
        told = pages(name, SHELF)
        assert told and all(page.startswith("# ") and len(page) > 40 for page in told), name
        assert pages(name.upper(), SHELF), name


def test_a_violation_is_called_as_nothing_else_is() -> None:
    others = {name.lower() for book in SHELF if book.kind != "violations" for name in book.names}
    assert not others & {name.lower() for name in violations.names()}


def explain(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, words)
    return done.exit_code, done.output if done.exception is None else str(done.exception)


def test_a_name_that_means_two_things_gets_both_pages() -> None:
    code, said = explain("calibration_after_cap")
    assert code == 0 and "# Practice calibration_after_cap" in said and "Kind: to be explained." in said
    code, said = explain("isolation", "shared-delta")
    assert [line for line in said.splitlines() if re.match(r"# [A-Za-z]", line)] == [
        "# isolation", "# Rule isolation: Self-contained and reproducible",
        "# V10: One delta for a batch of overlapping windows",
    ]  # fmt: skip


def test_rules_and_practices_are_told_by_every_ruleset_that_differs() -> None:
    _, said = explain("C3")
    assert "score-before-update" in said and "V9" in said and "strict: No state of the model is updated" in said
    _, said = explain("C3", "--ruleset", "strict")
    assert said.startswith("# Rule C3: A fixed predictor") and "2026-04-28: A position's score is fixed" in said
    _, said = explain("smear_across_documents")
    assert "**unruled**" in said and "* strict: **forbidden**" in said and "cocohearts ruled against this" in said
    assert said.count("A merged record of 16 April does so") == 2, "rulesets that say the same share a line"


def test_a_slip_is_answered_with_what_was_meant_and_no_name_with_the_list() -> None:
    meant_by = {"shard-delta": "shared-delta", "second_pas": "second_pass", "to_few_seeds": "too_few_seeds"}
    for slip, meant in meant_by.items():
        code, said = explain(slip)
        assert code != 0 and f"did you mean {meant}?" in said, said
    code, said = explain()
    assert code == 0
    assert [line.partition(":")[0] for line in said.splitlines()] == [book.kind for book in SHELF]
    assert "V23" in said and "shared-delta" in said and "too_few_seeds" in said and "tail_scored_again" in said


def test_names_with_out_get_a_file_each(tmp_path: Path) -> None:
    code, _ = explain("V10", "C1", "--out", str(tmp_path / "pages"))
    assert code == 0 and {path.name for path in (tmp_path / "pages").iterdir()} == {"V10.md", "C1.md"}
    assert (tmp_path / "pages" / "V10.md").read_text() == rulebook.violation(ALL["V10"], RULES)
