"""score-before-update: the ledger of reads, commits and updates.

Updates are optimizer steps and backward passes that the box reports. One that is made while unscored tokens are in
hand could have used them; whether it did is what the flips say. That is how the three cases come apart: test-time
training after the commit (legal), context-only SLOT (its updates stand between read and commit, and the flips are
clean), and scored-position SLOT (the flips are not).

Before each commit the box also gives digests of its state: the model's parameters, and what the submission registers.
Where every row of a commit comes before the token that a flip replaces, the state before it may not move either, even
where no row shows it: it was updated with a token that was not scored. Buffers and the optimizers' own state are told
and not judged, because a window that is read ahead may leave traces there that nothing is computed from.
"""

from __future__ import annotations

from typing import Any

from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.audit.practices import Seen, ruled, status_of
from harness.record import Finding, Status, Value, Witness
from harness.referee.comparator import ProbeResult
from harness.referee.source import Probe
from harness.referee.trace import Commit, Read, Trace, Update
from harness.sandbox.protocol import STATE

CHECK = "score-before-update"
_EVENTS = 160

#: Parts of the state that must not know an unscored token.
_JUDGED = {STATE[0], STATE[2]}

NOT_COVERED = [
    (
        "state that is neither the model's nor registered, such as a cache of counts or a copy of the model "
        "(tests with other text see its effect)"
    ),
    (
        "updates and digests are reported from inside the sandbox; for a submission that hides them the tests with"
        " other text decide"
    ),
]


def check(evidence: Evidence) -> Finding:
    """PASS without updates or with updates on scored tokens only; else what the flips and the ruleset say."""
    trace = evidence.trace
    updates = [event for event in trace.events if isinstance(event, Update)]
    early = [event for event in updates if event.pending > 0]
    ahead, within = _kept(trace, early)
    steps = sum(max(event.steps, event.backwards) for event in updates)
    metrics: dict[str, Value] = {
        "optimizer_steps": sum(event.steps for event in updates),
        "backward_passes": sum(event.backwards for event in updates),
        "update_groups": len(updates),
        "updates_early": len(early),
        "updates_kept": len(ahead),
    }
    states = _States(evidence)
    metrics |= states.metrics
    made = [result for result in evidence.probes if result.ran and result.error is None and result.control]
    leaking = [result for result in evidence.probes if result.violated]
    aimed = sum(any(_inside(trace, event, result.probe.position) for result in made) for event in early)
    power = {
        "events": len(trace.events),
        "probes_that_decide": len(made),
        "batches_tested": aimed,
        **states.power,
    }
    figures = {"ledger": _timeline(trace)}

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return finding(
            evidence,
            CHECK,
            status,
            headline,
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=NOT_COVERED,
            figures=figures,
        )

    if states.moved and not (early and leaking):
        result, (low, high, parts) = states.moved
        return conclude(
            Status.FAIL,
            f"with another token at {result.probe.position:,}, the {parts} changed before the predictions up to "
            f"{high:,} were scored: it learned from a token before that was scored",
            _state_witness(evidence, result, low, high, parts),
        )
    if not updates and not states.changes:
        return conclude(Status.PASS, "no update was made during evaluation: a fixed predictor (Track A)")
    if status_of(evidence.ruleset, "adaptation") != Status.PASS:
        made_of = f"{steps:,} updates were made" if updates else f"state changed {states.changes:,} times"
        note = f"{made_of} during evaluation, and these rules are about fixed predictors (Track A)"
        first = _first_update(updates[0]) if updates else states.first_change()
        return conclude(*ruled(evidence.ruleset, [Seen("adaptation", note)], first))
    if not updates and not states.compared + states.unread:
        return conclude(
            Status.INCONCLUSIVE,
            f"no optimizer step was made during evaluation; registered state or parameters changed {states.changes:,}"
            " times, and no test with other text compared it: nothing says whether a token that was not scored yet had"
            " a part in it",
        )
    if not updates:
        return conclude(
            Status.PASS,
            f"no optimizer step was made during evaluation; registered state or parameters changed {states.changes:,}"
            f" times; in {states.compared + states.unread:,} tests with other text no token had a part in it before it"
            " was scored (Track B)",
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
                f"an update was made after {event.scored:,} scored positions with {event.pending:,} tokens in hand that"
                f" were not scored yet, and with another token at {probe.position} predictions up to its own changed"
            ),
            data={
                "probe": probe.kind,
                "position": probe.position,
                "new_token": probe.token,
                "shift": probe.shift,
                "tolerance": evidence.flip_tolerance,
                "affected": [{"position": p, "before": b, "after": a} for p, b, a, _ in leaking[0].violations[:20]],
                **({"others": [list(other) for other in probe.others]} if probe.others else {}),
                **({} if probe.split else {"split": False}),
            },
        )
        return conclude(
            Status.FAIL,
            f"it learned from tokens before it scored them: {len(early):,} groups of updates had unscored tokens in"
            " hand, and with other tokens there earlier predictions changed",
            witness,
        )
    broken = [result.error for result in evidence.probes if result.error is not None]
    if broken:
        return conclude(
            Status.INCONCLUSIVE,
            f"{len(early):,} groups of updates were made with unscored tokens in hand, and {len(broken)} of "
            f"{len(evidence.probes)} tests with other text, which say whether they were used, failed: {broken[0]}",
        )
    if not made:
        return conclude(
            Status.INCONCLUSIVE,
            f"{len(early):,} groups of updates were made with unscored tokens in hand, and no test with other text says"
            " whether they were used",
        )
    if not aimed:
        return conclude(
            Status.INCONCLUSIVE,
            f"{len(early):,} groups of updates were made with unscored tokens in hand, and no token was replaced in the"
            " rows that came next",
        )
    if not within:
        return conclude(
            Status.PASS,
            f"all {steps:,} updates used scored tokens only, as tests with other text show, and stay in the model:"
            " tokens that were read ahead had no part in them (Track B)",
        )
    note = (
        f"{steps:,} updates were made between reading a window and scoring it; tests with other text show that they use"
        " scored "
    )
    return conclude(*ruled(evidence.ruleset, [Seen("adaptation_before_scoring", f"{note}tokens only")]))


