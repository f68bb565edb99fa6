"""byte-accounting from the papers: how many bytes do the loss and the score divide by, and is that the whole text?

tokens * loss / (ln 2 * BPB) are the bytes that a run divided by. The validation text is fixed, so this number is known
to a few thousandths of a percent, whatever the model, the tokenizer or the windows. More bytes make a score too good
(a space counted twice, case markers or byte pieces counted as text); fewer tokens are a part of the set.

Where the folder brings a SentencePiece model, it is asked whether texts come back from their tokens: bytes may be right
where the text is not.

The programs are read as well: a score that divides by a number of bytes per token that stands in the program, a table
that misreads the tokenizer's pieces, and a cap on the validation text. They say why the arithmetic does not come out,
and where no log prints a loss they are all there is. What a program computes beside the claimed score accuses nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.audit.practices import status_of
from harness.papers import coverage, divisor, known, markers
from harness.papers.collect import Case, finding, reasoned
from harness.papers.headline import Carried
from harness.papers.logs import Metric as Evaluation
from harness.papers.logs import Run, half_unit
from harness.papers.reading import Number, Quote
from harness.papers.reasons import Reason
from harness.papers.text_width import Scored, tokenizer_of
from harness.papers.tokenizers import Brought, brought
from harness.record import Finding, Status, Value

if TYPE_CHECKING:
    from harness.corpus.lossless import Folded

CHECK = "byte-accounting"
#: A run's own evaluations agree on their bytes to this (they differ by windows at the ends); relative.
_AGREE = 1e-3
#: The smallest share of missing text that is called a part: cuts at the end are a thousandth of this.
_WHOLE = 0.995
#: Smaller excesses convict nobody; known errors of counting are 4 % and more, and passes weighted oddly reach 0.1 %.
_CERTAIN = 0.005
#: Ratios that are rounded more coarsely than this decide nothing; relative.
_COARSE = 2e-3
#: A loss and a score in one line of a log, in whatever words.
_LOSS_AND_SCORE = re.compile(
    r"loss\W{1,3}(?P<loss>\d{1,3}\.\d{2,12})\D{1,24}bpb\W{1,3}(?P<bpb>\d{1,3}\.\d{2,12})", re.I
)
#: A part of the text may have other bytes per token than the whole; relative.
_PART_DIFFERS = 0.10
NOT_COVERED = [
    "whether the bytes are those of the right text: another text of the same size looks the same",
    "lossy normalisation of the text (a shift of less than 0.01 %)",
]


@dataclass(frozen=True)
class Reading:
    """What one evaluation implies: bytes per token, bytes in all (None without a token count), relative rounding."""

    width: float
    total: float | None
    slack: float
    evaluation: Evaluation
    tokens: Number | None


def read(run: Run, evaluation: Evaluation) -> Reading | None:
    """The bytes that an evaluation divided by; None where it prints no loss beside its score."""
    if evaluation.bytes is not None:
        tokens = run.val_tokens
        width = evaluation.bytes / tokens.value if tokens else 0.0
        return Reading(width, float(evaluation.bytes), 0.0, evaluation, tokens)
    if evaluation.loss is None:
        return None
    loss, bpb = evaluation.loss, evaluation.bpb
    width = known.implied_width(loss.value, bpb.value)
    total = width * run.val_tokens.value if run.val_tokens else None
    slack = known.relative_half(loss.half, loss.value, bpb.half, bpb.value)
    return Reading(width, total, slack, evaluation, run.val_tokens)


def check(case: Case) -> Finding:
    """FAIL where the bytes of the claimed score are more than the text has, the tokens a part of it, or folded text."""
    asked = brought(case)
    found = _of_programs(case, _of_bytes(case), tokenizer_of(case, asked))
    if asked.unasked:
        more = [f"whether text comes back from {one}" for one in asked.unasked]
        found = found.model_copy(update={"not_covered": [*found.not_covered, *more]})
    folds = [(name, one) for name, several in asked.folds for one in several]
    if not folds or found.status == Status.FAIL:
        return found
    return _folded(case, found, asked, folds)


@dataclass(frozen=True)
class _Programs:
    """What the folder's programs say of the divisor, and what the claim is known to divide by.

    Attributes:
        width: bytes per token of the claimed score, by the loss beside it; None without.
        slack: how far rounding may have moved it, relative.
        matched: the loss stands in the logs, beside the claimed number.
    """

    scores: divisor.Scores
    marks: list[markers.Marker]
    parts: list[coverage.Part]
    width: float | None
    slack: float
    matched: bool


def _of_programs(case: Case, found: Finding, scored: Scored | None) -> Finding:
    """The finding with what the programs say: it explains numbers that do not come out, or is all there is."""
    settled = found.status in (Status.FAIL, Status.PASS)  # by the arithmetic; the programs only say where to look
    scores = divisor.read([one for one in case.sources if not settled or divisor.hinted(one)])
    marks = markers.read([one for one in case.sources if not settled or markers.hinted(one)])
    parts = [] if settled else coverage.of_programs(case.sources)
    readings = [one for carried in case.headline.carried if (one := read(carried.run, carried.metric))]
    readings = [one for one in readings if one.slack <= _COARSE and case.headline.matched]
    claimed = _of_claims(case)
    beside = None if readings else _beside(case)
    width, slack = (readings[-1].width, readings[-1].slack) if readings else beside or (claimed, _AGREE)
    known_width = width is not None and known.export_by_width(width, _AGREE + slack) is not None
    said = _Programs(scores, marks, parts, width, slack, bool(readings or beside))
    if settled or known_width:
        return _noted(found, said)
    constant = _constant(case, found, scored, said)
    return constant or _marked(case, found, scored, said) or _counted(case, found, scored, said)


def _beside(case: Case) -> tuple[float, float] | None:
    """Bytes per token, and how far rounding reaches, of a log's line that has the carried score beside a loss."""
    for one in case.headline.carried if case.headline.matched else []:
        paper = case.papers.named(one.run.file)
        for line in paper.lines if paper else []:
            match = _LOSS_AND_SCORE.search(line[:400]) if "bpb" in line[:400].lower() else None
            if match is None:
                continue
            loss, bpb = float(match["loss"]), float(match["bpb"])
            halves = half_unit(match["loss"]), half_unit(match["bpb"])
            if loss > 0 and bpb > 0 and abs(bpb - one.metric.bpb.value) <= halves[1] + one.metric.bpb.half:
                slack = known.relative_half(halves[0], loss, halves[1], bpb)
                if slack <= _COARSE:
                    return known.implied_width(loss, bpb), slack
    return None


