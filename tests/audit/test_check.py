"""The registry of checks: one contract, one judge, and documents that are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import rules
from harness.audit import checks
from harness.audit.check import REGISTRY, Need, Provider, explained, judge, needs, select, within
from harness.cli.explain import COLLECTORS
from harness.errors import UsageError
from harness.record import Finding, Status

DOCS = Path(__file__).parents[2] / "docs" / "checks"


@pytest.mark.parametrize("providers", COLLECTORS.values(), ids=["adapters", "scripts", "papers"])
def test_every_collector_makes_checks_of_the_one_registry(providers: Mapping[str, Provider[Any]]) -> None:
    assert set(providers) <= set(REGISTRY)
    assert all(provider.documentation for provider in providers.values())
    everything = within(Need, providers)
    assert everything == select("all", providers)
    assert set(within((), providers)) <= set(everything)


def test_every_check_has_a_collector_a_rule_and_known_practices() -> None:
    assert {name for made in COLLECTORS.values() for name in made} == set(REGISTRY)
    for name in rules.available():
        ruleset = rules.load(name)
        for check in REGISTRY.values():
            assert check.rule in ruleset.rule and set(check.practices) <= set(ruleset.practice)
            assert len(check.practices) == len(set(check.practices))
    # A choice among evaluations shows in a run and in the papers, which are two checks.
    assert {practice for check in REGISTRY.values() for practice in check.practices} == set(rules.PRACTICES)


def test_what_is_gathered_follows_from_what_is_asked() -> None:
    assert needs(["size-limit", "single-pass"], checks.CHECKS) == frozenset()
    assert needs(["null-stream"], checks.CHECKS) == {Need.NULL_RUN}
    assert needs(["causality", "isolation"], checks.CHECKS) == {Need.SECOND_RUN, Need.FLIPS, Need.AT_HAND}
    assert "causality" not in within([Need.SECOND_RUN], checks.CHECKS)
    assert "determinism" in within([Need.SECOND_RUN], checks.CHECKS)


def test_a_check_that_breaks_is_an_error_and_the_others_go_on() -> None:
    def fine(evidence: int) -> Finding:
        return Finding(id="causality", rule="C1", title="t", status=Status.PASS, headline=str(evidence))

    def broken(evidence: int) -> Finding:
        raise ZeroDivisionError("oops")

    made = {"determinism": Provider(broken), "causality": Provider(fine), "isolation": Provider(lambda evidence: None)}
    found = judge(7, ["determinism", "causality", "isolation"], made)
    assert [(one.id, one.status) for one in found] == [("determinism", Status.ERROR), ("causality", Status.PASS)]
    assert "ZeroDivisionError" in found[0].headline and "says nothing about the submission" in found[0].headline


@pytest.mark.parametrize("name", REGISTRY)
def test_the_documents_are_made_from_the_registry(name: str) -> None:
    text = explained(name, rules.load(), COLLECTORS)
    assert (DOCS / f"{name}.md").read_text() == text, "run: harness explain --out docs/checks"


def test_nothing_else_is_documented_as_a_check() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(REGISTRY)
    with pytest.raises(UsageError, match="no check 'none'; known: determinism"):
        explained("none", rules.load(), COLLECTORS)
