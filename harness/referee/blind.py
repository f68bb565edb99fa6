"""Blind flips: a whole evaluation, in a process that is never split, with a lie in place from its start.

A flip in a split process costs next to nothing, but a process can feel that it is split, and behave from then on. A
blind flip runs just as the scored evaluation does: same box, same seed, same tokens, until the first read that the lie
reaches. Nothing but the tokens can then tell the two apart, and a row that may not depend on them has to be the same.

It brings its own noise floor: the rows that were committed before that read come from identical evaluations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import SubmissionError
from harness.referee.comparator import ProbeResult
from harness.referee.ranks import RankedEvaluation
from harness.referee.session import Evaluation
from harness.referee.sinks import Ints
from harness.referee.source import Perturbed, Probe, Source, Tokens
from harness.referee.trace import Trace, compare
from harness.sandbox.protocol import Rows

#: Commits after the one for the flipped position in which some row may move, and should.
_LATER = 3


def blind_probe(
    tokens: Tokens, bos: int, rng: np.random.Generator, low: float = 0.0, high: float = 1.0
) -> Probe | None:
    """A suffix of other text, at a position drawn from a part of the stream (fractions); None if there is none.

    Document starts stay where they are and none is added, so that a submission which orders documents by their length
    meets the same lengths.
    """
    plain = np.flatnonzero(tokens != bos)
    inside = plain[(plain >= max(1, low * len(tokens))) & (plain < min(len(tokens) - 1, high * len(tokens)))]
    if not len(inside):
        return None
    position = int(rng.choice(inside))
    others = plain[tokens[plain] != tokens[position]]
    if not len(others):
        return None
    return Probe("suffix", position, shift=(int(rng.choice(others)) - position) % len(tokens), split=False)


def lied(tokens: Tokens, probe: Probe, bos: int) -> Perturbed:
    """The stream with a blind probe applied."""
    return Perturbed(tokens, probe, np.ones(len(tokens), bool), bos=bos)


@dataclass
class BlindRun:
    """What one such evaluation left behind.

    Attributes:
        trace: its rows, charged for the real tokens.
        parted: commits that were made before the first answer with another token than the real one.
        error: the submission broke; one line.
    """

    trace: Trace
    parted: int | None = None
    error: str | None = None


def follow(evaluation: Evaluation | RankedEvaluation, run: BlindRun, source: Source, until: int) -> None:
    """Drive an evaluation whose sink is `run.trace` until a few commits after the one for position `until`.

    Args:
        evaluation: just started; `source` is its source.
        run: what is seen goes here.
        source: a `Perturbed`, or the real stream.
        until: a position; where it is never scored the evaluation runs to its end.
    """
    after = 0

    def enough() -> bool:
        nonlocal after
        after += bool(run.trace.order[until] >= 0)
        return after > _LATER

    def note(ranges: Ints) -> None:
        if run.parted is None and isinstance(source, Perturbed) and source.touches(ranges):
            # Where there are ranks, the trace may hold rows already that were computed side by side with this read.
            run.parted = evaluation.settled if isinstance(evaluation, RankedEvaluation) else run.trace.committed

    try:
        evaluation.run(before_answer=note, after_commit=enough)
    except SubmissionError as error:
        run.error = str(error)


def judged(base: Trace, run: BlindRun, probe: Probe, tokens: Tokens, bos: int) -> tuple[ProbeResult, float]:
    """Hold a run against the scored one.

    Returns:
        What the probe showed, and the noise floor: the largest difference (nats, or units of a fingerprint) of rows
        that were committed before anything differed.
    """
    trace = run.trace
    parted = trace.committed if run.parted is None else run.parted
    both = (base.order >= 0) & (trace.order >= 0)
    nll = np.where(both, np.abs(base.nll - trace.nll), 0.0)
    prints = np.where(both, np.abs(base.prints - trace.prints).max(axis=1), 0.0)
    size = np.maximum(nll, prints)
    early = both & (trace.order < parted)
    late = both & ~early
    must = _must_hold(base, probe, lied(tokens, probe, bos).read(0, len(tokens)) != tokens)
    moved = late & (size > 0)
    if Rows.REALISED in base.kinds:
        moved[probe.position] = False  # the probability claimed there is another token's
    result = ProbeResult(
        probe,
        ran=run.parted is not None,
        by_construction=int((early & must).sum()),
        compared=int((late & must).sum()),
        violations=[_row(base, trace, prints, int(p)) for p in np.flatnonzero(moved & must)],
        violated=int((moved & must).sum()),
        control=int((moved & ~must).sum()),
        control_size=float(size[moved & ~must].max(initial=0.0)),
        controls_seen=int((late & ~must).sum()),
        effects=[(int(p), float(nll[p])) for p in np.flatnonzero(moved)],
        error=run.error,
        rows=trace.committed,
    )
    if late[probe.position]:
        result.own = (float(base.nll[probe.position]), float(trace.nll[probe.position]))
    return result, float(size[early].max(initial=0.0))


def confirmed(found: list[tuple[ProbeResult, float]], base: Trace, truth: BlindRun, floor: float) -> list[ProbeResult]:
    """Decide whether rows that moved under two blind flips moved because of the flips.

    Where identical evaluations differ, a row that moved once accuses nobody: it could have moved by itself. It takes
    two flips at two places, each of which moved rows at the very read that it reached and none before, and a third
    evaluation that was told the truth, and in which no row moved.

    Args:
        found: results and noise floors of the two.
        base: the scored run.
        truth: the third run; it goes at least as far as the two.
        floor: changes up to this are rounding.

    Returns:
        The results; where that is not shown, their violations have become `unconfirmed`.
    """
    difference = compare(base, truth.trace)
    noise = max(difference.max_nll, difference.max_print, *(noise for _, noise in found))
    results = [result.above(max(floor, 4 * noise)) for result, _ in found]
    shown = truth.error is None and difference.positions > 0 and all(result.violated for result in results)
    return results if shown else [unconfirmed(result) for result, _ in found]


def unconfirmed(result: ProbeResult) -> ProbeResult:
    """The result without its violations, which are counted apart."""
    result.unconfirmed, result.violated, result.violations = result.violated, 0, []
    return result


def _must_hold(base: Trace, probe: Probe, replaced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Positions that come before the flip in the stream, and before every replaced token in processing order."""
    must = base.order >= 0
    must[probe.position + 1 :] = False
    must &= base.order <= base.order[replaced & (base.order >= 0)].min(initial=np.iinfo(np.int64).max)
    return must


def _row(base: Trace, trace: Trace, prints: NDArray[np.float64], position: int) -> tuple[int, float, float, float]:
    return position, float(base.nll[position]), float(trace.nll[position]), float(prints[position])
