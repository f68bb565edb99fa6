"""claims from the papers: do submission.json, logs and README tell of one and the same run?

FAIL is for contradictions that are shown from both sides and flatter the submission. What may have an explanation (a
reference run of another configuration beside the claimed ones, a README of an earlier version) is a question, and a
question is INCONCLUSIVE.

The logs are held against the shipped code, too: the line of the claimed score has to be one that a text of the code can
make (FAIL where none can and all of the code can be read, or where the score stands in it as a constant); lines of
sizes, clocks, seeds and settings likewise, the source text that a log embeds against the folder's, the code size,
scores before and after quantization, and running averages (questions).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.audit import statistics
from harness.papers import floor, origin
from harness.papers.book import Book
from harness.papers.collect import Case, finding
from harness.papers.headline import fits
from harness.papers.logs import Run
from harness.papers.looks import OWN
from harness.papers.metadata import SeedClaim
from harness.papers.reading import Number
from harness.papers.reasons import Reason, ids
from harness.record import Finding, Scalar, Status, Value

CHECK = "claims"
#: Smaller differences between a claim and a log may be another rounding or another run; BPB.
_SLACK = 1e-3
_NUMBER = re.compile(r"(?<![\d.])\d+\.\d{3,}")
_MOST_DIFFERENT = 12


def check(case: Case) -> Finding:
    """FAIL on a contradiction, INCONCLUSIVE on a question or where evidence is missing, PASS where all of it fits."""
    book = Book()
    parts: list[Callable[[Case, Book], None]] = [
        *(_copies, _floor, _score, _seeds, _means, _settings, _sizes, _readme),
        *origin.PARTS,
    ]
    for part in parts:
        part(case, book)
    open_questions: list[Scalar] = list(book.questions)
    metrics: dict[str, Value] = {
        "agree": len(book.agreed),
        "contradict": len(book.contradictions),
        "to_be_explained": open_questions,
    }
    told = [*book.contradictions, *book.questions]
    if book.contradictions and book.questions:
        metrics["further_reasons"] = ids(book.reasons[len(book.contradictions) :])
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    if book.contradictions:
        status, headline = Status.FAIL, book.contradictions[0] + more
    elif book.questions:
        status, headline = Status.INCONCLUSIVE, book.questions[0] + more
    elif book.agreed:
        status, headline = Status.PASS, f"they agree: {', '.join(dict.fromkeys(book.agreed))}"
    else:
        status, headline = Status.NOT_RUN, "nothing in the folder can be compared with anything else"
    return finding(
        case,
        CHECK,
        status,
        headline,
        reasons=Reason.NO_LOG if status == Status.NOT_RUN else book.reasons[: len(book.contradictions) or None],
        quotes=book.quotes,
        metrics=metrics,
        power={"comparisons": len(book.agreed) + len(told)},
        data={"contradictions": book.contradictions},
        not_covered=[*book.apart, "numbers that only the README has"],
    )


def _score(case: Case, book: Book) -> None:
    """The claimed score and the seeds' own, against the numbers in the logs."""
    claims, headline = case.claims, case.headline
    if claims.problem:
        book.question(Reason.BAD_METADATA if claims.file else Reason.NO_METADATA, claims.problem)
    elif claims.val_bpb is None:
        book.question(Reason.NO_SCORE_CLAIMED, f"{claims.file} has no val_bpb")
    if headline.how == "none" and case.carried:
        return  # the rules ask for a loss, and the logs print it
    if headline.how == "none":
        book.question(Reason.NO_SCORED_LOG, "no log of a run with a score is in the folder")
        return
    if claims.val_bpb is not None:
        number = claims.val_bpb.number
        if headline.how in ("mean", "single"):
            what = "mean of the logs" if headline.how == "mean" else "score of a log"
            book.agreed.append(f"{claims.val_bpb.field} and the {what}")
        elif headline.mean is not None and not _anywhere(case, case.runs, number):
            last = [one.metric.bpb for one in headline.carried]
            book.question(
                Reason.SCORE_NOT_IN_LOGS,
                f"no log gives the claimed {number.value:g}; their last scores are {_list(last)}",
                number,
                *last,
            )
        if headline.how == "single" and len(_of_seeds(case)) > 1:
            values = [run.results[-1].bpb for run in _of_seeds(case)]
            others = f"one log's score, and there are others: {_list(values)}"
            if number.value + number.half < statistics.mean([one.value for one in values]):
                book.question(Reason.ONE_OF_SEVERAL, f"the claimed {number.value:g} is {others}", number)
            else:
                book.apart.append(f"the claimed {number.value:g} is {others}, which are no worse on average")
    for one in claims.per_seed:
        _one_seed(case, book, one)


