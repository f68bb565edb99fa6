"""score-before-update: which positions fed an update before they were scored, and whether that shows.

The ledger comes from the gradients themselves: the positions of the losses that `backward()` and `autograd.grad` were
called on. A position that is trained on first and scored later in the same pass is an accusation only where a flip
shows that its token enters rows that it must not.
"""

from __future__ import annotations

import numpy as np

from harness.audit.practices import Seen, ruled, status_of
from harness.record import Finding, Status, Value, Witness
from harness.scripts.checks import causality, followed
from harness.scripts.checks.evidence import ScriptEvidence, found, texts

CHECK = "score-before-update"

NOT_COVERED = [
    "state that is changed without autograd, such as counts in a cache (tests with other text see its effect)",
    "what was trained before the headline pass began (artifact-independence)",
]


def check(evidence: ScriptEvidence) -> Finding:
    """PASS without updates or with updates on scored tokens only; else what the flips and the ruleset say."""
    main = evidence.main
    if main is None:
        return followed.no_pass(evidence, CHECK)
    ledger = evidence.base.ledger(main)
    starts = np.zeros(evidence.base.tokens, bool)
    starts[evidence.documents] = True
    early, only_starts = ledger.early & ~starts, ledger.early & starts
    trained = int(ledger.trained.sum())
    metrics: dict[str, Value] = {
        "positions_trained": trained,
        "positions_trained_early": int(early.sum()),
        "starts_trained_early": int(only_starts.sum()),
        "positions_scored": main.unique(),
    }
    if ledger.early_places:
        metrics["where"] = texts(f"{place} ({count} times)" for place, count in ledger.early_places.most_common(3))
    flips = [flip for flip in evidence.flips if flip.scope == "pass"]
    if not flips and not ledger.before.any():  # whole runs alone were made, and show the pass alone
        flips = list(evidence.flips)
    made = causality.compared(evidence, flips)
    at_early = [item for item in made if early[item[0].variant.position]]
    leaking = [item for item in made if causality.leaks(evidence, item[1])]
    power: dict[str, Value] = {
        "trainings": len(evidence.base.trainings),
        "probes_trained_early": len(at_early),
    }

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return found(
            evidence,
            CHECK,
            status,
            headline,
            metrics=metrics,
            power=power,
            not_covered=NOT_COVERED,
            witness=witness,
        )

    problem = followed.why_not(evidence)
    if problem and not early.any():  # what is missed may be trained on, too
        return conclude(Status.INCONCLUSIVE, f"in the {main.name} pass nothing is amiss, but {problem}")
    if not trained:
        return conclude(Status.PASS, f"nothing was trained on in the {main.name} pass: a fixed predictor (Track A)")
    if status_of(evidence.ruleset, "adaptation") != Status.PASS:
        note = f"{trained:,} positions were trained on, and these rules are about fixed predictors (Track A)"
        return conclude(*ruled(evidence.ruleset, [Seen("adaptation", note)]))
    if not early.any():
        more = f" ({only_starts.sum():,} BOS targets apart)" if only_starts.any() else ""
        return conclude(
            Status.PASS, f"all {trained:,} positions that were trained on were scored before{more} (Track B)"
        )
    count = f"{int(early.sum()):,} of {main.unique():,} positions were trained on before they were scored"
    if leaking:
        flip, result = max(
            leaking, key=lambda item: (bool(early[item[0].variant.position]), causality.size_of(evidence, item[1]))
        )
        witness = causality.witness(evidence, flip, result)
        training = ledger.first_early
        if training is not None:
            witness.data["training"] = {"what": training.what, "place": training.place}
        return conclude(
            Status.FAIL, f"{count}, and with other tokens there earlier predictions changed", witness=witness
        )
    missing = [flip for flip in causality.unmade(flips, made) if early[flip.variant.position]]
    if missing:
        return conclude(
            Status.INCONCLUSIVE,
            f"{count}; {len(missing)} of {len(missing) + len(at_early)} planned tests with other tokens there were not "
            f"made: {causality.why_unmade(missing[0])}",
        )
    if not at_early or not any(item[1].aligned and item[1].control for item in at_early):
        return conclude(
            Status.INCONCLUSIVE,
            f"{count}; no token was replaced at such a position, so whether it was used is not known",
        )
    note = f"{count}; with other tokens at {len(at_early)} of them no earlier prediction changed"
    return conclude(*ruled(evidence.ruleset, [Seen("adaptation_before_scoring", note)]))
