"""What a script prints about its losses: names of passes, val_loss and val_bpb, with their printed precision."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from harness.papers import logs as grammar

_NUMBER = r"([0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?|(?<=[\s:=])inf(?![a-z]))"
_LOSS = re.compile(r"(?<![a-z])(?:val_|eval_|test_)?(?:loss|nll)\s*+(?:[:=]\s*+)?" + _NUMBER, re.I)
_BPB = re.compile(r"bpb\s*+(?:[:=]\s*+)?" + _NUMBER, re.I)

#: What a line or a function's name says about the pass, the first that fits.
_NAMES = (
    (r"slot", "SLOT"),
    (r"ppm|n_?-?gram|cache|mixer|tilt|hedge", "n-gram or mixture"),
    (r"ttt|test.?time|lora", "test-time training"),
    (r"pre.?quant|diagnostic|post.?ema|\bema\b|unquantized|fp32|bf16", "before quantization"),
    (r"sliding|stride|window|_sw\b", "sliding window"),
    (r"roundtrip|int[4-8]|quant|dequant|ternary|zlib|zstd|brotli|lzma", "after quantization"),
    (r"step[:= ]*[0-9]", "during training"),
)


@dataclass(frozen=True)
class Printed:
    """One printed line with a loss or a BPB in it; `loss_digits` are the decimals that the loss was printed with."""

    text: str
    seq: int
    loss: float | None
    loss_digits: int
    bpb: float | None
    bpb_digits: int

    @property
    def final(self) -> bool:
        """The line says of itself that its number is the one to report."""
        return "final" in self.text.lower()

    @property
    def label(self) -> str:
        """What the line calls its score, as `plain` gives it; "" for progress and lines without a label."""
        text = grammar.bare(self.text).strip()
        match = grammar.METRIC.match(text) or grammar.SCORE.match(text)
        return "" if match is None or grammar.STEP.match(text) else plain(match["label"] or "")


def read(text: str, seq: int) -> Printed | None:
    """The losses of a line, None if there is none of validation. Training losses are left out."""
    if re.search(r"train(?:ing)?_(?:loss|nll)", text, re.I) and "val_" not in text:
        return None
    loss, bpb = _LOSS.search(re.sub(r"train_loss\S*+(?:\s*+(?:[:=]\s*+)?\S++)?", "", text)), _BPB.search(text)
    if loss is None and bpb is None:
        return None
    return Printed(
        text.strip()[:400],
        seq,
        *_value(loss),
        *_value(bpb),
    )


def name_of(*hints: str) -> str | None:
    """What a pass is called by the first hint (a printed line, then a place) that says anything."""
    for hint in hints:
        for pattern, name in _NAMES:
            if re.search(pattern, hint, re.I):
                return name
    return None


def plain(label: str) -> str:
    """A label without what sizes change (numbers) and without "exact", which repeats a line with more digits."""
    return re.sub(r"[^a-z]+", " ", label.lower().replace("_exact", "")).strip()


def tidy(text: str) -> str:
    """An error's text without the box's own paths, which differ from run to run."""
    return re.sub(r"(?<![^\s\"'])[^\s\"']*golf-box-\w+/", "", text)


def agrees(value: float, printed: float, digits: int) -> bool:
    """Whether a number can have been printed like this: equal within half a unit of the last digit, and rounding."""
    if math.isinf(printed):
        return value == printed
    return math.isfinite(value) and abs(value - printed) <= 0.5000001 * 10.0**-digits + 2e-6 * abs(printed)


def _value(match: re.Match[str] | None) -> tuple[float | None, int]:
    if match is None:
        return None, 0
    if match[1] == "inf":
        return math.inf, 0
    digits = match[1].split("e")[0].split(".")[1]
    return float(match[1]), len(digits)
