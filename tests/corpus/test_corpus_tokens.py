from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from corpus_helpers import contest_tokenizer, make_documents
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpus.tokenbytes import byte_table, document_bytes, true_bytes
from harness.corpus.tokenizer import TRAINING_OPTIONS, Tokenizer, load_tokenizer, round_trip, train_tokenizer
from harness.errors import UsageError

#: name, pieces, byte pieces
CONTEST = [
    ("fineweb_1024_bpe.model", 1024, 0),
    ("fineweb_2048_bpe.model", 2048, 0),
    ("fineweb_4096_bpe.model", 4096, 256),
    ("fineweb_8192_bpe.model", 8192, 256),
]


def special_tokenizer(folder: Path, documents: list[str], **options: object) -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents),
        model_writer=model,
        num_threads=1,
        minloglevel=2,
        **{**TRAINING_OPTIONS, "vocab_size": 512, **options},
    )
    (folder / "special.model").write_bytes(model.getvalue())
    return load_tokenizer(folder / "special.model")


def test_training_is_deterministic(documents: list[str], tokenizer: Tokenizer, tmp_path: Path) -> None:
    again = train_tokenizer(documents, 512, tmp_path / "again.model")
    assert again.sha256 == tokenizer.sha256
    other = train_tokenizer(documents[1:], 512, tmp_path / "other.model")
    assert other.sha256 != tokenizer.sha256
    script = (
        "import sys; from pathlib import Path; from harness.corpus.tokenizer import train_tokenizer;"
        "print(train_tokenizer(Path(sys.argv[1]).read_text().split(chr(10)), 512, Path(sys.argv[2])).sha256)"
    )
    (tmp_path / "documents.txt").write_text("\n".join(documents), encoding="utf-8")
    fresh = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script, str(tmp_path / "documents.txt"), str(tmp_path / "fresh.model")],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert fresh.stdout.strip() == tokenizer.sha256


def test_contest_ids_and_no_bos_in_a_document(tokenizer: Tokenizer) -> None:
    processor = tokenizer.processor
    assert (processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()) == (0, 1, 2, 3)
    assert tokenizer.vocab_size == 512 and tokenizer.bos_id == 1
    tokens = tokenizer.encode("bada 212 kon")
    assert tokens.dtype == np.uint16 and tokenizer.bos_id not in tokens
    pieces = [processor.id_to_piece(int(token)) for token in tokens]
    assert pieces.count("2") == 2 and "1" in pieces, "digits are split"
    assert not pieces[0].startswith("\u2581"), "no dummy prefix"
    assert tokenizer.decode(tokens) == "bada 212 kon"