def _noted(found: Finding, said: _Programs) -> Finding:
    """What stands in the programs and is not what the claimed score comes from, or only says why it is wrong."""
    more = [f"{one.at}, which {one.said}" for one in said.marks]
    more += [f"{one.at}, which divides by {one.width:.4g} bytes per token" for one in said.scores.constant[:2]]
    more += [one.said(None) for one in said.parts[:2]]
    if found.status == Status.FAIL and said.marks and found.witness is not None:
        headline = f"{found.headline}; {said.marks[0].at.file}:{said.marks[0].at.line} {said.marks[0].said}"
        return found.model_copy(
            update={"headline": headline, "witness": found.witness.model_copy(update={"summary": headline})}
        )
    others = [f"lines that are not what the claimed score is known to come from: {one}" for one in more]
    return found.model_copy(update={"not_covered": [*found.not_covered, *others]}) if others else found


def _constant(case: Case, found: Finding, scored: Scored | None, said: _Programs) -> Finding | None:
    """A claimed score that divides by a constant: by its own loss, or because no program computes another."""
    constants = said.scores.constant
    if not constants:
        return None
    if said.width is not None:
        mine = [one for one in constants if abs(one.width / said.width - 1) <= _AGREE + said.slack]
    else:
        set_elsewhere = [one for one in constants if one.default and _set_elsewhere(case, one)]
        mine = [] if said.scores.counted or set_elsewhere else list(constants)
    one = (mine or list(constants))[-1]
    quotes: list[Quote | Number | None] = [one.at, one.bound, _claimed_number(case)]
    divides = f"{one.at.file}:{one.at.line} divides by {one.width:.4g} bytes per token, a number that stands there"
    part = _part_said(case, said, scored)
    metrics: dict[str, Value] = {"constant_bytes_per_token": round(one.width, 5)}

    def put(status: Status, headline: str, data: dict[str, object] | None = None) -> Finding:
        return finding(
            case,
            CHECK,
            status,
            f"{headline}{part}",
            reasons=Reason.CONSTANT_DIVISOR,
            quotes=quotes,
            metrics=metrics,
            data=data,
            not_covered=NOT_COVERED,
        )

    if not mine:
        return put(Status.INCONCLUSIVE, f"{divides}; whether the claimed score comes from there is not shown")
    why = "by its own loss" if said.width is not None else "no program of the folder computes it otherwise"
    if scored is None:
        return put(
            Status.INCONCLUSIVE,
            f"{divides}, and the claimed score comes from it ({why}); what the tokenizer's are is not known, so that "
            "the score on the text's bytes is open",
        )
    true, value = scored.export.width, _claimed_number(case)
    ratio = one.width / true
    metrics["tokenizer_bytes_per_token"] = round(true, 5)
    of = f"{scored.export.name} has {true:.5f}"
    if value is None or abs(ratio - 1) <= _CERTAIN:
        return put(Status.INCONCLUSIVE, f"{divides}, and {of}; the bytes of what is scored are not counted")
    mended = f"{value.value:.4f} is {value.value * ratio:.4g}"
    if ratio < 1:
        return put(
            Status.INCONCLUSIVE,
            f"{divides}, and {of}: at those {mended}; this makes a score worse, not better, and is no count of bytes",
        )
    if ratio - 1 <= (_CERTAIN if scored.whole and not said.parts else _PART_DIFFERS):
        return put(Status.INCONCLUSIVE, f"{divides}, and {of}: at those {mended}; a part of the text may have as many")
    data: dict[str, object] = {"constant": one.width, "tokenizer": scored.export.name, "bytes_per_token": true}
    data |= {"claimed": value.value, "on_the_texts_bytes": value.value * ratio}
    return put(Status.FAIL, f"{divides}, and the claimed score comes from it ({why}); {of}, at which {mended}", data)


