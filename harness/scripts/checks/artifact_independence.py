"""artifact-independence: was what the headline pass starts from made with the validation text?

The whole run is repeated on a validation stream that is the same up to a position and other text from there on. Rows of
the headline pass before that position may not move. Pre-quantization training on validation tokens moves them all; a
compile warm-up whose state is thrown away moves none, and is named in a finding of its own. Where losses on the
validation text choose between weights or settings (an average or the last ones, the best checkpoint), that choice is
turned in a run of its own, so that it does not matter which way it fell: it is the practice `chosen_weights`.
"""

from __future__ import annotations

import numpy as np

from harness.audit.practices import Seen, ruled
from harness.record import SEVERITY, Finding, Status, Value
from harness.scripts.checks import causality, choosing, followed
from harness.scripts.checks.comparing import Comparison, compare
from harness.scripts.checks.evidence import Flip, ScriptEvidence, counterpart, found, texts
from harness.scripts.trace.reading import Ledger

CHECK = "artifact-independence"
WARM_UP = "warm-up"

NOT_COVERED = [
    "validation text in files that the submission brings along",
    "choices that the author made by looking at validation losses, outside the script",
]


def check(evidence: ScriptEvidence) -> Finding:
    """FAIL when a flip of the whole run moves rows before it that no flip within the pass moves.

    A choice of weights by validation losses gives what the ruleset says of it, where that is worse.
    """
    made = _starts_from(evidence)
    chosen = choosing.chosen_weights(evidence)
    if chosen is None or made.status == Status.FAIL:
        return made
    status, headline, witness = ruled(evidence.ruleset, [Seen("chosen_weights", chosen)])
    if SEVERITY.index(status) > SEVERITY.index(made.status):
        return made
    return made.model_copy(update={"status": status, "headline": headline, "witness": witness})


def _starts_from(evidence: ScriptEvidence) -> Finding:
    """What whole runs on changed text show."""
    main = evidence.main
    if main is None:
        return followed.no_pass(evidence, CHECK)
    ledger = evidence.base.ledger(main)
    planned = [flip for flip in evidence.flips if flip.scope == "run"]
    whole = causality.compared(evidence, planned)
    missing = causality.unmade(planned, whole)
    missed = (
        f"{len(missing)} of {len(planned)} planned runs on changed text were not made: "
        f"{causality.why_unmade(missing[0])}"
        if missing
        else ""
    )
    beyond = [
        (flip, result)
        for flip, result in whole
        if _beyond(evidence, flip, result) and not choosing.explains(evidence, flip)
    ]
    metrics = _metrics(ledger)
    usable = [item for item in whole if item[1].aligned]
    power: dict[str, Value] = {
        "whole_runs": len(whole),
        "rows_compared": sum(result.compared for _, result in whole),
        "trainings": len(evidence.base.trainings),
    }
    trained = int(ledger.before.sum())
    if beyond and trained:
        flip, result = max(beyond, key=lambda item: item[1].largest)
        witness = causality.witness(evidence, flip, result)
        if ledger.first_before is not None:
            witness.data["training"] = {"what": ledger.first_before.what, "place": ledger.first_before.place}
        status = Status.FAIL
        headline = (
            f"{trained:,} validation positions were trained on before the {main.name} pass began, and its rows show "
            f"it: text from position {flip.variant.position:,} on moved {len(result.moved(evidence.tolerance)):,} rows "
            f"before it, by up to {min(result.largest, 1e300):.3g} nats"
        )
        return found(
            evidence, CHECK, status, headline, metrics=metrics, witness=witness, power=power,
            not_covered=NOT_COVERED,
        )  # fmt: skip
    if beyond:
        headline = (
            f"what the {main.name} pass starts from depends on later validation text, though not by a gradient; "
            "causality has the witness"
        )
        return found(
            evidence, CHECK, Status.INCONCLUSIVE, headline, metrics=metrics, power=power,
            not_covered=[*NOT_COVERED, "whether this is calibration, a first pass, or something precomputed"],
        )  # fmt: skip
    if not usable:
        status = Status.INCONCLUSIVE if trained or missed else Status.NOT_RUN
        headline = (
            f"{trained:,} validation positions were trained on before the {main.name} pass began; no run on changed "
            f"text says whether that shows{f' ({missed})' if missed else ''}"
            if trained
            else missed or "no whole run on changed text was made"
        )
    elif (problem := followed.why_not(evidence)) is not None:
        status, headline = Status.INCONCLUSIVE, f"no prediction changed, but {problem}"
    elif trained and not any(ledger.before[flip.variant.replaced].any() for flip, _ in usable):
        status = Status.INCONCLUSIVE
        headline = (
            f"{trained:,} validation positions were trained on before the {main.name} pass began, and no run changed "
            "one of them"
        )
    elif not any(result.control for _, result in usable):
        status, headline = Status.INCONCLUSIVE, "with other text no prediction changed at all"
    elif any(causality.leaks(evidence, result) for _, result in usable):
        status = Status.INCONCLUSIVE
        headline = (
            f"the {main.name} pass leaks by itself (causality has the witness), which hides whether what it starts "
            "from was made with the text"
        )
        if trained:
            headline += f"; {trained:,} validation positions were trained on before it began"
    elif missed:
        status, headline = Status.INCONCLUSIVE, f"in the runs on changed text that were made no row moved, but {missed}"
    else:
        status = Status.PASS
        headline = "the same run on other text from a position on gives the same rows before it" + (
            f" (what was trained on {trained:,} validation positions before the pass left nothing in its rows)"
            if trained
            else ""
        )
    return found(evidence, CHECK, status, headline, metrics=metrics, power=power, not_covered=NOT_COVERED)


