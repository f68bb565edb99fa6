"""A linted folder as a record of kind "evidence": the same schema as a run's, with nothing measured in it."""

from __future__ import annotations

import hashlib

from harness import __version__
from harness.record import DataInfo, HarnessInfo, Record, RulesetInfo, SubmissionInfo
from harness.rules import Ruleset
from harness.scripts.evidence.linting import Linted

_NOTHING = hashlib.sha256(b"").hexdigest()


def record_of(linted: Linted, ruleset: Ruleset, *, strict: bool = False, fail_on_incomplete: bool = False) -> Record:
    """The record. Its score is None and its data section says that nothing was opened: all numbers are claims."""
    claims, case = linted.claims, linted.case
    tokens = [int(run.val_tokens.value) for run in case.headline.runs if run.val_tokens]
    seeds = {int(run.seed.value) for run in case.headline.runs if run.seed}
    vocab = next((int(v) for run in case.runs if (v := run.settings.get("vocab_size", "")).isdigit()), 0)
    return Record(
        verdict=linted.verdict,
        exit_code=linted.decision.exit_code(strict=strict, fail_on_incomplete=fail_on_incomplete),
        answers=linted.decision.answers,
        harness=HarnessInfo(version=__version__),
        ruleset=RulesetInfo.of(ruleset),
        submission=SubmissionInfo(
            name=claims.name or linted.path.resolve().name,
            path=linted.path.name,
            kind="evidence",
            author=claims.author or None,
            github_id=claims.github_id or None,
            sha256=case.papers.sha256,
            claims=claims.model_dump(mode="json", exclude_none=True),
            settings=linted.facts,
        ),
        scale="record" if case.record else "non-record",
        seeds=sorted(seeds),
        data=DataInfo(
            name="not opened; token counts are those of the logs",
            sha256=_NOTHING,
            vocab_size=vocab,
            tokenizer_sha256=_NOTHING,
            tokens=max(tokens, default=0),
            scored_tokens=0,
            train_tokens=0,
        ),
        findings=linted.findings,
    ).sealed()
