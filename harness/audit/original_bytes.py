"""Bytes of original documents, where tokens stand for other text than they decode to: case marks, byte side-cars.

The documents decide, where they lie beside the data: a document may count at most its own bytes (raw, or as the
tokenizer normalises it, whichever is more). Without them there is one weaker thing to compare with: the decoded text
without its marks, which is what a pure change of letter case leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.audit.account import Account
from harness.audit.practices import Seen, ruled
from harness.corpus.lossless import Folded, lost
from harness.corpus.shards import split_documents
from harness.corpus.transformed import MARK_BYTES, Kept, bounds, kept, marks
from harness.record import Finding, Status, Value, Witness

#: Errors up to this share of all bytes are named and not held against anybody. Correct counts of the contest's
#: validation text differ by 0.007 % (151,072,458 to 151,083,091 bytes are in use); marks taken for text make 8.9 %.
SLACK = 0.0005

#: From this share of documents on, lost letter case is what the data is like, and no accident of a few.
FOLDED = 0.01

OTHER_DOCUMENTS = "the original documents: those beside the data are other text than the tokens, every one of them"
NO_DOCUMENTS = "the original documents, which are not at hand: bytes are compared with what the tokens decode to"


@dataclass(frozen=True)
class Compared:
    """What the tokens of each chosen document have kept of it; bytes that it may count at least and at most.

    Attributes:
        kept: one for each chosen document.
        folded: chosen documents, by index, whose text does not come back from their tokens, letter case aside.
        low: int64 [chosen].
        high: int64 [chosen].
    """

    kept: list[Kept]
    folded: dict[int, Folded]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def where(self, what: Kept) -> NDArray[np.intp]:
        """Indices into the chosen documents."""
        return np.flatnonzero([one is what for one in self.kept])


def compared(account: Account) -> Compared:
    """Hold decoded texts against the documents beside the data; those beyond the documents at hand are other text."""
    data = account.evidence.dataset
    texts = data.texts or ()
    found, limits = [], []
    folded: dict[int, Folded] = {}
    pieces = split_documents(np.asarray(data.validation[: account.evidence.trace.tokens]), data.tokenizer.bos_id)
    for at, (index, text) in enumerate(zip(account.chosen, account.texts, strict=True)):
        original = texts[index] if index < len(texts) else None
        found.append(Kept.OTHER if original is None else kept(text, original))
        limits.append((0, 0) if original is None else bounds(data.tokenizer, original))
        if original is not None and found[-1] is Kept.OTHER and not marks(text):
            tokens = [int(token) for token in pieces[index] if token != data.tokenizer.bos_id]
            if (one := lost(data.tokenizer.processor, original, tokens, text)) is not None:
                folded[at] = one
    low, high = np.array(limits, np.int64).reshape(-1, 2).T
    return Compared(found, folded, low, high)


def lossy(account: Account, found: Compared) -> Finding | None:
    """FAIL where documents are lost in their tokens, and not a few by accident; None elsewhere.

    Bytes may be exact all the same, by table or by side-car: they are then those of a text that was not scored.
    """
    account.metrics["documents_lost"] = len(found.folded)
    if len(found.folded) < max(1.0, FOLDED * len(found.kept)):
        return None
    at, first = next(iter(found.folded.items()))
    headline = (
        f"the text of {len(found.folded):,} of {len(found.kept):,} documents does not come back from their tokens: "
        "another text has the same, so that the number is no code length"
    )
    document = int(account.chosen[at])
    witness = Witness(
        kind="bytes",
        summary=f"document {document} begins {first.document[:60]!r} and comes back as {first.decoded[:60]!r}, which "
        "has the same tokens",
        data={"index": document, **first.data},
    )
    return account.settle(Status.FAIL, headline, witness)


def judge(account: Account) -> Finding:
    """Compare with the documents where they are at hand, else with the decoded text without its marks."""
    account.metrics["bytes_of_marks"] = MARK_BYTES * account.marks
    beside = _beside(account)
    found = compared(account)
    if (gone := lossy(account, found)) is not None:
        return gone
    same = np.flatnonzero([one is not Kept.OTHER for one in found.kept])
    if account.evidence.dataset.texts is not None:
        account.metrics["documents_other_text"] = len(found.kept) - len(same)
    if not len(same):
        return _without_documents(account, beside)
    counted = account.counted[account.chosen][same]
    low, high = found.low[same], found.high[same]
    excess, missing = np.maximum(counted - high, 0), np.maximum(low - counted, 0)
    account.metrics |= {
        "documents_compared": len(same),
        "bytes_original": int(high.sum()),
        "bytes_too_many": int(excess.sum()),
        "bytes_not_counted": int(missing.sum()),
    }
    seen = {"smallest_error": SLACK}
    if excess.sum() > SLACK * high.sum():
        what = "side-car" if account.evidence.dataset.sidecar is not None else "table, which takes marks for text,"
        headline = (
            f"the {what} counts more than the original text in {int((excess > 0).sum()):,} of {len(same):,} documents: "
            f"{int(excess.sum()):+,} bytes ({excess.sum() / high.sum():+.2%}){beside}"
        )
        worst = int(np.argmax(excess))
        return account.settle(Status.FAIL, headline, _witness(account, same[worst], high[worst]), seen)
    if missing.sum() > SLACK * low.sum():
        headline = f"{int(missing.sum()):,} bytes of the original text are not counted: the score is too high{beside}"
        worst = int(np.argmax(missing))
        return account.settle(Status.FAIL, headline, _witness(account, same[worst], low[worst]), seen)
    few = 2 * len(same) < len(account.chosen)
    if len(same) < len(account.chosen):
        unlike = len(account.chosen) - len(same)
        account.not_covered.append(f"{unlike:,} documents whose tokens are other text than the documents beside them")
    headline = f"{account.per_token}, those of the original text in {len(same):,} of {len(account.chosen):,} documents"
    return with_case(account, found, Status.INCONCLUSIVE if few else Status.PASS, headline + beside, seen)


def with_case(
    account: Account, found: Compared, status: Status, headline: str, power: Mapping[str, Value] | None = None
) -> Finding:
    """The finding on right bytes, unless the documents' letter case is lost, which no ruling allows or forbids (B7)."""
    folded = found.where(Kept.FOLDED)
    account.metrics["documents_without_case"] = len(folded)
    if len(folded):
        account.not_covered.append(f"{len(folded):,} documents that do not come back with their letter case")
    texts = account.evidence.dataset.texts
    if status is not Status.PASS or texts is None or len(folded) < FOLDED * len(found.kept):
        return account.settle(status, headline, power=power)
    first = int(folded[0])
    document = int(account.chosen[first])
    witness: Witness | None = Witness(
        kind="bytes",
        summary=f"document {document} does not come back with its letter case",
        data={"document": document, "decoded": account.texts[first][:200], "original": texts[document][:200]},
    )
    lost = f"letter case is lost in {len(folded):,} of {len(found.kept):,} documents: what is scored is folded text"
    status, said, witness = ruled(account.evidence.ruleset, [Seen("letter_case", lost)], witness)
    return account.settle(status, said if status != Status.PASS else f"{headline}; {said}", witness, power)


