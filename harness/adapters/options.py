"""How a run is to be done: scale, checks, rules, limits; and which part of the validation stream a scale plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness import rules
from harness.audit.checks import select
from harness.audit.evidence import PreviousRecord
from harness.corpus.dataset import DEFAULT, Dataset
from harness.corpus.shards import Tokens
from harness.record import Depth, Device, NullSource, SeedScore
from harness.rules import Ruleset
from harness.sandbox.outcome import BACKSTOP, Limits, Sandbox


@dataclass(frozen=True)
class Plan:
    """What an audit of some depth makes.

    Attributes:
        own_rows: positions at which a token is to be replaced and its own row compared. A leak at a share s of the
            positions meets none of n with probability (1 - s)^n.
        runs: evaluations that are lied to from their start and never split, at most.
        splits: flips in processes that are split off, at the edges that the trace of the scored run shows.
        whole_rows: rows of which every token's probability is asked for, where only realised ones are claimed.
        priced: positions at which a leak is priced, where one was found.
    """

    own_rows: int
    runs: int
    splits: int
    whole_rows: int
    priced: int


PLANS: dict[Depth, Plan] = {
    "quick": Plan(own_rows=24, runs=2, splits=8, whole_rows=1, priced=16),
    "standard": Plan(own_rows=300, runs=8, splits=12, whole_rows=1, priced=64),
    "deep": Plan(own_rows=1500, runs=32, splits=40, whole_rows=4, priced=64),
}

#: Tokens of the validation stream that are scored at smoke scale, at most; cut at the start of a document.
SMOKE_TOKENS = 48_000


@dataclass(frozen=True)
class Options:
    """How to run: scale, checks, limits; `earlier` holds the scores of the same submission's seeds before this one.

    `audit_seed` is the nonce that every choice of the audit follows from; None, as it should be for a verdict that
    counts, draws one after the artifact is sealed. `depth` says how much is tried, see `PLANS`.
    `null_source` is what the null stream is drawn from: the submission's own model, which has the most power against
    it; or a source that owes nothing to the submission. `strict` and `fail_on_incomplete` turn an UNRULED score and an
    INCOMPLETE claim from exit code 0 into 1 and 3. `ranks` is how many processes play an evaluation together.
    `timeout` is in CPU seconds of one box, all its processes together; `wall_seconds` is how long it may take by the
    clock, see `harness.sandbox.outcome.Limits`.
    """

    scale: str = "smoke"
    checks: Sequence[str] = field(default_factory=lambda: select("all"))
    ruleset: Ruleset = field(default_factory=rules.load)
    sandbox: Sandbox = "auto"
    strict: bool = False
    fail_on_incomplete: bool = False
    timeout: float | None = None
    wall_seconds: float | None = None
    memory_bytes: int = Limits.memory_bytes
    threads: int = 2
    data_spec: str = DEFAULT
    null_source: NullSource = "model"
    previous: PreviousRecord | None = None
    earlier: tuple[SeedScore, ...] = ()
    ranks: int = 1
    device: Device = "cpu"
    audit_seed: int | None = None
    depth: Depth = "standard"

    @property
    def plan(self) -> Plan:
        """What the depth stands for."""
        return PLANS[self.depth]

    @property
    def limits(self) -> Limits:
        """Limits of one box. The contest's 600 s are judged by the clocks; these stop what does not end.

        What nobody named is meant for each thread that trains, or rank that evaluates; the clock is for all at once.
        """
        each = 600.0 if self.scale == "smoke" else 3600.0
        seconds = self.timeout or each * max(self.threads, self.ranks)
        wall = self.wall_seconds if self.wall_seconds or self.timeout else BACKSTOP * each
        return Limits(memory_bytes=self.memory_bytes, cpu_seconds=seconds, wall_seconds=wall)


def played(dataset: Dataset, scale: str) -> Tokens:
    """The part of the validation stream that is scored: all of it, or at smoke scale whole documents up to a cap."""
    stream = np.asarray(dataset.validation)
    if scale != "smoke" or len(stream) <= SMOKE_TOKENS:
        return stream
    starts = np.flatnonzero(stream[: SMOKE_TOKENS + 1] == dataset.tokenizer.bos_id)
    cut = int(starts[-1]) if len(starts) and starts[-1] > 1 else SMOKE_TOKENS
    return stream[:cut]
