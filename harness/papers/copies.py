"""copies: is the folder's code, or are its measurements, another submission's? Only with `harness lint --against`.

The folder is held against every folder of a repository's refs, or of a folder of folders: shingles of its code by
MinHash, the nearest in full, and the measurements in its logs (lines with a loss or a score), one by one. Whoever
builds on an accepted record shares most of its code, as it should be: how much, with whom, who was first and what
differs is information. A question is what cannot be had honestly: measurements in the logs that carry the claim which
stand in the logs of somebody else's earlier submission, or a script that is another's with no measurement of its own.
It is never a violation: a log may be there to be compared with, which the folder can say.
"""

from __future__ import annotations

from harness.papers.collect import Case, finding
from harness.papers.near import Near, Shared
from harness.papers.reasons import Reason
from harness.record import Finding, Scalar, Status, Value

CHECK = "copies"

NOT_COVERED = [
    "code that was rewritten, and measurements that were retyped with other digits",
    "submissions that the repository or the folder does not hold",
]

#: Measurements, and long numbers, that two runs do not have in common by chance; and the least share of a log.
MEASUREMENTS, NUMBERS, SHARE = 5, 3, 0.2
#: Neighbours that a finding tells of.
_MOST = 5


def check(case: Case) -> Finding | None:
    """INCONCLUSIVE where measurements, or all of it, are another's; PASS with the nearest; None without a backlog."""
    around = case.neighbours
    if around is None:
        return None
    asked = [pair for one in around.near for pair in _questions(case, one)]
    questions: list[Scalar] = [text for _, text in asked]
    nearest: list[list[Scalar]] = [
        [one.told, round(one.code, 4), one.own, one.left_out, sum(log.of_them for log in one.logs)]
        for one in around.near[:_MOST]
    ]
    found_as: list[Scalar] = [f"#{number}" for number in around.itself]
    differs: list[Scalar] = list(around.near[0].differs) if around.near else []
    metrics: dict[str, Value] = {
        "folders_compared": around.folders,
        "pulls_compared": around.pulls,
        "backlog_sha256": around.digest,
        "near": nearest,
        **({"found_as": found_as} if found_as else {}),
        **({"differs": differs} if differs else {}),
    }
    if questions:
        more = f" (and {len(questions) - 1} more)" if len(questions) > 1 else ""
        metrics["to_be_explained"] = questions[:_MOST]
        status, headline = Status.INCONCLUSIVE, f"to be explained: {questions[0]}{more}"
    else:
        # Where nothing is claimed, that nothing is copied supports no claim.
        status = Status.PASS if case.claims.val_bpb is not None else Status.NOT_APPLICABLE
        headline = _told(case)
    absent = (
        [f"{around.absent:,} scripts and logs that the repository names and does not hold"] if around.absent else []
    )
    power: dict[str, Value] = {"measurements": sum(around.measurements.values())}
    return finding(
        case,
        CHECK,
        status,
        headline,
        reasons=[reason for reason, _ in asked],
        metrics=metrics,
        power=power,
        not_covered=[*NOT_COVERED, *absent],
    )


def _questions(case: Case, one: Near) -> list[tuple[Reason, str]]:
    """What of a neighbour cannot be had honestly, and why, one clause each; nothing of the author's own.

    Who has it from whom is known where the other is earlier, and only then a question.
    """
    if one.same_author or one.before is not True:
        return []
    carried = {run.file for run in case.headline.runs} if case.headline.matched else set()
    copied = [log for log in one.logs if (not carried or log.log in carried) and _copied(log)]
    if copied:
        first = max(copied, key=lambda log: log.of_them)
        what = f"{first.of_them:,} of {first.lines:,} measurements of {first.log}" if first.of_them else (
            f"{first.numbers} long numbers of {first.log}"
        )  # fmt: skip
        example = f', such as "{first.example}"' if first.example else ""
        return [(Reason.COPIED_MEASUREMENTS, f"{what} stand in the logs of {one.told}{example}")]
    lines = sum(case.neighbours.measurements.values()) if case.neighbours else 0
    if one.identical or (one.same_code and lines <= sum(log.of_them for log in one.logs)):
        what = "all files are" if one.identical else "the script, but for comments and blanks, is"
        return [(Reason.COPIED_FOLDER, f"{what} that of {one.told}, and the folder has no measurement of its own")]
    return []


def _copied(log: Shared) -> bool:
    return (log.of_them >= MEASUREMENTS and log.of_them >= SHARE * log.lines) or log.numbers >= NUMBERS


def _told(case: Case) -> str:
    around = case.neighbours
    assert around is not None
    held = f"held against {around.folders:,} folders of {around.where}"
    if not around.near:
        return f"{held}, none has much of the code, or a measurement"
    first = around.near[0]
    own = "the scripts are the same but for comments and blanks" if first.same_code else (
        f"{first.own:,} lines are the folder's own, {first.left_out:,} are left out"
    )  # fmt: skip
    who = " of the same author" if first.same_author else ""
    shared = sum(log.of_them for log in first.logs)
    lines = f"; {shared:,} measurements stand in both" if shared else "; no measurement stands in both"
    return f"{held}, the nearest{who} is {first.told}: it has {first.code:.1%} of the code, {own}{lines}"
