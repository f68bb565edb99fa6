"""Text whose letter case is written as private-use characters, in the manner of CaseOps, and its tokens' bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from harness.corpus.shards import Tokens
from harness.corpus.tokenizer import Tokenizer

TITLE, UPPER, NEXT = "\ue001", "\ue002", "\ue003"

#: Short documents full of capitals.
DOCUMENTS = (
    "The NASA Launch of McDonald was on Monday, said Ann.",
    "Nobody In London Saw It: BBC and CNN were asleep.",
    "plain small letters",
    "An Odd Na\u00efve Caf\u00e9 \u2014 and A B C.",
)


def marked(text: str) -> str:
    """Every word in small letters behind a mark: first letter, all letters, or the next letter was a capital."""

    def word(match: re.Match[str]) -> str:
        found = match[0]
        if len(found) > 1 and found.isupper():
            return UPPER + found.lower()
        head = TITLE if found[0].isupper() else ""
        return head + found[0].lower() + re.sub("[A-Z]", lambda c: NEXT + c[0].lower(), found[1:])

    return re.sub("[A-Za-z]+", word, text)


def stream_and_bytes(tokenizer: Tokenizer, documents: Sequence[str], *, of_a_mark: int = 0) -> tuple[Tokens, Tokens]:
    """The tokens of the marked documents, a BOS before each, and the bytes of original text that each stands for."""
    tokens: list[int] = []
    counts: list[int] = []
    for document in documents:
        text = marked(document)
        flags = [of_a_mark / 3 if "\ue000" <= c <= "\uf8ff" else 1.0 for c in text for _ in c.encode()]
        tokens.append(tokenizer.bos_id)
        counts.append(0)
        start = 0
        for token in tokenizer.encode(text):
            piece = tokenizer.processor.id_to_piece(int(token))
            size = 1 if tokenizer.processor.is_byte(int(token)) else len(piece.replace("\u2581", " ").encode())
            tokens.append(int(token))
            counts.append(round(sum(flags[start : start + size])))
            start += size
        assert start == len(flags)
    return np.array(tokens, np.uint16), np.array(counts, np.uint16)
