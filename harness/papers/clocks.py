"""train-clock and eval-clock from the logs' own clocks, under both conventions.

Training: the loop alone, which the script stops itself, and the loop with the calibration that follows it on training
data. Evaluation: the final pass alone, and with the warm-up of its compiler and what was computed ahead of its timer.
"""

from __future__ import annotations

from harness.audit.clocks import CALIBRATION, OUTSIDE
from harness.audit.practices import Seen, ruled
from harness.papers.collect import Case, finding, if_claimed
from harness.papers.logs import Metric as Evaluation
from harness.papers.logs import Run
from harness.papers.metadata import Claimed
from harness.papers.reading import Number, Quote
from harness.record import Finding, Status, Value

#: The cap is looked at between steps, so the last step ends after it: 0.137 s in merged logs; 1.153 s was over (#1956).
_STEPS = 1.5
_LEAST_SECONDS = 0.2
_CALLED_OVER = 1.0
_GPUS = 8


def check_train(case: Case) -> Finding:
    """FAIL where the loop of a record ran past the limit by more than a step; calibration after it is a practice."""
    check, limit = "train-clock", case.ruleset.limits.train_seconds
    timed = [run for run in case.carried if run.train_ms is not None]
    if not timed:
        return _untold(case, check, _number(case.claims.train_seconds), limit)
    if (early := _apart(case, check, timed, limit)) is not None:
        return early
    loops = {id(run): run.train_ms.value / 1000 for run in timed if run.train_ms}
    worst = max(timed, key=lambda run: loops[id(run)] - _overshoot(run))
    slack, loop = _overshoot(worst), loops[id(worst)]
    after = max(timed, key=lambda run: loops[id(run)] + _calibration(run))
    touching = loops[id(after)] + _calibration(after)
    metrics: dict[str, Value] = {"limit_seconds": limit, "loop": loop, "touches_training_data": touching}
    metrics["runs"] = len(timed)
    covered = ["compilation and warm-up steps before the timer, which no log times"]
    over = loop - limit

    def practised(practice: str, note: str, quotes: list[Number | Quote | None]) -> Finding:
        status, said, _ = ruled(case.ruleset, [Seen(practice, note)])
        return finding(case, check, if_claimed(case, status), said, quotes=quotes, metrics=metrics, not_covered=covered)

    if slack < over <= max(_CALLED_OVER, slack):
        note = f"training took {loop:.3f} s by its own clock: {over:.2f} s over the cap, which is more than one step"
        return practised("last_step_over_cap", note, [worst.train_ms])
    if over > slack:
        headline = f"training took {loop:.3f} s by its own clock, over {limit:g} s and the {slack:.2f} s of one step"
        return finding(
            case, check, _verdict(case, worst), headline, quotes=[worst.train_ms], metrics=metrics,
            data={"seconds": loop, "limit": limit, "step": slack}, not_covered=covered,
        )  # fmt: skip
    quotes: list[Number | Quote | None] = [after.train_ms, after.hessians]
    if touching > limit + _overshoot(after):
        note = (
            f"training took {loops[id(after)]:.1f} s and calibration on training data {_calibration(after):.1f} s "
            f"more, {touching:.1f} s together"
        )
        return practised(CALIBRATION, note, quotes)
    marked = [run for run in timed if "calibrates on training data" in run.marks and run.hessians is None]
    full = [run for run in marked if loops[id(run)] > limit - 2]
    if full:
        quotes = [full[0].train_ms, *full[0].marks["calibrates on training data"]]
        note = f"training took {loops[id(full[0])]:.1f} s, and calibration on training data came after it, untimed"
        return practised(CALIBRATION, note, quotes)
    made = [run for run in timed if run.generated]
    if made and made[0].generated:
        note = (
            f"training took {loop:.1f} s; {made[0].generated.value:.1f} s of generating calibration text came after it "
            "and are in neither clock"
        )
        quotes = [made[0].train_ms, made[0].generated]
        if loops[id(made[0])] + made[0].generated.value > limit + slack:
            return practised(CALIBRATION, note, quotes)
    headline = f"{touching:.1f} s of {limit:g} s by the strictest reading of {len(timed)} logs"
    return finding(case, check, Status.PASS, headline, quotes=quotes, metrics=metrics, not_covered=covered)


