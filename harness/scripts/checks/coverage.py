"""Did the code run that decides the score at full size?

A script is run at a tiny size, where what waits for 5,000 tokens, for a window of 512 or for step 500 never wakes. So
each branch of its own files is watched. An arm counts that never ran, whose test the counted pass came to, that does
something with values of the text, and that settings alone do not rule out. Where such an arm waits for a threshold,
and the number that is held against it is known at full size (a length, the tokens so far), the threshold is scaled as
settings are and everything is run with that. What is left could do anything, and no other check has seen it. So could
code in a wrapper that neither reading nor running its stub opens, and code that a script makes while it runs.
"""

from __future__ import annotations

from harness.record import Finding, Status, Value
from harness.scripts.checks.evidence import ScriptEvidence, found, texts

CHECK = "coverage"
NOT_COVERED = [
    "arms that ran, in a state that they never have at this size (trained weights, full caches)",
    "branches inside operations (a `where`, a mask), of code that is made at run time, and of installed packages",
]
_SHOWN = 12


def check(evidence: ScriptEvidence) -> Finding | None:
    """PASS where every arm that matters ran; INCONCLUSIVE where one did not, or where that is not known."""
    sleep = evidence.sleep
    if evidence.unseen is not None:
        why = f"not all code that decides the score was seen: {evidence.unseen}"
        return found(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=NOT_COVERED)
    if sleep is None or evidence.main is None:
        return None
    metrics: dict[str, Value] = {
        "branches_asleep": len(sleep.asleep),
        "branches_woken": len(sleep.woken),
        **({"asleep": texts(f"{one.place}: {one.told}" for one in sleep.asleep[:_SHOWN])} if sleep.asleep else {}),
        **({"woken": texts(f"{one.place}: {one.told}" for one in sleep.woken[:_SHOWN])} if sleep.woken else {}),
        **(
            {"ran_at_length": texts(f"{one.place}: {one.told}" for one in sleep.at_length[:_SHOWN])}
            if sleep.at_length
            else {}
        ),
    }
    power: dict[str, Value] = {"branches_watched": sleep.watched, "branches_met": sleep.met}
    not_covered = list(NOT_COVERED)
    if evidence.stub_ran:
        not_covered.append("whether the wrapper executes elsewhere what it would have executed in the box, twice")
    if evidence.ranks > 1:
        not_covered.append("branches that other ranks than the first came to alone")
    status = Status.INCONCLUSIVE
    if sleep.asleep:
        first, more = sleep.asleep[0], len(sleep.asleep) - 1
        others = f" (and {more} more)" if more else ""
        headline = f"code at {first.place} never ran at this size, and may at full size: {first.told}{others}"
    elif sleep.unknown:
        headline = f"whether code sleeps at this size is not known: {sleep.unknown}"
    else:
        status = Status.PASS
        woken = f"; {len(sleep.woken)} ran after a threshold was scaled" if sleep.woken else ""
        woken += f"; {len(sleep.at_length)} ran at the submitted sequence length alone" if sleep.at_length else ""
        headline = (
            "all code that the counted pass came to and that works on the text ran at this size, or cannot run at full"
            f" size either ({sleep.watched:,} branches watched{woken})"
        )
    return found(evidence, CHECK, status, headline, metrics=metrics, power=power, not_covered=not_covered)
