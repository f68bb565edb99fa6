"""From findings to the verdict: three questions, each answered on its own by its worst finding.

| question | asks | answers |
|---|---|---|
| score | may this number be believed? | VALID, INVALID, UNRULED, UNDECIDED |
| limits | are bytes and seconds within the rules? | WITHIN, OVER, UNDECIDED, NOT_APPLICABLE |
| claim | do the papers carry what is claimed? | SUPPORTED, CONTRADICTED, INCOMPLETE, NOT_CLAIMED |

The exit code follows from these: 1 where a rule is violated (INVALID, OVER, CONTRADICTED), else 4 where a check or the
environment broke (an ERROR), else 3 where score or limits stay UNDECIDED by a check that was made or should have been,
else 0. UNRULED is 0, with `--strict` 1. An INCOMPLETE claim is 0, with `--fail-on incomplete` 3.

What only papers say is weighed as papers. A contradiction in them is a FAIL of its check's question, whatever was run;
that they do not show something is a gap in the claim, not a doubt about a score that was measured. The limits of an
unmodified script are read from its papers alone: where these say too little, limits stay UNDECIDED and say why, but
this too is a gap in the papers, so alone it does not change the exit code (it is what `--fail-on incomplete` is for).
For an adapter, whose bytes and seconds the harness counts itself, UNDECIDED limits are exit code 3. Of a folder that
was only read the score is never VALID: nothing was run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

Question = Literal["score", "limits", "claim"]
Kind = Literal["adapter", "script", "evidence", "library"]
Word = Literal[
    "VALID", "INVALID", "UNRULED", "UNDECIDED",
    "WITHIN", "OVER", "NOT_APPLICABLE",
    "SUPPORTED", "CONTRADICTED", "INCOMPLETE", "NOT_CLAIMED",
]  # fmt: skip

#: What a check counts for where nothing says so, by its id; all others count for the score. Findings name their
#: question since there are questions (`harness.audit.check` has that of every check); records from before do not.
QUESTIONS: dict[str, Question] = {
    "size-limit": "limits",
    "train-clock": "limits",
    "eval-clock": "limits",
    "claims": "claim",
    "significance": "claim",
    "copies": "claim",
}

#: What ids of findings from a script's papers end with where a check of the run has the same id.
_FROM_PAPERS = " (evidence)"
_ONLY_FROM_PAPERS = ("data-split", "size-limit", "train-clock", "eval-clock", "claims", "significance", "copies")


class Status(StrEnum):
    """What a check concluded. Only PASS says that the check ran to its end and found nothing."""

    FAIL = "FAIL"
    ERROR = "ERROR"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT_RUN"
    UNRULED = "UNRULED"
    PASS = "PASS"
    NOT_APPLICABLE = "NOT_APPLICABLE"


#: Worst first: a question is answered by the first of these that any of its findings has.
SEVERITY = tuple(Status)
_OPEN = (Status.ERROR, Status.INCONCLUSIVE, Status.NOT_RUN)
VIOLATED = ("INVALID", "OVER", "CONTRADICTED")


class Answer(BaseModel):
    """The answer to one question.

    Attributes:
        answer: one word, see the table of this module.
        because: ids of the findings that decided it; empty where no check of this question was made.
        sentence: what the word means here, for somebody who has read nothing else.
    """

    answer: Word
    because: list[str] = Field(default_factory=list)
    sentence: str

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answers(BaseModel):
    """The three answers of a verdict."""

    score: Answer
    limits: Answer
    claim: Answer

    model_config = ConfigDict(extra="forbid", frozen=True)

    def items(self) -> list[tuple[Question, Answer]]:
        """(question, answer), in the order in which they are asked."""
        return [(question, getattr(self, question)) for question in get_args(Question)]


class Judged(Protocol):
    """What the decision looks at of a finding."""

    @property
    def id(self) -> str:
        """The check's id."""

    @property
    def question(self) -> Question:
        """The question that the finding counts for."""

    @property
    def status(self) -> Status:
        """What was concluded."""

    @property
    def headline(self) -> str:
        """The finding in a sentence."""


class Found(Judged, Protocol):
    """A finding: what was concluded, and from which parts where there are several."""

    @property
    def parts(self) -> Sequence[Judged]:
        """What each source shows; empty where there is one."""


