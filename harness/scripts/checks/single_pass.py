"""single-pass: is every position scored exactly once in the pass that counts, and from left to right?

Merged records score the last stride twice, or leave out what the last whole window does not reach, or score documents
longest first. These are named as what they are; only a choice among passes, or gaps in the middle, would be more.
"""

from __future__ import annotations

import numpy as np

from harness.record import Finding, Metric, Status, Witness
from harness.scripts import stamps
from harness.scripts.checks import followed
from harness.scripts.checks.evidence import ScriptEvidence, found, texts
from harness.scripts.observed import Ints
from harness.scripts.trace import Pass

CHECK, RULE = "single-pass", "C4"
_SHOWN = 20

#: Share of neighbouring documents that must agree with an order for it to be named (batches blur it).
_MOSTLY = 0.9


def check(evidence: ScriptEvidence) -> Finding:
    """PASS for one pass in order; UNRULED for practices of merged records; INCONCLUSIVE where too much is missing."""
    main = evidence.main
    if main is None:
        return followed.no_pass(evidence, CHECK, RULE)
    tokens = evidence.base.tokens
    counts = np.bincount(main.position[(main.position >= 0) & (main.position < tokens)], minlength=tokens)
    copies = evidence.ranks if set(np.unique(counts[1:])) <= {0, evidence.ranks} and _by_all(main) else 1
    counts = counts // copies  # every rank went through all of it
    twice = np.flatnonzero(counts[1:] > 1) + 1
    never = np.flatnonzero(counts[1:] == 0) + 1
    rank = main.rank(tokens)
    sequence = rank[rank >= 0]
    back = int((np.diff(sequence) < 0).sum())
    order = document_order(main, evidence.documents, tokens)
    names = layout(twice, never, tokens)
    metrics: dict[str, Metric] = {
        "positions": tokens - 1,
        "scored": main.unique(),
        "scored again": len(twice),
        "never scored": len(never),
        "layout": names,
        "steps back in the order": back,
        "order of documents": order,
        "full passes in the run": texts(made.name for made in evidence.base.passes),
        "the one that counts": main.name,
    }
    power: dict[str, Metric] = {"positions checked": tokens - 1, "scorings checked": len(main.position)}
    not_covered = ["passes whose numbers are not the reported one, unless flips show that they matter"]
    problem = followed.why_not(evidence)
    notes: list[str] = []
    status = Status.PASS
    witness = None
    if len(twice):
        status = Status.UNRULED
        extra = int((counts[twice] - 1).sum())
        notes.append(
            f"{len(twice):,} positions are scored again, {extra:,} times in all, and count each time ({names})"
        )
        witness = Witness(
            kind="positions",
            summary=f"position {int(twice[0])} is scored a second time",
            data={"scored_again": [int(p) for p in twice[:_SHOWN]]},
        )
    if back:
        status = Status.UNRULED if "order" in evidence.ruleset.unruled or len(twice) else Status.FAIL
        first = _first_back(rank)
        how = f"documents {order}" if order not in ("other", "stream") else f"{back:,} steps back"
        notes.append(f"not from left to right: {how}. {evidence.ruleset.unruled.get('order', '')}".strip())
        witness = Witness(
            kind="positions",
            summary=f"position {first} is scored before a position to its left",
            data={"out_of_order": [first], **(witness.data if witness else {})},
        )
    if len(never):
        notes.append(f"{len(never):,} of {tokens - 1:,} positions are never scored ({names})")
        if names == "other" and status == Status.PASS:
            status = Status.INCONCLUSIVE
    if problem and status == Status.PASS:
        return found(
            evidence, CHECK, RULE, Status.INCONCLUSIVE, f"in the nearest pass nothing is amiss, but {problem}",
            metrics=metrics, power=power, not_covered=not_covered,
        )  # fmt: skip
    by = f", by each of {copies} ranks" if copies > 1 else ""
    headline = "; ".join(notes) or f"all {tokens - 1:,} positions are scored exactly once, in stream order{by}"
    return found(
        evidence, CHECK, RULE, status, headline, metrics=metrics, witness=witness, power=power, not_covered=not_covered
    )


def _by_all(main: Pass) -> bool:
    """Whether no rank scored a position twice: scorings of one position are then those of different ranks."""
    who = np.stack([stamps.rank_of(main.event_seq), main.position])
    return bool(np.unique(who, axis=1).shape[1] == who.shape[1])


def layout(twice: Ints, never: Ints, tokens: int) -> str:
    """How windows cover the stream, by what is scored twice or never (names as in harness.audit.layouts)."""
    last = tokens - 1

    def at_end(positions: Ints) -> bool:
        return bool(positions.max() == last and positions.min() > last // 2)

    if len(twice):
        return "A: the tail is scored again" if at_end(twice) and not len(never) else "other"
    if not len(never):
        return "C: exact cover"
    together = bool(never.max() - never.min() + 1 == len(never))
    if together and never.min() == 1 and len(never) < tokens / 4:
        return "E: the first targets are never scored"
    if together and at_end(never):
        return "D: the tail is never scored"
    if together and never.max() < tokens / 4:  # the second window starts a context further on than the first one ends
        return "F: a gap after the first window is never scored"
    return "other"


def document_order(main: Pass, documents: Ints, tokens: int) -> str:
    """How documents follow one another: "stream", "longest first", "shortest first" or "other"."""
    rank = main.rank(tokens)
    sequence = rank[rank >= 0]
    if not (np.diff(sequence) < 0).any():
        return "stream"
    firsts = np.asarray(documents)[np.asarray(documents) + 1 < tokens] + 1
    lengths = np.diff(np.append(firsts - 1, tokens))
    scored = rank[firsts] >= 0
    if scored.sum() < 3:
        return "other"
    steps = np.diff(lengths[scored][np.argsort(rank[firsts[scored]])])
    if (steps <= 0).mean() >= _MOSTLY:
        return "longest first"
    return "shortest first" if (steps >= 0).mean() >= _MOSTLY else "other"


def _first_back(rank: Ints) -> int:
    """The first position in the stream whose left neighbour (among scored ones) is scored later."""
    at = np.flatnonzero(rank >= 0)
    return int(at[np.flatnonzero(np.diff(rank[at]) < 0)[0] + 1])
