"""What the rules make of a practice: the one place where a ruling becomes a status and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.record import SEVERITY, Status, Witness
from harness.rules import Ruleset

_STATUS = {"forbidden": Status.FAIL, "unruled": Status.UNRULED, "tolerated": Status.PASS}


@dataclass(frozen=True)
class Seen:
    """A practice that the evidence shows.

    Attributes:
        practice: its name in the ruleset.
        note: what was seen here, with its number; no full stop.
    """

    practice: str
    note: str


def status_of(ruleset: Ruleset, practice: str) -> Status:
    """FAIL for what is forbidden, UNRULED for what no ruling settles, PASS for what accepted records do."""
    return _STATUS[ruleset.practice[practice].ruling]


def ruled(ruleset: Ruleset, seen: Sequence[Seen], witness: Witness | None = None) -> tuple[Status, str, Witness | None]:
    """The worst of several practices (at least one), what to say of them, and a witness where one is needed.

    Args:
        ruleset: the rules to judge by.
        seen: what the evidence shows.
        witness: of it, if there is one; what is forbidden has at least its sentence.
    """
    statuses = [status_of(ruleset, one.practice) for one in seen]
    worst = min(statuses, key=SEVERITY.index)
    ruling = {one.practice: ruleset.practice[one.practice].text for one in seen}
    headline = f"{'; '.join(one.note for one in seen)}. {' '.join(ruling.values())}"
    if worst == Status.FAIL and witness is None:
        witness = Witness(kind="rule", summary=headline)
    return worst, headline, witness
