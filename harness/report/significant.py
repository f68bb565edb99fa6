"""Do the seeds of one record beat those of another by the ruleset's bar? For neighbours on a board and comparisons."""

from __future__ import annotations

from dataclasses import dataclass

from harness import rules
from harness.audit import bars, statistics
from harness.errors import HarnessError
from harness.record import Record
from harness.text import clean


@dataclass(frozen=True)
class Beaten:
    """What the deciding bar says of a lower score.

    Attributes:
        met: True or False as the bar says; None where it could not be asked.
        said: the same in words, with p or the reason.
        p: the p-value, if there is one.
    """

    met: bool | None
    said: str
    p: float | None = None


def losses(record: Record) -> list[float]:
    """BPB of every seed of a record; one number where it holds only that; empty without a score."""
    if record.score is None:
        return []
    return [seed.val_bpb for seed in record.score.per_seed] or [record.score.val_bpb]


def same_text(one: Record, other: Record) -> bool:
    """Whether two scores are of the same text at the same scale, so that their BPB can be compared at all."""
    if one.score is None or other.score is None or one.scale != other.scale:
        return False
    return one.data.sha256 == other.data.sha256 and one.score.bytes == other.score.bytes


def beats(new: Record, previous: Record) -> Beaten:
    """Ask the ruleset of the new record whether it beats the previous one."""
    if not same_text(new, previous) or new.score is None:
        return Beaten(None, "not of the same text and scale")
    try:
        ruleset = new.ruleset.load() if new.ruleset.texts else rules.load(new.ruleset.name)
        wanted = ruleset.significance
    except HarnessError:
        return Beaten(None, f"ruleset {clean(new.ruleset.name, 60)} is not at hand")
    seeds, before = losses(new), losses(previous)
    if len(seeds) < wanted.min_seeds:
        return Beaten(None, f"{len(seeds)} of the {wanted.min_seeds} seeds that the rule asks for")
    try:
        width = statistics.bytes_per_token(new.score.val_loss, new.score.val_bpb)
        result = bars.decisive(bars.results(seeds, before, width, wanted), wanted)
    except ValueError as error:
        return Beaten(None, clean(error, 200))
    margin = f" by more than {result.bar.margin_nats:g} nats per {result.unit}" if result.margin else ""
    p = result.test.p_value
    word = "better" if result.met else "not shown to be better"
    return Beaten(result.met, f"{word}{margin}: p = {p:.3g}, the bar is p < {result.bar.p_value:g}", p)
