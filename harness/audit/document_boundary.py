"""document-boundary: what does the last token of a document do to the first rows of the next?

Information, not a violation (a sliding window sees across), unless the submission claims that documents are isolated.
"""

from __future__ import annotations

import numpy as np

from harness.audit.evidence import Evidence, finding, not_run
from harness.record import Finding, Status, Witness
from harness.referee.source import DOCUMENT_END

CHECK = "document-boundary"

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
    metrics = {
        "largest_change_next": largest,
        "rows_moved_next": len(moved),
        "ends_probed": len(made),
    }
    power = {"ends_probed": len(made), "rows_after_each": ROWS}
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
    headline = (
        f"a document's last token moves the first rows of the next by up to {largest:.3g} nats (information, no rule)"
        if moved
        else f"a document's last token moves none of the first {ROWS} rows of the next"
    )
    return finding(evidence, CHECK, Status.PASS, headline, metrics=metrics, power=power, not_covered=not_covered)