def _kept(trace: Trace, early: list[Update]) -> tuple[list[Update], list[Update]]:
    """Updates by whether the model's parameters are others at the next commit than at the one before.

    What stays in the model is test-time training, and the order of reads is a matter of prefetching. What does not was
    fitted for the rows that came next, as the vector of context-only SLOT is, even where the next one starts from it.
    """
    kept: list[Update] = []
    passing: list[Update] = []
    for event in early:
        before = trace.state_at(max(event.scored - 1, 0))
        (kept if before[0] != trace.state_at(event.scored)[0] else passing).append(event)
    return kept, passing


def _inside(trace: Trace, event: Update, position: int) -> bool:
    """Whether a position is scored by the first commit after an update."""
    start = event.scored
    return bool(start <= trace.order[position] < start + trace.size_at(start))


def _first_update(event: Update) -> Witness:
    return Witness(
        kind="rerun",
        summary=f"the first update came after {event.scored:,} commits",
        data={
            "scored": event.scored,
            "pending": event.pending,
            "steps": event.steps,
            "backwards": event.backwards,
        },
    )


class _States:
    """What the digests say: `changes` in the scored run, and the earliest commit before which the state `moved`.

    `flips` is how many probes could have moved it; none of them compares anything where all that a commit may not know
    was still unread in the process that was split.

    `moved` is a probe's result, and first position, last position and parts of that commit; None also where two
    identical runs do not agree on their states, so that a difference means nothing.
    """

    def __init__(self, evidence: Evidence) -> None:
        trace, again = evidence.trace, evidence.again
        self.agree = again is None or trace.states == again.states
        made = [result for result in evidence.probes if result.ran and self.agree]
        results = [result for result in made if _keeps_documents(evidence, result.probe)]
        self.flips = len(results)
        self.compared = sum(result.states for result in results)
        self.unread = sum(result.unread for result in results)
        judged = [_judged(state.digests) for state in trace.states]
        changed = [index for index, (a, b) in enumerate(zip(judged, judged[1:], strict=False), 1) if a != b]
        self.changes, self._changed = len(changed), changed
        found = [
            (low, high, " and ".join(part for part in parts if part in _JUDGED), result)
            for result in results
            for low, high, parts in result.state_moved
            if _JUDGED.intersection(parts)
        ]
        first = min(found, key=lambda one: (one[0], one[3].probe.position), default=None)
        self.moved = None if first is None else (first[3], first[:3])
        told = sum(bool(result.state_moved) for result in made)
        self.metrics: dict[str, Value] = {
            "state_changes": self.changes,
            "states_moved_early": told,
        }
        self.power: dict[str, Value] = {
            "states_compared": self.compared,
            "probes_read_late": self.unread,
            "states_repeat": self.agree,
        }

    def first_change(self) -> Witness:
        """The first commit before which the state was another one than before the commit before it."""
        return Witness(
            kind="rerun",
            summary=f"the state before commit {self._changed[0] + 1:,} is not that before the one before it",
            data={"changes": self.changes, "before_commit": self._changed[0]},
        )


def _keeps_documents(evidence: Evidence, probe: Probe) -> bool:
    """A flip that neither makes nor removes a document's start; suffixes never do.

    Digests are exact to the last bit. A scorer that cuts its batches at documents may train on scored tokens in a batch
    of another shape when a later document begins elsewhere, and its parameters then differ by rounding.
    """
    bos = evidence.dataset.tokenizer.bos_id
    if probe.kind == "suffix":
        return True
    return probe.token != bos and int(evidence.dataset.validation[probe.position]) != bos


def _judged(digests: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(digest for part, digest in zip(STATE, digests, strict=True) if part in _JUDGED)


def _state_witness(evidence: Evidence, result: ProbeResult, low: int, high: int, parts: str) -> Witness:
    probe = result.probe
    return Witness(
        kind=probe.kind,
        summary=(
            f"with another token at {probe.position:,} the {parts} changed before rows {low:,} to {high:,} were scored"
        ),
        data={
            "probe": probe.kind,
            "position": probe.position,
            "new_token": probe.token,
            "shift": probe.shift,
            "token_class": probe.token_class,
            "state": parts,
            "before_rows": [low, high],
            **({"others": [list(other) for other in probe.others]} if probe.others else {}),
            **({} if probe.split else {"split": False}),
        },
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
