"""byte-accounting: do the bytes that the loss is divided by belong to the text that was scored?"""

from __future__ import annotations

import numpy as np

from harness.audit.evidence import Evidence, finding
from harness.corpus.shards import split_documents
from harness.corpus.tokenbytes import SPACE, document_bytes
from harness.record import Finding, Status, Witness

CHECK, RULE = "byte-accounting", "metric"

#: Documents that are decoded and compared; all of them at smoke scale.
MAX_DOCUMENTS = 5000


def check(evidence: Evidence) -> Finding:
    """Compare the byte table, document by document, with the bytes of the text that the tokens decode to."""
    data = evidence.dataset
    stream = np.asarray(data.validation[: evidence.trace.tokens])
    if int(stream[0]) != data.tokenizer.bos_id:
        why = "the stream does not start with BOS, so no document could be compared with its text"
        return finding(evidence, CHECK, RULE, Status.INCONCLUSIVE, why, not_covered=[why])
    documents = split_documents(stream, data.tokenizer.bos_id)
    counted = document_bytes(data.table, stream, data.tokenizer.bos_id)
    unknown = data.tokenizer.processor.unk_id()
    readable = np.array([unknown not in document for document in documents], bool)
    cut = len(stream) < len(data.validation) and int(data.validation[len(stream)]) != data.tokenizer.bos_id
    whole_documents = len(documents) - cut  # half a document may end in half a character
    chosen = np.flatnonzero(readable[:whole_documents])[:MAX_DOCUMENTS]
    # A space that had to be spelled out in bytes decodes to SentencePiece's stand-in for it (issue #897).
    texts = (data.tokenizer.decode(documents[i]).replace(SPACE, " ") for i in chosen)
    truth = np.array([len(text.encode()) for text in texts], np.int64)
    wrong = chosen[counted[chosen] != truth]
    checked = len(chosen)
    total, tokens = int(counted.sum()), len(stream) - 1
    whole = len(data.validation) - 1
    metrics = {
        "bytes per token": total / tokens,
        "scored tokens": tokens,
        "bytes": total,
        "documents compared": checked,
        "documents that differ": len(wrong),
        "documents with unknown tokens": int((~readable).sum()),
        "bytes by table": int(counted[chosen].sum()),
        "bytes of the decoded text": int(truth.sum()),
        "share of the validation set": tokens / whole,
    }
    not_covered = [f"{warning}" for warning in data.table.warnings]
    if tokens < whole:
        not_covered.append(f"the score covers the first {tokens:,} of {whole:,} validation tokens")
    if not readable.all():
        not_covered.append(f"{int((~readable).sum()):,} documents hold unknown tokens, whose text is lost")
    if checked < int(readable[:whole_documents].sum()):
        not_covered.append(f"{int(readable[:whole_documents].sum()) - checked:,} documents were not decoded")
    if cut:
        not_covered.append("the last document, which the played stream cuts short")
    power = {"documents compared": checked, "smallest visible error, bytes per document": 1}
    if data.texts is not None:
        raw = sum(len(text.encode()) for text in data.texts)
        metrics["bytes of the raw documents"] = raw
        not_covered.append(
            f"the tokenizer's normalisation: {raw:,} raw bytes in the validation set; BPB is over the normalised text"
        )
    if len(wrong):
        index = int(wrong[0])
        true = int(truth[np.flatnonzero(chosen == index)[0]])
        witness = Witness(
            kind="bytes",
            summary=f"document {index}: the table counts {counted[index]} bytes, its text has {true}",
            data={"document": index, "counted": int(counted[index]), "true": true},
        )
        off = int(counted[chosen].sum() - truth.sum())
        return finding(
            evidence,
            CHECK,
            RULE,
            Status.FAIL,
            f"the byte table is wrong for {len(wrong):,} of {checked:,} documents, {off:+,} bytes in all",
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=not_covered,
        )
    if not checked:
        return finding(
            evidence,
            CHECK,
            RULE,
            Status.INCONCLUSIVE,
            "no document could be compared with its text",
            metrics=metrics,
            power=power,
            not_covered=not_covered,
        )
    return finding(
        evidence,
        CHECK,
        RULE,
        Status.PASS,
        f"{total:,} bytes for {tokens:,} tokens ({total / tokens:.4f} per token), equal to the decoded text "
        f"in all {checked:,} documents compared",
        metrics=metrics,
        power=power,
        not_covered=not_covered,
    )