def _marked(case: Case, found: Finding, scored: Scored | None, said: _Programs) -> Finding | None:
    """A byte table that misreads pieces, and a score whose bytes do not come out."""
    marks = [one for one in said.marks if one.more]
    if not marks:
        return None
    mark = marks[0]
    places = f"{mark.at.file}:{mark.at.line} {mark.said}"
    quotes: list[Quote | Number | None] = [one.at for one in marks]
    claimed = [one.metric.bpb for one in case.headline.carried] if said.matched else [_claimed_number(case)]
    quotes += claimed
    if said.width is None:
        headline = f"{places}; no loss stands beside the claimed score, so that what this comes to is not shown"
        return finding(
            case,
            CHECK,
            Status.INCONCLUSIVE,
            headline,
            reasons=Reason.PIECES_MISREAD,
            quotes=quotes,
            not_covered=NOT_COVERED,
        )
    implied = f"{found.headline}; {places}"
    value = _claimed_number(case)
    if scored is None or value is None:
        return finding(
            case,
            CHECK,
            Status.INCONCLUSIVE,
            implied,
            reasons=Reason.PIECES_MISREAD,
            quotes=quotes,
            not_covered=NOT_COVERED,
        )
    true = scored.export.width
    over = said.width / true - 1
    metrics: dict[str, Value] = {"implied_bytes_per_token": round(said.width, 5)}
    metrics["tokenizer_bytes_per_token"] = round(true, 5)
    headline = (
        f"loss and score imply {said.width:.4f} bytes per token and {scored.export.name} has {true:.4f}: at those "
        f"{value.value:.4f} is {value.value * (1 + over):.4f}; {places}"
    )
    certain = said.matched and over > (_CERTAIN if scored.whole else _PART_DIFFERS)
    data = {"implied": said.width, "tokenizer": scored.export.name, "bytes_per_token": true, "claimed": value.value}
    return finding(
        case, CHECK, Status.FAIL if certain else Status.INCONCLUSIVE, headline, reasons=Reason.PIECES_MISREAD,
        quotes=quotes, metrics=metrics, data=data, not_covered=NOT_COVERED,
    )  # fmt: skip


