"""train-clock and eval-clock: the parent's clocks against 600 s, on the hardware that the 600 s are for."""

from __future__ import annotations

from collections.abc import Mapping

from harness.audit.evidence import Evidence, finding
from harness.record import Finding, Status, Witness


def check_train(evidence: Evidence) -> Finding:
    """The training loop alone, and everything that touches training data."""
    limit = evidence.ruleset.limits.train_seconds
    return _check(evidence, "train-clock", "train_clock", evidence.clocks.train, limit, strict="touches training data")


def check_eval(evidence: Evidence) -> Finding:
    """The scoring pass alone, and everything from the start of the process."""
    limit = evidence.ruleset.limits.eval_seconds
    return _check(evidence, "eval-clock", "eval_clock", evidence.clocks.evaluation, limit, strict="from process start")


def _check(
    evidence: Evidence, check: str, rule: str, clock: Mapping[str, float], limit: float, *, strict: str
) -> Finding:
    """Judge the strictest reading; where only it is over, the conventions disagree and the finding says UNRULED.

    Seconds do not enter the finding where the hardware is not the reference's: they are in the record's clocks.
    """
    reference = evidence.ruleset.limits.hardware
    if not evidence.clocks.comparable:
        return finding(
            evidence,
            check,
            rule,
            Status.NOT_APPLICABLE,
            f"the limit of {limit:g} s is for {reference}; this run was on other hardware, so its clocks say nothing",
            metrics={"limit, s": limit},
            not_covered=[f"time on {reference}"],
        )
    loop, everything = clock["loop"], clock[strict]
    metrics = {"limit, s": limit, "the loop alone, s": loop, f"{strict}, s": everything}
    if loop > limit:
        witness = Witness(kind="clock", summary=f"{loop:.3f} s against {limit:g} s", data={"seconds": loop})
        return finding(
            evidence,
            check,
            rule,
            Status.FAIL,
            f"{loop:.1f} s are over the limit of {limit:g} s",
            metrics=metrics,
            witness=witness,
        )
    if everything > limit:
        return finding(
            evidence,
            check,
            rule,
            Status.UNRULED,
            f"the loop alone takes {loop:.1f} s, everything that counts from {strict} {everything:.1f} s; the limit "
            f"is {limit:g} s and the conventions differ",
            metrics=metrics,
        )
    return finding(
        evidence,
        check,
        rule,
        Status.PASS,
        f"{everything:.1f} s of {limit:g} s by the strictest reading",
        metrics=metrics,
    )
