"""single-pass: is every position scored exactly once, from left to right?

What a scoring is instead has a name among the ruleset's practices, and the ruleset says how each is taken. That is the
same for submissions of every kind, see `judge`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.audit import orders, practices
from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.audit.orders import Scoring
from harness.record import Finding, Status, Value, Witness
from harness.rules import Ruleset

CHECK = "single-pass"
_SHOWN = 20


def check(evidence: Evidence) -> Finding:
    """What the rules make of the order of commits; FAIL where rows know what follows them in their document."""
    trace = evidence.trace
    tokens = np.asarray(evidence.dataset.validation[: trace.tokens])
    scoring = Scoring.of_trace(trace, np.flatnonzero(tokens == evidence.dataset.tokenizer.bos_id))
    length, stride = orders.geometry(trace)
    status, headline, witness = judge(scoring, evidence.ruleset)
    if len(scoring.inside):
        # Between whole documents the order is a practice. Inside one it is a way to predict a token from what follows
        # it, and where the flips saw that it was used for that, no ruling is needed.
        used = [(one.probe.position, row) for one, row in orders.known_ahead(evidence.probes, scoring.document_of)]
        if used:
            first = int(scoring.inside[0])
            status = Status.FAIL
            headline = (
                f"tokens of one document are scored out of order, first at position {first:,}, and the row for "
                f"position {used[0][1]:,} moves when token {used[0][0]:,}, which comes after it, is replaced"
            )
            witness = _witness(scoring)
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics={**metrics(scoring), "longest_window": length, "stride": stride},
        witness=witness,
        power={"positions_checked": trace.tokens - 1, "commits_checked": trace.committed},
    )


def judge(scoring: Scoring, ruleset: Ruleset, who: str = "") -> tuple[Status, str, Witness | None]:
    """Status, sentence and witness for an order of scoring, by whatever submission.

    Args:
        scoring: of the pass that counts.
        ruleset: the rules to judge by.
        who: by whom, in words, where that is to be said.
    """
    seen = orders.practices(scoring)
    if not seen:
        return Status.PASS, f"all {scoring.tokens - 1:,} positions are scored exactly once, in stream order{who}", None
    status, headline, witness = practices.ruled(ruleset, seen, _witness(scoring))
    return status, headline, None if status == Status.PASS else witness


def metrics(scoring: Scoring) -> dict[str, Value]:
    """The numbers behind the judgement."""
    found: Mapping[str, Value] = {
        "positions": scoring.tokens - 1,
        "positions_scored": int((scoring.order >= 0).sum()),
        "never_scored": len(scoring.never),
        "scored_again": int(np.maximum(scoring.times - 1, 0).sum()),
        "steps_back": scoring.steps_back,
        "steps_back_inside": len(scoring.inside),
        "layout": orders.layout(scoring),
        "document_order": orders.document_order(scoring),
    }
    return dict(found)


def _witness(scoring: Scoring) -> Witness:
    again, never, back = (
        [int(p) for p in positions[:_SHOWN]] for positions in (scoring.again, scoring.never, scoring.out_of_order)
    )
    parts = [f"position {again[0]:,} is scored a second time"] if again else []
    parts += [f"position {never[0]:,} is never scored"] if never else []
    parts += [f"position {back[0]:,} is scored before the scored position to its left"] if back else []
    data = {"scored_again": again, "never_scored": never, "out_of_order": back}
    return Witness(kind="positions", summary="; ".join(parts), data=data)