def _counted(case: Case, found: Finding, scored: Scored | None, said: _Programs) -> Finding:
    """What a part of the text, or a tokenizer that the folder names, adds to a finding that leaves the bytes open."""
    more = _part_said(case, said, scored)
    if said.width is not None and scored is not None and (value := _claimed_number(case)) is not None:
        true = scored.export.width
        loosely = said.matched or not case.headline.carried  # else the claimed loss may be of another evaluation
        if loosely and said.width / true - 1 > _CERTAIN:
            more = (
                f"; {scored.export.name}, which the folder names, has {true:.4f}: at those {value.value:.4f} is "
                f"{value.value * said.width / true:.4f}{more}"
            )
    if not more or found.status == Status.PASS:
        return _noted(found, said)
    status = Status.INCONCLUSIVE if found.status == Status.NOT_RUN else found.status
    part = [Reason.PART_OF_THE_TEXT] if _part_said(case, said, scored) else []
    return reasoned(found, *part).model_copy(update={"headline": f"{found.headline}{more}", "status": status})


def _part_said(case: Case, said: _Programs, scored: Scored | None) -> str:
    """That a part of the validation text is scored, with its share: as a log counts it, else as a program caps it."""
    whole = scored.export.tokens if scored else None
    for one in case.headline.carried:
        paper = case.papers.named(one.run.file)
        if paper is not None and whole is not None:
            part = coverage.of_log(one.run, paper, one.metric.bpb.quote.line, whole)
            if part is not None:
                return f"; {part.said(whole)}"
    if scored is not None and scored.whole:
        return ""
    return "".join(f"; {one.said(whole)}" for one in said.parts[:2])


def _set_elsewhere(case: Case, one: divisor.Divisor) -> bool:
    """Words or logs set the variable that the constant is the default of."""
    name = re.search(r"[A-Z][A-Z0-9_]{3,}", (one.bound or one.at).text)
    papers = [*case.papers.prose, *case.papers.logs, *(p for p in case.papers.code if p.name.endswith(".sh"))]
    sets = re.compile(rf"{re.escape(name[0])} ?[=:]" if name else r"bytes_per_token ?[=:]", re.I)
    return any(sets.search(line) for paper in papers for line in paper.lines if len(line) < 2000)


def _claimed_number(case: Case) -> Number | None:
    """The claimed score; without one, that of the logs."""
    if case.claims.val_bpb is not None:
        return case.claims.val_bpb.number
    return case.headline.carried[-1].metric.bpb if case.headline.carried else None


def _folded(case: Case, found: Finding, asked: Brought, folds: list[tuple[str, Folded]]) -> Finding:
    """A tokenizer of the folder gives different texts the same tokens."""
    used = [(name, one) for name, one in folds if name in asked.used]
    name, first = next((pair for pair in used or folds if not pair[1].of_case), (used or folds)[0])
    kinds = ", ".join(dict.fromkeys(one.kind for other, one in folds if other == name))
    said = f"{name} folds texts together ({kinds}): {first.said}"
    status = Status.FAIL if not first.of_case else status_of(case.ruleset, "letter_case")
    if status == Status.PASS or not used:
        return found.model_copy(update={"not_covered": [*found.not_covered, said]})
    headline = f"{said}, so that the number is no code length; of the bytes: {found.headline}"
    more: dict[str, Value] = {"folds": kinds}
    return finding(
        case,
        CHECK,
        status,
        headline,
        reasons=Reason.TEXT_FOLDED,
        metrics=more,
        data={"file": name, **first.data},
        not_covered=found.not_covered,
    )


