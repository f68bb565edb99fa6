"""Which printed lines carry the claimed score: their labels in the folder's logs, found by the number.

A script prints many evaluations, and a tiny run more than the submitted one (a stride that was made smaller is no
longer the stride that the script skips a second pass for). The line that counts is the one that the submitted logs
give the claimed number on, and the settings are those of a run that printed it.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.papers.collect import Case, open_case
from harness.rules import Ruleset
from harness.scripts.opening import Script
from harness.scripts.trace.lines import plain


@dataclass(frozen=True)
class Claim:
    """Where a folder's logs print the claimed score; empty where no number fits the claim.

    Attributes:
        labels: of the lines, as `lines.plain` gives them.
        logs: names of the logs that have such a line and tell of training as well (a log of an evaluation alone says
            how a second process was run).
    """

    labels: frozenset[str] = frozenset()
    logs: frozenset[str] = frozenset()


def case_of(script: Script, ruleset: Ruleset) -> Case | None:
    """What stands beside a script in its folder; None for a bare file."""
    return None if script.path.is_file() else open_case(script.folder, ruleset)


def find(case: Case | None) -> Claim:
    """The claim of a folder; a bare file has none."""
    if case is None or not case.headline.matched:
        return Claim()
    found: set[str] = set()
    logs: set[str] = set()
    for one in case.headline.carried:
        same = [
            m for m in one.run.results if abs(m.bpb.value - one.metric.bpb.value) <= m.bpb.half + one.metric.bpb.half
        ]
        found |= {plain(metric.label) for metric in same}
        if one.run.steps or one.run.stop or one.run.train_ms:
            logs.add(one.run.file)
    return Claim(frozenset(found - {"", "info"}), frozenset(logs))
