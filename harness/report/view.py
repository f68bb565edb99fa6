"""What every view says about a record: the three answers, the findings in order, the score's yardsticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.record import FIRST, PLACES, SEVERITY, Finding, Metric, Record, Status, Value
from harness.text import clean, finite, label, number, prose, shell
from harness.verdict import VIOLATED, Answer, Question, Word, decide, exit_code_of, worst_of

#: Counting conventions that are shown; the harness knows three.
_CONVENTIONS = 6

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T|$)")


@dataclass(frozen=True)
class Look:
    """How a status is shown: by word, by icon and by colour, never by colour alone.

    Attributes:
        word: the status in words.
        tone: colour class, one of "bad", "open", "good", "mute".
    """

    word: str
    tone: str


LOOKS: dict[Status, Look] = {
    Status.FAIL: Look("FAIL", "bad"),
    Status.ERROR: Look("ERROR", "bad"),
    Status.INCONCLUSIVE: Look("INCONCLUSIVE", "open"),
    Status.NOT_RUN: Look("NOT RUN", "open"),
    Status.UNRULED: Look("UNRULED", "open"),
    Status.PASS: Look("PASS", "good"),
    Status.NOT_APPLICABLE: Look("NOT APPLICABLE", "mute"),
}


#: What each of the three questions asks, in words.
QUESTIONS: dict[Question, str] = {
    "score": "May this number be believed?",
    "limits": "Are bytes and seconds within the rules?",
    "claim": "Do the papers carry what is claimed?",
}

#: The status whose icon and colour an answer has.
_LIKE: dict[Word, Status] = {
    "VALID": Status.PASS,
    "INVALID": Status.FAIL,
    "UNRULED": Status.UNRULED,
    "UNDECIDED": Status.INCONCLUSIVE,
    "WITHIN": Status.PASS,
    "OVER": Status.FAIL,
    "NOT_APPLICABLE": Status.NOT_APPLICABLE,
    "SUPPORTED": Status.PASS,
    "CONTRADICTED": Status.FAIL,
    "INCOMPLETE": Status.INCONCLUSIVE,
    "NOT_CLAIMED": Status.NOT_APPLICABLE,
}

#: What an exit code says, in a sentence.
CODES = {
    0: "no rule is found violated",
    1: "a rule is violated",
    3: "what was run does not decide it: neither a pass nor a violation",
    4: "a check or the environment broke, which says nothing about the submission",
}


@dataclass(frozen=True)
class Reply:
    """The answer to one of the three questions, as it is shown.

    Attributes:
        question: "score", "limits" or "claim".
        asks: the question in words.
        word: the answer, in words.
        tone: colour class, as of `Look`.
        icon: the status whose icon it has.
        sentence: what the answer means here.
        because: ids of the findings that decided it.
    """

    question: Question
    asks: str
    word: str
    tone: str
    icon: Status
    sentence: str
    because: list[str]


@dataclass(frozen=True)
class Yardstick:
    """One score to compare, in bits per byte; `role` is "measured", "honest", "claim" or "reference"."""

    name: str
    bpb: float
    role: str


def worst_first(record: Record) -> list[Finding]:
    """The findings by severity; findings of one status keep their order."""
    return sorted(record.findings, key=lambda finding: SEVERITY.index(finding.status))


def replies(record: Record) -> list[Reply]:
    """The three answers of a record, in the order in which they are asked."""
    return [_reply(question, answer) for question, answer in record.answers.items()]


def look_of(word: Word) -> Look:
    """How an answer is shown."""
    like = LOOKS[_LIKE[word]]
    return Look(word.replace("_", " "), like.tone)


def icon_of(word: Word) -> Status:
    """The status whose icon an answer has."""
    return _LIKE[word]


def decisive(record: Record) -> Reply:
    """The answer that the exit code follows from: a violation, else what is undecided, else that of the score."""
    made = replies(record)
    answers = dict(record.answers.items())
    violated = next((one for one in made if answers[one.question].answer in VIOLATED), None)
    if violated is not None:
        return violated
    if record.verdict in (Status.INCONCLUSIVE, Status.NOT_RUN, Status.ERROR):
        open_ones = [one for one in made if one.tone == "open" and one.because]
        broken = {finding.id for finding in record.findings if finding.status == Status.ERROR}
        return next((one for one in open_ones if broken & set(one.because)), open_ones[0] if open_ones else made[0])
    return made[0]


def title(record: Record) -> tuple[str, Look]:
    """The verdict in the fewest words, for a title or a badge: the score's answer, and OVER or CONTRADICTED.

    Returns:
        Words such as "VALID, OVER", and how they look.
    """
    made = replies(record)
    shown = [made[0], *(one for one in made[1:] if one.tone == "bad")]
    return ", ".join(one.word for one in shown), LOOKS[title_icon(record)]


def title_icon(record: Record) -> Status:
    """The status whose icon and colour a title has."""
    made = replies(record)
    return next((one for one in made if one.tone == "bad"), made[0]).icon


def outcome_sentence(record: Record) -> str:
    """The exit code and what it says, with what it does not say."""
    said = f"Exit code {record.exit_code}: {CODES.get(record.exit_code, 'a code that no record has')}."
    if record.exit_code == 0:
        words = {question: answer.answer for question, answer in record.answers.items()}
        if words["claim"] == "INCOMPLETE":
            said += " The claim is INCOMPLETE: this alone fails nothing, and it is no support either."
        if record.submission.kind == "script" and words["limits"] == "UNDECIDED":
            said += " Bytes and seconds are known from the papers only, and these do not show them."
        if record.submission.kind == "evidence":
            said += " Nothing was run, so nothing is said for the score."
    return said


def tally(record: Record) -> list[tuple[Status, int]]:
    """How many findings have each status, worst first, leaving out statuses that nothing has."""
    counts = ((status, sum(finding.status == status for finding in record.findings)) for status in SEVERITY)
    return [(status, count) for status, count in counts if count]


def key_number(finding: Finding) -> tuple[str, str] | None:
    """The first number among the metrics that is not a limit, as (name, number), or None."""
    for one in finding.metrics:
        if isinstance(one.value, int | float) and not isinstance(one.value, bool) and not one.id.startswith("limit"):
            return called(one), number(one.value)
    return None


def called(metric: Metric) -> str:
    """A number's label with its unit: "price of the leak, nats/token"."""
    return label(metric.label if metric.unit in ("", "1") else f"{metric.label}, {metric.unit}")