@dataclass(frozen=True)
class Decision:
    """What findings come to.

    Attributes:
        answers: to the three questions.
        verdict: the answers in one word: FAIL, ERROR, INCONCLUSIVE, UNRULED or PASS. It is never PASS for a folder that
            was only read and whose papers say too little, and NOT_APPLICABLE for one that claims nothing.
        undecided: what was made, or should have been, does not decide score or limits.
        unruled: there is a practice that no ruling covers.
        incomplete: the papers say too little, of the claim or of a script's limits.
    """

    answers: Answers
    verdict: Status
    undecided: bool
    unruled: bool
    incomplete: bool

    def exit_code(self, *, strict: bool = False, fail_on_incomplete: bool = False) -> int:
        """The process exit code.

        Args:
            strict: UNRULED counts as a violation.
            fail_on_incomplete: papers that say too little count as undecided.
        """
        if self.verdict in (Status.FAIL, Status.ERROR) or self.undecided:
            return exit_code_of(self.verdict)
        if strict and self.unruled:
            return 1
        return 3 if fail_on_incomplete and self.incomplete else 0


def question_of(check: str) -> Question:
    """The question that a finding counts for which does not name it; `check` may end with " (evidence)"."""
    return QUESTIONS.get(check.removesuffix(_FROM_PAPERS), "score")


def in_papers(question: Question, status: Status) -> Question:
    """The question that a finding counts for which comes from what a folder says of itself.

    That something is not shown there leaves the claim incomplete, and says nothing about the score.
    """
    return "claim" if question == "score" and status in _OPEN else question


def from_papers(check: str, kind: Kind) -> bool:
    """Whether a finding of this id comes from papers, in a record whose findings name no question."""
    return kind == "evidence" or (
        kind == "script" and (check.endswith(_FROM_PAPERS) or check in _ONLY_FROM_PAPERS)
    )  # fmt: skip


def decide(findings: Sequence[Found], kind: Kind = "adapter") -> Decision:
    """Answer the three questions.

    Args:
        findings: of one submission.
        kind: "adapter" and "script" were run; of "evidence" the papers were read and nothing was run.
    """
    parts: list[Judged] = [part for one in findings for part in (one.parts or [one])]
    by = {question: [one for one in parts if one.question == question] for question in get_args(Question)}
    answers = Answers(score=_score(by["score"], kind), limits=_limits(by["limits"]), claim=_claim(by["claim"]))
    measured = kind == "adapter"  # bytes and seconds; those of a script are known from its papers only
    unmeasured = answers.limits.answer == "UNDECIDED" and bool(answers.limits.because)
    present = {one.status for one in parts} - {Status.NOT_APPLICABLE}
    unclaimed = kind == "evidence" and answers.claim.answer == "NOT_CLAIMED" and bool(answers.claim.because)
    undecided = (
        (answers.score.answer == "UNDECIDED" and bool(answers.score.because))
        or (unmeasured and measured)
        or (not present and not unclaimed)
    )
    incomplete = answers.claim.answer == "INCOMPLETE" or (unmeasured and not measured)
    if any(answer.answer in VIOLATED for _, answer in answers.items()):
        verdict = Status.FAIL
    elif Status.ERROR in present:
        verdict = Status.ERROR
    elif unclaimed:
        verdict = Status.NOT_APPLICABLE
    elif undecided or (incomplete and kind == "evidence"):
        verdict = Status.INCONCLUSIVE
    else:
        verdict = Status.UNRULED if Status.UNRULED in present else Status.PASS
    return Decision(answers, verdict, undecided, Status.UNRULED in present, incomplete)


def verdict_of(findings: Sequence[Found], kind: Kind = "adapter") -> Status:
    """The verdict in one word; INCONCLUSIVE when there is nothing to judge by."""
    return decide(findings, kind).verdict


def worst_of(findings: Sequence[Judged]) -> Status:
    """The worst status of all, which was the verdict of records before the three questions ("harness.record/1")."""
    present = {finding.status for finding in findings} - {Status.NOT_APPLICABLE}
    return next((status for status in SEVERITY if status in present), Status.INCONCLUSIVE)


def exit_code_of(verdict: Status, *, strict: bool = False) -> int:
    """The exit code for one word: 0 pass, 1 violated, 3 undecided, 4 a check or the environment broke."""
    return {
        Status.FAIL: 1,
        Status.ERROR: 4,
        Status.INCONCLUSIVE: 3,
        Status.NOT_RUN: 3,
        Status.UNRULED: 1 if strict else 0,
        Status.PASS: 0,
        Status.NOT_APPLICABLE: 3,
    }[verdict]