def _of_seeds(case: Case) -> list[Run]:
    """The scored runs, one for each seed."""
    by_seed = {run.seed.value if run.seed else run.file: run for run in case.runs if run.results}
    return list(by_seed.values())


def _one_seed(case: Case, book: Book, claim: SeedClaim) -> None:
    of_seed = [run for run in case.runs if run.seed and str(int(run.seed.value)) == claim.seed and run.results]
    if claim.val_bpb is None:
        return
    number = claim.val_bpb.number
    if not of_seed:
        named = [run for run in case.runs if re.search(rf"(?<!\d){claim.seed}(?!\d)", run.file) and run.results]
        if not _anywhere(case, named or case.runs, number):
            book.question(
                Reason.SEED_WITHOUT_LOG,
                f"{claim.val_bpb.field} = {number.value:g}: no log of seed {claim.seed} gives it",
                number,
            )
        return
    scores = [metric.bpb for run in of_seed for metric in run.results]
    if any(fits(number, score.value, score.half) for score in scores):
        book.agreed.append("scores of the seeds and their logs")
        return
    best = min(scores, key=lambda score: score.value)
    text = f"{claim.val_bpb.field} = {number.value:g}, and the log of seed {claim.seed} ends at {best.value:g}"
    if _anywhere(case, case.runs, number):
        book.question(Reason.SEED_SCORE_DIFFERS, f"{text}; the number stands elsewhere", number, best)
    elif number.value < best.value - _SLACK:
        book.contradiction(Reason.SEED_SCORE_DIFFERS, text, number, best)
    else:
        book.question(Reason.SEED_SCORE_DIFFERS, text, number, best)


def _anywhere(case: Case, runs: list[Run], number: Number) -> bool:
    """Some line of these runs' logs holds the number, as it is rounded."""
    for name in dict.fromkeys(run.file for run in runs):
        paper = case.papers.named(name)
        for line in paper.lines if paper else []:
            if len(line) < 2000 and any(fits(number, float(text[:20]), 0.0) for text in _NUMBER.findall(line)):
                return True
    return False


def _seeds(case: Case, book: Book) -> None:
    """Are the seeds different runs, and do the logs say the seeds that their names say?"""
    listed = case.claims.seeds
    if len(set(listed)) < len(listed):
        book.question(Reason.SEED_TWICE, f"seeds lists one twice: {', '.join(listed)}")
    scored = case.headline.carried
    for index, one in enumerate(scored):
        for other in scored[:index]:
            same = one.metric.bpb.value == other.metric.bpb.value and one.metric.bpb.half < 1e-6
            differ = one.run.seed and other.run.seed and one.run.seed.value != other.run.seed.value
            if same and differ:
                text = f"two seeds have the same score to the last digit, {one.metric.bpb.value}"
                book.question(Reason.SEED_TWICE, text, one.metric.bpb, other.metric.bpb)
            elif one.run.seed and other.run.seed and not differ and case.headline.how == "mean":
                text = f"seed {one.run.seed.value:.0f} is counted twice in the claimed mean"
                book.question(Reason.SEED_TWICE, text, one.run.seed, other.run.seed)
    for run in case.headline.runs:
        named = re.search(r"seed[_-]?(\d+)", run.file.rsplit("/", 1)[-1])
        if named and run.seed and int(named[1]) != int(run.seed.value):
            book.question(Reason.SEED_NAME_DIFFERS, f"{run.file} is a log of seed {run.seed.value:.0f}", run.seed)
        elif named and run.seed:
            book.agreed.append("logs and the seeds in their names")


def _means(case: Case, book: Book) -> None:
    """The claimed mean and spread against the seeds' claims."""
    claims = case.claims
    values = [one.val_bpb for one in claims.per_seed if one.val_bpb is not None]
    if len(values) < 2 or len(values) < len(claims.per_seed) or claims.val_bpb is None:
        return
    mean = statistics.mean([one.value for one in values])
    half = sum(one.half for one in values) / len(values)
    if fits(claims.val_bpb.number, mean, half):
        book.agreed.append("the claimed mean and the seeds'")
    elif not any(fits(claims.val_bpb.number, one.value, one.half) for one in values):
        text = f"val_bpb = {claims.val_bpb.value:g}, and the mean of {len(values)} seeds is {mean:.6f}"
        flatters = claims.val_bpb.value < mean - _SLACK and case.headline.how == "seeds"
        tell = book.contradiction if flatters else book.question
        tell(Reason.MEAN_DIFFERS, text, claims.val_bpb.number, *(v.number for v in values))


