"""Why papers are not in order: every reason there is, one list.

A finding from papers that is FAIL, INCONCLUSIVE or NOT_RUN names the reasons for it, as ids of this list; a queue is
sorted and counted by them. A reason says what kind it is: something is not shown, something is shown and needs to be
explained, or something cannot be otherwise. The same reason may be a question in one folder and a contradiction in
another: that depends on how certain it is, and the status says it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Literal

from harness.record import Scalar

Kind = Literal["not shown", "to be explained", "wrong"]

_GAP: Kind = "not shown"
_ASK: Kind = "to be explained"
_BAD: Kind = "wrong"
#: What an author can do about each kind.
_TODO: dict[Kind, str] = {
    "not shown": "Put what is missing into the folder.",
    "to be explained": "Correct it, or say in the README how it comes.",
    "wrong": "Mend the code or the run, and measure again; no explanation changes the number.",
}


class Reason(Enum):
    """One reason; the value is its kind as a rule, and what it means in one sentence."""

    # What is claimed
    NO_METADATA = _GAP, "there is no submission.json"
    BAD_METADATA = _GAP, "submission.json cannot be read, or not without guessing"
    NO_SCORE_CLAIMED = _GAP, "submission.json claims no score"
    NO_README = _GAP, "there is no README.md"
    README_WITHOUT_SCORE = _ASK, "the README never gives the claimed score"
    # Scores and seeds in the logs
    NO_SCORED_LOG = _GAP, "no log of a run with a score is in the folder"
    SCORE_NOT_IN_LOGS = _ASK, "no log gives the claimed score"
    ONE_OF_SEVERAL = _ASK, "the claimed score is one log's, and better than the mean of all logs"
    SEED_WITHOUT_LOG = _GAP, "no log of a claimed seed gives its score"
    SEED_SCORE_DIFFERS = _ASK, "a seed's claimed score is not the one in its log"
    MEAN_DIFFERS = _ASK, "the claimed mean is not the mean of the claimed seeds"
    SEED_TWICE = _ASK, "a seed is listed or counted twice, or two seeds have the same score to the last digit"
    SEED_NAME_DIFFERS = _ASK, "a log is of another seed than its name says"
    TOO_FEW_SEEDS = _GAP, "fewer seeds are shown than a record needs"
    NOT_BEATEN = _BAD, "the previous record is not beaten by the bar of the rules"
    SPREAD_UNKNOWN = _GAP, "too little is known of the previous record or of the text to test against it"
    BEST_OF_SEVERAL = _ASK, "the claim is the best of several runs or evaluations"
    SETTINGS_DIFFER = _ASK, "the seeds that are averaged were run with different settings or code"
    # Logs and code
    CODE_SIZE_DIFFERS = _ASK, "the logs count other bytes of code than the folder has"
    RUNS_ANOTHER_FILE = _ASK, "the script only runs another file"
    SAME_SCRIPT = _ASK, "the script is another folder's"
    COPIED_MEASUREMENTS = _ASK, "measurements in the logs stand in somebody else's earlier logs"
    COPIED_FOLDER = _ASK, "the script or all files are somebody else's earlier ones, and nothing was measured anew"
    LINE_NOT_PRINTABLE = _BAD, "no text of the shipped code can print the line of the claimed score"
    LINES_NOT_PRINTABLE = _ASK, "no text of the shipped code can print other lines of the logs"
    CONSTANT_SCORE = _BAD, "the claimed score stands in the code as a constant"
    SETTINGS_UNKNOWN = _ASK, "the logs list settings that no code of the folder names"
    OTHER_SOURCE = _ASK, "the source text in a log is not the folder's"
    SEED_NOT_SETTABLE = _ASK, "a log is of a seed that the script cannot have"
    READS_ITS_PAPERS = _ASK, "the script reads its own log or submission.json"
    # Arithmetic
    BELOW_ALL_KNOWN = _ASK, "the score is below what any known model reaches on this text"
    TOO_FAST = _ASK, "training or evaluation took less time than its operations take"
    STEPS_AND_CLOCK = _ASK, "the mean time of a step and the clock do not go together"
    TOO_FEW_BITS = _ASK, "the model has fewer bits for each parameter than its format takes"
    UNCHANGED_BY_QUANTIZATION = _ASK, "the score before and after quantization is the same to the last digit"
    CONSTANT_DIFFERENCE = _ASK, "two evaluations differ by one and the same number in every run"
    AVERAGE_JUMPS = _ASK, "a running average jumps further than the text between can make it"
    # Bytes of the text
    NO_LOSS = _GAP, "nothing shows the loss beside the score, so that the bytes it divides by cannot be computed"
    BYTES_NOT_LOGGED = _GAP, "the bytes per token are those of a known tokenizer, and no log shows them"
    WIDTH_UNKNOWN = _ASK, "loss and score give bytes per token that no known tokenizer has"
    TOO_MANY_BYTES = _BAD, "the score divides by more bytes than the validation text has"
    PART_OF_THE_TEXT = _BAD, "only a part of the validation text was scored, or not all of its bytes were counted"
    CONSTANT_DIVISOR = _BAD, "a program divides by a number of bytes per token that stands in it"
    PIECES_MISREAD = _BAD, "the byte table of a program misreads the tokenizer's pieces"
    TEXT_FOLDED = _BAD, "the tokenizer gives different texts the same tokens"
    # Bytes of the artifact
    BYTES_NOT_SHOWN = _GAP, "neither a log nor submission.json tells the bytes"
    BYTES_NOT_ADDED_UP = _GAP, "bytes are claimed, and no log of the claimed run adds them up"
    BYTES_DIFFER = _ASK, "the claimed bytes are not those that the logs add up"
    OVER_THE_LIMIT = _BAD, "the bytes are over the limit"
    # Seconds
    TIME_NOT_SHOWN = _GAP, "neither a log nor a claim tells the time"
    TIME_WITHOUT_TIMER = _GAP, "a time is claimed or printed, and no log has the timer that would show it"
    OTHER_TIME_OVER = _ASK, "another time that a log prints is over the limit"
    OVER_TIME = _BAD, "a phase took longer than the limit"
    CALIBRATION_AFTER_CAP = _ASK, "calibration on training text, or its generation, came after the cap"
    OTHER_HARDWARE = _GAP, "the run was on other hardware than the limit is for"
    AUTHOR_SAYS_OVER = _ASK, "the author says that a limit is not kept"
    # Data
    NO_LOG = _GAP, "there is no log to look at"
    OVERLAP_MARK = _ASK, "a mark of an overlap of training and validation text stands in the papers"

    @property
    def id(self) -> str:
        """As records and tables name it."""
        return self.name.lower()

    @property
    def kind(self) -> Kind:
        """What it is as a rule."""
        return self.value[0]

    @property
    def says(self) -> str:
        """What it means, one clause."""
        return self.value[1]


def ids(reasons: Reason | Iterable[Reason]) -> list[Scalar]:
    """Their ids, each once, in the order in which they came."""
    several = [reasons] if isinstance(reasons, Reason) else reasons
    return list(dict.fromkeys(one.id for one in several))


def known() -> dict[str, Reason]:
    """All reasons by id."""
    return {one.id: one for one in Reason}


def explained(reason: Reason) -> str:
    """One reason for people."""
    return f"# {reason.id}\n\n{reason.says[0].upper()}{reason.says[1:]}.\n\nKind: {reason.kind}. {_TODO[reason.kind]}\n"


def document() -> str:
    """docs/reasons.md: all of them."""
    rows = "\n".join(f"| `{one.id}` | {one.kind} | {one.says} |" for one in Reason)
    return (
        "# Reasons\n\nWhy the papers of a submission are not in order. A finding of `harness lint` that is FAIL,"
        " INCONCLUSIVE or\nNOT_RUN names its reasons by these ids (metric `reasons`); `harness batch --lint` counts"
        " them. The kind is what a\nreason is as a rule; how certain it is in a folder, the status of its finding says."
        "\n\n"
        + "\n".join(f"* {kind}: {todo[0].lower()}{todo[1:]}" for kind, todo in _TODO.items())
        + "\n\nThis page is made by `harness explain --out docs/checks`.\n\n"
        "| reason | kind | what it means |\n|---|---|---|\n"
        f"{rows}\n"
    )
