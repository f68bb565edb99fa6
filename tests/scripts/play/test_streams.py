"""The data that scripts are run on: a token id says where it stands, and the contest's own readers can read it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpus.shards import read_shard
from harness.corpus.tokenbytes import byte_table
from harness.corpus.tokenizer import load_tokenizer
from harness.errors import UsageError
from harness.scripts.play import streams
from harness.scripts.play.vocabulary import BOS, sentencepiece_model


@settings(max_examples=30, deadline=None)
@given(st.integers(streams.UNIQUE, 12_000), st.integers(0, 1000))
def test_a_token_is_a_position(vocab_size: int, seed: int) -> None:
    made = streams.make(vocab_size, seed=seed, train_tokens=500)
    n = len(made.validation)
    inner = np.setdiff1d(np.arange(n - 1), made.bos_positions)
    for stream in (made.validation, made.flipped):
        assert stream[-1] == vocab_size - 1 and made.position_of[vocab_size - 1] == n - 1
        assert (made.position_of[stream[inner].astype(np.int64)] == inner).all()
        assert (stream[made.bos_positions] == BOS).all() and (stream[inner] != BOS).all()
        assert stream.max() < vocab_size
    assert (made.alternative[made.validation[inner].astype(np.int64)] == made.flipped[inner]).all()
    assert not np.intersect1d(made.validation[inner], made.flipped[inner]).size
    train = made.train[made.train != BOS]
    assert (made.position_of[train.astype(np.int64)] == -1).all()
    assert made.train_ids[0] <= train.min() and train.max() < made.train_ids[1]
    assert made.bos_positions[0] == 0 and (np.diff(made.bos_positions) > 1).all()


def test_full_length_at_the_contest_vocabularies() -> None:
    assert [len(streams.make(v).validation) for v in (1024, 4096, 5120, 8192)] == [2049, 1678, 2049, 2049]


@settings(max_examples=20, deadline=None)
@given(st.integers(streams.SMALLEST, streams.UNIQUE - 1), st.integers(0, 1000))
def test_where_tokens_repeat_a_step_is_a_position(vocab_size: int, seed: int) -> None:
    made = streams.make(vocab_size, seed=seed, train_tokens=500)
    n = len(made.validation)
    assert n == 2049 or vocab_size < 256
    assert (made.position_of == -1).all() and made.validation.max() < vocab_size
    inner = np.setdiff1d(np.arange(n - 1), made.bos_positions)
    assert (made.alternative[made.validation[inner].astype(np.int64)] == made.flipped[inner]).all()
    assert (made.validation[inner] != made.flipped[inner]).all()
    assert len(np.unique(made.steps[:, :2], axis=0)) == len(made.steps) == n - 1
    train = made.train[made.train != BOS]
    assert not np.isin(train, made.validation[inner]).any() and not np.isin(train, made.flipped[inner]).any()
    assert made.drawn == len(inner) and made.source_nll > made.drawn * math.log(2)


def test_a_vocabulary_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        streams.make(streams.SMALLEST - 1)


def test_flips_replace_what_they_say() -> None:
    made = streams.make(8192)
    late = made.suffix(1000)
    assert (late[:1000] == made.validation[:1000]).all()
    differ = np.flatnonzero(late != made.validation)
    assert set(differ) == set(range(1000, 2048)) - set(made.bos_positions.tolist())
    assert np.flatnonzero(made.at([77]) != made.validation).tolist() == [77]


def test_phrases_repeat_and_stay_clear_of_training_tokens() -> None:
    made = streams.make(8192)
    one, other = streams.repeated(made)
    grams = {tuple(one[i : i + 5]) for i in range(len(one) - 5)}
    assert len(grams) < 0.5 * len(one)
    for stream in (one, other):
        assert not np.isin(stream, np.arange(*made.train_ids)).any()
        assert (stream[made.bos_positions] == BOS).all()


def test_the_null_source_charges_its_entropy() -> None:
    made = streams.make(8192)
    null = streams.null(made, ids=256)
    drawn = np.setdiff1d(np.arange(len(null.tokens) - 1), made.bos_positions)
    assert null.nll[drawn] == pytest.approx(math.log(256))
    assert null.nll[made.bos_positions].sum() == 0
    assert len(np.unique(null.tokens[drawn])) <= 256


@pytest.mark.parametrize("vocab_size", [260, 287, 512, 1024, 8192])
def test_the_tokenizer_is_one(vocab_size: int, tmp_path: Path) -> None:
    path = tmp_path / "made.model"
    path.write_bytes(sentencepiece_model(vocab_size))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert processor.vocab_size() == vocab_size
    assert [processor.is_control(i) for i in (0, 1, 2)] == [True] * 3 and processor.is_unknown(3)
    assert all(processor.is_byte(i) for i in range(4, 260))
    assert vocab_size == 260 or not processor.is_byte(260)
    assert processor.bos_id() == BOS
    for text in ("the cat sat", "naïve 漢字 🙂") if vocab_size > 260 else ():  # a blank is a piece beyond the bytes
        assert processor.decode(processor.encode(text)) == text
    table = byte_table(load_tokenizer(path))
    assert table.base.shape == (vocab_size,)


def test_data_as_the_scripts_read_it(tmp_path: Path) -> None:
    made = streams.make(8192)
    layout = streams.write(tmp_path / "data", made, sidecar=True, datasets=("fineweb10B_other",))
    dataset = tmp_path / layout.dataset
    assert (read_shard(dataset / "fineweb_val_000000.bin") == made.validation).all()
    train = np.concatenate([read_shard(p) for p in sorted(dataset.glob("fineweb_train_*.bin"))])
    assert (train == made.train).all()
    assert len(read_shard(dataset / "fineweb_val_bytes_000000.bin")) == len(made.validation)
    assert (tmp_path / layout.tokenizer).is_file() and layout.data.endswith("/")
    assert (tmp_path / "data/datasets/fineweb10B_other/fineweb_val_000000.bin").is_file()


def test_a_tiny_model_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        sentencepiece_model(31)


@pytest.mark.parametrize(("model", "shards"), [(1024, 8192), (4096, 8192), (8000, 8192)])
def test_a_stream_for_a_smaller_model_is_told_by_what_it_has(model: int, shards: int) -> None:
    made = streams.make(shards, model_size=model)
    inner = np.setdiff1d(np.arange(len(made.validation) - 1), made.bos_positions)
    for stream in (made.validation, made.flipped):
        tokens = stream[inner].astype(np.int64)
        assert (made.position_of[tokens] == inner).all() and 0 < (tokens >= model).mean() < 0.3
        assert made.position_of[model - 1] == -1  # what a clamp makes of the others
    assert made.train.max() < model and made.model_size == model


@pytest.mark.parametrize("urns", [(9, 6, 3, 5, 2, 7), (8, 8, 0, 0, 0, 5)])
def test_the_source_of_a_stream_is_a_distribution(urns: tuple[int, ...]) -> None:
    ids, known, pieces, above, unknown, drawn = urns

    def ways(size: int, picked: int) -> float:
        return math.lgamma(size + 1) - math.lgamma(size - picked + 1)

    whole = 0.0
    for beyond in range(max(0, drawn - known), min(unknown, drawn) + 1):
        own = drawn - beyond
        for met in range(max(0, own - (ids - pieces)), min(pieces, own) + 1):
            orders = math.comb(drawn, beyond) * math.comb(own, met)
            each = ways(above, beyond) + ways(256, met) + ways(ids, own - met)
            nll = streams._urns(ids, known, pieces, met, above, unknown, beyond, drawn)
            whole += orders * math.exp(each - nll)
    assert whole == pytest.approx(1.0)


def test_a_stream_without_other_urns_is_charged_as_one_shuffle() -> None:
    made = streams.make(3000, 1000)
    ids = 3000 - 1 - made.train_ids[1]
    assert made.source_nll == pytest.approx(float(np.log(ids - np.arange(made.drawn)).sum()))
