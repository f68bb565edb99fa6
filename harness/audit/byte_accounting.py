"""byte-accounting: do the bytes that the loss is divided by belong to the text that was scored?

Where tokens stand for the text that they decode to, the tokenizer's table is compared with that text. Where they stand
for other text (case marks, a byte side-car), the original documents decide; see `original_bytes`. Where they are at
hand, documents -> tokens -> documents is asked: text that is folded together on the way has no code length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.audit import original_bytes
from harness.audit.account import CHECK, Account, account_of
from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.corpus.transformed import MARK_BYTES, Kept
from harness.record import Finding, Status, Witness


def check(evidence: Evidence) -> Finding:
    """Compare the bytes that count, document by document, with the text that the tokens stand for."""
    data = evidence.dataset
    if int(data.validation[0]) != data.tokenizer.bos_id:
        why = "the stream does not start with BOS, so no document could be compared with its text"
        return finding(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=[why])
    account = account_of(evidence)
    if (unpaid := _unknown_with_bytes(account)) is not None:
        return unpaid
    if not len(account.chosen):
        return account.settle(Status.INCONCLUSIVE, "no document could be compared with its text")
    if data.sidecar is None:
        if (wrong := account.chosen[account.counted[account.chosen] != account.decoded]).size:
            return _wrong_table(account, wrong)
        if MARK_BYTES * account.marks <= original_bytes.SLACK * account.decoded.sum():
            return _of_decoded_text(account)
    return original_bytes.judge(account)


def _unknown_with_bytes(account: Account) -> Finding | None:
    """A side-car that counts bytes for unknown tokens: one token stands for whatever is not in the vocabulary."""
    data = account.evidence.dataset
    if data.sidecar is None:
        return None
    stream = np.asarray(data.validation[: account.evidence.trace.tokens])
    counts = np.asarray(data.sidecar[: len(stream)], np.int64)
    unknown = np.flatnonzero(stream == data.tokenizer.processor.unk_id())
    size, total = int(counts[unknown].sum()), int(counts[1:].sum())
    if size <= original_bytes.SLACK * total:
        return None
    headline = (
        f"the side-car counts {size:,} of {total:,} bytes for unknown tokens, whose text does not come back: every "
        "character that the vocabulary has not is the same token"
    )
    first = int(unknown[np.argmax(counts[unknown])])
    witness = Witness(
        kind="bytes",
        summary=f"position {first:,} is an unknown token and counts {counts[first]} bytes",
        data={"position": first, "counted": int(counts[first]), "unknown": len(unknown)},
    )
    return account.settle(Status.FAIL, headline, witness, {"smallest_error": original_bytes.SLACK})


def _wrong_table(account: Account, wrong: NDArray[np.intp]) -> Finding:
    """The table disagrees with the text that the tokens decode to (B1 to B5)."""
    index = int(wrong[0])
    counted, truth = account.counted[account.chosen], account.decoded
    true = int(truth[np.flatnonzero(account.chosen == index)[0]])
    account.metrics["documents_differ"] = len(wrong)
    witness = Witness(
        kind="bytes",
        summary=f"document {index}: the table counts {account.counted[index]} bytes, its text has {true}",
        data={"document": index, "counted": int(account.counted[index]), "true": true},
    )
    off = int(counted.sum() - truth.sum())
    many, all_ = len(wrong), len(account.chosen)
    headline = f"the byte table is wrong for {many:,} of {all_:,} documents, {off:+,} bytes in all"
    return account.settle(Status.FAIL, headline, witness)


def _of_decoded_text(account: Account) -> Finding:
    """The table is right for the decoded text. Is that the documents' text?"""
    account.metrics["documents_differ"] = 0
    same = f"equal to the decoded text in all {len(account.chosen):,} documents compared"
    texts = account.evidence.dataset.texts
    if texts is None:
        account.not_covered.append(original_bytes.NO_DOCUMENTS)
        return account.settle(Status.PASS, f"{account.per_token}, {same}")
    raw = sum(len(text.encode()) for text in texts)
    account.metrics["bytes_raw"] = raw
    account.not_covered.append(
        f"the tokenizer's normalisation: {raw:,} raw bytes in the validation set; BPB is over the normalised text"
    )
    found = original_bytes.compared(account)
    if (gone := original_bytes.lossy(account, found)) is not None:
        return gone
    if other := len(found.where(Kept.OTHER)):
        account.metrics["documents_other_text"] = other
        account.not_covered.append(f"{other:,} documents whose tokens are other text than the documents beside them")
    return original_bytes.with_case(account, found, Status.PASS, f"{account.per_token}, {same}")
