"""What is known of the contest's validation text: its size in bytes, and in tokens of the tokenizers in use.

The score divides by the bytes of one fixed text. Whatever the tokenizer, and to within a few thousandths of a percent
whatever the windows, tokens * loss / (ln 2 * BPB) has to come out as these bytes. The numbers are those that the merged
logs agree on, and the decoded text's own (151,073,604 in #1289; 151,080,891 in #1804).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Bytes of the validation text: what merged logs imply, lowest and highest (151,072,458 and 151,083,091) with margin.
TEXT_BYTES = (151_070_000, 151_090_000)
#: Its middle, for ratios.
TEXT = 151_078_000
#: The export of the first days of the contest had other documents (the naive baseline of 17 March).
EARLY_TOKENS, EARLY_BYTES = 63_779_840, 155_769_746
#: Documents of the validation set.
DOCUMENTS = 50_000


@dataclass(frozen=True)
class Export:
    """A tokenization of the validation text: name, tokens, and whether merged records were scored on it."""

    name: str
    tokens: int

    @property
    def width(self) -> float:
        """Bytes per token."""
        return TEXT / self.tokens


#: Tokenizations of the whole text that merged records used.
EXPORTS = (
    Export("sp1024", 62_021_632),
    Export("sp4096", 45_508_608),
    Export("sp4096, second export", 45_514_752),
    Export("sp8192", 40_540_160),
    Export("CaseOps sp8192", 47_851_520),
)

#: Token counts are cut to a multiple of the window, so that they differ by up to a batch of windows.
_CUT = 20_000


def export_of(tokens: float) -> Export | None:
    """The known tokenization with that many tokens, give or take the cut at the end."""
    return next((one for one in EXPORTS if abs(one.tokens - tokens) <= _CUT), None)


def export_by_width(width: float, slack: float = 1e-3) -> Export | None:
    """The known tokenization with that many bytes per token, within a relative slack."""
    near = min(EXPORTS, key=lambda one: abs(one.width / width - 1))
    return near if abs(near.width / width - 1) <= slack else None


def implied_width(loss: float, bpb: float) -> float:
    """Bytes per token that a loss (nats per token) and a score (bits per byte) imply."""
    return loss / (math.log(2) * bpb)


def relative_half(loss_half: float, loss: float, bpb_half: float, bpb: float) -> float:
    """How far rounding of both numbers may have moved their ratio, relative."""
    return loss_half / loss + bpb_half / bpb
