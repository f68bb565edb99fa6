"""byte-accounting where tokens stand for other text: case marks and side-cars (B6), folded case (B7)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import rules
from harness.adapters.recording import score_of
from harness.audit import byte_accounting, checks
from harness.audit.original_bytes import NO_DOCUMENTS, OTHER_DOCUMENTS, SLACK
from harness.corpus.dataset import Dataset
from harness.corpus.tokenbytes import byte_table
from harness.corpus.tokenizer import load_tokenizer
from harness.corpus.transformed import Kept, kept, marks
from harness.record import Status
from tests.audit.evidence_builder import changed, clean_trace, evidence, settled, taking
from tests.corpus.folding import ALL, folding_model
from tests.corpus.marked import DOCUMENTS, marked, stream_and_bytes

TRUE = sum(len(text.encode()) for text in DOCUMENTS)
MARKS = sum(marks(marked(text)) for text in DOCUMENTS)
REAL = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"


@pytest.fixture(scope="module", params=["tiny", "fineweb_8192_bpe_lossless_caps_caseops_v1_reserved"])
def case_ops(request: pytest.FixtureRequest, dataset: Dataset) -> Dataset:
    """Marked text with a right side-car and the original documents, in two tokenizers."""
    tokenizer = dataset.tokenizer
    if request.param != "tiny":
        path = REAL / f"{request.param}.model"
        if not path.is_file():
            pytest.skip(f"NOT CHECKED with the contest's own CaseOps tokenizer: {path.name} is absent")
        tokenizer = load_tokenizer(path)
    stream, counts = stream_and_bytes(tokenizer, DOCUMENTS)
    return changed(
        dataset, tokenizer=tokenizer, vocab_size=tokenizer.vocab_size, table=byte_table(tokenizer), validation=stream,
        sidecar=counts, texts=DOCUMENTS, documents=len(DOCUMENTS),
    )  # fmt: skip


def with_marks_counted(data: Dataset) -> Dataset:
    """A side-car that counts the three bytes of each mark, as that of the first preparation scripts did."""
    return changed(data, sidecar=stream_and_bytes(data.tokenizer, DOCUMENTS, of_a_mark=3)[1])


def test_a_right_side_car_passes_and_is_what_the_score_is_divided_by(case_ops: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(case_ops)), Status.PASS)
    assert found.value("bytes") == case_ops.validation_bytes == TRUE
    assert found.value("bytes_by_table") == TRUE + 3 * MARKS
    assert found.value("documents_compared") == len(DOCUMENTS)
    assert f"{TRUE + 3 * MARKS:,}" in found.headline and f"{3 * MARKS:,} of them marks" in found.headline
    trace = clean_trace(len(case_ops.validation))
    loss, bpb, count, size = score_of(trace, case_ops)
    assert size == TRUE and bpb == pytest.approx(loss * count / np.log(2) / TRUE)


def test_the_table_on_marked_text_fails_where_the_documents_are_at_hand(case_ops: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(changed(case_ops, sidecar=None))), Status.FAIL)
    assert found.witness is not None and "takes marks for text" in found.headline
    data = found.witness.data
    assert data["true"] == len(DOCUMENTS[data["document"]].encode())
    assert data["counted"] == data["true"] + 3 * data["marks"]


def test_the_table_on_marked_text_is_not_passed_without_documents(case_ops: Dataset) -> None:
    alone = changed(case_ops, sidecar=None, texts=None)
    found = settled(byte_accounting.check(evidence(alone)), Status.INCONCLUSIVE)
    assert f"{MARKS:,} private-use characters" in found.headline and NO_DOCUMENTS in found.not_covered


def test_a_side_car_that_counts_marks_fails_or_is_left_open(case_ops: Dataset) -> None:
    wrong = with_marks_counted(case_ops)
    found = settled(byte_accounting.check(evidence(wrong)), Status.FAIL)
    assert found.value("bytes_too_many") == 3 * MARKS and "side-car counts more" in found.headline
    alone = settled(byte_accounting.check(evidence(changed(wrong, texts=None))), Status.INCONCLUSIVE)
    assert "no documents could decide" in alone.headline


def test_a_right_side_car_without_documents_passes_with_what_was_not_seen(case_ops: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(changed(case_ops, texts=None))), Status.PASS)
    assert NO_DOCUMENTS in found.not_covered and found.value("smallest_error") == SLACK


def test_a_side_car_that_leaves_bytes_out_fails(case_ops: Dataset) -> None:
    assert case_ops.sidecar is not None
    half = changed(case_ops, sidecar=case_ops.sidecar // 2)
    found = settled(byte_accounting.check(evidence(half)), Status.FAIL)
    assert "not counted" in found.headline and found.witness is not None
    assert found.witness.data["counted"] < found.witness.data["true"]


def test_a_byte_in_a_thousand_documents_is_named_and_nobody_is_accused(case_ops: Dataset) -> None:
    many = DOCUMENTS * 20
    stream, counts = stream_and_bytes(case_ops.tokenizer, many)
    counts[2] += 1
    found = byte_accounting.check(evidence(changed(case_ops, validation=stream, sidecar=counts, texts=many)))
    assert settled(found, Status.PASS).value("bytes_too_many") == 1


def test_documents_of_another_text_decide_nothing(case_ops: Dataset) -> None:
    other = tuple(text[::-1] for text in DOCUMENTS)
    found = settled(byte_accounting.check(evidence(changed(case_ops, texts=other))), Status.INCONCLUSIVE)
    assert OTHER_DOCUMENTS in found.not_covered
    one = (DOCUMENTS[0], *other[1:3], DOCUMENTS[3])
    found = settled(byte_accounting.check(evidence(changed(case_ops, texts=one))), Status.PASS)
    assert found.value("documents_other_text") == 2 == found.value("documents_compared")


def test_private_use_characters_of_the_text_itself_are_text(dataset: Dataset) -> None:
    texts = ("an icon \ue101 and \ue102 another " * 3).strip(), "no icon"
    plain = changed(dataset, validation=dataset.tokenizer.stream(texts), texts=texts)
    settled(byte_accounting.check(evidence(plain)), Status.PASS)


def folded(dataset: Dataset, texts: tuple[str, ...]) -> Dataset:
    """The tokens of folded text beside documents that are not."""
    stream = dataset.tokenizer.stream([text.casefold() for text in texts])
    return changed(dataset, validation=stream, texts=texts, documents=len(texts))


def test_folded_case_is_unruled_and_kept_case_is_not(dataset: Dataset) -> None:
    found = settled(byte_accounting.check(evidence(folded(dataset, DOCUMENTS))), Status.UNRULED)
    assert found.witness is not None and "3 of 4 documents" in found.headline and "#1604" in found.headline
    assert found.witness.data["original"] == DOCUMENTS[0] and found.witness.data["decoded"] == DOCUMENTS[0].casefold()
    whole = changed(dataset, validation=dataset.tokenizer.stream(DOCUMENTS), texts=DOCUMENTS)
    settled(byte_accounting.check(evidence(whole)), Status.PASS)
    small = tuple(text.casefold() for text in DOCUMENTS)
    settled(byte_accounting.check(evidence(folded(dataset, small))), Status.PASS)


def test_folded_case_by_other_rules(dataset: Dataset) -> None:
    made = evidence(folded(dataset, DOCUMENTS), ruleset=rules.load("strict"))
    (found,) = checks.judge(made, ["byte-accounting"])
    settled(found, Status.FAIL)
    open_ = settled(
        byte_accounting.check(dataclasses.replace(made, ruleset=taking("tolerated", "letter_case"))), Status.PASS
    )
    assert any("letter case" in line for line in open_.not_covered)


def test_one_document_in_many_without_its_case_is_an_accident(dataset: Dataset) -> None:
    texts = tuple(f"Number {index}" for index in range(150))
    data = changed(dataset, validation=dataset.tokenizer.stream(["number 0", *texts[1:]]), texts=texts)
    found = settled(byte_accounting.check(evidence(data)), Status.PASS)
    assert found.value("documents_without_case") == 1


def test_the_contests_casefold_tokenizer_on_folded_text(dataset: Dataset) -> None:
    path = REAL / "fineweb_8192_bpe_casefold_refined_v2.model"
    if not path.is_file():
        pytest.skip(f"NOT CHECKED with the contest's own casefold tokenizer: {path.name} is absent")
    tokenizer = load_tokenizer(path)
    real = changed(dataset, tokenizer=tokenizer, vocab_size=tokenizer.vocab_size, table=byte_table(tokenizer))
    settled(byte_accounting.check(evidence(folded(real, DOCUMENTS))), Status.UNRULED)


def lossy(dataset: Dataset, path: Path, *, fold: dict[str, str]) -> Dataset:
    """The tokens of a tokenizer that folds, with a side-car that counts the bytes of the originals exactly."""
    tokenizer = load_tokenizer(folding_model(path, fold))
    stream = tokenizer.stream(DOCUMENTS)
    counts = np.zeros(len(stream), np.uint16)
    counts[np.flatnonzero(stream == tokenizer.bos_id) + 1] = [len(text.encode()) for text in DOCUMENTS]
    return changed(
        dataset, tokenizer=tokenizer, vocab_size=tokenizer.vocab_size, table=byte_table(tokenizer), validation=stream,
        sidecar=counts, texts=DOCUMENTS, documents=len(DOCUMENTS),
    )  # fmt: skip


@pytest.mark.parametrize("sidecar", [True, False])
def test_exact_bytes_of_a_text_that_is_folded_together_fail(dataset: Dataset, tmp_path: Path, sidecar: bool) -> None:
    data = lossy(dataset, tmp_path / "all.model", fold=ALL)
    data = data if sidecar else changed(data, sidecar=None)
    found = settled(byte_accounting.check(evidence(data)), Status.FAIL)
    assert found.witness is not None and "does not come back" in found.headline
    shown = found.witness.data
    assert data.tokenizer.encode(shown["document"]).tolist() == shown["tokens"]
    assert data.tokenizer.encode(shown["other"]).tolist() == shown["tokens"] and shown["other"] != shown["document"]


def test_the_same_without_a_fold_passes(dataset: Dataset, tmp_path: Path) -> None:
    data = lossy(dataset, tmp_path / "none.model", fold={})
    assert settled(byte_accounting.check(evidence(data)), Status.PASS).value("documents_lost") == 0
    settled(byte_accounting.check(evidence(changed(data, sidecar=None))), Status.PASS)


def test_bytes_that_a_side_car_counts_for_unknown_tokens_are_not_paid_for(dataset: Dataset) -> None:
    unknown = dataset.tokenizer.processor.unk_id()
    stream = np.concatenate([dataset.tokenizer.stream(DOCUMENTS), np.array([unknown, unknown], np.uint16)])
    counts = np.asarray(dataset.table.stream_bytes(stream), np.uint16)
    counts = np.concatenate([np.zeros(1, np.uint16), counts])
    counts[-2:] = 40
    data = changed(dataset, validation=stream, sidecar=counts, texts=None)
    found = settled(byte_accounting.check(evidence(data)), Status.FAIL)
    assert "unknown tokens" in found.headline


@given(st.text(st.characters(codec="utf-8", max_codepoint=0x24F), max_size=60))
def test_marked_text_keeps_its_document_and_folded_text_loses_its_case(text: str) -> None:
    assert kept(text, text) is Kept.TEXT
    assert kept(marked(text), text) in (Kept.TEXT, Kept.MARKED)
    assert kept(text.casefold(), text) in (Kept.TEXT, Kept.FOLDED)
    assert kept(text + " and more", text) is Kept.OTHER
