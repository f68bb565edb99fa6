"""From evidence and findings to the record: the score, what it was made from, and what the checks said."""

from __future__ import annotations

import numpy as np

from harness.adapters.options import Options, played
from harness.adapters.payload import describe
from harness.adapters.training import Sealed, part_of
from harness.audit import recording
from harness.audit.evidence import Evidence
from harness.audit.recording import Ran, Terms
from harness.corpus.dataset import Dataset
from harness.corpus.shards import Tokens
from harness.errors import SubmissionError
from harness.folder import Folder
from harness.record import (
    ArtifactInfo,
    AuditInfo,
    Curve,
    DataInfo,
    Finding,
    Record,
    ReferenceBpb,
    Score,
    Status,
    SubmissionInfo,
)
from harness.referee.price import price
from harness.referee.trace import Trace
from harness.sandbox.protocol import Rows


def score_of(trace: Trace, dataset: Dataset) -> tuple[float, float, int, int]:
    """Loss in nats per token, BPB, tokens and bytes of the positions that were scored (first commits)."""
    positions = trace.scored
    charged = dataset.charged(positions)
    total = float(np.sum(trace.nll[positions], dtype=np.float64))
    size = int(charged.sum())
    if size == 0:
        raise SubmissionError("evaluation failed: the scored positions hold no bytes of text")
    return total / len(positions), total / (np.log(2) * size), len(positions), size


def nll_curve(trace: Trace, stretches: int = 160) -> Curve:
    """The loss along the stream: mean NLL of at most `stretches` runs of scored positions, as long as each other."""
    positions = trace.scored
    parts = [part for part in np.array_split(positions, min(stretches, len(positions))) if len(part)]
    means = [round(float(np.mean(trace.nll[part], dtype=np.float64)), 5) for part in parts]
    return Curve(x=[int(part[0]) for part in parts], y=means)


def record_of(
    folder: Folder,
    dataset: Dataset,
    sealed: Sealed,
    seed: int,
    evidence: Evidence,
    findings: list[Finding],
    options: Options,
    seconds: float,
) -> Record:
    """Put the record of one seed together and seal it with its digest; `seconds` is what the run took."""
    tokens = played(dataset, options.scale)
    loss, bpb, count, size = score_of(evidence.trace, dataset)
    sizes = evidence.sizes
    failed = {f.id for f in findings if f.status == Status.FAIL}
    # Hiding the future does not price validation text that is in the weights already.
    leaks = "causality" in failed and "artifact-independence" not in failed
    cost = price(evidence.probes) if leaks and Rows.REALISED not in evidence.trace.kinds else None
    ruleset = evidence.ruleset
    adapts = any(
        f.id == "score-before-update" and (f.value("update_groups") or f.value("state_changes")) for f in findings
    )
    return recording.build(
        SubmissionInfo(
            name=folder.metadata.name,
            path=recording.shown(folder.path),
            track=("B" if adapts else "A") if "score-before-update" in options.checks else None,
            author=folder.metadata.author,
            github_id=folder.metadata.github_id,
            sha256=folder.sha256,
            claims=folder.claims,
        ),
        findings,
        Terms(ruleset, options.strict, options.fail_on_incomplete),
        _data(dataset, tokens, count),
        scale=options.scale,
        seeds=[seed],
        score=Score(
            val_loss=loss,
            val_bpb=bpb,
            tokens=count,
            bytes=size,
            honest_bpb=cost.honest_bpb(bpb, count, size) if cost else None,
            per_seed=list(evidence.seeds),
            nll=nll_curve(evidence.trace),
        ),
        artifact=ArtifactInfo(
            sha256=sealed.sha256,
            bytes=sealed.bytes,
            payload=describe(sealed.path),
            code=dict(sizes.code),
            total={name: sealed.bytes + code for name, code in sizes.code.items()},
            convention=ruleset.limits.size_convention,
            limit=ruleset.limits.total_bytes,
            trained_by=None if sealed.given else part_of(folder).sha256,
            given=sealed.given,
        ),
        audit=None
        if evidence.audit_seed is None
        else AuditInfo(seed=evidence.audit_seed, chosen=evidence.chosen, depth=evidence.depth),
        ran=Ran(
            evidence.level,
            seconds,
            evidence.peak_bytes,
            {"seconds": options.limits.cpu_seconds, "memory_bytes": options.limits.memory_bytes},
            facts={
                "data_spec": options.data_spec,
                "resumed": sealed.resumed,
                "artifact": _origin(sealed, folder),
                "files_searched_for_text": evidence.at_hand.scanned_files if evidence.at_hand else 0,
                **({"ranks": evidence.ranks} if evidence.ranks > 1 else {}),
                **({"device": options.device} if options.device != "cpu" else {}),
            },
            clocks={"train": sealed.clocks, "evaluation": evidence.clocks.evaluation},
            timing={"training_curve": [[step, loss] for step, loss in sealed.curve]},
        ),
    )


def _origin(sealed: Sealed, folder: Folder) -> str:
    """Which code trained the artifact, in a sentence."""
    if sealed.given:
        return "given as a file; what trained it is not known"
    if not sealed.resumed:
        return "trained in this run"
    if sealed.trained_by in ("", folder.sha256):
        return "trained by an earlier run of the same code"
    return (
        f"trained by an earlier version of the folder (sha256 {sealed.trained_by}); what has changed since is used "
        "by the evaluation alone"
    )


def _data(dataset: Dataset, tokens: Tokens, scored: int) -> DataInfo:
    whole = len(dataset.validation)
    return DataInfo(
        name=dataset.name,
        sha256=dataset.sha256,
        vocab_size=dataset.vocab_size,
        tokenizer_sha256=dataset.tokenizer.sha256,
        documents=dataset.documents,
        tokens=whole,
        bytes=dataset.validation_bytes,
        scored_tokens=scored,
        train_tokens=dataset.train_tokens,
        facts={
            **dataset.facts,
            "played_tokens": len(tokens),
            "document_order": "drawn by the audit" if dataset.dealt else "as given",
        },
        reference_bpb=ReferenceBpb(unigram=dataset.reference_unigram_bpb, xz=dataset.reference_xz_bpb),
    )
