"""Texts that are one to a tokenizer: folds are told from what the contest's own tokenizers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.corpus.lossless import CASE, canonical, folded, lost
from harness.corpus.tokenizer import load_tokenizer, train_tokenizer
from tests.corpus import folding

REAL = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"
ODD = "Caf\u00e9 \u201cna\u00efve\u201d \uff21\uff22 x\u00b2 \ufb01n\u200bd\t\tit\n \u65e5\u672c \U0001f642"


def test_a_fold_is_shown_by_two_texts_with_the_same_tokens(tmp_path: Path) -> None:
    processor = load_tokenizer(folding.folding_model(tmp_path / "all.model", folding.ALL)).processor
    found = {one.kind: one for one in folded(processor)}
    assert {CASE, "punctuation", "accents"} <= set(found) and not {"digits", "letters", "spaces"} & set(found)
    for one in found.values():
        assert list(one.tokens) == processor.encode(one.document) == processor.encode(one.other)
        assert canonical(one.document) != canonical(one.other)


def test_letter_case_alone_is_told_apart(tmp_path: Path) -> None:
    processor = load_tokenizer(folding.folding_model(tmp_path / "case.model", folding.CASE)).processor
    assert [one.kind for one in folded(processor)] == [CASE]


@pytest.mark.parametrize("name", ["own", "identity", *sorted(path.name for path in REAL.glob("*.model"))])
def test_what_the_contests_tokenizers_do_folds_nothing(tmp_path: Path, name: str) -> None:
    """nmt_nfkc, white space, unknown tokens where there is no byte fallback."""
    if name == "own":
        tokenizer = train_tokenizer([folding.WORDS * 40], 320, tmp_path / "own.model")
    elif name == "identity":
        tokenizer = load_tokenizer(folding.folding_model(tmp_path / "identity.model", {}))
    else:
        tokenizer = load_tokenizer(REAL / name)
    processor = tokenizer.processor
    assert folded(processor) == []
    tokens = processor.encode(ODD)
    if processor.unk_id() not in tokens:
        assert lost(processor, ODD, tokens, processor.decode(tokens)) is None


def test_a_document_that_is_lost_and_one_that_is_another(tmp_path: Path) -> None:
    processor = load_tokenizer(folding.folding_model(tmp_path / "all.model", folding.ALL)).processor
    text = "The Fox: na\u00efve? Yes!"
    tokens = processor.encode(text)
    one = lost(processor, text, tokens, processor.decode(tokens))
    assert one is not None and one.other != text and processor.encode(one.other) == tokens
    assert lost(processor, "an other document", tokens, processor.decode(tokens)) is None
    before = "".join(c for c in text.lower() if c.isascii() and c not in ":?!")  # folded before the tokenizer
    tokens = processor.encode(before)
    assert lost(processor, text, tokens, processor.decode(tokens)) is not None
