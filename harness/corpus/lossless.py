"""Does a document come back from its tokens? Two texts with the same tokens show that it does not.

A tokenizer may change a text in the way that the contest's do: SentencePiece's nmt_nfkc rule and white space. A
character that is not in a vocabulary without byte fallback is an unknown token of no bytes, in two of the contest's own
vocabularies, too, and no fold. What goes beyond folds texts together, and the loss of the fold is the code length of
neither, however right the bytes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.corpus.documents import plain
from harness.corpus.tokenbytes import SPACE
from harness.corpus.tokenizer import RULE

#: Kinds of characters, and two texts that differ in one kind alone, under nmt_nfkc as well.
_PAIRS = (
    ("letter case", "The Cat saw Ann in Rome", "the cat saw ann in rome"),
    ("punctuation", "well, yes: no? (or not)", "well. yes; no! [or not]"),
    ("digits", "room 1234 of 5678", "room 4321 of 8765"),
    ("symbols", "a + b = c % d", "a * b < c & d"),
    ("letters", "the bat hid in a den", "the cat sat on a mat"),
    ("spaces", "the rapist is now here", "therapist is nowhere"),
    ("accents", "r\u00e9sum\u00e9 na\u00efve", "r\u00e8sum\u00e8 na\u00eeve"),
    ("other scripts", "\u65e5\u672c \u043c\u0438\u0440", "\u6708\u6728 \u0434\u043e\u043c"),
    ("emoji", "good \U0001f642", "good \U0001f680"),
)

#: The one kind whose loss is a practice of its own.
CASE = _PAIRS[0][0]


@dataclass(frozen=True)
class Folded:
    """Two texts that are one to a tokenizer.

    Attributes:
        kind: of the characters that they differ in.
        document: a text.
        tokens: its tokens.
        decoded: what comes back.
        other: another text with the same tokens.
    """

    kind: str
    document: str
    tokens: tuple[int, ...]
    decoded: str
    other: str

    @property
    def of_case(self) -> bool:
        """They differ in letter case alone, which is a practice of its own."""
        return self.kind == CASE

    @property
    def said(self) -> str:
        """In one clause."""
        return f"{self.document!r} comes back as {self.decoded!r}, and {self.other!r} has the same tokens"

    @property
    def data(self) -> dict[str, Any]:
        """For a witness."""
        return {
            "document": self.document[:200],
            "tokens": list(self.tokens[:200]),
            "decoded": self.decoded[:200],
            "other": self.other[:200],
        }


@cache
def _normalizer() -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceNormalizer(rule_name=RULE)


def canonical(text: str) -> str:
    """The text as the contest's tokenizers keep it; two texts that differ only in what they drop are the same."""
    return plain(str(_normalizer().normalize(text)).replace(SPACE, " "))


def folded(processor: Any) -> list[Folded]:
    """Pairs of texts that a SentencePiece processor gives the same tokens; none for what it does not know at all."""
    found = []
    for kind, document, other in _PAIRS:
        tokens = [int(token) for token in processor.encode(document)]
        if processor.unk_id() in tokens or tokens != [int(token) for token in processor.encode(other)]:
            continue
        found.append(Folded(kind, document, tuple(tokens), str(processor.decode(tokens)), other))
    return found


def lost(processor: Any, document: str, tokens: list[int], decoded: str) -> Folded | None:
    """How a document is lost in its tokens; None where it comes back, or they may be another document's.

    They are this document's where the processor makes them of it, or where its plain letters and digits are in them, in
    order.

    Args:
        processor: the SentencePiece processor that decodes the tokens.
        document: the original.
        tokens: without BOS.
        decoded: what they decode to.
    """
    if canonical(decoded) == canonical(document):
        return None
    made = [int(token) for token in processor.encode(document)] == tokens
    if not made and (not _core(document) or _core(decoded) != _core(document)):
        return None
    if [int(token) for token in processor.encode(decoded)] != tokens:  # the same tokens for another text
        return None
    return Folded("text", document, tuple(tokens), decoded, decoded)


def _core(text: str) -> str:
    """ASCII letters and digits without case: what a fold leaves of a text."""
    return "".join(c for c in text.casefold() if c.isascii() and c.isalnum())