def _of_bytes(case: Case) -> Finding:
    claimed = _of_claims(case)
    if not case.headline.carried:
        return _without_logs(case, claimed)
    looked = case.headline.carried
    if not case.headline.matched:  # any of them may be what the claim comes from
        looked = [Carried(one.run, metric) for one in looked for metric in one.run.results]
    readings = [(one, found) for one in looked if (found := read(one.run, one.metric))]
    readings = [(one, found) for one, found in readings if found.slack <= _COARSE]
    if not readings:
        why = "the logs print no loss beside the claimed score, so that its bytes cannot be computed"
        lines = [one.metric.bpb for one in case.headline.carried]
        return finding(
            case, CHECK, Status.INCONCLUSIVE, why, reasons=Reason.NO_LOSS, quotes=lines, not_covered=NOT_COVERED
        )
    worst_one, worst = max(readings, key=lambda pair: _distance(pair[1]))
    metrics: dict[str, Value] = {
        "implied_bytes_per_token": round(worst.width, 5),
        "implied_bytes": None if worst.total is None else round(worst.total),
        "text_bytes_lowest": known.TEXT_BYTES[0],
        "text_bytes_highest": known.TEXT_BYTES[1],
        "runs": len(readings),
    }
    quotes: list[Quote | Number | None] = [worst.tokens, worst.evaluation.bpb]
    status, headline = _judge(case, worst_one, worst, claimed)
    reasons = () if status == Status.PASS else _why(worst)
    power: dict[str, Value] = {"smallest_difference": round(_AGREE + worst.slack, 6)}
    data: dict[str, object] = {"tokens": worst.tokens and worst.tokens.value, "val_bpb": worst.evaluation.bpb.value}
    data |= {"val_loss": worst.evaluation.loss and worst.evaluation.loss.value, "implied_bytes": worst.total}
    data |= {"formula": "tokens * val_loss / (ln 2 * val_bpb)", "known_bytes": list(known.TEXT_BYTES)}
    return finding(
        case, CHECK, status, headline, reasons=reasons, quotes=quotes, metrics=metrics, power=power, data=data,
        not_covered=NOT_COVERED,
    )  # fmt: skip


def _distance(reading: Reading) -> float:
    if reading.total is None:
        export = known.export_by_width(reading.width, 1.0)
        return abs(reading.width / export.width - 1) if export else 1.0
    return abs(reading.total / known.TEXT - 1)


def _judge(case: Case, carried: Carried, reading: Reading, claimed: float | None) -> tuple[Status, str]:
    tokens, total, width = reading.tokens, reading.total, reading.width
    low, high = (bound * (1 + sign * reading.slack) for bound, sign in zip(known.TEXT_BYTES, (-1, 1), strict=True))
    formula = _formula(reading)
    if total is None or tokens is None:
        export = known.export_by_width(width, _AGREE + reading.slack)
        if export:
            return Status.PASS, f"{width:.5f} bytes per token, those of {export.name}; the logs print no token count"
        return Status.INCONCLUSIVE, f"{width:.5f} bytes per token are of no tokenizer that is known ({formula})"
    if low <= total <= high:
        return Status.PASS, f"the score divides by {total:,.0f} bytes, which are the validation text's ({formula})"
    if abs(tokens.value - known.EARLY_TOKENS) < 1e5 and abs(total / known.EARLY_BYTES - 1) < _AGREE:
        return Status.PASS, f"{total:,.0f} bytes are the validation text's of the export before 18 March ({formula})"
    if total < low:
        return _part(case, carried, reading, formula)
    over = total / known.TEXT - 1
    score = reading.evaluation.bpb.value
    headline = (
        f"the score divides by {total:,.0f} bytes, {100 * over:.1f} % more than the validation text has ({formula})"
    )
    if known.export_of(tokens.value):
        headline += f"; on {known.TEXT:,} bytes {score:.4f} is {score * (1 + over):.4f}"
    else:
        headline += (
            f": either bytes are counted that the text does not have, and on {known.TEXT:,} bytes {score:.4f} is "
            f"{score * (1 + over):.4f}, or the {tokens.value:,.0f} tokens are another text"
        )
    if not case.headline.matched:
        return Status.INCONCLUSIVE, f"in the logs, {headline}; the claimed score is another number"
    if claimed is not None and abs(claimed * tokens.value / known.TEXT - 1) < 2 * _AGREE:
        return Status.INCONCLUSIVE, f"in the logs, {headline}; the claim itself divides by the right number"
    others = [found for one in carried.run.metrics if (found := read(carried.run, one)) and found.slack <= _COARSE]
    odd = [one for one in others if abs(one.width / width - 1) > _AGREE + one.slack + reading.slack]
    if odd or reading.evaluation.bytes is not None:
        other = f"{odd[0].width:.4f}" if odd else "none"
        return Status.INCONCLUSIVE, (
            f"{headline}; other evaluations of the run have {other} bytes per token, this one {width:.4f}: either its "
            "bytes are wrong, or its loss and its score are not of the same thing"
        )
    if over < _CERTAIN + reading.slack:
        return Status.INCONCLUSIVE, f"{headline}; so little may come from how passes are averaged"
    if not case.record:
        return Status.INCONCLUSIVE, f"{headline}; no record is claimed, and the text may be another one"
    return Status.FAIL, headline


