"""proof: was a segment of the text decoded from the artifact and a code of the claimed length, and nothing else?"""

from __future__ import annotations

import math

from harness.audit.check import finding, not_run
from harness.audit.evidence import Evidence, ProofResult
from harness.record import Finding, Status, Value, Witness

CHECK = "proof"

#: A code may be longer than the NLL by this share, and by END_BITS for its end. The tests measure what it really takes.
SLACK = 0.01
END_BITS = 16.0


def check(evidence: Evidence) -> Finding:
    """PASS when every token came back from a code as short as the score says; see `conclude` for the rest."""
    proof = evidence.proof
    if proof is None:
        return not_run(evidence, CHECK, "no proof was asked for: `harness prove SUBMISSION` makes one")
    status, headline = conclude(proof, evidence.tolerance)
    claimed = evidence.trace.nll[proof.begin + 1 : proof.begin + proof.tokens + 1]
    if status == Status.PASS and not math.isclose(float(claimed.sum()), proof.nll, rel_tol=1e-9, abs_tol=1e-9):
        status = Status.INCONCLUSIVE
        headline = "the segment decodes, but from other rows than those of the scored run: it is not that score's proof"
    bits = proof.nll / math.log(2)
    metrics: dict[str, Value] = {
        "segment_tokens": proof.tokens,
        "first_position": proof.begin + 1,
        "tokens_back": proof.decoded,
        "text_bytes": proof.text_bytes,
        "code_bits": proof.coded_bits,
        "nll_bits": bits,
        "code_over_nll": proof.coded_bits / bits if bits else None,
        "code_bpb": proof.coded_bits / proof.text_bytes if proof.text_bytes else None,
        "rows_compared": proof.compared,
        "first_difference": proof.first_changed,
    }
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        witness=_witness(proof) if status == Status.FAIL else None,
        power={"tokens_decoded": proof.decoded, "share_of_scored": len(evidence.trace.scored)},
        not_covered=[
            f"all positions but {proof.begin + 1:,} to {proof.begin + proof.tokens:,}",
            "what the artifact knows of the validation text: a stored text decodes too",
            "what normalisation took from the documents before they were tokens",
        ],
    )


def conclude(proof: ProofResult, tolerance: float = 0.0) -> tuple[Status, str]:
    """What a proof says, in one sentence.

    FAIL when a token did not come back, or the code is longer than the NLL allows (rows that sum to more than 1).
    INCONCLUSIVE when the submission broke, or when rows differ by what two equal runs differ by, or were committed out
    of stream order: then they may legally depend on text that a decoder from left to right does not have.

    Args:
        proof: what coding and decoding showed.
        tolerance: difference of log-probabilities, nats, that is noise.
    """
    bits = proof.nll / math.log(2)
    if proof.error is not None:
        return Status.INCONCLUSIVE, f"{proof.decoded:,} of {proof.tokens:,} tokens decoded, then: {proof.error}"
    if proof.wrong is not None or proof.decoded < proof.tokens:
        where = f"decoding went astray at token {proof.decoded + 1:,} of {proof.tokens:,}"
        if not proof.in_order:
            return Status.INCONCLUSIVE, f"{where}; its rows are committed out of stream order, which a decoder cannot"
        if proof.first_changed is not None and proof.change is not None and proof.change <= tolerance:
            return Status.INCONCLUSIVE, f"{where}; its rows differ by no more than those of two equal runs"
        return Status.FAIL, f"{where}: rows depend on text that a decoder does not have"
    if proof.coded_bits > (1 + SLACK) * bits + END_BITS:
        return Status.FAIL, (
            f"the text comes back, but from {proof.coded_bits:,} bits, and the score claims {bits:,.0f}: "
            f"the rows are no distributions"
        )
    return Status.PASS, (
        f"{proof.tokens:,} tokens ({proof.text_bytes:,} bytes of text) came back from a code of {proof.coded_bits:,} "
        f"bits; the score claims {bits:,.1f}"
    )


def _witness(proof: ProofResult) -> Witness:
    if proof.wrong is None:
        summary = f"a code of {proof.coded_bits:,} bits for an NLL of {proof.nll:.3f} nats"
        data = {"tokens": proof.tokens, "begin": proof.begin, "nll": proof.nll}
        return Witness(kind="proof", summary=summary, data=data)
    position, token, instead, before, after = proof.wrong
    given = f"{before:.4f}" if before is not None else "infinite"
    honest = f"{after:.4f}" if after is not None else "infinite"
    return Witness(
        kind="proof",
        summary=f"token {token} at position {position}: NLL {given} with the text at hand, {honest} without",
        data={
            "tokens": proof.tokens,
            "begin": proof.begin,
            "position": position,
            "token": token,
            "decoded": instead,
            "nll_coded": before,
            "nll_decoded": after,
            "first_row_that_differs": proof.first_changed,
            "change": proof.change,
        },
    )