def numbers(metrics: Sequence[Metric]) -> dict[str, Value]:
    """A finding's numbers by what they are called."""
    return {called(one): one.value for one in metrics}


def claimed_bpb(record: Record) -> float | None:
    """The BPB that the submission claims for itself, if it claims a number."""
    claim = record.submission.claims.get("val_bpb")
    return finite(claim.get("value") if isinstance(claim, dict) else claim)  # papers quote where they found it


def reasons(record: Record) -> tuple[str, ...]:
    """Why papers are not in order, ids of `harness.papers.reasons`, those of the worst findings first."""
    found: list[str] = []
    for finding in sorted(record.findings, key=lambda one: SEVERITY.index(one.status)):
        for metrics in (finding.metrics, *(part.metrics for part in finding.parts)):
            for name in ("reasons", "further_reasons"):
                listed = next((one.value for one in metrics if one.id == name), None)
                found += map(str, listed) if isinstance(listed, list) else []
    return tuple(dict.fromkeys(found))


def honest_bpb(record: Record) -> float | None:
    """The estimated BPB without the leak, if a check could price it."""
    estimate = (record.score.honest_bpb if record.score else None) or {}
    for name in ("val_bpb", "bpb", "honest_bpb", "estimate", "value", "mean"):
        if (value := finite(estimate.get(name))) is not None:
            return value
    return None