def test_stream_puts_bos_before_each_document(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream(["ba", "", "do"])
    expected = [1, *tokenizer.encode("ba"), 1, 1, *tokenizer.encode("do")]
    assert stream.dtype == np.uint16 and list(stream) == expected
    assert tokenizer.stream([]).size == 0


def test_little_text_gives_a_smaller_vocabulary(tmp_path: Path) -> None:
    small = train_tokenizer(["ab abab ba", "ba ab"], 1024, tmp_path / "small.model")
    assert 260 < small.vocab_size < 300


@pytest.mark.parametrize(("size", "texts"), [(10, ["a b"]), (70_000, ["a b"]), (512, ["  "]), (512, [])])
def test_impossible_training_is_refused(tmp_path: Path, size: int, texts: list[str]) -> None:
    with pytest.raises(UsageError):
        train_tokenizer(texts, size, tmp_path / "t.model")
    assert not (tmp_path / "t.model").exists()


def test_files_that_are_no_tokenizer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.model"
    with pytest.raises(UsageError, match="No such file"):
        load_tokenizer(path)
    for content in (b"", b"not a model", bytes(500)):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not a SentencePiece model"):
            load_tokenizer(path)


def test_a_tokenizer_without_bos_is_refused(documents: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no BOS"):
        special_tokenizer(tmp_path, documents, bos_id=-1)


def test_round_trip_tells_lossy_from_exact(tokenizer: Tokenizer) -> None:
    trip = round_trip(tokenizer, ["bada do", "two\n  lines", "\ufb01 \u3042"])
    assert (trip.documents, trip.exact, trip.first_lossy) == (3, 1, 1)
    assert trip.true_bytes == 7 + 11 + 7
    assert trip.decoded_bytes == 7 + 9 + 6
    assert round_trip(tokenizer, ["bada"]).first_lossy is None


@settings(deadline=None, derandomize=True)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_bytes_of_tokens_are_the_bytes_they_decode_to(texts: list[str], tokenizer: Tokenizer) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    counted = document_bytes(byte_table(tokenizer), tokenizer.stream(texts), tokenizer.bos_id)
    assert list(counted) == [len(tokenizer.decode(tokenizer.encode(text)).encode("utf-8")) for text in texts]


def test_bytes_of_real_documents_are_their_true_bytes(documents: list[str], tokenizer: Tokenizer) -> None:
    table = byte_table(tokenizer)
    assert table.warnings == ()
    counted = document_bytes(table, tokenizer.stream(documents), tokenizer.bos_id)
    assert np.array_equal(counted, true_bytes(documents))


def test_the_table_by_hand(tokenizer: Tokenizer) -> None:
    table = byte_table(tokenizer)
    processor = tokenizer.processor
    assert table.base.dtype == np.int16 and table.base.shape == table.leading_space.shape == table.boundary.shape
    assert list(table.base[:4]) == [0] * 4 and table.boundary[:4].all() and not table.leading_space[:4].any()
    assert list(table.base[4:260]) == [1] * 256 and not table.boundary[4:260].any()  # never len("<0xC3>"), bug B2
    space = processor.piece_to_id("\u2581")
    assert table.base[space] == 0 and table.leading_space[space]
    spaced = next(i for i in range(260, 512) if len(processor.id_to_piece(i)) == 3 and table.leading_space[i])
    assert table.base[spaced] == 2, "the space must not be in the piece's own bytes as well (bug B1)"
    plain = next(i for i in range(260, 512) if processor.id_to_piece(i) == "a")
    assert list(table.count(np.array([spaced, spaced, plain, 1]), np.array([plain, 1, 1, plain]))) == [3, 2, 1, 0]


def test_tokens_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    table = byte_table(tokenizer)
    inside, outside = np.array([5, 6]), np.array([5, 512])
    for targets, previous in ((inside, outside), (outside, inside), (inside, np.array([-1, 2]))):
        with pytest.raises(UsageError, match="tokenizer/vocabulary mismatch"):
            table.count(targets, previous)
    with pytest.raises(UsageError, match="does not start with BOS"):
        document_bytes(table, np.array([5, 1, 6], dtype=np.uint16), 1)


def test_a_tokenizer_without_a_lone_space_is_named(tmp_path: Path) -> None:
    words = [text.replace(" ", "") for text in make_documents(20)]
    table = byte_table(special_tokenizer(tmp_path, words, vocab_size=400))
    assert any("#897" in warning and "3 bytes instead of 1" in warning for warning in table.warnings)


def test_pieces_with_spaces_inside_count_what_they_decode_to(documents: list[str], tmp_path: Path) -> None:
    special = special_tokenizer(tmp_path, ["ba do bi"] * 50 + documents, split_by_whitespace=False)
    table = byte_table(special)
    assert any("space after their first character" in warning for warning in table.warnings)
    texts = ["ba do bi ba do bi", *documents[:20]]
    tokens = special.encode(texts[0])
    assert any("\u2581" in special.processor.id_to_piece(int(token))[1:] for token in tokens)
    assert np.array_equal(document_bytes(table, special.stream(texts), special.bos_id), true_bytes(texts))


def test_case_markers_and_missing_byte_fallback_are_named(documents: list[str], tmp_path: Path) -> None:
    special = special_tokenizer(tmp_path, documents, user_defined_symbols=["\ue001"], byte_fallback=False)
    warnings = " ".join(byte_table(special).warnings)
    assert "private-use" in warnings and "no byte fallback" in warnings and "#897" not in warnings


@pytest.mark.parametrize(("name", "size", "byte_pieces"), CONTEST)
def test_contest_tokenizers(name: str, size: int, byte_pieces: int) -> None:
    tokenizer = load_tokenizer(contest_tokenizer(name))
    table = byte_table(tokenizer)
    processor = tokenizer.processor
    assert tokenizer.vocab_size == size and tokenizer.bos_id == 1
    assert sum(processor.is_byte(i) for i in range(size)) == byte_pieces
    for token in range(size):  # the contest's rule, token by token
        piece = processor.id_to_piece(token)
        special = processor.is_control(token) or processor.is_unknown(token) or processor.is_unused(token)
        expected = (
            (0, False, True)
            if special
            else (1, False, False)
            if processor.is_byte(token)
            else (len(piece.removeprefix("\u2581").encode()), piece.startswith("\u2581"), False)
        )
        assert (table.base[token], table.leading_space[token], table.boundary[token]) == expected
    assert bool(table.warnings) == (byte_pieces == 0)
    assert all("no byte fallback" in warning for warning in table.warnings)
    texts = ["The quick (brown) fox jumps: 1234 times."] + ["na\u00efve \u4e2d"] * bool(byte_pieces)
    counted = document_bytes(table, tokenizer.stream(texts), 1)
    assert np.array_equal(counted, true_bytes(texts)), name


def test_contest_case_marker_tokenizer_is_named() -> None:
    path = contest_tokenizer("fineweb_8192_bpe_lossless_caps_caseops_v1_reserved.model")
    assert any("private-use" in warning for warning in byte_table(load_tokenizer(path)).warnings)


def test_characters_outside_a_vocabulary_without_byte_fallback_count_nothing() -> None:
    tokenizer = load_tokenizer(contest_tokenizer("fineweb_1024_bpe.model"))
    table = byte_table(tokenizer)
    stream = tokenizer.stream(["a \u4e2d b"])
    assert 3 in stream
    # the character and the space after it are lost: too few bytes, so never in the submission's favour
    assert list(document_bytes(table, stream, 1)) == [3]
