"""Are targets charged for the tokens that stand in the stream?

The harness made the stream, so that it knows the token of every position, and the recorder notes which token each loss
is of. A target may have become another one on the way (ids clamped to a smaller vocabulary, `% vocab`, a hard target
replaced by an easy one), or be none of the stream's at all (words of a shard's header, padding). Either way the number
is no code length of the text: it does not come back from what was charged for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.record import Witness
from harness.scripts.checks.evidence import ScriptEvidence
from harness.scripts.play.vocabulary import BOS
from harness.scripts.trace.observed import Ints

#: Targets that a witness shows.
_SHOWN = 20


@dataclass(frozen=True)
class OwnTokens:
    """What the pass that counts charged for.

    Attributes:
        known: charges of which that is known.
        position: int64 [k], targets that were charged for another token than the stream's.
        stream: int64 [k], the stream's token there.
        charged: int64 [k], the token that was charged for.
        foreign: int64 [m], tokens that were charged for and stand nowhere in the stream.
    """

    known: int
    position: Ints
    stream: Ints
    charged: Ints
    foreign: Ints

    @property
    def wrong(self) -> int:
        """Charges that are not for a token of the stream at its place."""
        return len(self.position) + len(self.foreign)

    def said(self) -> str:
        """What was seen, with numbers."""
        parts = []
        if len(self.position):
            parts.append(
                f"{len(self.position):,} of {self.known:,} targets are charged for another token than the stream has "
                f"there (position {self.position[0]:,}: {self.stream[0]}, charged for {self.charged[0]})"
            )
        if len(self.foreign):
            ids = ", ".join(str(token) for token in np.unique(self.foreign)[:3])
            parts.append(
                f"{len(self.foreign):,} of {self.known:,} charges are for tokens that stand nowhere in the stream "
                f"(such as {ids})"
            )
        return "; ".join(parts)

    def witness(self) -> Witness:
        """Targets with both tokens, and where one token was charged for several, two of these."""
        summary = self.said()
        values, count = np.unique(self.charged, return_counts=True)
        if len(values) and count.max() > 1:
            one, other = np.flatnonzero(self.charged == values[count.argmax()])[:2]
            summary += (
                f"; positions {self.position[one]:,} and {self.position[other]:,} have tokens {self.stream[one]} and "
                f"{self.stream[other]}, and both are charged for {self.charged[one]}"
            )
        columns = (self.position, self.stream, self.charged)
        return Witness(
            kind="targets",
            summary=summary,
            data={
                "targets": [
                    {"position": int(p), "stream": int(a), "charged": int(b)}
                    for p, a, b in zip(*(column[:_SHOWN] for column in columns), strict=True)
                ],
                "foreign": [int(token) for token in self.foreign[:_SHOWN]],
                "differ": len(self.position),
                "nowhere": len(self.foreign),
            },
        )


def look(evidence: ScriptEvidence) -> OwnTokens | None:
    """Of the pass that counts; None where there is none, or the tokens of its charges are not known."""
    main, stream, position_of = evidence.main, evidence.stream, evidence.position_of
    if main is None or stream is None or position_of is None:
        return None
    known = main.token >= 0
    if not known.any():
        return None
    position, token = main.position[known], main.token[known]
    placed = np.flatnonzero((position >= 0) & (position < len(stream)))
    own = stream[position[placed]].astype(np.int64)
    other = own != token[placed]
    lost = token[position < 0]
    lost = lost[(position_of[np.clip(lost, 0, len(position_of) - 1)] < 0) & (lost != BOS)]
    return OwnTokens(int(known.sum()), position[placed][other], own[other], token[placed][other], lost)
