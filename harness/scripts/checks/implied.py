"""The bytes behind a printed BPB: what the loss beside it, the followed one, would have to be divided by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.scripts.checks.evidence import ScriptEvidence
from harness.scripts.trace.lines import Printed
from harness.scripts.trace.observed import Ints

#: Relative difference up to which two counts of bytes are the same; a printed BPB has 4 to 8 digits.
MATCH = 2e-3
#: Whose loss is left out of the sum, and whose bytes are not.
UNCHARGED = "bytes of targets that are never charged are counted"


@dataclass(frozen=True)
class Implied:
    """Bytes per token, four ways.

    Attributes:
        line: the line with both loss and BPB.
        tokens: that it covers.
        implied: by the two.
        true: of the text.
        sidecar: as the byte side-car promises, None without one.
        mistakes: as known mistakes count them.
        room: relative difference that rounding explains.
    """

    line: Printed
    tokens: int
    implied: float
    true: float
    sidecar: float | None
    mistakes: Mapping[str, float]
    room: float

    def near(self, wanted: float | None) -> bool:
        """Whether the printed BPB is this many bytes per token's."""
        return wanted is not None and wanted > 0 and abs(self.implied - wanted) <= self.room * wanted

    @property
    def mistake(self) -> str | None:
        """The known mistake that explains the BPB, None if there is none."""
        return next((name for name, value in self.mistakes.items() if self.near(value)), None)

    @property
    def explained(self) -> bool:
        """The BPB is the followed loss, in somebody's bytes."""
        return self.near(self.true) or self.near(self.sidecar) or self.mistake is not None


def implied(evidence: ScriptEvidence) -> Implied | None:
    """Of the headline pass; None where no line shows its loss and BPB together, or the true bytes are not known."""
    main = evidence.main
    line = main.printed if main is not None else None
    if main is None or line is None or line.loss is None or not line.bpb or evidence.token_bytes is None:
        return None
    if not (math.isfinite(line.loss) and math.isfinite(line.bpb)):
        return None
    inside = main.position[(main.position >= 0) & (main.position < len(evidence.token_bytes))]
    mistakes = {name: _mean(counts, inside) for name, counts in evidence.miscounts.items()}
    if main.unique() < main.targets:
        mistakes[UNCHARGED] = float(evidence.token_bytes.sum()) / max(len(inside), 1)
    loss = main.mean if math.isfinite(main.mean) else line.loss
    return Implied(
        line=line,
        tokens=len(inside),
        implied=loss / math.log(2) / line.bpb,
        true=_mean(evidence.token_bytes, inside),
        sidecar=None if evidence.sidecar_bytes is None else _mean(evidence.sidecar_bytes, inside),
        mistakes=mistakes,
        room=MATCH + 0.51 * 10.0**-line.bpb_digits / line.bpb,
    )


def _mean(counts: Ints, inside: Ints) -> float:
    return float(counts[inside].sum()) / max(len(inside), 1)
