"""document-boundary: in a script with a SmearGate, does the end of a document reach the first row of the next?

Asked only of a script whose source names one. In one run the last tokens of all documents are replaced, in another all
other tokens of every second document. The first row of a document is the one behind its BOS. Where it moves with the
last token of the document before and with nothing else of it, the gate mixes documents that are kept apart otherwise:
that is the practice `smear_across_documents`, and rules and rulings say how it is taken. Where it moves with the rest,
too, attention or state runs on from document to document, as in many accepted records: information. All passes over the
validation text are looked at: one that counts and scores each document for itself has no document before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.audit.document_boundary import CHECK, LEAST, PRACTICE
from harness.audit.practices import Seen, ruled, status_of
from harness.record import Finding, Status, Value
from harness.scripts.checks.evidence import ENDS, REST, Flip, ScriptEvidence, counterpart, found
from harness.scripts.trace.passes import Pass

NOT_COVERED = [
    "gates of another name, and other ways from one document into the next",
    "a gate that is shut until training has opened it, and was not trained for long enough here",
    "training, where documents are packed too",
]


@dataclass(frozen=True)
class _Starts:
    """What happened at the starts of documents in one pass.

    Attributes:
        name: of the pass.
        counts: it is the one that counts.
        ends: by how much first rows moved with the ends of the documents before them, nats, by start.
        told: starts before which the rest of the document was replaced, too.
        only: those of them whose row moved with the end alone.
        both: those whose row moved with either.
    """

    name: str
    counts: bool
    ends: dict[int, float]
    told: list[int]
    only: list[int]
    both: list[int]

    @property
    def smears(self) -> bool:
        """One token looks back across documents that are kept apart otherwise; one start may be a window's edge."""
        return len(self.only) >= LEAST and len(self.only) > len(self.both)


def check(evidence: ScriptEvidence) -> Finding | None:
    """What the rules make of a gate across documents; PASS where there is none; None where the script has no gate."""
    if evidence.boundaries is None:
        return None
    by = {flip.variant.why: flip for flip in evidence.boundaries}
    made = [
        one
        for index in range(len(evidence.base.passes))
        if (one := _starts(evidence, index, by.get(ENDS), by.get(REST))) is not None
    ]
    counted = next((one for one in made if one.counts), None)
    if counted is None or not counted.told:
        return _unmade(evidence, by)
    smears = [one for one in sorted(made, key=lambda one: not one.counts) if one.smears]
    shown = smears[0] if smears else counted
    largest = max(shown.ends.values())
    moved = sum(change > evidence.tolerance for change in shown.ends.values())
    metrics: dict[str, Value] = {
        "largest_change_next": largest,
        "starts_moved": moved,
        "starts_moved_by_last_alone": len(shown.only),
        "starts_moved_by_rest": len(shown.both),
    }
    power: dict[str, Value] = {
        "ends_probed": len(shown.ends),
        "starts_told_apart": len(shown.told),
        "passes_looked_at": len(made),
        "noise_floor": evidence.tolerance,
    }
    witness = None
    if smears:
        apart = ""
        if not shown.counts:
            here = "no first row does" if not counted.only + counted.both else "documents are not kept apart"
            apart = f", which does not count; in the one that counts {here}"
        size = max(shown.ends[one] for one in shown.only)
        note = (
            f"the first row of {len(shown.only)} of {len(shown.told)} documents moves, by up to {size:.3g} nats, with "
            f"the last token of the document before and with nothing else of it, in the {shown.name} pass{apart}"
        )
        status, headline, witness = ruled(evidence.ruleset, [Seen(PRACTICE, note)])
    elif moved:
        status = Status.PASS
        headline = (
            f"the end of a document moves the first row of the next by up to {largest:.3g} nats, and so does the rest "
            f"of it, at {len(shown.both)} of {len(shown.told)} starts (information, no rule)"
        )
    else:
        status = Status.PASS
        headline = f"the end of a document moves no first row of the next, at {len(shown.ends)} starts"
    return found(
        evidence, CHECK, status, headline, metrics=metrics, witness=witness, power=power, not_covered=NOT_COVERED
    )


def _starts(evidence: ScriptEvidence, index: int, ends: Flip | None, rest: Flip | None) -> _Starts | None:
    """What the two flips did in one pass of the base run; None where one of them left nothing to compare."""
    base = evidence.base
    by_end, by_rest = (_moved(evidence, index, flip) for flip in (ends, rest))
    if by_end is None or by_rest is None:
        return None
    starts = [int(start) for start in evidence.documents[1:]]
    seen = {start: by_end[start + 1] for start in starts if start + 1 in by_end}
    # Of every second document the rest was replaced: those after it can tell the two apart.
    told = [start for start in starts[::2] if start in seen and start + 1 in by_rest]
    moved = {start for start in told if seen[start] > evidence.tolerance}
    far = {start for start in moved if by_rest[start + 1] > evidence.tolerance}
    only, both = sorted(moved - far), sorted(far)
    return _Starts(base.passes[index].name, index == base.headline, seen, told, only, both) if seen else None


def _moved(evidence: ScriptEvidence, index: int, flip: Flip | None) -> dict[int, float] | None:
    """By how much the charge of each position changed in a pass, nats."""
    if flip is None or flip.trace is None or flip.error:
        return None
    other = counterpart(evidence.base, flip.trace, index)
    if other is None:
        return None
    before, after = (_charges(one) for one in (evidence.base.passes[index], other))
    change = {position: abs(after[position] - charge) for position, charge in before.items() if position in after}
    return {position: value for position, value in change.items() if np.isfinite(value)}


def _charges(scored: Pass) -> dict[int, float]:
    made: dict[int, float] = {}
    for position, charge in zip(scored.position.tolist(), scored.charged.tolist(), strict=True):
        made.setdefault(int(position), float(charge))
    return made


def _unmade(evidence: ScriptEvidence, by: dict[str, Flip]) -> Finding:
    """Nothing was seen: open where a finding would be held against the script, else without a say."""
    why = next((flip.error for flip in by.values() if flip.error), None) or "no first row of a document was compared"
    forbidden = status_of(evidence.ruleset, PRACTICE) == Status.FAIL
    status = Status.INCONCLUSIVE if forbidden else Status.NOT_APPLICABLE
    headline = f"not measured{'' if forbidden else ', and no rule forbids it for this submission'}: {why}"
    return found(evidence, CHECK, status, headline, not_covered=[why])
