"""What every judge does around a check: a check that breaks is an ERROR, and strict rulesets take UNRULED for FAIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.record import Finding, Status, Witness
from harness.rules import Ruleset

E = TypeVar("E")
F = TypeVar("F", Finding, Finding | None)


def guarded(name: str, check: Callable[[E], F], evidence: E) -> F | Finding:
    """What the check finds, or an ERROR that says nothing about the submission."""
    try:
        return check(evidence)
    except Exception as error:
        return Finding(
            id=name,
            rule="harness",
            title="The check itself failed",
            status=Status.ERROR,
            headline=f"the check broke ({type(error).__name__}: {error}); this says nothing about the submission",
            not_covered=["everything that this check looks at"],
        )


def settled(found: Finding, ruleset: Ruleset, witness: Witness | None = None) -> Finding:
    """A practice without a ruling, under a ruleset that holds it against the submission.

    Args:
        found: what a check said.
        ruleset: the rules to judge by.
        witness: for the FAIL; by default the finding's own, or its headline.
    """
    if found.status != Status.UNRULED or ruleset.policy.unruled_is != "fail":
        return found
    witness = witness or found.witness or Witness(kind="rule", summary=found.headline)
    return found.model_copy(update={"status": Status.FAIL, "witness": witness})
