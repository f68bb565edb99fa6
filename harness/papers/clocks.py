"""train-clock and eval-clock from the logs' own clocks, under both conventions.

Training: the loop alone, which the script stops itself, and the loop with the calibration that follows it on training
data. Evaluation: the final pass alone, and with the warm-up of its compiler and what was computed ahead of its timer.

Logs print other times beside these: of the whole evaluation, of the process, of producing the artifact. All of them are
shown, the longest decides whether there is a question, and what submission.json says of the limit stands beside it.
"""

from __future__ import annotations

import re

from harness.audit.clocks import CALIBRATION, OUTSIDE
from harness.audit.practices import Seen, ruled
from harness.papers import timers
from harness.papers.collect import Case, finding, if_claimed
from harness.papers.headline import Carried
from harness.papers.logs import Metric as Evaluation
from harness.papers.logs import Run, half_unit
from harness.papers.metadata import Claimed
from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason
from harness.record import Finding, Scalar, Status, Value

#: The cap is looked at between steps, so the last step ends after it: 0.137 s in merged logs; 1.153 s was over (#1956).
_STEPS = 1.5
_LEAST_SECONDS = 0.2
_CALLED_OVER = 1.0
_GPUS = 8
_SCORE = re.compile(r"bpb[:= ]{1,2}(\d{1,3}\.\d{2,12})")