def honest_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % interval of the honest BPB, if the record holds one."""
    estimate = (record.score.honest_bpb if record.score else None) or {}
    low, high = finite(estimate.get("low")), finite(estimate.get("high"))
    return None if low is None or high is None else (low, high)


def run_date(record: Record) -> str | None:
    """The day of the run as YYYY-MM-DD, if the record says when it was made."""
    started = record.timing.get("started")
    return started[:10] if isinstance(started, str) and _DATE.match(started) else None


def command(record: Record) -> str:
    """The command that makes such a record, for a shell; text from the record is quoted. Of a library's, the call."""
    if record.submission.kind == "library":
        return clean(record.submission.settings.get("call"), 400)
    script = record.submission.kind == "script"
    words = ["lint" if record.submission.kind == "evidence" else "audit" if script else "run"]
    words.append(clean(record.submission.path, 200))
    overrides = record.submission.settings.get("overrides")
    for name, value in overrides.items() if isinstance(overrides, Mapping) else ():
        words += ["--env", clean(f"{name}={value}", 200)]
    if record.submission.kind == "adapter":
        words += [
            "--scale",
            clean(record.scale, 40),
            "--data",
            clean(record.environment.get("data_spec", "stdlib"), 200),
        ]
        for seed in record.seeds[:10]:
            words += ["--seed", str(seed)]
    words += ["--ruleset", clean(record.ruleset.name, 60)]
    if (told := record.ruleset.rulings) is not None:
        words += ["--submitted", clean(told.submitted, 10)] if told.submitted and "command" in told.said else []
        words += ["--pull", str(told.pull)] if told.pull else []
    return "harness " + " ".join(shlex.quote(word) for word in words)


def replay(record: Record, finding: Finding) -> str | None:
    """The command that does the witness of a finding again, for a shell; None where there is no witness.

    It is to be run in the folder in which the record was made, or where the record is older and does not say where it
    is, beside it. The record holds the rest: data, settings, limits and rules.
    """
    if finding.witness is None or record.submission.kind == "library":
        return None  # a model in somebody's process: `Report.replay()`
    place = _placed(record) or "record.json"
    words = [f"./{place}" if place.startswith("-") else place, clean(finding.id, 80)]
    level = record.environment.get("sandbox")
    if isinstance(level, Mapping) and level.get("name") == "none":
        words += ["--sandbox", "none"]  # it was run without a box, which nobody gets unasked
    return "harness replay " + " ".join(shell(word) for word in words)


def replay_in(record: Record) -> str:
    """The folder to replay in, in words."""
    return "the folder in which the harness was run" if _placed(record) else "the folder of the record"


def _placed(record: Record) -> str | None:
    places = record.environment.get(PLACES)
    place = places.get("record") if isinstance(places, Mapping) else None
    return place if isinstance(place, str) and 0 < len(place) <= 1000 else None  # a record may come from a stranger


def yardsticks(record: Record) -> list[Yardstick]:
    """Every BPB that the record knows about, in reading order."""
    reference = record.data.reference_bpb
    known = (
        Yardstick("measured", record.score.val_bpb, "measured") if record.score else None,
        _yardstick("honest estimate", honest_bpb(record), "honest"),
        _yardstick("claimed", claimed_bpb(record), "claim"),
        _yardstick("unigram model", reference.unigram, "reference"),
        _yardstick("xz", reference.xz, "reference"),
    )
    return [yardstick for yardstick in known if yardstick]


def total_bytes(record: Record) -> tuple[int, int] | None:
    """Artifact and code together, by the most lenient and by the strictest counting convention."""
    if not record.artifact:
        return None
    totals = record.artifact.total.values() or [record.artifact.bytes]
    return min(totals), max(totals)


def counted(record: Record) -> str:
    """Bytes of model and code by every counting convention, one clause for all views; "" where nobody counted.

    Of a sealed artifact they are the record's, with the one that decides named; else those that size-limit read in the
    papers.
    """
    sealed = record.artifact is not None
    totals, limit = _of_artifact(record) if sealed else _of_papers(record)
    parts = [f"{number(total)} {name}" for name, total in totals[:_CONVENTIONS]]
    parts += [f"{len(totals) - _CONVENTIONS} more in record.json"] if len(totals) > _CONVENTIONS else []
    said = f"{'with code ' if sealed else ''}{', '.join(parts)}, " if parts else ""
    return f"{said}of {number(limit)}" if sealed or parts else ""


