"""Batches that the source writes as a number of sequences: no setting makes them smaller, shorter sequences do."""

from __future__ import annotations

import re

#: `ttt_batch = 16`, and nothing else on the line.
_NUMBER = re.compile(r"^[ \t]*+(\w++)[ \t]*+=[ \t]*+(\d{1,3})[ \t]*+(?:#.*)?$", re.M)
_MOST = 100  # such names that are looked up; each is looked for in the whole source
_PRODUCT = r"\b{0}\s*\*\s*(?:\w+\.)*\w*seq_len\b|\bseq_len\s*\*\s*{0}\b"
#: A call that asks for dozens of sequences, a number that no setting changes.
_WRITES = re.compile(r"\bnum_seqs\s*=\s*\d{2,}\s*,\s*seq_len\s*=\s*args\.")
_SHORTEST = 32
#: `train_batch_tokens // 4`: batches that some part of the script makes of a share of the training batch.
_SHARE = re.compile(r"\b(?:train_)?batch_tokens\s*//\s*(\d{1,2})\b")


def share(source: str) -> int:
    """The most that a script divides its training batch by, a number that the source writes; 1 where it does not."""
    return max([1, *(int(found) for found in _SHARE.findall(source))])


def shortest(source: str, tokens: int, usual: int) -> int:
    """The shortest sequence that a tiny run may have: `usual`, or less where a batch would be most of the stream.

    What one batch teaches the next is invisible where there is no next: there have to be about four. A script that
    writes its own calibration text, token by token, gets shorter sequences too: that text is as many sequences of that
    length as the source says.

    Args:
        source: of the script.
        tokens: of the tiny stream.
        usual: a sequence otherwise.
    """
    written = [(name, int(count)) for name, count in _NUMBER.findall(source) if "batch" in name or "seqs" in name]
    wanted = list(dict.fromkeys(name for name, _ in written))[:_MOST]
    multiplied = {name for name in wanted if re.search(_PRODUCT.format(re.escape(name)), source)}
    counts = [count for name, count in written if name in multiplied]
    most = max(counts, default=1)
    if "multinomial(" in source and _WRITES.search(source):
        usual //= 2
    return usual if most * usual * 2 <= tokens else max(_SHORTEST, min(usual, tokens // (4 * most)))
