"""document-boundary: what does the last token of a document do to the first rows of the next?

Information, not a violation (a sliding window sees across), but for two things: the submission claims that documents
are isolated; or its code names a SmearGate, the last token of a document moves the first row of the next, and a token
some way before it does not. Then the gate mixes documents that are kept apart otherwise, and rules and rulings say how
that is taken (practice `smear_across_documents`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.audit.check import finding, not_run
from harness.audit.evidence import Evidence
from harness.audit.practices import Seen, ruled, status_of
from harness.record import Finding, Status, Value, Witness
from harness.referee.comparator import KEPT_CHANGES, ProbeResult
from harness.referee.plan import BEFORE
from harness.referee.source import BEFORE_END, DOCUMENT_END

CHECK = "document-boundary"

#: Documents whose first row moved with the last token before them alone: one may be a window's edge.
LEAST = 2
PRACTICE = "smear_across_documents"
#: Rows of the next document that are looked at.
ROWS = 16
_CLAIMS = ("document_isolated", "documents_isolated", "doc_isolated")


def check(evidence: Evidence) -> Finding:
    """Report how far rows move; FAIL only where submission.json claims isolation and they do."""
    made = [r for r in evidence.probes if r.probe.token_class == DOCUMENT_END and r.ran and r.error is None]
    tokens = np.asarray(evidence.dataset.validation[: evidence.trace.tokens])
    if not made and not (tokens[2:] == evidence.dataset.tokenizer.bos_id).any():
        return finding(evidence, CHECK, Status.NOT_APPLICABLE, "the stream is one document")
    claimed = next((name for name in _CLAIMS if evidence.claims.get(name) is True), None)
    if not made and evidence.unsplit and not claimed:
        if evidence.gate and status_of(evidence.ruleset, PRACTICE) == Status.FAIL:
            why = f"not measured, and a gate across documents is ruled out: {evidence.unsplit}"
            return finding(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=[why])
        why = f"not measured, and no rule asks for it: {evidence.unsplit}"
        return finding(evidence, CHECK, Status.NOT_APPLICABLE, why, not_covered=[why])
    if not made:
        return not_run(evidence, CHECK, "no token at the end of a document was replaced")
    moved = []
    for result in made:
        # The row for the BOS itself may well depend on how the document ended; isolation is about what follows it.
        first = result.probe.position + 2
        moved += [(size, p, result) for p, size in result.effects if first <= p < first + ROWS and size > 0]
    largest, position, worst = max(moved, key=lambda row: (row[0], -row[1]), default=(0.0, 0, None))
    metrics: dict[str, Value] = {
        "largest_change_next": largest,
        "rows_moved_next": len(moved),
        "ends_probed": len(made),
    }
    power: dict[str, Value] = {"ends_probed": len(made), "rows_after_each": ROWS}
    not_covered = ["state that crosses documents in other ways than from the last token"]
    if claimed and worst is not None:
        witness = Witness(
            kind="swap",
            summary=f"replacing token {worst.probe.position}, the last of its document, moves row {position}",
            data={
                "probe": "swap",
                "position": worst.probe.position,
                "new_token": worst.probe.token,
                "shift": 0,
                "token_class": DOCUMENT_END,
                "moved": position,
                "change": largest,
            },
        )
        headline = f"{claimed} is claimed, but a document's last token moves the next one's rows by {largest:.3g} nats"
        return finding(
            evidence, CHECK, Status.FAIL, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip
    only, both = _told_apart(evidence, made)
    metrics |= {"starts_moved_by_last_alone": len(only), "starts_moved_by_rest": both} if evidence.gate else {}
    if len(only) >= LEAST and not both:
        note = (
            f"the first row of {len(only)} documents moves, by up to {max(only):.3g} nats, with the last token of the "
            f"document before, and no row with the token {BEFORE} before that"
        )
        status, headline, shown = ruled(evidence.ruleset, [Seen(PRACTICE, note)])
        return finding(
            evidence, CHECK, status, headline, metrics=metrics, witness=shown, power=power, not_covered=not_covered
        )
    headline = (
        f"a document's last token moves the first rows of the next by up to {largest:.3g} nats (information, no rule)"
        if moved
        else f"a document's last token moves none of the first {ROWS} rows of the next"
    )
    return finding(evidence, CHECK, Status.PASS, headline, metrics=metrics, power=power, not_covered=not_covered)


def _told_apart(evidence: Evidence, ends: Sequence[ProbeResult]) -> tuple[list[float], int]:
    """Changes of first rows, nats, that the last token alone made; and at how many starts a token before it made some.

    A probe whose changes are too many to be all kept cannot say that a row did not move.
    """
    before = {
        one.probe.position + BEFORE: one
        for one in evidence.probes
        if one.probe.token_class == BEFORE_END and one.ran and one.error is None
    }
    only, both = [], 0
    for one in ends:
        other = before.get(one.probe.position)
        first = one.probe.position + 2
        change = max((size for position, size in one.effects if position == first), default=0.0)
        if not evidence.gate or other is None or not change:
            continue
        reached = any(first <= position < first + ROWS for position, _ in other.effects)
        if reached or len(other.effects) >= KEPT_CHANGES:
            both += 1
        else:
            only.append(change)
    return only, both
