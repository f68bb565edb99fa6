"""Documents and files that several corpus tests use."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

CONTEST_TOKENIZERS = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"


def make_documents(count: int, *, words: int = 60, seed: int = 0) -> list[str]:
    """Documents of random pseudo-words with digits, punctuation and non-ASCII letters; no two share 13 words."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "é", "ar", "on")]
    lexicon = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(800)]
    marks = ["", "", "", "", ",", ".", "()", " = 12", " -> x"]
    return [" ".join(rng.choice(lexicon) + rng.choice(marks) for _ in range(words)) for _ in range(count)]


def contest_tokenizer(name: str) -> Path:
    path = CONTEST_TOKENIZERS / name
    if not path.is_file():
        pytest.skip(f"NOT CHECKED against the contest's real tokenizer {name}: {CONTEST_TOKENIZERS} is absent")
    return path
