"""byte-accounting: do the bytes that the loss is divided by belong to the text that was scored?

Where tokens stand for the text that they decode to, the tokenizer's table is compared with that text. Where they stand
for other text (case marks, a byte side-car), the original documents decide; see `original_bytes`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.audit import original_bytes
from harness.audit.account import CHECK, Account, account_of
from harness.audit.evidence import Evidence, finding
from harness.corpus.transformed import MARK_BYTES, Kept
from harness.record import Finding, Status, Witness


def check(evidence: Evidence) -> Finding:
    """Compare the bytes that count, document by document, with the text that the tokens stand for."""
    data = evidence.dataset
    if int(data.validation[0]) != data.tokenizer.bos_id:
        why = "the stream does not start with BOS, so no document could be compared with its text"
        return finding(evidence, CHECK, Status.INCONCLUSIVE, why, not_covered=[why])
    account = account_of(evidence)
    if not len(account.chosen):
        return account.settle(Status.INCONCLUSIVE, "no document could be compared with its text")
    if data.sidecar is None:
        if (wrong := account.chosen[account.counted[account.chosen] != account.decoded]).size:
            return _wrong_table(account, wrong)
        if MARK_BYTES * account.marks <= original_bytes.SLACK * account.decoded.sum():
            return _of_decoded_text(account)
    return original_bytes.judge(account)


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
    if other := len(found.where(Kept.OTHER)):
        account.metrics["documents_other_text"] = other
        account.not_covered.append(f"{other:,} documents whose tokens are other text than the documents beside them")
    return original_bytes.with_case(account, found, Status.PASS, f"{account.per_token}, {same}")
