"""Hand-made evidence: a clean run of a tiny dataset, and ways to spoil it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import rules
from harness.audit.evidence import ArtifactSizes, Clocks, Evidence
from harness.corpus.at_hand import AtHand
from harness.corpus.dataset import Dataset
from harness.record import Finding, Status
from harness.referee.comparator import ProbeResult
from harness.referee.rows import PROJECTIONS, Scored
from harness.referee.source import Probe
from harness.referee.trace import Trace, compare
from harness.rules import Ruleset
from harness.sandbox.box import Level
from harness.sandbox.protocol import Purpose, Rows

CLOSED = Level("native", filesystem=True, network=True, processes=True, privileges=True, note="")
OPEN = Level("none", filesystem=False, network=False, processes=False, privileges=False, note="on request")
FIT = ArtifactSizes(1_000_000, {"shipped": 5_000, "wrapped": 20_000, "all_files": 90_000}, [("submission.py", 5_000)])
QUICK = Clocks(
    {"loop": 400.0, "touches training data": 500.0}, {"loop": 200.0, "from process start": 210.0}, "8xH100", True
)


NOTHING = AtHand(share=0.0, documents=0, scanned_files=1000, scanned_bytes=10_000_000)


def commit(
    trace: Trace, positions: Sequence[int], *, nll: float = 2.0, excess: float = 0.0, kind: Rows = Rows.LOGITS
) -> None:
    """Rows of equal NLL and excess for some positions."""
    count = len(positions)
    rows = Scored(np.full(count, nll), np.full(count, excess), np.full((count, PROJECTIONS), nll))
    trace.commit(np.array(positions, np.int64), rows, kind)


def read(trace: Trace, start: int, stop: int) -> None:
    """A read of inputs."""
    trace.read(np.array([[start, stop]], np.int64), Purpose.INPUT)


def clean_trace(tokens: int, chunk: int = 100, **row: Any) -> Trace:
    """Every position once and in order, a chunk at a time."""
    trace = Trace(tokens)
    for start in range(0, tokens - 1, chunk):
        stop = min(start + chunk, tokens - 1)
        read(trace, start, stop)
        commit(trace, range(start + 1, stop + 1), **row)
    return trace


def probe_result(position: int = 50, **facts: Any) -> ProbeResult:
    """A clean probe with a positive control, or what `facts` make of it."""
    probe = facts.pop("probe", Probe("suffix", position, shift=17))
    clean = {"ran": True, "by_construction": 10, "compared": position - 10, "control": 3, "control_size": 0.5}
    return ProbeResult(probe, **{**clean, "controls_seen": 5, "effects": [(position + 1, 0.5)], "rows": 40, **facts})


def leak(position: int = 50, **facts: Any) -> ProbeResult:
    """A probe under which the row at `position`, and the one 7 before it, moved."""
    rows = [(position - 7, 2.0, 2.25, 0.5), (position, 2.0, 1.0, 1.5)]
    return probe_result(position, violations=rows, violated=len(rows), **facts)


def evidence(dataset: Dataset, trace: Trace | None = None, **changes: Any) -> Evidence:
    """A clean run: two evaluations that agree, one clean probe, everything within its limits."""
    first = trace if trace is not None else clean_trace(len(dataset.validation))
    clean: dict[str, Any] = {
        "ruleset": rules.load(),
        "dataset": dataset,
        "trace": first,
        "sizes": FIT,
        "clocks": QUICK,
        "level": CLOSED,
        "scale": "record",
        "again": first,
        "difference": compare(first, first),
        "probes": [probe_result()],
        "at_hand": NOTHING,
    }
    return Evidence(**{**clean, **changes})


def taking(ruling: rules.Ruling, *practices: str) -> Ruleset:
    """The default rules with another ruling on some practices."""
    return rules.load().taking(ruling, *practices)


def with_limits(**limits: Any) -> Ruleset:
    """The default rules with other limits."""
    ruleset = rules.load()
    return ruleset.model_copy(update={"limits": ruleset.limits.model_copy(update=limits)})


def settled(found: Finding, status: Status) -> Finding:
    """What every finding of that status must have; returns it."""
    assert found.status == status, f"{found.status}: {found.headline}"
    assert found.headline and "\n" not in found.headline
    assert found.title
    assert (found.witness is not None) or status != Status.FAIL
    assert (found.remedy is not None) == (status in (Status.FAIL, Status.UNRULED, Status.INCONCLUSIVE))
    Finding.model_validate_json(found.model_dump_json())  # plain numbers only
    return found


def changed(dataset: Dataset, **fields: Any) -> Dataset:
    """The dataset with some fields replaced."""
    return dataclasses.replace(dataset, **fields)
