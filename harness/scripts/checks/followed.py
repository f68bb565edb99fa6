"""Whether the number that counts was followed to the tokens it is made of: without that, silence proves nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from harness.record import Finding, Status, Value
from harness.scripts.checks.evidence import ScriptEvidence, found, lost
from harness.scripts.checks.implied import implied
from harness.scripts.reasons import Reason, of_ending
from harness.scripts.trace import lines
from harness.scripts.trace.lines import Printed

#: Relative difference up to which the atoms' sum is the script's own loss (float32 sums differ in the last digits).
MATCH = 1e-5


def why_not(evidence: ScriptEvidence) -> str | None:
    """Why the headline loss was not followed, one clause; None where it was."""
    reason = not_traced(evidence)
    return None if reason is None else reason.detail


def not_traced(evidence: ScriptEvidence) -> Reason | None:
    """Why the headline loss was not followed, a reason of the closed list; None where it was."""
    base, main = evidence.base, evidence.main
    if main is None:
        if base.ended not in ("ok", "exit 0"):
            error = _error(evidence)
            detail = f"the script ended before it scored the validation stream ({error})"
            reason = Reason(of_ending(base.facts, error), detail)
            return dataclasses.replace(reason, detail=f"{detail}. {reason.sentence}")
        return Reason(
            "no pass",
            "no reported number was made of losses of the validation stream that could be followed"
            + _first(lost(evidence)),
        )
    if base.ended not in ("ok", "exit 0"):
        return Reason(
            "stopped after",
            f"the script broke after the {main.name} pass ({_error(evidence)}); a later one may be what counts",
        )
    if (other := unclaimed(evidence)) is not None:
        return Reason("label", other)
    last = base.last
    if last is not None and last.loss is None:
        shown = main.printed
        if shown is None or shown.bpb is None or last.bpb is None or not _alike(shown, last):
            return Reason(
                "another number",
                f'the BPB that the script prints last, {last.bpb:g} in "{last.text[:80]}", is not that of the '
                f"{main.name} pass, the last that was followed{_first(lost(evidence))}",
            )
    elif last is not None and (
        main.printed is None
        or min(_relative(main.mean, last.loss), _relative(main.spread, last.loss)) > _room(last.loss_digits, last.loss)
    ):
        return Reason(
            "another number",
            f'the loss that the script prints last, {last.loss:g} in "{last.text[:80]}", is not the mean of the NLLs '
            f"that were followed ({main.mean:.6g} in the nearest pass){_first(lost(evidence))}",
        )
    if last is None and not main.error <= MATCH:
        where = _first(lost(evidence))
        return Reason(
            "another number",
            f"the script prints no validation loss, and the number it read is not the atoms' sum{where}",
        )
    beside = implied(evidence)
    if beside is not None and not beside.explained:
        return Reason(
            "another number",
            f'the BPB in "{beside.line.text[:80]}" is not that of the loss beside it ({beside.implied:.4f} bytes per '
            f"token, and the text has {beside.true:.4f}): other numbers enter it, or other bytes",
        )
    if main.unlocated > 0.01 * len(main.position):
        return Reason(
            "unlocated",
            f"{main.unlocated:,} of {len(main.position):,} losses belong to tokens that could not be located",
        )
    return None


def unclaimed(evidence: ScriptEvidence) -> str | None:
    """That the run printed no line on which the claim stands, one clause; None where it did, or none is known."""
    if not evidence.base.claimed:
        return None
    return (
        f'the submitted logs print the claimed score as "{evidence.base.claimed[0]}", and this run printed no such '
        "line: other settings, or another script"
    )


def facts(evidence: ScriptEvidence) -> dict[str, Value]:
    """The numbers behind it, for a finding's metrics."""
    main = evidence.main
    if main is None:
        return {}
    made: dict[str, Value] = {
        "headline_pass": main.name,
        "loss_followed": main.mean if math.isfinite(main.mean) else None,
        "positions_scored": main.unique(),
    }
    if main.printed is not None and main.printed.loss is not None and math.isfinite(main.printed.loss):
        made["loss_printed"] = main.printed.loss
        made["difference_to_print"] = main.print_error
    if math.isfinite(main.error):
        made["difference_to_read"] = main.error
    return made


def _alike(one: Printed, other: Printed) -> bool:
    """Whether two lines show the same BPB, as far as the shorter one goes."""
    assert one.bpb is not None and other.bpb is not None
    return abs(one.bpb - other.bpb) <= 10.0 ** -min(one.bpb_digits, other.bpb_digits)


def _relative(value: float, printed: float | None) -> float:
    if value == printed:  # infinite for infinite, too
        return 0.0
    if math.isnan(value):
        return math.inf
    return abs(value - printed) / abs(printed) if printed and math.isfinite(printed) else math.inf


def _room(digits: int, printed: float | None) -> float:
    """Half a unit of the last printed digit, relative, and the rounding of float32 sums."""
    return MATCH + (0.51 * 10.0**-digits / abs(printed) if printed else 0.0)


def _first(said: Sequence[str]) -> str:
    if not said:
        return ""
    more = f" and {len(said) - 1} more" if len(said) > 1 else ""
    return f"; lost at: {said[0]}{more}"


def _error(evidence: ScriptEvidence) -> str:
    text = lines.tidy(str(evidence.base.facts.get("error") or evidence.base.ended)).strip()
    return text.splitlines()[-1][:300] if text else evidence.base.ended


def no_pass(evidence: ScriptEvidence, check: str) -> Finding:
    """What a check says that needs a pass over the validation stream where none was seen: never a pass."""
    why = why_not(evidence) or "no pass was found"
    return found(evidence, check, Status.INCONCLUSIVE, why, not_covered=["everything: no pass was seen"])