def check_warm_up(evidence: ScriptEvidence) -> Finding | None:
    """What the rules make of validation tokens that were trained on before the pass and left no trace, if any were."""
    main = evidence.main
    if main is None:
        return None
    ledger = evidence.base.ledger(main)
    trained = int(ledger.before.sum())
    if not trained or _starts_from(evidence).status != Status.PASS:
        return None
    places = [f"{place} ({count} times)" for place, count in ledger.before_places.most_common(3)]
    note = f"{trained:,} validation positions were trained on before they were scored, and the result was thrown away"
    status, headline, witness = ruled(evidence.ruleset, [Seen("validation_warm_up", note)])
    return found(
        evidence,
        WARM_UP,
        status,
        headline,
        witness=witness,
        metrics={"positions": trained, "where": texts(places)},
        power={"whole_runs": sum(f.scope == "run" for f in evidence.flips)},
        not_covered=["whether the state is thrown away at full size as well"],
    )


def _beyond(evidence: ScriptEvidence, flip: Flip, result: Comparison) -> bool:
    """Rows moved that a fork at the same position does not move: the cause lies before the pass."""
    moved = result.moved(evidence.tolerance)
    if not result.aligned or not moved:
        return False
    assert evidence.main is not None
    forks = [
        other
        for fork, other in causality.compared(evidence, [f for f in evidence.flips if f.scope == "pass"])
        if fork.variant.position == flip.variant.position and fork.variant.kind == "suffix" and other.aligned
    ]
    if not forks:
        return _earlier(evidence, flip)
    within = {p for fork in forks for p, *_ in fork.moved(evidence.tolerance)}
    if not within:
        return True
    rank = evidence.main.rank(evidence.base.tokens)
    first = min(int(rank[p]) for p in within if p >= 0)
    return bool(np.any([rank[p] < first for p, *_ in moved if p >= 0]))


def _earlier(evidence: ScriptEvidence, flip: Flip) -> bool:
    """Where no fork tells: rows moved in a pass between that training and the headline, one without training."""
    base = evidence.base
    assert evidence.main is not None and base.headline is not None and flip.trace is not None
    training = base.ledger(evidence.main).first_before
    mask = flip.variant.mask(base.tokens)
    for index, made in enumerate(base.passes[: base.headline]):
        if training is None or base.begin(made) < training.seq or base.ledger(made).trained.any():
            continue
        match = counterpart(base, flip.trace, index)
        if match is not None and compare(made, match, mask).moved(evidence.tolerance):
            return True
    return False


def _metrics(ledger: Ledger) -> dict[str, Value]:
    metrics: dict[str, Value] = {"validation_trained": int(ledger.before.sum())}
    if ledger.before_places:
        metrics["where"] = texts(f"{place} ({count} times)" for place, count in ledger.before_places.most_common(3))
    return metrics