def _of_artifact(record: Record) -> tuple[list[tuple[str, object]], Value]:
    made = record.artifact
    assert made is not None
    decides = {made.convention: " (decides)"}
    totals = [(f"{clean(name, 30).replace('_', ' ')}{decides.get(name, '')}", n) for name, n in made.total.items()]
    return list[tuple[str, object]](totals), made.limit


def _of_papers(record: Record) -> tuple[list[tuple[str, object]], Value]:
    found = next((one for one in record.findings if one.id == "size-limit"), None)
    told = found.value("totals") if found else None
    rows = [row for row in told if isinstance(row, list) and len(row) == 2] if isinstance(told, list) else []
    return [(clean(name, 60), total) for name, total in rows], found.value("limit_bytes") if found else None


def doubts(record: Record) -> list[str]:
    """Reasons not to trust the file itself: it was edited by hand, or cut off while it was written."""
    found = []
    try:
        intact = record.digest == record.computed_digest()
    except ValueError:
        intact = False
    if not record.digest:
        found.append("This record was never sealed: it carries no digest.")
    elif not intact:
        found.append("The digest in this record does not match its content: it was changed after it was written.")
    if not record.ruleset.intact:
        found.append("The rules in this record are not those whose digest it states.")
    decision, both = decide(record.findings, record.submission.kind), (False, True)
    if record.schema_ == FIRST:  # its verdict was the worst of everything
        verdict = worst_of(record.findings)
        codes = {exit_code_of(verdict, strict=strict) for strict in both}
    else:
        verdict = decision.verdict
        codes = {decision.exit_code(strict=strict, fail_on_incomplete=more) for strict in both for more in both}
    if record.verdict != verdict:
        found.append(f"The findings add up to {verdict.value}, not to {record.verdict.value}.")
    elif record.exit_code not in codes:
        found.append(f"The exit code of {record.verdict.value} is not {record.exit_code}.")
    elif record.answers != decision.answers:
        found.append("The findings do not add up to the answers that this record gives.")
    return found


def rulings(record: Record) -> list[str]:
    """What the rulings come to for this submission: waivers, counted, and rulings on its pull request as a whole.

    Rulings on practices stand in the findings that name the practice.
    """
    told = record.ruleset.rulings
    if told is None:
        return []
    waivers = [one for one in told.counting if one.outcome == "waived"]
    count = f"{len(waivers)} waiver{'' if len(waivers) == 1 else 's'}"
    found = [f"{count} for this submission: {' '.join(prose(one.cited, 600) for one in waivers)}"] if waivers else []
    whole = (one for one in told.counting if one.outcome in ("accepted", "rejected"))
    return found + [f"ruling on this pull request, which changes no finding: {prose(one.cited, 600)}" for one in whole]


def counts(record: Record) -> bool:
    """Whether a record's score has a rank: it is intact, nothing is violated, and what was run decides it."""
    verdict = decide(record.findings, record.submission.kind).verdict
    return verdict in (Status.PASS, Status.UNRULED) and record.score is not None and not doubts(record)


def violated(record: Record) -> bool:
    """Whether a rule is violated, or the claim contradicted."""
    return any(answer.answer in VIOLATED for _, answer in record.answers.items())


def _reply(question: Question, answer: Answer) -> Reply:
    look = look_of(answer.answer)
    return Reply(
        question=question,
        asks=QUESTIONS[question],
        word=look.word,
        tone=look.tone,
        icon=_LIKE[answer.answer],
        sentence=prose(answer.sentence, 600),
        because=list(answer.because),
    )


def _yardstick(name: str, value: float | None, role: str) -> Yardstick | None:
    return None if value is None else Yardstick(name, value, role)