def _settings(case: Case, book: Book) -> None:
    """One configuration for all the seeds that are averaged: hyperparameter dumps and code sizes."""
    runs = [run for run in case.headline.runs if run.settings] if case.headline.how in ("mean", "seeds") else []
    for run in runs[1:]:
        names = [
            name
            for name in run.settings
            if name in runs[0].settings and run.settings[name] != runs[0].settings[name] and not OWN.search(name)
        ]
        if names:
            shown = ", ".join(
                f"{n} {runs[0].settings[n][:30]} / {run.settings[n][:30]}" for n in names[:_MOST_DIFFERENT]
            )
            text = f"{runs[0].file} and {run.file} are of different configurations: {shown}"
            book.question(Reason.SETTINGS_DIFFER, text, runs[0].setting_lines[names[0]], run.setting_lines[names[0]])
        else:
            book.agreed.append("settings of the seeds")
    codes = {next(iter(run.code.values())).value: run for run in case.headline.runs if run.code}
    if len(codes) > 1 and case.headline.how in ("mean", "seeds"):
        sizes = " / ".join(f"{size:,.0f}" for size in codes)
        lines = [next(iter(run.code.values())) for run in codes.values()]
        book.question(Reason.SETTINGS_DIFFER, f"the seeds were run with code of different sizes: {sizes} bytes", *lines)


def _sizes(case: Case, book: Book) -> None:
    """The claimed bytes and the code's against the logs and the folder."""
    claimed, totals = case.claims.bytes_total, [run.total.bytes for run in case.carried if run.total]
    if claimed is not None and totals:
        low, high = min(one.value for one in totals), max(one.value for one in totals)
        if 0.995 * low <= claimed.value <= 1.005 * high:
            book.agreed.append("claimed bytes and the logs'")
        else:
            models = [one.value for run in case.carried for one in run.models.values()]
            what = ", the model alone" if any(abs(one - claimed.value) < 2 for one in models) else ""
            text = f"{claimed.field} = {claimed.value:,.0f}{what}, and the logs add up {low:,.0f}"
            text += f" to {high:,.0f}" if high > low else ""
            book.question(Reason.BYTES_DIFFER, text, claimed.number, totals[0])
    script = case.code.script
    counted = [size for run in case.headline.runs for size in run.code.values()]
    if script is not None and counted:
        if any(abs(size.value - script.size) <= 64 for size in counted):
            book.agreed.append("code size in the logs and in the folder")
        elif not case.code.packed and not case.code.executes:
            sizes = " / ".join(f"{value:,.0f}" for value in sorted({size.value for size in counted}))
            book.question(
                Reason.CODE_SIZE_DIFFERS,
                f"{script.name} has {script.size:,} bytes, and the logs count {sizes}",
                counted[0],
            )
    if case.code.executes:
        names = ", ".join(paper.name for paper in case.code.executes)
        book.question(
            Reason.RUNS_ANOTHER_FILE, f"{script.name if script else 'the script'} only runs another file: {names}"
        )


def _copies(case: Case, book: Book) -> None:
    """Folders with the same code."""
    for name, what in case.copies.items():
        book.question(Reason.SAME_SCRIPT, f"the script is the same as that of {name} ({what})")


def _floor(case: Case, book: Book) -> None:
    """Numbers that nobody has reached, or that no such machine can."""
    for asked in floor.questions(case):
        book.question(asked.reason, asked.text, *asked.quotes)


def _readme(case: Case, book: Book) -> None:
    """The README gives the claimed score."""
    claim = case.claims.val_bpb
    if not case.papers.prose:
        book.question(Reason.NO_README, "there is no README.md")
    elif claim is not None:
        numbers = [text for line in case.papers.prose[0].lines for text in _NUMBER.findall(line)]
        digits = max(claim.half, 5e-5)
        if any(abs(float(text[:20]) - claim.value) <= 2.02 * digits for text in numbers):
            book.agreed.append("the claimed score and the README")
        else:
            book.question(
                Reason.README_WITHOUT_SCORE,
                f"{case.papers.prose[0].name} never gives the claimed {claim.value:g}",
                claim.number,
            )


def _list(numbers: list[Number]) -> str:
    return ", ".join(f"{one.value:g}" if one.value >= 1e4 else f"{one.value:.6g}" for one in numbers[:6])
