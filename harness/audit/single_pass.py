"""single-pass: is every position scored exactly once, from left to right?"""

from __future__ import annotations

import numpy as np

from harness.audit import layouts
from harness.audit.evidence import Evidence, finding
from harness.record import Finding, Metric, Status, Witness

CHECK, RULE = "single-pass", "C4"
_SHOWN = 20


def check(evidence: Evidence) -> Finding:
    """FAIL on positions scored twice or never, and on an order inside a document that lets rows see what follows them.

    Any other order that is not the stream's is UNRULED, or what the ruleset says.
    """
    trace = evidence.trace
    targets = trace.tokens - 1
    order = trace.order[1:]
    missing = np.flatnonzero(order < 0) + 1
    sequence = order[order >= 0]
    backwards = int((np.diff(sequence) < 0).sum())
    length, stride = layouts.geometry(trace)
    tokens = np.asarray(evidence.dataset.validation[: trace.tokens])
    documents = layouts.document_order(trace, np.flatnonzero(tokens == evidence.dataset.tokenizer.bos_id))
    document_of = np.cumsum(tokens == evidence.dataset.tokenizer.bos_id)
    metrics: dict[str, Metric] = {
        "positions": targets,
        "scored": len(sequence),
        "never scored": len(missing),
        "scored again": trace.repeated,
        "steps back in the order": backwards,
        "layout of windows": layouts.window_layout(trace),
        "longest window": length,
        "stride": stride,
        "order of documents": documents,
    }
    power = {"positions checked": targets, "commits checked": trace.committed}
    if trace.repeated or len(missing):
        parts = [f"{trace.repeated:,} commits went to positions that had a row already"] if trace.repeated else []
        parts += [f"{len(missing):,} of {targets:,} positions were never scored"] if len(missing) else []
        again = [position for position, _ in trace.repeats[:_SHOWN]]
        witness = Witness(
            kind="positions",
            summary=_summary(again, [int(p) for p in missing[:_SHOWN]]),
            data={"scored_again": again, "never_scored": [int(p) for p in missing[:_SHOWN]]},
        )
        return finding(
            evidence, CHECK, RULE, Status.FAIL, "; ".join(parts), metrics=metrics, witness=witness, power=power
        )
    if backwards:
        steps = np.flatnonzero((np.diff(order) < 0) & (order[1:] >= 0) & (order[:-1] >= 0)) + 2
        inside = steps[document_of[steps] == document_of[steps - 1]]
        first = int(inside[0] if len(inside) else steps[0] if len(steps) else 1)
        how = f"documents {documents}" if documents != "other" else f"{backwards:,} steps back"
        metrics["steps back inside a document"] = len(inside)
        headline = (
            f"every position is scored once, but not from left to right: {how}, "
            f"the first step back at position {first:,}. {evidence.ruleset.unruled.get('order', '')}"
        ).strip()
        status = Status.UNRULED if "order" in evidence.ruleset.unruled else Status.FAIL
        # Between whole documents the order is a practice. Inside one it is a way to predict a token from what follows
        # it, and where the flips saw that it was used for that, no ruling is needed.
        used = [(result.probe.position, row) for result, row in layouts.known_ahead(evidence.probes, document_of)]
        if len(inside) and used:
            status = Status.FAIL
            headline = (
                f"tokens of one document are scored out of order, first at position {first:,}, and the row for "
                f"position {used[0][1]:,} moves when token {used[0][0]:,}, which comes after it, is replaced"
            )
        witness = Witness(
            kind="positions",
            summary=f"position {first} is scored before position {first - 1}",
            data={"out_of_order": [first]},
        )
        return finding(evidence, CHECK, RULE, status, headline, metrics=metrics, witness=witness, power=power)
    headline = f"all {targets:,} positions are scored exactly once, in stream order"
    return finding(evidence, CHECK, RULE, Status.PASS, headline, metrics=metrics, power=power)


def _summary(again: list[int], missing: list[int]) -> str:
    parts = [f"position {again[0]} is scored a second time"] if again else []
    parts += [f"position {missing[0]} is never scored"] if missing else []
    return "; ".join(parts)
