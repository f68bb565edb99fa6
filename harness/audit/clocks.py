"""train-clock and eval-clock: the parent's clocks against 600 s, on the hardware that the 600 s are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.audit.check import finding
from harness.audit.practices import Seen, ruled
from harness.record import Finding, Status, Witness

if TYPE_CHECKING:
    from harness.audit.evidence import Evidence  # numpy, which papers do without

#: The practices that the two conventions differ by.
CALIBRATION, OUTSIDE = "calibration_after_cap", "outside_the_timer"


def check_train(evidence: Evidence) -> Finding:
    """The training loop alone, and everything that touches training data."""
    limit = evidence.ruleset.limits.train_seconds
    return _check(evidence, "train-clock", evidence.clocks.train, limit, "touches training data", CALIBRATION)


def check_eval(evidence: Evidence) -> Finding:
    """The scoring pass alone, and everything from the start of the process."""
    limit = evidence.ruleset.limits.eval_seconds
    return _check(evidence, "eval-clock", evidence.clocks.evaluation, limit, "from process start", OUTSIDE)


def _check(
    evidence: Evidence, check: str, clock: Mapping[str, float], limit: float, strict: str, practice: str
) -> Finding:
    """Judge the strictest reading; where only it is over, that is a practice.

    Seconds do not enter the finding where the hardware is not the reference's: they are in the record's clocks.
    """
    reference = evidence.ruleset.limits.hardware
    if not evidence.clocks.comparable:
        return finding(
            evidence,
            check,
            Status.NOT_APPLICABLE,
            f"the limit of {limit:g} s is for {reference}; this run was on other hardware, so its clocks say nothing",
            metrics={"limit_seconds": limit},
            not_covered=[f"time on {reference}"],
        )
    loop, everything = clock["loop"], clock[strict]
    metrics = {"limit_seconds": limit, "loop": loop, strict.replace(" ", "_"): everything}
    if loop > limit:
        witness = Witness(kind="clock", summary=f"{loop:.3f} s against {limit:g} s", data={"seconds": loop})
        return finding(
            evidence,
            check,
            Status.FAIL,
            f"{loop:.1f} s are over the limit of {limit:g} s",
            metrics=metrics,
            witness=witness,
        )
    if everything > limit:
        note = f"the loop alone takes {loop:.1f} s of {limit:g} s, and {everything:.1f} s counted as {strict!r}"
        status, headline, shown = ruled(evidence.ruleset, [Seen(practice, note)])
        return finding(evidence, check, status, headline, metrics=metrics, witness=shown)
    return finding(
        evidence,
        check,
        Status.PASS,
        f"{everything:.1f} s of {limit:g} s by the strictest reading",
        metrics=metrics,
    )