def check_eval(case: Case) -> Finding:
    """FAIL where the claimed pass of a record took longer than the limit; what precedes it is a practice."""
    check, limit = "eval-clock", case.ruleset.limits.eval_seconds
    timed = [(one.run, _pass_seconds(one.run, one.metric)) for one in case.headline.carried]
    known = [(run, seconds) for run, seconds in timed if seconds is not None]
    if not known:
        return _untold(case, check, _number(case.claims.eval_seconds), limit)
    if (early := _apart(case, check, [run for run, _ in known], limit)) is not None:
        return early
    worst, seconds = max(known, key=lambda pair: pair[1])
    after, whole = max(((run, value + _ahead(run)) for run, value in known), key=lambda pair: pair[1])
    metrics: dict[str, Value] = {
        "limit_seconds": limit,
        "final_pass": seconds,
        "with_what_precedes": whole,
    }
    metrics["runs"] = len(known)
    covered = ["decompression and loading of the artifact", "evaluations before the final pass, which are diagnostics"]
    line = worst.eval_total or next((m.bpb for m in reversed(worst.metrics) if m.seconds == seconds), None)
    if seconds > limit:
        headline = f"the evaluation that gives the score took {seconds:.1f} s by its own clock, over {limit:g} s"
        return finding(
            case, check, _verdict(case, worst), headline, quotes=[line], metrics=metrics,
            data={"seconds": seconds, "limit": limit}, not_covered=covered,
        )  # fmt: skip
    quotes = [line, after.warmup, after.outside]
    if whole > limit:
        note = (
            f"the final pass took {seconds:.1f} s; with compiling and computing ahead of its timer {whole:.1f} s are "
            f"over {limit:g} s"
        )
        status, headline, _ = ruled(case.ruleset, [Seen(OUTSIDE, note)])
        return finding(
            case, check, if_claimed(case, status), headline, quotes=quotes, metrics=metrics, not_covered=covered
        )
    headline = f"{whole:.1f} s of {limit:g} s by the strictest reading of {len(known)} logs"
    return finding(case, check, Status.PASS, headline, quotes=quotes, metrics=metrics, not_covered=covered)


def _verdict(case: Case, run: Run) -> Status:
    """FAIL for a run that carries the claim and says that it had the reference's eight GPUs."""
    return if_claimed(case, Status.FAIL) if run.world_size is not None else Status.INCONCLUSIVE


def _apart(case: Case, check: str, runs: list[Run], limit: float) -> Finding | None:
    """Where the limit does not bind: no record is claimed, or the run was on other hardware."""
    if not case.record:
        headline = f"no record is claimed, and the limit of {limit:g} s is for records"
        return finding(case, check, Status.NOT_APPLICABLE, headline)
    small = [run.world_size for run in runs if run.world_size is not None and run.world_size.value != _GPUS]
    if small:
        headline = f"a log is of {small[0].value:.0f} GPUs, and {limit:g} s are for {case.ruleset.limits.hardware}"
        return finding(case, check, Status.INCONCLUSIVE, headline, quotes=small)
    return None


def _untold(case: Case, check: str, claimed: Number | None, limit: float) -> Finding:
    if not case.record:
        headline = f"no record is claimed, and the limit of {limit:g} s is for records"
        return finding(case, check, Status.NOT_APPLICABLE, headline)
    if claimed is None:
        return finding(case, check, Status.NOT_RUN, "no log tells the time of this phase, and no claim does")
    over = claimed.value > limit + _LEAST_SECONDS
    headline = f"{claimed.value:g} s are claimed{', over ' if over else ' of '}{limit:g} s, and no log shows them"
    return finding(case, check, Status.INCONCLUSIVE, headline, quotes=[claimed])


def _number(claimed: Claimed | None) -> Number | None:
    return claimed.number if claimed else None


def _overshoot(run: Run) -> float:
    """Seconds that the last step may have taken past the cap, and rounding of minutes in the newer grammar."""
    train = run.train_ms
    step = train.value / 1000 / run.steps_done if train and run.steps_done else 0.0
    rounding = train.half / 1000 if train and run.stop is None else 0.0
    return max(_LEAST_SECONDS, _STEPS * step) + rounding


def _calibration(run: Run) -> float:
    """Seconds of collecting Hessians after the loop, on training batches unless the run generates its own text."""
    return run.hessians.value if run.hessians and run.generated is None else 0.0


def _ahead(run: Run) -> float:
    return sum(one.value for one in (run.warmup, run.outside) if one is not None)


def _pass_seconds(run: Run, claimed: Evaluation) -> float | None:
    """Seconds of the evaluation that gives the score: its own, or the evaluation timer's if that is longer.

    A score that is printed again under another label has its time beside the first label.
    """
    own = [metric.seconds for metric in run.metrics if metric.seconds is not None and _same(metric, claimed)]
    total = [run.eval_total.value] if run.eval_total else []
    return max([*own[-1:], *total], default=None)


def _same(one: Evaluation, other: Evaluation) -> bool:
    return one.kind == other.kind or abs(one.bpb.value - other.bpb.value) <= 1.01 * (one.bpb.half + other.bpb.half)
