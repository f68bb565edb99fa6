"""Records of runs that never happened, one per verdict, for the tests of every view."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

from harness.record import (
    ArtifactInfo,
    Curve,
    DataInfo,
    Finding,
    HarnessInfo,
    Metric,
    Record,
    ReferenceBpb,
    RulesetInfo,
    Score,
    SeedScore,
    Status,
    SubmissionInfo,
    Witness,
    exit_code_of,
    verdict_of,
)

RULES = {
    "C1": "The distribution for a token depends on the artifact and on the tokens before it, and on nothing else.",
    "C2": "Every distribution sums to one over the real vocabulary, whichever token is realised.",
    "size": "Code and compressed model together are at most 16,000,000 bytes (decimal).",
}


def scored(name: str, seeds: list[float], *, track: str = "A", status: Status = Status.PASS, **changes: Any) -> Record:
    """A record at record scale with a score for each seed, its only finding of that status."""
    made = Finding(id="causality", rule="C1", title="No row knows the future", status=status, headline="as it says")
    mean, plain = sum(seeds) / len(seeds), record([made])
    assert plain.score
    per_seed = [
        SeedScore(seed=n, val_loss=bpb * 2.2, val_bpb=bpb, artifact_sha256=sha("b"), artifact_bytes=9)
        for n, bpb in enumerate(seeds, 1)
    ]
    score = {"val_loss": mean * 2.2, "val_bpb": mean, "per_seed": per_seed}
    submission = {"name": name, "track": track, "sha256": hashlib.sha256(name.encode()).hexdigest()}
    fields: dict[str, Any] = {
        "scale": "record",
        "seeds": [seed.seed for seed in per_seed],
        "score": plain.score.model_copy(update=score),
        "submission": plain.submission.model_copy(update=submission),
    }
    return record([made], **{**fields, **changes})


def sha(letter: str) -> str:
    return letter * 64


def record(findings: list[Finding], **changes: Any) -> Record:
    """A sealed record of a smoke run with these findings; `changes` replace its fields."""
    verdict = verdict_of(findings)
    fields: dict[str, Any] = {
        "verdict": verdict,
        "exit_code": exit_code_of(verdict),
        "harness": HarnessInfo(version="0.1.0", commit="0a1b2c3d4e5f", dirty=False),
        "ruleset": RulesetInfo(name="2026-04-28", title="Rules as of 28 April 2026", sha256=sha("c")),
        "submission": SubmissionInfo(
            name="causal_slot",
            path="submissions/causal_slot",
            track="B",
            author="A. Golfer",
            github_id="agolfer",
            sha256=sha("a"),
            claims={"val_bpb": 1.0846, "bytes_total": 15_994_604, "seeds": [1337, 42, 2025], "date": "2026-04-04"},
            settings={"window": {"length": 256, "stride": 64}, "slot": {"steps": 16, "lr": 0.008, "shared": True}},
        ),
        "scale": "smoke",
        "seeds": [1337],
        "data": DataInfo(
            name="stdlib",
            sha256=sha("d"),
            vocab_size=1024,
            tokenizer_sha256=sha("e"),
            documents=412,
            tokens=32_768,
            bytes=104_211,
            scored_tokens=32_767,
            train_tokens=812_345,
            facts={"train_bytes": 2_934_112, "python": "3.11"},
            reference_bpb=ReferenceBpb(unigram=3.3127, xz=2.7713),
        ),
        "score": Score(
            val_loss=3.71234,
            val_bpb=1.684021,
            tokens=32_767,
            bytes=104_211,
            nll=Curve(x=list(range(1, 32_001, 200)), y=_walk(3, 3.7)[:160]),
            per_seed=[
                SeedScore(
                    seed=1337, val_loss=3.71234, val_bpb=1.684021, artifact_sha256=sha("b"), artifact_bytes=812_345
                )
            ],
        ),
        "artifact": ArtifactInfo(
            sha256=sha("b"),
            bytes=812_345,
            payload={
                "compressor": "brotli",
                "tensors": 74,
                "bytes": 931_072,
                "groups": [
                    {"name": "blocks.mlp", "tensors": 36, "bits": 6, "bytes": 800_000},
                    {"name": "embedding", "tensors": 2, "bits": 8, "bytes": 131_072},
                ],
            },
            code={"shipped": 9_120, "wrapped": 3_871},
            total={"shipped": 821_465, "wrapped": 816_216},
            limit=16_000_000,
        ),
        "findings": findings,
        "clocks": {
            "train": {"loop": 24.81, "quantize": 0.4, "touches training data": 27.93},
            "evaluation": {"loop": 9.41, "from process start": 11.02},
        },
        "environment": {
            "python": "3.11.7",
            "torch": "2.13.0",
            "device": "cpu",
            "cores": 2,
            "sandbox": {"backend": "native", "network": False},
        },
        "timing": {"started": "2026-04-28T12:00:00Z", "seconds": 61.2},
    }
    return Record(**{**fields, **changes}).sealed()


def passing() -> Record:
    return record(_clean())


def failing() -> Record:
    made = _clean()
    made[1] = causality()
    made[2] = Finding(
        id="normalization",
        rule="C2",
        title="Rows sum to one",
        status=Status.INCONCLUSIVE,
        headline="the worst row sums to 1.0000021, between the two tolerances",
        metrics=numbers(worst_row_sum=1.0000021, rows=32_767),
        not_covered=["rows that were never committed"],
    )
    gaps = [[2000 * k + 100, round(0.4 + 0.1 * math.sin(k), 4)] for k in range(16)]
    score = {"honest_bpb": {"estimate": 1.9013, "low": 1.8921, "high": 1.9105, "positions": 16, "gaps": gaps}}
    clean = record(made)
    assert clean.score
    return record(made, score=clean.score.model_copy(update=score))


def unruled() -> Record:
    made = _clean()
    made[5] = Finding(
        id="null-stream",
        rule="C1",
        title="Nobody beats the entropy",
        status=Status.UNRULED,
        headline="adapts on context only; whether that is allowed was never decided",
        metrics=numbers(saving_nats=-312.4),
        remedy="Ask for a ruling before claiming a record with it.",
    )
    return record(made)


def inconclusive() -> Record:
    made = _clean()
    made[1] = Finding(
        id="causality",
        rule="C1",
        title="No row knows the future",
        status=Status.INCONCLUSIVE,
        headline="6 of 24 probes moved no row at all, so they had no teeth",
        metrics=numbers(probes=24, without_control=6),
        figures={"leak_matrix": flips(leak=False)},
    )
    made.append(
        Finding(
            id="proof",
            rule="C1",
            title="Proof by decompression",
            status=Status.NOT_RUN,
            headline="no proof was asked for: `harness prove SUBMISSION` makes one",
        )
    )
    return record(made)


def unscored() -> Record:
    broken = Finding(
        id="determinism",
        rule="",
        title="Same stream, same rows",
        status=Status.ERROR,
        headline="the box could not be built",
    )
    return record([broken], score=None, artifact=None, data=passing().data.model_copy(update={"documents": None}))


def causality() -> Finding:
    """A failing flip test with everything that a finding can carry."""
    return Finding(
        id="causality",
        rule="C1",
        title="No row knows the future",
        status=Status.FAIL,
        headline="a row changes when a later token is replaced: 31 of 48 probes leak, up to 1,984 tokens back",
        metrics=numbers(leaking_probes=31, probes=48, reach_tokens=1984, largest_change_nats=0.7744),
        witness=Witness(
            kind="suffix",
            summary="Replacing everything from position 4,160 on moves 12 rows before it, the earliest at 4,097.",
            data={
                "position": 4160,
                "old_text": " return",
                "new_text": "\nclass",
                "context_before": "If the object is not found, the function will",
                "context_after": " None and the caller decides what to do about it.",
                "affected": [
                    {"position": 4097 + 4 * k, "before": 3.1 + 0.01 * k, "after": 2.9 - 0.02 * k} for k in range(16)
                ],
                "seed": 1337,
                "tokens": [17, 233, 5],
            },
        ),
        power=numbers(probes=48, positions_covered=0.31, smallest_visible_nats=1e-9),
        not_covered=["other ranks than the first", "documents shorter than one window"],
        remedy="Give every window its own delta, and fit it only on tokens that are already scored.",
        figures={
            "leak_matrix": flips(leak=True),
            "price": {
                "type": "bars",
                "title": "Price of the leak",
                "unit": "BPB",
                "bars": [
                    {"label": "as submitted", "value": 1.684, "limit": None, "status": "FAIL"},
                    {"label": "future hidden", "value": 1.9013, "limit": None, "status": None},
                ],
            },
            "nll": {
                "type": "line",
                "title": "Loss along the stream",
                "x_label": "stream position",
                "y_label": "nats per token",
                "series": [
                    {"label": "as submitted", "x": list(range(0, 32_000, 40)), "y": _walk(1, 3.7)},
                    {"label": "future hidden", "x": list(range(0, 32_000, 40)), "y": _walk(2, 4.1)},
                ],
            },
            "order": {
                "type": "timeline",
                "title": "Order of reads, commits and updates",
                "events": [
                    event
                    for k in range(24)
                    for event in (
                        {"kind": "read", "start": 64 * k, "end": 64 * k + 256, "order": 3 * k},
                        {"kind": "update", "start": 64 * k, "end": 64 * k + 256, "order": 3 * k + 1},
                        {"kind": "commit", "start": 64 * k + 192, "end": 64 * k + 256, "order": 3 * k + 2},
                    )
                ],
            },
            "shares": {"type": "pie", "title": "A type that nobody knows", "parts": {"leak": 31, "clean": 17}},
        },
    )


def flips(*, leak: bool, probes: int = 24) -> dict[str, Any]:
    """A flip matrix whose probes move later rows, and earlier ones where `leak`."""
    rng = random.Random(7)
    out = []
    for index in range(probes):
        t = 64 + index * 1300
        status = "no-control" if index % 9 == 8 else "leak" if leak and index % 3 else "clean"
        back = [t - rng.randrange(0, 1900) for _ in range(14)] if status == "leak" else []
        ahead = [] if status == "no-control" else [t + 1 + int(1.35**k) for k in range(rng.randrange(8, 28))]
        changed = [[position, round(rng.gauss(0, 0.2), 4)] for position in sorted(back) + ahead if position >= 0]
        out.append({"position": t, "kind": "swap" if index % 2 else "suffix", "status": status, "changed": changed})
    return {"type": "flips", "title": "Which rows move when a token changes", "tokens": 32_768, "probes": out}


def _walk(seed: int, level: float) -> list[float]:
    rng = random.Random(seed)
    values = []
    for _ in range(800):
        level += rng.gauss(0, 0.03)
        values.append(level)
    return values


def numbers(**values: Any) -> list[Metric]:
    """Made-up numbers of a finding, labelled by their ids."""
    return [Metric(id=name, value=value, unit="1", label=name.replace("_", " ")) for name, value in values.items()]


def _clean() -> list[Finding]:
    def ok(name: str, rule: str, title: str, headline: str, status: Status = Status.PASS, **metrics: Any) -> Finding:
        return Finding(id=name, rule=rule, title=title, status=status, headline=headline, metrics=numbers(**metrics))

    return [
        ok("determinism", "-", "Same stream, same rows", "two runs agree to the last bit", noise_nats=0.0, runs=2),
        ok("causality", "C1", "No row knows the future", "no row moved in 48 probes", probes=48, leaking_probes=0),
        ok("normalization", "C2", "Rows sum to one", "every row sums to 1 within 3e-7", worst_deviation=2.9e-7),
        ok("score-before-update", "C3", "Scored before it is learned", "no update used an unscored token", updates=512),
        ok("single-pass", "C4", "One pass, in order", "every position scored once, in order", positions=32_767),
        ok("null-stream", "C1", "Nobody beats the entropy", "lost 212.4 nats on a null stream", saving_nats=-212.4),
        ok("artifact-independence", "V1", "The artifact does not know the text", "same bytes on other text", runs=2),
        ok("size-limit", "size", "Artifact size", "821,465 of 16,000,000 bytes", bytes=821_465, limit=16_000_000),
        ok(
            "train-clock",
            "clock",
            "Training time",
            "not on the reference hardware",
            Status.NOT_APPLICABLE,
            limit_seconds=600.0,
        ),
    ]
