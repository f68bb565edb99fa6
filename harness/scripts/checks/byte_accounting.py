"""byte-accounting: the bytes that the printed BPB implies, against the true bytes of the targets that were scored.

A BPB is total nats / log 2 / total bytes; with the loss beside it, the bytes per token can be solved for. The harness
made the text, so the true number is known. At this size only the arithmetic is judged: the submission's own tokenizer
and the real text are the evidence part's business. And the losses have to be those of the text: a target that is
charged for another token than the stream has there, or for one that stands nowhere in it, is not of that text (see
`own_token`).
"""

from __future__ import annotations

from harness.audit.single_pass import judge
from harness.record import Finding, Status, Value, Witness
from harness.scripts.checks import own_token
from harness.scripts.checks.evidence import ScriptEvidence, found
from harness.scripts.checks.followed import MATCH
from harness.scripts.checks.implied import UNCHARGED, implied
from harness.scripts.checks.own_token import OwnTokens
from harness.scripts.checks.single_pass import scoring_of

CHECK = "byte-accounting"


def check(evidence: ScriptEvidence) -> Finding:
    """PASS on the true bytes, FAIL on those of a known mistake, INCONCLUSIVE, with both numbers, on any others."""
    if evidence.token_bytes is None:
        return found(
            evidence,
            CHECK,
            Status.NOT_RUN,
            "the true bytes of the stream are not known",
            not_covered=["the bytes behind the BPB"],
        )
    charged = own_token.look(evidence)
    if charged is not None and charged.wrong:
        return _other_tokens(evidence, charged)
    seen = implied(evidence)
    if seen is None:
        return found(
            evidence,
            CHECK,
            Status.INCONCLUSIVE,
            "no line shows the headline pass's loss and BPB together",
            not_covered=["the bytes behind the BPB"],
        )
    metrics: dict[str, Value] = {
        "implied_bytes_per_token": seen.implied,
        "true_bytes_per_token": seen.true,
        "ratio": seen.implied / seen.true if seen.true else None,
        "tokens": seen.tokens,
    }
    if charged is not None:
        metrics["targets_with_token"] = charged.known
    power: dict[str, Value] = {"smallest_difference": seen.room}
    not_covered = [
        "the submission's own tokenizer and the real validation text (claims and byte-accounting of the evidence)",
        "normalisation of the text before it was tokenised",
    ]

    def conclude(status: Status, headline: str, witness: Witness | None = None) -> Finding:
        return found(
            evidence, CHECK, status, headline, metrics=metrics, witness=witness, power=power,
            not_covered=not_covered,
        )  # fmt: skip

    said = f"the printed BPB implies {seen.implied:.4f} bytes per token"
    if seen.near(seen.true):
        return conclude(Status.PASS, f"{said}; the text has {seen.true:.4f}")
    if seen.near(seen.sidecar):
        return conclude(Status.PASS, f"{said}, which is what the side-car promises")
    name = seen.mistake
    if name == UNCHARGED and not _left_out(evidence):
        return conclude(
            Status.INCONCLUSIVE,
            f"{said}, the text that was scored has {seen.true:.4f}: {name}, which at full size may be next to none",
        )
    if name is not None:
        witness = Witness(
            kind="bytes",
            summary=f"{seen.tokens:,} tokens of {seen.true:.4f} bytes on average count as {seen.implied:.4f}: {name}",
            data={"implied": seen.implied, "true": seen.true, "mistake": seen.mistakes[name], "line": seen.line.text},
        )
        return conclude(Status.FAIL, f"{said}, the text has {seen.true:.4f}: {name}", witness)
    return conclude(Status.INCONCLUSIVE, f"{said}, the text has {seen.true:.4f}; no known mistake explains it")


def _left_out(evidence: ScriptEvidence) -> bool:
    """Whether targets are left out that accepted records score; at this size the end of a text looms large."""
    main = evidence.main
    if main is None:
        return False
    return judge(scoring_of(evidence, main)[0], evidence.ruleset)[0] == Status.FAIL


def _other_tokens(evidence: ScriptEvidence, charged: OwnTokens) -> Finding:
    """Losses of another text than the stream's; an accusation where the printed loss is made of them."""
    main = evidence.main
    shown = main is not None and (main.printed is not None or main.error <= MATCH)
    headline = f"{charged.said()}: the text does not come back from what is charged for"
    return found(
        evidence,
        CHECK,
        Status.FAIL if shown else Status.INCONCLUSIVE,
        headline if shown else f"{headline}; but the printed loss is not made of these charges alone",
        metrics={
            "targets_with_token": charged.known,
            "targets_of_other_tokens": len(charged.position),
            "targets_nowhere": len(charged.foreign),
        },
        witness=charged.witness() if shown else None,
        power={"targets_with_token": charged.known},
        not_covered=["the bytes behind the BPB: the losses are not those of the text"],
    )