def _why(reading: Reading) -> Reason:
    """The reason where the bytes do not come out."""
    if reading.total is None:
        return Reason.WIDTH_UNKNOWN
    return Reason.TOO_MANY_BYTES if reading.total > known.TEXT else Reason.PART_OF_THE_TEXT


def _part(case: Case, carried: Carried, reading: Reading, formula: str) -> tuple[Status, str]:
    """Too few bytes: a part of the text, or bytes that are not counted (which makes a score worse, not better)."""
    assert reading.total is not None and reading.tokens is not None
    share = reading.total / known.TEXT
    if share >= _WHOLE:
        return Status.PASS, (
            f"the score divides by {reading.total:,.0f} bytes, {100 * (1 - share):.2f} % fewer than the validation "
            f"text has ({formula}); this makes a score worse, not better"
        )
    headline = f"{reading.total:,.0f} bytes were scored, {100 * share:.1f} % of the validation text ({formula})"
    whole = known.export_of(reading.tokens.value)
    coded = reading.evaluation.bytes is not None
    if case.headline.matched and case.record and (coded or (share < 0.9 and not whole)):
        return Status.FAIL, headline
    if whole and not coded:
        headline += f"; the {reading.tokens.value:,.0f} tokens are the whole set, so bytes are missing in the division"
    return Status.INCONCLUSIVE, headline


def _formula(reading: Reading) -> str:
    if reading.evaluation.bytes is not None:
        return "as the log prints"
    assert reading.evaluation.loss is not None
    loss, bpb = reading.evaluation.loss.value, reading.evaluation.bpb.value
    tokens = f"{reading.tokens.value:,.0f} tokens * " if reading.tokens else ""
    return f"{tokens}{loss:g} / (ln 2 * {bpb:g})"


def _of_claims(case: Case) -> float | None:
    """Bytes per token of the claim's own loss and score."""
    claims = case.claims
    pairs = [(claims.val_loss, claims.val_bpb), *((one.val_loss, one.val_bpb) for one in claims.per_seed)]
    for loss, bpb in pairs:
        if loss is not None and bpb is not None and loss.value > bpb.value:
            if known.relative_half(loss.half, loss.value, bpb.half, bpb.value) <= _COARSE:
                return known.implied_width(loss.value, bpb.value)
    return None


def _without_logs(case: Case, claimed: float | None) -> Finding:
    claims = case.claims
    quotes: list[Quote | Number | None] = [one.number for one in (claims.val_loss, claims.val_bpb) if one]
    if claimed is None:
        why = "no log prints a score, and submission.json has no loss beside its own"
        return finding(case, CHECK, Status.NOT_RUN, why, reasons=Reason.NO_LOSS, quotes=quotes, not_covered=NOT_COVERED)
    export = known.export_by_width(claimed, _COARSE)
    if export:
        headline = f"submission.json's loss and score give {claimed:.4f} bytes per token, those of {export.name}"
        headline += "; no log shows them"
        return finding(
            case,
            CHECK,
            Status.INCONCLUSIVE,
            headline,
            reasons=Reason.BYTES_NOT_LOGGED,
            quotes=quotes,
            not_covered=NOT_COVERED,
        )
    headline = f"submission.json's loss and score give {claimed:.4f} bytes per token, of no tokenizer that is known"
    return finding(
        case, CHECK, Status.INCONCLUSIVE, headline, reasons=Reason.WIDTH_UNKNOWN, quotes=quotes, not_covered=NOT_COVERED
    )