def check_train(case: Case) -> Finding:
    """FAIL where the loop of a record ran past the limit by more than a step; calibration after it is a practice."""
    check, limit = "train-clock", case.ruleset.limits.train_seconds
    timed = [run for run in case.carried if run.train_ms is not None]
    if not timed:
        return _untold(case, "train", _number(case.claims.train_seconds), limit)
    if (early := _apart(case, check, timed, limit)) is not None:
        return early
    loops = {id(run): run.train_ms.value / 1000 for run in timed if run.train_ms}
    worst = max(timed, key=lambda run: loops[id(run)] - _overshoot(run))
    slack, loop = _overshoot(worst), loops[id(worst)]
    after = max(timed, key=lambda run: loops[id(run)] + _calibration(run))
    touching = loops[id(after)] + _calibration(after)
    metrics: dict[str, Value] = {"limit_seconds": limit, "loop": loop, "touches_training_data": touching}
    metrics["runs"] = len(timed)
    others = _others(case, timed, "train")
    metrics |= _shown(others)
    words = timers.words(case, "train")
    covered = ["compilation and warm-up steps before the timer, which no log times"]
    over = loop - limit

    def practised(practice: str, note: str, quotes: list[Number | Quote | None]) -> Finding:
        status, said, _ = ruled(case.ruleset, [Seen(practice, note)])
        reason = Reason.CALIBRATION_AFTER_CAP if practice == CALIBRATION else Reason.OVER_TIME
        return finding(
            case, check, if_claimed(case, status), said, reasons=reason, quotes=quotes, metrics=metrics,
            not_covered=covered,
        )  # fmt: skip

    if slack < over <= max(_CALLED_OVER, slack):
        note = f"training took {loop:.3f} s by its own clock: {over:.2f} s over the cap, which is more than one step"
        return practised("last_step_over_cap", note, [worst.train_ms])
    if over > slack:
        headline = f"training took {loop:.3f} s by its own clock, over {limit:g} s and the {slack:.2f} s of one step"
        headline += timers.told(words, "the log shows more")
        return finding(
            case, check, _verdict(case, worst), headline, reasons=Reason.OVER_TIME, quotes=[worst.train_ms],
            metrics=metrics, data={"seconds": loop, "limit": limit, "step": slack}, not_covered=covered,
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
    return _printed_too(
        case, check, limit, finding(case, check, Status.PASS, headline, quotes=quotes, metrics=metrics,
                                    not_covered=covered), others, words,
    )  # fmt: skip


def check_eval(case: Case) -> Finding:
    """FAIL where the claimed pass of a record took longer than the limit; what precedes it is a practice."""
    check, limit = "eval-clock", case.ruleset.limits.eval_seconds
    timed = [(one.run, _pass_seconds(one.run, one.metric)) for one in case.headline.carried]
    others = _others(case, case.headline.runs, "eval")
    own = {one.run.file: _with_score(others, one) for one in case.headline.carried}
    timed = [(run, max(filter(None, (seconds, own[run.file])), default=None)) for run, seconds in timed]
    known = [(run, seconds) for run, seconds in timed if seconds is not None]
    if not known:
        return _untold(case, "eval", _number(case.claims.eval_seconds), limit)
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
    metrics |= _shown(others)
    words = timers.words(case, "eval")
    covered = ["decompression and loading of the artifact", "evaluations before the final pass, which are diagnostics"]
    line = worst.eval_total or next((m.bpb for m in reversed(worst.metrics) if m.seconds == seconds), None)
    line = next((one.seconds for one in others if one.seconds.value == seconds), line)
    if seconds > limit:
        headline = f"the evaluation that gives the score took {seconds:.1f} s by its own clock, over {limit:g} s"
        headline += timers.told(words, "the log shows more")
        return finding(
            case, check, _verdict(case, worst), headline, reasons=Reason.OVER_TIME, quotes=[line], metrics=metrics,
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
            case,
            check,
            if_claimed(case, status),
            headline,
            reasons=Reason.OVER_TIME,
            quotes=quotes,
            metrics=metrics,
            not_covered=covered,
        )
    headline = f"{whole:.1f} s of {limit:g} s by the strictest reading of {len(known)} logs"
    fits = finding(case, check, Status.PASS, headline, quotes=quotes, metrics=metrics, not_covered=covered)
    return _printed_too(case, check, limit, fits, others, words)


def _others(case: Case, runs: list[Run], phase: timers.Phase) -> list[timers.Reading]:
    """Times that the logs print of the whole phase; a process's own where it does nothing else."""
    assert phase != "size"
    found = timers.readings(case, runs, phase)
    process = timers.process_time(case, runs)
    trains, scores = any(run.train_ms for run in runs), any(run.results for run in runs)
    if process is not None and (not trains if phase == "eval" else not scores):
        found = sorted([*found, process], key=lambda one: -one.seconds.value)
    return found


def _with_score(others: list[timers.Reading], carried: Carried) -> float | None:
    """Seconds that are printed in one line with the carried score: the pass's own time, in other words."""
    for one in others:
        match = _SCORE.search(one.seconds.quote.text)
        if match is not None and one.seconds.quote.file == carried.run.file:
            half = half_unit(match[1]) + carried.metric.bpb.half
            if abs(float(match[1]) - carried.metric.bpb.value) <= 1.01 * half:
                return one.seconds.value
    return None


def _shown(others: list[timers.Reading]) -> dict[str, Value]:
    rows: list[list[Scalar]] = [[one.label, round(one.seconds.value, 3)] for one in others]
    return {"readings": rows} if rows else {}


def _printed_too(
    case: Case, check: str, limit: float, fits: Finding, others: list[timers.Reading], words: list[timers.Word]
) -> Finding:
    """A finding within the limit, unless another time that is printed, or the author, says otherwise."""
    over = [one for one in others if one.seconds.value > limit + _CALLED_OVER]
    denied = [one for one in words if not one.kept]
    if not over and not denied:
        return fits
    told = f"; a log also prints {over[0].label} = {over[0].seconds.value:,.1f} s, over {limit:g} s" if over else ""
    headline = f"by the script's timer {fits.headline}{told}{timers.told(words, 'this is more' if over else None)}"
    quotes: list[Number | Quote | None] = [*(one.seconds for one in over[:3]), *(one.at for one in denied or words)]
    reasons = [*([Reason.OTHER_TIME_OVER] if over else []), *([Reason.AUTHOR_SAYS_OVER] if denied else [])]
    return finding(
        case,
        check,
        Status.INCONCLUSIVE,
        headline,
        reasons=reasons,
        quotes=quotes,
        metrics=_shown(others),
        not_covered=fits.not_covered,
    )


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
        count = small[0].value
        what = f"{count:.0f} GPU{'' if count == 1 else 's'}"
        headline = f"a log is of {what}, and {limit:g} s are for {case.ruleset.limits.hardware}"
        return finding(case, check, Status.INCONCLUSIVE, headline, reasons=Reason.OTHER_HARDWARE, quotes=small)
    return None


def _untold(case: Case, phase: timers.Phase, claimed: Number | None, limit: float) -> Finding:
    """No log has the timer of this phase: what else is printed or claimed of it."""
    check = f"{phase}-clock"
    if not case.record:
        headline = f"no record is claimed, and the limit of {limit:g} s is for records"
        return finding(case, check, Status.NOT_APPLICABLE, headline)
    others = _others(case, case.carried or case.runs, phase)
    longest = max([*(one.seconds for one in others), *([claimed] if claimed else [])], key=_value, default=None)
    told = timers.told(timers.words(case, phase), None)
    if longest is None:
        if told:
            quotes = [one.at for one in timers.words(case, phase)]
            return finding(
                case,
                check,
                Status.INCONCLUSIVE,
                f"no log tells the time of this phase{told}",
                reasons=[Reason.TIME_NOT_SHOWN, Reason.AUTHOR_SAYS_OVER],
                quotes=quotes,
            )
        headline = "no log tells the time of this phase, and no claim does"
        return finding(case, check, Status.NOT_RUN, headline, reasons=Reason.TIME_NOT_SHOWN)
    over = longest.value > limit + _LEAST_SECONDS
    words = f"{longest.value:g} s are {'claimed' if longest is claimed else 'printed'}"
    headline = f"{words}{', over ' if over else ' of '}{limit:g} s, and no log has the timer that would show them{told}"
    reasons = [Reason.TIME_WITHOUT_TIMER, *([Reason.OTHER_TIME_OVER] if over else [])]
    return finding(
        case, check, Status.INCONCLUSIVE, headline, reasons=reasons, quotes=[longest], metrics=_shown(others)
    )


def _value(one: Number) -> float:
    return one.value


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