def _score(findings: Sequence[Judged], kind: Kind) -> Answer:
    worst, decisive = _worst(findings)
    if worst == Status.FAIL:
        show = "show" if len(decisive) > 1 else "shows"
        return _answer(
            "INVALID", decisive, f"{_names(decisive)} {show} that this score cannot be believed: {_said(decisive)}"
        )
    if kind == "evidence":
        sentence = (
            "nothing was run: what the folder says of itself was held against itself, which cannot show that a score is"
            " right"
        )
        if worst == Status.UNRULED:
            sentence += f"; no ruling covers what {_names(decisive)} found: {_said(decisive)}"
        return Answer(answer="UNDECIDED", sentence=sentence)
    if worst in _OPEN:
        return _answer("UNDECIDED", decisive, _undecided(worst, decisive))
    if worst == Status.UNRULED:
        return _answer("UNRULED", decisive, f"no ruling covers what {_names(decisive)} found: {_said(decisive)}")
    if worst == Status.PASS:
        applied = sum(one.status != Status.NOT_APPLICABLE for one in findings)
        return _answer(
            "VALID",
            decisive,
            "nothing that was tried shows that this score used tokens before it predicted them"
            f" ({len(decisive)} of {applied} checks passed)",
        )
    return Answer(answer="UNDECIDED", sentence="no check that speaks about the score was asked for or applies")


def _limits(findings: Sequence[Judged]) -> Answer:
    worst, decisive = _worst(findings)
    if worst == Status.FAIL:
        return _answer("OVER", decisive, f"over the limit by {_names(decisive)}: {_said(decisive)}")
    if worst in _OPEN:
        return _answer("UNDECIDED", decisive, _undecided(worst, decisive))
    if worst in (Status.PASS, Status.UNRULED):
        held = [one for one in findings if one.status in (Status.PASS, Status.UNRULED)]
        left = [one for one in findings if one.status == Status.NOT_APPLICABLE]
        note = f"; the ways of counting differ in {_names(decisive)}" if worst == Status.UNRULED else ""
        rest = f"; {_names(left)} {'does' if len(left) == 1 else 'do'} not apply" if left else ""
        what = _said(decisive) if worst == Status.UNRULED else _said(held)
        return _answer("WITHIN", held, f"every limit that applies is kept: {what}{note}{rest}")
    if findings:
        return _answer("NOT_APPLICABLE", findings, f"no limit applies to this run: {_said(findings)}")
    return Answer(answer="UNDECIDED", sentence="no check of bytes or seconds was asked for")


def _claim(findings: Sequence[Judged]) -> Answer:
    worst, decisive = _worst(findings)
    if worst == Status.FAIL:
        return _answer(
            "CONTRADICTED", decisive, f"{_names(decisive)}: the papers contradict what is claimed: {_said(decisive)}"
        )
    if worst in _OPEN:
        broke = " (the check itself broke)" if worst == Status.ERROR else ""
        said = f"{decisive[0].id}: {_said(decisive)}{broke}{_more(decisive)}"
        return _answer("INCOMPLETE", decisive, f"the papers do not show all that is claimed: {said}")
    if worst in (Status.PASS, Status.UNRULED):
        note = "; no ruling covers this" if worst == Status.UNRULED else ""
        return _answer("SUPPORTED", decisive, f"the papers carry what is claimed: {_said(decisive)}{note}")
    if findings:
        return _answer("NOT_CLAIMED", findings, f"nothing is claimed that this run could show: {_said(findings)}")
    return Answer(answer="NOT_CLAIMED", sentence="no claim was looked at")


def _worst(findings: Sequence[Judged]) -> tuple[Status | None, list[Judged]]:
    """The worst status but for NOT_APPLICABLE, and the findings that have it."""
    present = {one.status for one in findings} - {Status.NOT_APPLICABLE}
    worst = next((status for status in SEVERITY if status in present), None)
    # What is open is open whatever it is called; what broke is named first.
    same = _OPEN if worst in _OPEN else (worst,)
    return worst, sorted((one for one in findings if one.status in same), key=lambda one: SEVERITY.index(one.status))


def _answer(word: Word, decisive: Sequence[Judged], sentence: str) -> Answer:
    return Answer(answer=word, because=list(dict.fromkeys(one.id for one in decisive)), sentence=sentence)


def _undecided(worst: Status | None, decisive: Sequence[Judged]) -> str:
    first = decisive[0]
    how = {
        Status.ERROR: "could not be judged, because the check broke",
        Status.NOT_RUN: "was not run",
    }
    return f"{first.id} {how.get(worst or first.status, 'could not be decided')}: {first.headline}{_more(decisive)}"


def _said(decisive: Sequence[Judged]) -> str:
    return decisive[0].headline


def _more(decisive: Sequence[Judged]) -> str:
    more = list(dict.fromkeys(one.id for one in decisive))[1:]
    return f" (also open: {', '.join(more)})" if more else ""


def _names(findings: Sequence[Judged]) -> str:
    """Ids in a sentence: "a", "a and b", "a, b and c"."""
    names = list(dict.fromkeys(one.id for one in findings))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
