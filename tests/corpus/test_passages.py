"""Passages that texts share: found whatever the case and the spacing, and nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest
from corpus_helpers import make_documents
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpus.passages import BLOCK, RUN, Sought, folded

DOCUMENTS = make_documents(12, words=120, seed=5)
SOUGHT = Sought.texts(DOCUMENTS)
OTHERS = make_documents(12, words=200, seed=6)

spaces = st.sampled_from([" ", "\n", "\t", "\r\n    # ", "  ", " -- ", '"\n"'])


@st.composite
def copied(draw: st.DrawFn) -> tuple[int, str, str]:
    """A document's number, a run of its words that is long enough, and the same words written in another way."""
    number = draw(st.integers(0, len(DOCUMENTS) - 1))
    words = DOCUMENTS[number].split(" ")
    start = draw(st.integers(0, len(words) - 40))
    run = words[start : start + draw(st.integers(20, 40))]
    while len(folded(" ".join(run).encode())) < RUN:
        run.append(words[start + len(run)])
    recased = [draw(st.sampled_from([str.upper, str.lower, str]))(word) if word.isascii() else word for word in run]
    return number, " ".join(run), "".join(word + draw(spaces) for word in recased)


@settings(max_examples=150, deadline=None)
@given(copied(), st.integers(0, 11), st.integers(0, 500))
def test_copied_words_are_found_whatever_the_case_and_the_spacing(
    copy: tuple[int, str, str], around: int, skipped: int
) -> None:
    number, words, text = copy
    data = folded((OTHERS[around][skipped:] + " " + text + OTHERS[around]).encode())
    found = SOUGHT.find(data)
    size = len(folded(words.encode()))
    longest = max(found, key=lambda passage: passage[1] - passage[0])
    assert longest[1] - longest[0] >= size and SOUGHT.document(longest[0]) == number
    assert folded(words.encode()) in SOUGHT.data[longest[0] : longest[1]]
    assert data[longest[2] : longest[2] + longest[1] - longest[0]] == SOUGHT.data[longest[0] : longest[1]]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=3000), st.integers(0, 2**32))
def test_unrelated_text_is_not_found(text: str, seed: int) -> None:
    words = " ".join(DOCUMENTS).split()
    shuffled = " ".join(random.Random(seed).sample(words, 600))  # the same words in no order of theirs
    assert SOUGHT.find(folded(text.encode("utf-8", errors="replace"))) == []
    assert SOUGHT.find(folded(shuffled.encode())) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 200))
def test_the_shortest_passage_is_found_at_every_place_and_a_shorter_one_at_none(at: int, before: int) -> None:
    at %= len(folded(DOCUMENTS[3].encode())) - RUN
    start = int(SOUGHT.starts[3]) + at
    passage = SOUGHT.data[start : start + RUN]
    assert SOUGHT.find(b"\xff" * before + passage + b"\xff" * 50) == [(start, start + RUN, before)]
    assert SOUGHT.find(b"\xff" * before + passage[:-1] + b"\xff" * 50) == []


def test_a_passage_ends_where_its_document_ends() -> None:
    together = folded((DOCUMENTS[0] + DOCUMENTS[1]).encode())
    (first, second) = SOUGHT.find(together)
    assert SOUGHT.document(first[0]) == 0 and SOUGHT.document(second[0]) == 1
    assert first[1] == SOUGHT.starts[1] - 1 and second[0] == SOUGHT.starts[1]


def test_the_original_is_shown_as_it_was_written() -> None:
    sought = Sought.texts(
        ["An aside.", "“Call me Ishmael,” he said: " + "it is a way I have of driving off the spleen. " * 3]
    )
    (passage,) = sought.find(folded(b"x CALL me\n\tIshmael" + sought.originals[1].encode()[18:]))[:1]
    shown = sought.original(passage[0], passage[1])
    assert shown.startswith("Call me Ishmael,” he said") and shown.endswith("the spleen")


def test_nothing_sought_or_nothing_given_finds_nothing() -> None:
    assert Sought.texts([]).find(b"a" * 500) == [] and Sought.texts(["too short"]).find(b"tooshort" * 50) == []
    assert SOUGHT.find(b"") == []
    assert SOUGHT.size == sum(len(folded(text.encode())) for text in DOCUMENTS)


def test_text_of_one_letter_does_not_take_for_ever() -> None:
    sought = Sought.texts(["a" * 20_000])
    assert sought.find(b"a" * 200_000)
    assert sought.find(b"a" * (RUN - 1)) == []


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_bytes_of_tokens_are_found_at_odd_offsets(size: int) -> None:
    tokens = np.random.default_rng(size).integers(0, 1024, 4000).astype("<u2")
    sought = Sought(tokens.tobytes(), np.zeros(1, np.int64))
    piece = tokens[100 : 100 + size].tobytes()
    found = sought.find(b"\x07" + piece + b"\xff" * 40)
    assert (found[0][:2] == (200, 200 + len(piece))) if len(piece) >= RUN else not found
