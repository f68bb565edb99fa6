"""data-split: is any validation document among the training documents?"""

from __future__ import annotations

import numpy as np

from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.corpus.overlap import RUN, word_runs
from harness.corpus.shards import read_shard, split_documents
from harness.record import Finding, Status, Witness

CHECK = "data-split"

#: Training tokens that are looked at; all of them at smoke scale.
MAX_TRAIN_TOKENS = 20_000_000
#: A validation document that shares this much of its runs of words with one training document is that document.
SAME = 0.5


def check(evidence: Evidence) -> Finding:
    """FAIL when a validation document is found in the training text, by its runs of 13 words."""
    data = evidence.dataset
    bos = data.tokenizer.bos_id
    validation = [
        data.tokenizer.decode(d) for d in split_documents(np.asarray(data.validation[: evidence.trace.tokens]), bos)
    ]
    runs = [word_runs(text) for text in validation]
    wanted = set().union(*runs) if runs else set()
    seen: set[str] = set()
    worst, worst_share, train_documents, train_tokens = -1, 0.0, 0, 0
    for shard in data.train_shards:
        if train_tokens >= MAX_TRAIN_TOKENS:
            break
        for document in split_documents(np.asarray(read_shard(shard)), bos):
            train_documents += 1
            train_tokens += len(document) + 1  # its BOS
            found = word_runs(data.tokenizer.decode(document)) & wanted
            seen |= found
            if len(found) < 3:
                continue
            for index, mine in enumerate(runs):
                share = len(mine & found) / len(mine) if mine else 0.0
                if share > worst_share:
                    worst, worst_share = index, share
    shared = sum(bool(mine & seen) for mine in runs)
    metrics = {
        "documents_overlapping": shared,
        "largest_overlap": worst_share,
        "validation_documents": len(validation),
        "train_documents": train_documents,
        "run_words": RUN,
    }
    power = {
        "train_share": min(1.0, train_tokens / max(1, data.train_tokens)),
        "smallest_overlap": RUN,
    }
    not_covered = ["paraphrases, and runs of fewer words"]
    if train_tokens < data.train_tokens:
        not_covered.append(f"{data.train_tokens - train_tokens:,} training tokens were not compared")
    if worst_share >= SAME:
        witness = Witness(
            kind="positions",
            summary=f"validation document {worst} stands in the training data ({worst_share:.0%} of its runs of words)",
            data={"document": worst, "share": worst_share, "text": validation[worst][:300]},
        )
        headline = f"validation document {worst} is in the training data ({worst_share:.0%} of its runs of {RUN} words)"
        return finding(
            evidence, CHECK, Status.FAIL, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip
    if not wanted or not train_documents:
        headline = "nothing could be compared: no run of words in the validation text, or no training document"
        return finding(
            evidence, CHECK, Status.INCONCLUSIVE, headline, metrics=metrics, power=power, not_covered=not_covered
        )
    headline = (
        f"none of {len(validation):,} validation documents is among {train_documents:,} training documents; "
        f"{shared:,} share a run of {RUN} words"
    )
    return finding(evidence, CHECK, Status.PASS, headline, metrics=metrics, power=power, not_covered=not_covered)
