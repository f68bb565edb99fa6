"""Which printed lines carry the claimed score: their labels in the folder's logs, found by the number.

A script prints many evaluations, and a tiny run more than the submitted one (a stride that was made smaller is no
longer the stride that the script skips a second pass for). The line that counts is the one that the submitted logs
give the claimed number on.
"""

from __future__ import annotations

from harness.rules import Ruleset
from harness.scripts.evidence.linting import open_case
from harness.scripts.lines import plain
from harness.scripts.opening import Script


def labels(script: Script, ruleset: Ruleset) -> frozenset[str]:
    """Labels of the lines with the claimed score, as `lines.plain` gives them; none where no number fits the claim."""
    if script.path.is_file():
        return frozenset()
    case = open_case(script.folder, ruleset)
    if not case.headline.matched:
        return frozenset()
    found: set[str] = set()
    for one in case.headline.carried:
        same = [
            m for m in one.run.results if abs(m.bpb.value - one.metric.bpb.value) <= m.bpb.half + one.metric.bpb.half
        ]
        found |= {plain(metric.label) for metric in same}
    return frozenset(found - {"", "info"})
