"""byte-accounting from the papers: how many bytes do the loss and the score divide by, and is that the whole text?

tokens * loss / (ln 2 * BPB) are the bytes that a run divided by. The validation text is fixed, so this number is known
to a few thousandths of a percent, whatever the model, the tokenizer or the windows. More bytes make a score too good
(a space counted twice, case markers or byte pieces counted as text); fewer tokens are a part of the set.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.papers import known
from harness.papers.collect import Case, finding
from harness.papers.headline import Carried
from harness.papers.logs import Metric as Evaluation
from harness.papers.logs import Run
from harness.papers.reading import Number, Quote
from harness.record import Finding, Status, Value

CHECK = "byte-accounting"
#: A run's own evaluations agree on their bytes to this (they differ by windows at the ends); relative.
_AGREE = 1e-3
#: The smallest share of missing text that is called a part: cuts at the end are a thousandth of this.
_WHOLE = 0.995
#: Smaller excesses convict nobody; known errors of counting are 4 % and more, and passes weighted oddly reach 0.1 %.
_CERTAIN = 0.005
#: Ratios that are rounded more coarsely than this decide nothing; relative.
_COARSE = 2e-3
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
    """FAIL where the bytes of the claimed score are more than the text has, or the tokens a part of it."""
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
        return finding(case, CHECK, Status.INCONCLUSIVE, why, quotes=lines, not_covered=NOT_COVERED)
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
    power: dict[str, Value] = {"smallest_difference": round(_AGREE + worst.slack, 6)}
    data: dict[str, object] = {"tokens": worst.tokens and worst.tokens.value, "val_bpb": worst.evaluation.bpb.value}
    data |= {"val_loss": worst.evaluation.loss and worst.evaluation.loss.value, "implied_bytes": worst.total}
    data |= {"formula": "tokens * val_loss / (ln 2 * val_bpb)", "known_bytes": list(known.TEXT_BYTES)}
    return finding(
        case, CHECK, status, headline, quotes=quotes, metrics=metrics, power=power, data=data,
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
        return finding(case, CHECK, Status.NOT_RUN, why, quotes=quotes, not_covered=NOT_COVERED)
    export = known.export_by_width(claimed, _COARSE)
    if export:
        headline = f"submission.json's loss and score give {claimed:.4f} bytes per token, those of {export.name}"
        headline += "; no log shows them"
        return finding(case, CHECK, Status.INCONCLUSIVE, headline, quotes=quotes, not_covered=NOT_COVERED)
    headline = f"submission.json's loss and score give {claimed:.4f} bytes per token, of no tokenizer that is known"
    return finding(case, CHECK, Status.INCONCLUSIVE, headline, quotes=quotes, not_covered=NOT_COVERED)
