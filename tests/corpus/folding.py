"""SentencePiece models that fold texts together before they cut them into pieces."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

#: What becomes of characters: letter case alone; or case, punctuation and a stretch of what is not ASCII.
CASE = {chr(code): chr(code + 32) for code in range(65, 91)}
ALL = {**CASE, **dict.fromkeys(",:;?!()[]", "."), **{chr(code): "#" for code in range(0xA1, 0x600)}}
WORDS = "the quick brown fox jumps over a lazy dog. room 1234 of 5678 # and back again, said Ann: NO! (why?) 90"


def folding_model(path: Path, fold: dict[str, str], pieces: int = 340) -> Path:
    """A BPE model with byte fallback, written to `path`."""
    rules = path.with_suffix(".tsv")
    rules.write_text("".join(f"{ord(a):X}\t{ord(b):X}\n" for a, b in fold.items()))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, WORDS.upper(), WORDS.title()] * 20), model_writer=model, vocab_size=pieces,
        model_type="bpe", byte_fallback=True, character_coverage=1.0, add_dummy_prefix=False, pad_id=0, bos_id=1,
        eos_id=2, unk_id=3, hard_vocab_limit=False, minloglevel=2, num_threads=1,
        **({"normalization_rule_tsv": str(rules)} if fold else {"normalization_rule_name": "identity"}),
    )  # fmt: skip
    path.write_bytes(model.getvalue())
    return path