def _beside(account: Account) -> str:
    """How table and side-car differ, in words."""
    by_table, count = int(account.metrics["bytes_by_table"]), int(account.counted[account.chosen].sum())  # type: ignore[arg-type]
    if account.evidence.dataset.sidecar is None or by_table == count:
        return ""
    off = by_table / max(1, count) - 1
    account.metrics["table_over_sidecar"] = off
    of_marks = f"{MARK_BYTES * account.marks:,} of them marks"
    return f"; the tokenizer's table would count {by_table:,} ({off:+.2%}), {of_marks}"


def _without_documents(account: Account, beside: str) -> Finding:
    unlike = account.evidence.dataset.texts is not None
    account.not_covered.append(OTHER_DOCUMENTS if unlike else NO_DOCUMENTS)
    counted = int(account.counted[account.chosen].sum())
    stripped = int(account.decoded.sum()) - MARK_BYTES * account.marks
    account.metrics["bytes_without_marks"] = stripped
    off = counted / max(1, stripped) - 1
    seen = {"smallest_error": SLACK}
    if account.evidence.dataset.sidecar is None:
        headline = (
            f"{account.marks:,} private-use characters count {MARK_BYTES} bytes each ({off:+.2%}): if they mark letter "
            "case the count is too high, and no documents could decide"
        )
        return account.settle(Status.INCONCLUSIVE, headline, power=seen)
    if abs(off) <= SLACK and not unlike:
        account.not_covered.append("that the tokens stand for the documents, and that marks change letter case alone")
        headline = f"{account.per_token}, {off:+.3%} from the decoded text without its marks{beside}"
        return account.settle(Status.PASS, headline, power=seen)
    headline = (
        f"the side-car counts {counted:,} bytes, the decoded text without its marks has {stripped:,} ({off:+.2%}), and "
        f"no documents could decide{beside}"
    )
    return account.settle(Status.INCONCLUSIVE, headline, power=seen)


def _witness(account: Account, index: int, true: int) -> Witness:
    document, text = int(account.chosen[index]), account.texts[index]
    counted, true = int(account.counted[document]), int(true)
    return Witness(
        kind="bytes",
        summary=f"document {document}: {counted} bytes are counted, the original has {true}; {marks(text)} marks",
        data={"document": document, "counted": counted, "true": true, "marks": marks(text), "decoded": text[:200]},
    )
