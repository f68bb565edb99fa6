"""What every judge does around a check: one that breaks is an ERROR that says nothing about the submission."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.record import Finding, Status

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
