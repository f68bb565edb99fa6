"""The bytes that a score is divided by, and the text that its tokens decode to, document by document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.corpus.shards import split_documents
from harness.corpus.tokenbytes import SPACE, document_bytes
from harness.corpus.transformed import marks
from harness.record import Finding, Status, Value, Witness

CHECK = "byte-accounting"

#: Documents that are decoded and compared; all of them at smoke scale.
MAX_DOCUMENTS = 5000


@dataclass
class Account:
    """What is known of the bytes of a played stream.

    Attributes:
        evidence: where it is from.
        counted: int64 [documents], bytes that the score is divided by.
        chosen: documents that were decoded: whole ones without unknown tokens.
        texts: what their tokens decode to.
        metrics: numbers for the finding.
        not_covered: what was not looked at.
    """

    evidence: Evidence
    counted: NDArray[np.int64]
    chosen: NDArray[np.intp]
    texts: list[str]
    metrics: dict[str, Value]
    not_covered: list[str]

    @property
    def decoded(self) -> NDArray[np.int64]:
        """Bytes of each decoded text: int64 [chosen]."""
        return np.array([len(text.encode()) for text in self.texts], np.int64)

    @property
    def marks(self) -> int:
        """Private-use characters in all decoded texts."""
        return sum(map(marks, self.texts))

    @property
    def per_token(self) -> str:
        """Bytes and tokens in words."""
        total, tokens = int(self.counted.sum()), self.evidence.trace.tokens - 1
        return f"{total:,} bytes for {tokens:,} tokens ({total / tokens:.4f} per token)"

    def settle(
        self, status: Status, headline: str, witness: Witness | None = None, power: Mapping[str, Value] | None = None
    ) -> Finding:
        """A finding with everything that is known; `power` is what it would have seen, by default every byte."""
        seen: dict[str, Value] = {"documents_compared": self.metrics["documents_compared"]}
        seen |= power or {"smallest_error_per_document": 1}
        return finding(
            self.evidence,
            CHECK,
            status,
            headline,
            metrics=self.metrics,
            witness=witness,
            power=seen,
            not_covered=self.not_covered,
        )


def account_of(evidence: Evidence) -> Account:
    """Count and decode the whole documents of the played stream."""
    data = evidence.dataset
    stream = np.asarray(data.validation[: evidence.trace.tokens])
    sidecar = None if data.sidecar is None else data.sidecar[: len(stream)]
    documents = split_documents(stream, data.tokenizer.bos_id)
    counted = document_bytes(data.table, stream, data.tokenizer.bos_id, sidecar)
    unknown = data.tokenizer.processor.unk_id()
    readable = np.array([unknown not in document for document in documents], bool)
    cut = len(stream) < len(data.validation) and int(data.validation[len(stream)]) != data.tokenizer.bos_id
    whole_documents = len(documents) - cut  # half a document may end in half a character
    chosen = np.flatnonzero(readable[:whole_documents])[:MAX_DOCUMENTS]
    # A space that had to be spelled out in bytes decodes to SentencePiece's stand-in for it (issue #897).
    texts = [data.tokenizer.decode(documents[i]).replace(SPACE, " ") for i in chosen]
    total, tokens, whole = int(counted.sum()), len(stream) - 1, len(data.validation) - 1
    metrics: dict[str, Value] = {
        "bytes_per_token": total / tokens,
        "positions_scored": tokens,
        "bytes": total,
        "documents_compared": len(chosen),
        "documents_unknown": int((~readable).sum()),
        "bytes_decoded": sum(len(text.encode()) for text in texts),
        "private_use": sum(map(marks, texts)),
        "share_of_validation": tokens / whole,
    }
    by_table = counted if sidecar is None else document_bytes(data.table, stream, data.tokenizer.bos_id)
    metrics["bytes_by_table"] = int(by_table[chosen].sum())
    if sidecar is not None:
        metrics["bytes_by_sidecar"] = int(counted[chosen].sum())
    not_covered = [f"{warning}" for warning in data.table.warnings]
    if tokens < whole:
        not_covered.append(f"the score covers the first {tokens:,} of {whole:,} validation tokens")
    if not readable.all():
        not_covered.append(f"{int((~readable).sum()):,} documents hold unknown tokens, whose text is lost")
    if len(chosen) < int(readable[:whole_documents].sum()):
        not_covered.append(f"{int(readable[:whole_documents].sum()) - len(chosen):,} documents were not decoded")
    if cut:
        not_covered.append("the last document, which the played stream cuts short")
    return Account(evidence, counted, chosen, texts, metrics, not_covered)
