"""byte-accounting: the table against the text, clean and broken in the ways that the contest has seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from harness.audit import byte_accounting
from harness.corpus.dataset import Dataset
from harness.corpus.tokenbytes import ByteTable
from harness.record import Status
from tests.audit.evidence_builder import changed, clean_trace, evidence, settled

TEXTS = ("the cat sat on a mat", "na\u00efve caf\u00e9 \u2014 \U0001f642", "hills and rain 27", "nobody said")


@pytest.fixture(scope="module")
def text(dataset: Dataset) -> Dataset:
    """The tiny tokenizer on text with characters that it must spell out in bytes, before which stands a document."""
    return changed(dataset, validation=dataset.tokenizer.stream(TEXTS), texts=TEXTS)


def test_the_contests_table_is_right(dataset: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(dataset)), Status.PASS)
    assert found.value("documents_compared") == dataset.documents
    assert found.value("bytes") == found.value("bytes_decoded")


def test_it_is_right_for_text_that_is_spelled_out_in_bytes(text: Dataset) -> None:
    assert any(text.tokenizer.processor.is_byte(int(token)) for token in text.validation)
    found = settled(byte_accounting.check(evidence(text)), Status.PASS)
    assert found.value("bytes") == sum(len(t.encode()) for t in TEXTS)


def double_space(table: ByteTable) -> ByteTable:
    """B1: the leading space is in the piece's bytes, and is counted once more."""
    return dataclasses.replace(table, base=(table.base + table.leading_space).astype(np.int16))


def spelled_byte_pieces(table: ByteTable) -> ByteTable:
    """B2: "<0xC3>" counted as its own six characters."""
    return dataclasses.replace(table, base=np.where(byte_pieces(table), 6, table.base).astype(np.int16))


def no_boundary(table: ByteTable) -> ByteTable:
    """B3: control pieces are no boundary, so the space that a document starts with counts."""
    return dataclasses.replace(table, boundary=np.zeros_like(table.boundary))


def replacement_characters(table: ByteTable) -> ByteTable:
    """B4: a byte piece decoded alone is U+FFFD, three bytes."""
    return dataclasses.replace(table, base=np.where(byte_pieces(table), 3, table.base).astype(np.int16))


def lost_space(table: ByteTable) -> ByteTable:
    return dataclasses.replace(table, leading_space=np.zeros_like(table.leading_space))


def byte_pieces(table: ByteTable) -> np.ndarray:
    """SentencePiece puts the 256 byte pieces after the control pieces."""
    found = np.zeros(len(table.base), bool)
    found[4:260] = True
    return found


@pytest.mark.parametrize("spoil", [double_space, spelled_byte_pieces, replacement_characters, lost_space])
def test_a_broken_table_fails(text: Dataset, spoil: Callable[[ByteTable], ByteTable]) -> None:
    assert all(text.tokenizer.processor.is_byte(i) for i in range(4, 260))
    found = settled(byte_accounting.check(evidence(changed(text, table=spoil(text.table)))), Status.FAIL)
    assert found.witness is not None
    data = found.witness.data
    assert data["true"] == len(TEXTS[data["document"]].encode()) != data["counted"]


def test_a_missing_boundary_fails_where_a_document_starts_with_a_space(text: Dataset) -> None:
    space = next(i for i in range(text.vocab_size) if text.table.leading_space[i] and text.table.base[i] > 1)
    bos = text.tokenizer.bos_id
    spaced = changed(text, validation=np.array([bos, space, space, bos, space], np.uint16), texts=None)
    settled(byte_accounting.check(evidence(spaced)), Status.PASS)
    found = byte_accounting.check(evidence(changed(spaced, table=no_boundary(text.table))))
    assert settled(found, Status.FAIL).value("documents_differ") == 2


def test_the_difference_is_counted_in_bytes(text: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(changed(text, table=lost_space(text.table)))), Status.FAIL)
    off = found.value("bytes_by_table") - found.value("bytes_decoded")  # type: ignore[operator]
    assert off < 0 and f"{off:+,} bytes in all" in found.headline


def test_unknown_tokens_are_left_out_and_named(text: Dataset) -> None:
    unknown = text.tokenizer.processor.unk_id()
    stream = np.concatenate([text.validation, np.array([text.tokenizer.bos_id, unknown], np.uint16)])
    found = settled(byte_accounting.check(evidence(changed(text, validation=stream))), Status.PASS)
    assert found.value("documents_unknown") == 1 and found.value("documents_compared") == len(TEXTS)
    assert any("unknown" in line for line in found.not_covered)


def test_nothing_to_compare_is_inconclusive(text: Dataset) -> None:
    unknown = text.tokenizer.processor.unk_id()
    stream = np.array([text.tokenizer.bos_id, 300, unknown, 300], np.uint16)
    settled(byte_accounting.check(evidence(changed(text, validation=stream, texts=None))), Status.INCONCLUSIVE)


def test_a_stream_without_documents_is_inconclusive(text: Dataset) -> None:
    stream = text.tokenizer.encode(TEXTS[0])
    settled(byte_accounting.check(evidence(changed(text, validation=stream, texts=None))), Status.INCONCLUSIVE)


def test_a_document_that_the_stream_cuts_short_is_left_out(text: Dataset) -> None:
    smile = next(
        i for i in range(len(text.validation)) if text.tokenizer.decode(text.validation[: i + 1]).endswith("\ufffd")
    )
    found = settled(byte_accounting.check(evidence(text, clean_trace(smile + 1))), Status.PASS)  # half a character
    assert found.value("documents_compared") == 1 and any("cuts short" in line for line in found.not_covered)
    assert any("the score covers the first" in line for line in found.not_covered)


def test_a_stream_cut_between_documents_is_compared_whole(text: Dataset) -> None:
    second = int(np.flatnonzero(text.validation == text.tokenizer.bos_id)[1])
    found = settled(byte_accounting.check(evidence(text, clean_trace(second))), Status.PASS)
    assert found.value("documents_compared") == 1 and not any("cuts short" in line for line in found.not_covered)
