"""What a replay of each kind of witness does again: one registry, for every collector and for the documentation.

A witness has a kind. For each kind and each of the three ways in, the registry says what is played again; whoever makes
a witness of a new kind puts it here, or a test says so. What an outcome is, and what is refused, is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from harness.errors import UsageError
from harness.record import Finding, Record, Witness
from harness.text import meant

#: Ways in: a folder with a submission.py, an unmodified script, a folder's papers, a model or a scorer in a process.
Door = Literal["adapter", "script", "evidence", "library"]


class Again(Enum):
    """What is played again. The value says it to people."""

    RUN = "one run that is told the truth; the rest is computed from it and from the files"
    FLIP = "that run, and one in which the tokens of the witness are replaced, and no others"
    TOKENS = "that run, and one flip for each token that the witness names"
    DRAWN = "the runs that the audit's nonce draws: it says places and tokens"
    NULL = "that run, and one on text that is drawn again from the same source"
    NEEDS = "what the check needs beyond a run: trainings, a search, a segment to decode"
    RECURRING = "that run, and those on text in which phrases recur, with the same lots"
    TURNED = "that run, and one in which the same decision comes out the other way"
    RULED = "one run; where what a rule is about takes flips that moved nothing, these too"
    PAPERS = "the folder is read again; nothing is run"
    CALLS = "the same calls, in a process that has the model or the scorer: `Report.replay()`"


@dataclass(frozen=True)
class Kind:
    """One kind of witness.

    Attributes:
        shows: what it shows, for people.
        again: what a replay plays, by the way in; a way that is not here makes no such witness.
        made_by: ids of the checks that make it.
        holds: fields of its data that it always has, and their types; a replay and the views read them.
        measured: it holds a measurement that no second run gives to the last digit, so that the same verdict counts.
    """

    shows: str
    again: Mapping[Door, Again]
    made_by: tuple[str, ...]
    holds: Mapping[str, type] = field(default_factory=dict)
    measured: bool = False


_FLIPPED: dict[Door, Again] = {"adapter": Again.FLIP, "script": Again.FLIP, "library": Again.CALLS}
_RUN: dict[Door, Again] = {"adapter": Again.RUN, "script": Again.RUN}
_CALLED: dict[Door, Again] = {"library": Again.CALLS}
_RULED: dict[Door, Again] = {"adapter": Again.RULED, "script": Again.RULED, **_CALLED}
_FLIPS = ("causality", "score-before-update", "document-boundary", "artifact-independence")

REGISTRY: dict[str, Kind] = {
    "suffix": Kind(
        "everything from a position on was replaced, and what must not move moved",
        _FLIPPED,
        _FLIPS,
        holds={"position": int},
    ),
    "swap": Kind(
        "single tokens were replaced, and what must not move moved", _FLIPPED, _FLIPS, holds={"position": int}
    ),
    "neighbour": Kind(
        "another sequence of the same batch was replaced, and rows of this one moved",
        _CALLED,
        ("causality",),
        holds={"position": int},
    ),
    "earlier call": Kind(
        "other text was played in the call before, and rows of this one moved",
        _CALLED,
        ("causality",),
        holds={"position": int},
    ),
    "rerun": Kind(
        "an update, or a change of state, at this point of the evaluation",
        {"adapter": Again.RUN},
        ("score-before-update",),
    ),
    "positions": Kind(
        "positions that were scored otherwise than once from left to right, or documents in both texts",
        {**_RUN, **_CALLED},
        ("single-pass", "data-split"),
    ),
    "rule": Kind(
        "a practice that the rules forbid; the sentence says what was seen",
        _RULED,
        (
            *("single-pass", "score-before-update", "warm-up", "size-limit", "train-clock", "eval-clock"),
            "document-boundary",
        ),
    ),
    "row": Kind(
        "a row whose probabilities sum to more than 1",
        {**_RUN, **_CALLED},
        ("normalization",),
        holds={"position": int},
    ),
    "choice": Kind(
        "charges that were chosen by their own losses, or by later ones",
        {"script": Again.TURNED},
        ("normalization",),
        holds={"chosen": list, "name": str, "place": str, "call": int, "element": int},
    ),
    "kraft": Kind(
        "probabilities of several tokens for one position that sum to more than 1",
        {"adapter": Again.TOKENS, **_CALLED},
        ("normalization",),
        holds={"position": int, "tokens": list, "log_probs": list},
    ),
    "draws": Kind(
        "tokens that were drawn and bet on",
        {"adapter": Again.DRAWN, **_CALLED},
        ("normalization",),
        holds={"tokens": int, "log_wealth": float},
    ),
    "whole row": Kind(
        "every probability of one row",
        {"adapter": Again.DRAWN, **_CALLED},
        ("normalization",),
        holds={"length": int, "position": int},
    ),
    "substitution": Kind(
        "tokens that were put by lot into text in which phrases recur",
        {"script": Again.RECURRING},
        ("normalization",),
        holds={"positions": list, "tokens": list, "replaced": list},
    ),
    "null": Kind(
        "a total below what text from a known source allows",
        {"adapter": Again.NULL, "script": Again.NULL, **_CALLED},
        ("null-stream",),
        holds={"source": str, "seed": int, "tokens": int},
    ),
    "bytes": Kind("bytes counted against bytes on disk or in the text", _RUN, ("byte-accounting", "size-limit")),
    "targets": Kind(
        "targets that were charged for other tokens than the stream's",
        {"script": Again.RUN},
        ("byte-accounting",),
        holds={"targets": list, "foreign": list},
    ),
    "claims": Kind(
        "claims that contradict each other or the measurement",
        {"adapter": Again.RUN},
        ("claims",),
        holds={"contradictions": list},
    ),
    "seeds": Kind(
        "scores of seeds against the record to beat",
        {"adapter": Again.RUN},
        ("significance",),
        holds={"seeds": dict, "previous": dict},
    ),
    "target": Kind(
        "losses of seeds against the one that the rule asks for",
        {"adapter": Again.RUN},
        ("significance",),
        holds={"seeds": dict, "target": float},
    ),
    "clock": Kind(
        "seconds over the limit",
        {"adapter": Again.RUN},
        ("train-clock", "eval-clock"),
        measured=True,
        holds={"seconds": float},
    ),
    "notice": Kind("what the box noticed", {"adapter": Again.NEEDS}, ("isolation",), holds={"notices": list}),
    "text": Kind(
        "a file within reach that holds validation text",
        {"adapter": Again.NEEDS},
        ("artifact-independence", "isolation"),
        holds={"file": str, "passage": str},
    ),
    "artifacts": Kind(
        "artifacts that differ with the validation text",
        {"adapter": Again.NEEDS},
        ("artifact-independence",),
        holds={"artifact_bytes": list},
    ),
    "proof": Kind(
        "a token that does not come back when it is decoded",
        {"adapter": Again.NEEDS},
        ("proof",),
        holds={"tokens": int, "begin": int},
    ),
    "evidence": Kind(
        "lines of the folder's own files that contradict each other or a rule",
        {"script": Again.PAPERS, "evidence": Again.PAPERS},
        ("claims", "byte-accounting", "size-limit", "train-clock", "eval-clock", "significance"),
        holds={"quotes": list},
    ),
}


def typed(witness: Witness) -> Witness:
    """The witness, if it is of a known kind and has what that kind always has.

    Raises:
        ValueError: it is not, or has not. That is a mistake in the check which made it.
    """
    kind = REGISTRY.get(witness.kind)
    if kind is None:
        raise ValueError(f"a witness of the unknown kind {witness.kind!r}")
    for name, wanted in kind.holds.items():
        if not isinstance(witness.data.get(name), wanted):
            raise ValueError(f"a witness of the kind {witness.kind!r} has no {name} ({wanted.__name__})")
    return witness


@dataclass(frozen=True)
class Replay:
    """What a replay showed: the finding as recorded, the finding now, whether the witness is the same, and why."""

    recorded: Finding
    now: Finding | None
    reproduced: bool
    why: str = field(default="")


def wanted(record: Record, finding_id: str) -> tuple[Finding, Witness, Again]:
    """The finding to replay, its witness, and what is to be played again.

    Raises:
        UsageError: the record has no such finding, it has no witness, or one of a kind that no replay is known of.
    """
    recorded = next((item for item in record.findings if item.id == finding_id), None)
    if recorded is None:
        known = ", ".join(item.id for item in record.findings if item.witness) or "none with a witness"
        hint = meant(finding_id, [item.id for item in record.findings]) or ";"
        raise UsageError(f"the record has no finding {finding_id!r}{hint} those with a witness: {known}")
    if recorded.witness is None:
        raise UsageError(f"{finding_id} is {recorded.status} and has no witness; there is nothing to replay")
    kind = REGISTRY.get(recorded.witness.kind)
    if kind is None or record.submission.kind not in kind.again:
        raise UsageError(
            f"{finding_id} has a witness of the kind {recorded.witness.kind!r}, which this harness cannot replay for a "
            f"submission of the kind {record.submission.kind!r}"
        )
    return recorded, recorded.witness, kind.again[record.submission.kind]


def unchanged(what: str, recorded: str, now: str, remedy: str) -> None:
    """Refuse to replay on something else than the record is about.

    Args:
        what: such as "the submission".
        recorded: its sha256 in the record.
        now: its sha256 now.
        remedy: what to do about it.

    Raises:
        UsageError: the two differ.
    """
    if recorded != now:
        raise UsageError(f"{what} has changed since: sha256 {recorded} in the record, {now} now; {remedy}")


def outcome(recorded: Finding, now: Finding | None) -> Replay:
    """Whether the witness of a finding was seen again: the same status, and the same witness to the last digit."""
    old, new = recorded.witness, now.witness if now else None
    assert old is not None
    if now is None or new is None or new.kind != old.kind or now.status != recorded.status:
        return Replay(recorded, now, False, f"not seen again: {now.headline if now else 'the check did not report'}")
    if REGISTRY[old.kind].measured:
        return Replay(recorded, now, True, f"{old.summary}: measured again, {new.summary}")
    before, after = (one.model_dump(mode="json")["data"] for one in (old, new))
    if before == after and (before or old.summary == new.summary):  # where there are no numbers, the sentence has them
        return Replay(recorded, now, True, f"{old.summary}: seen again, to the last digit")
    return Replay(recorded, now, False, f"the same offence, with other numbers: {new.summary}")


def table() -> str:
    """The registry as a Markdown table."""
    doors: dict[Door, str] = {
        "adapter": "a submission.py",
        "script": "a script",
        "evidence": "papers",
        "library": "a library call",
    }
    lines = [
        f"| kind | what it shows | checks | always holds | {' | '.join(doors.values())} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in REGISTRY.items():
        cells = [kind.again[door].name if door in kind.again else "" for door in doors]
        holds = ", ".join(kind.holds)
        lines.append(f"| {name} | {kind.shows} | {', '.join(kind.made_by)} | {holds} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
