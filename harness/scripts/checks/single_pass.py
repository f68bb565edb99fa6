"""single-pass: is every position scored exactly once in the pass that counts, and from left to right?

Whether the score is that of one evaluation, or of the best of several, is found out by turning the comparison of
their scores: then another number is reported. What a scoring is instead has a name among the ruleset's practices, and
`harness.audit.single_pass` judges it as it judges an adapter's. Here a position that is scored again counts again,
and what that is worth is among the numbers.
"""

from __future__ import annotations

import numpy as np

from harness.audit.orders import Scoring
from harness.audit.practices import Seen, ruled
from harness.audit.single_pass import judge, metrics
from harness.record import Finding, Status, Value, Witness
from harness.scripts.checks import choosing, followed
from harness.scripts.checks.evidence import AT_LENGTH, ScriptEvidence, found, texts
from harness.scripts.trace import observed
from harness.scripts.trace.reading import Pass

CHECK = "single-pass"
#: Practices that a pass at the submitted length is asked for; what a stream that short leaves out says nothing.
_AGAIN = ("second_pass", "scored_again")
_SHOWN = 20


def check(evidence: ScriptEvidence) -> Finding:
    """What the rules make of the order in which the pass that counts scored; INCONCLUSIVE where too much is missing."""
    main = evidence.main
    if main is None:
        return followed.no_pass(evidence, CHECK)
    scoring, copies = scoring_of(evidence, main)
    who = f", by each of {copies} ranks" if copies > 1 else ""
    status, headline, witness = judge(scoring, evidence.ruleset, who)
    chosen = choosing.chosen_evaluation(evidence)
    if chosen is not None and status != Status.FAIL:
        status, headline, witness = ruled(evidence.ruleset, [Seen("chosen_evaluation", chosen)])
    elif status == Status.PASS and (lost := choosing.lost_evaluation(evidence)) is not None:
        status, headline = Status.INCONCLUSIVE, f"in the pass that counts nothing is amiss, but {lost}"
    long = _at_length(evidence, scoring)
    if long is not None and status == Status.PASS:
        status, headline, witness = ruled(evidence.ruleset, *long)
    problem = followed.why_not(evidence)
    if problem and status == Status.PASS:
        status, headline = Status.INCONCLUSIVE, f"in the nearest pass nothing is amiss, but {problem}"
    elif problem and status == Status.FAIL and not len(scoring.again):  # what was not seen was not left out
        status, witness, headline = Status.INCONCLUSIVE, None, f"{headline} But {problem}"
    numbers: dict[str, Value] = {
        **metrics(scoring),
        "passes": texts(made.name for made in evidence.base.passes),
        "pass_that_counts": main.name,
    }
    if len(scoring.again):
        numbers["worth_scored_again"] = _worth(main)
    return found(
        evidence,
        CHECK,
        status,
        headline,
        metrics=numbers,
        witness=witness,
        power={"positions_checked": evidence.base.tokens - 1, "scorings_checked": len(main.position)},
        not_covered=[
            "passes whose numbers are not the reported one, unless tests with other text show that they matter"
        ],
    )


def _at_length(evidence: ScriptEvidence, tiny: Scoring) -> tuple[list[Seen], Witness] | None:
    """What is scored a second time at the submitted sequence length and in no tiny run."""
    made = evidence.at_length
    if made is None or made.shown is None or made.shown.main is None:
        return None
    scoring, _ = scoring_of(made.shown, made.shown.main)
    scored = int(np.flatnonzero(scoring.order >= 0).max()) + 1  # some cut the text, and this one is short
    cut = Scoring.of_sequence(made.shown.main.position, scored, scoring.documents, toy=True)
    scoring = cut if scored < scoring.tokens else scoring
    known = {one.practice for one in tiny.cover}
    seen = [
        Seen(one.practice, f"{AT_LENGTH} {one.note}")
        for one in scoring.cover
        if one.practice in _AGAIN and one.practice not in known
    ]
    again = [int(position) for position in scoring.again[:_SHOWN]]
    if not seen:
        return None
    summary = f"{AT_LENGTH} position {again[0]:,} is scored a second time"
    return seen, Witness(kind="positions", summary=summary, data={"scored_again": again, "text": AT_LENGTH})


def scoring_of(evidence: ScriptEvidence, main: Pass) -> tuple[Scoring, int]:
    """A pass in neutral terms, and how many ranks went through all of it side by side (one of them is taken)."""
    tokens, position = evidence.base.tokens, main.position
    times = np.bincount(position[(position > 0) & (position < tokens)], minlength=tokens)
    copies = evidence.ranks if set(np.unique(times[1:])) <= {0, evidence.ranks} and _by_all(main) else 1
    if copies > 1:
        who = observed.rank_of(main.event_seq)
        position = position[who == who.min()]
    return Scoring.of_sequence(position, tokens, evidence.documents, toy=True), copies


def _worth(main: Pass) -> float:
    """By how much the mean falls because some positions count again, nats per token."""
    _, first = np.unique(main.position, return_index=True)
    return float(main.charged[first].mean() - main.mean)


def _by_all(main: Pass) -> bool:
    """Whether no rank scored a position twice: scorings of one position are then those of different ranks."""
    who = np.stack([observed.rank_of(main.event_seq), main.position])
    return bool(np.unique(who, axis=1).shape[1] == who.shape[1])
