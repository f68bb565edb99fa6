"""score-before-update: the ledger of reads, commits and updates.

Updates are optimizer steps and backward passes that the box reports. One that is made while unscored tokens are in
hand could have used them; whether it did is what the flips say. That is how the three cases come apart: test-time
training after the commit (legal), context-only SLOT (its updates stand between read and commit, and the flips are
clean), and scored-position SLOT (the flips are not).
"""

from __future__ import annotations

from typing import Any

from harness.audit.evidence import Evidence, finding
from harness.record import Finding, Status, Witness
from harness.referee.trace import Commit, Read, Trace, Update

CHECK, RULE = "score-before-update", "C3"
_EVENTS = 160

_NOT_COVERED = [
    "state changed without torch's autograd and optimizers, such as a cache of counts (flips see its effect)",
    "the box reports updates about itself; a submission that hides them is left to the flips",
]


def check(evidence: Evidence) -> Finding:
    """PASS without updates or with updates on scored tokens only; else what the flips and the ruleset say."""
    trace = evidence.trace
    updates = [event for event in trace.events if isinstance(event, Update)]
    early = [event for event in updates if event.pending > 0]
    steps = sum(max(event.steps, event.backwards) for event in updates)
    metrics = {
        "optimizer steps": sum(event.steps for event in updates),
        "backward passes": sum(event.backwards for event in updates),
        "groups of updates": len(updates),
        "made with unscored tokens in hand": len(early),
    }
    made = [result for result in evidence.probes if result.ran and result.error is None and result.control]
    leaking = [result for result in evidence.probes if result.violated]
    power = {"events in the ledger": len(trace.events), "flips that decide": len(made)}
    figures = {"ledger": _timeline(trace)}

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return finding(
            evidence,
            CHECK,
            RULE,
            status,
            headline,
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=_NOT_COVERED,
            figures=figures,
        )

    if not updates:
        return conclude(Status.PASS, "no update was made during evaluation: a fixed predictor (Track A)")
    if evidence.ruleset.policy.adaptation == "forbidden":
        event = updates[0]
        witness = Witness(
            kind="rerun",
            summary=f"the first update came after {event.scored:,} commits",
            data={
                "scored": event.scored,
                "pending": event.pending,
                "steps": event.steps,
                "backwards": event.backwards,
            },
        )
        return conclude(
            Status.FAIL,
            f"{steps:,} updates were made during evaluation; the ruleset admits fixed predictors only (Track A)",
            witness,
        )
    if not early:
        return conclude(
            Status.PASS, f"all {steps:,} updates came after every token that had been read was scored (Track B)"
        )
    if leaking:
        event, probe = early[0], leaking[0].probe
        witness = Witness(
            kind=probe.kind,
            summary=(
                f"an update was made after {event.scored:,} commits with {event.pending:,} unscored tokens in hand, "
                f"and replacing a token at {probe.position} moved rows up to its own"
            ),
            data={
                "probe": probe.kind,
                "position": probe.position,
                "new_token": probe.token,
                "shift": probe.shift,
                "tolerance": evidence.flip_tolerance,
                "affected": [{"position": p, "before": b, "after": a} for p, b, a, _ in leaking[0].violations[:20]],
            },
        )
        return conclude(
            Status.FAIL,
            f"{len(early):,} groups of updates were made with unscored tokens in hand, and the flips show that they "
            "enter the rows",
            witness,
        )
    if not made:
        return conclude(
            Status.INCONCLUSIVE,
            f"{len(early):,} groups of updates were made with unscored tokens in hand, and no flip says whether they "
            "were used",
        )
    why = evidence.ruleset.unruled.get("adapts_before_scoring")
    if why is None:
        return conclude(
            Status.PASS,
            f"{steps:,} updates were made between reading and scoring; the flips show that they use scored tokens only",
        )
    return conclude(
        Status.UNRULED,
        f"{steps:,} updates were made between reading a window and scoring it; the flips show that they use scored "
        f"tokens only. {why}",
    )


def _timeline(trace: Trace) -> dict[str, Any]:
    """The first events of the ledger: reads, commits and updates against stream positions."""
    events = []
    for order, event in enumerate(trace.events[:_EVENTS]):
        if isinstance(event, Read):
            # A batch of windows overlaps itself; what matters is how far it sees beyond what is scored.
            low = int(event.ranges[0, 0]) if len(event.ranges) == 1 else event.scored
            high = int(event.ranges[:, 1].max(initial=0))
            events.append({"kind": "read", "start": low, "end": high, "order": order})
        elif isinstance(event, Commit):
            events.append({"kind": "commit", "start": event.low, "end": event.high + 1, "order": order})
        else:
            events.append({"kind": "update", "start": event.scored, "end": event.scored + 1, "order": order})
    title = f"The first {len(events)} events of the ledger" if len(trace.events) > _EVENTS else "The ledger"
    return {"type": "timeline", "title": title, "events": events}
