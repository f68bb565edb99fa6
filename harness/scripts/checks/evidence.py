"""What the checks of scripts look at: the trace of the base run, and of runs in which tokens were replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.audit.evidence import finding
from harness.record import Finding, Scalar, Status, Value, Witness
from harness.referee.comparator import ROUNDING
from harness.rules import Ruleset
from harness.scripts.asleep import Sleep
from harness.scripts.checks.comparing import SAME_ROW, Comparison, compare
from harness.scripts.trace.decided import Decision
from harness.scripts.trace.observed import Floats, Ints
from harness.scripts.trace.reading import Pass, ScriptTrace

#: Nats by which the first replaced token's own row may differ, see `comparing`.
COUNTERFACTUAL = SAME_ROW

#: What is special about a flip on recurring text.
RECURS = "on text in which phrases recur"


Kind = Literal["same", "suffix", "swap"]


@dataclass(frozen=True, eq=False)
class Variant:
    """Tokens to replace by those of the other permutation.

    Attributes:
        kind: "same" for none, "suffix" for a position and all that is processed later, "swap" for it alone.
        position: the first of them in order of processing; -1 for none.
        replaced: int64, all of them, sorted.
        why: what is special about the place.
    """

    kind: Kind
    position: int
    replaced: Ints
    why: str = ""

    def mask(self, tokens: int) -> NDArray[np.bool_]:
        """Boolean [tokens], True where a token is replaced."""
        made = np.zeros(tokens, bool)
        made[self.replaced] = True
        return made


SAME = Variant("same", -1, np.zeros(0, np.int64))


@dataclass(frozen=True)
class Flip:
    """A run, or the fork of one, in which validation tokens were replaced (none for "same").

    Attributes:
        variant: which tokens.
        scope: "pass": forked at the start of the headline pass; "run": the whole run on a changed stream.
        trace: what came of it; None if nothing did.
        edited: live arrays of the script that were changed; None where the data on disk were.
        error: why there is no trace; one line.
    """

    variant: Variant
    scope: Literal["pass", "run"]
    trace: ScriptTrace | None
    edited: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class ScriptNull:
    """What a script reported on a stream that was drawn from a source of known entropy.

    Attributes:
        source: in words.
        tokens: drawn tokens.
        source_nll: what the source itself charges for all of them, nats.
        reported_nll: what the script reports for all of them, nats: its loss per token times the drawn tokens.
        how: where the reported loss was read.
        seed: of the draw.
    """

    source: str
    tokens: int
    source_nll: float
    reported_nll: float
    how: str
    seed: int

    @property
    def saving(self) -> float:
        """Nats saved against the source, in total; 21 or more come by chance once in 1e9."""
        return self.source_nll - self.reported_nll


@dataclass(frozen=True)
class Substituted:
    """A run on recurring text in which single tokens were replaced by tokens that their rows gave.

    Where the first run charged less than its row gives, a lot decided whether the token was replaced, see
    `substitution`.

    Attributes:
        places: int64 [k], positions of the replaced tokens, sorted.
        tokens: uint16 [k], what stands there now.
        scored: the pass that counts.
        kept: int64, positions where the lot left the token that came.
        untried: int64, positions where the lot fell on a token that cannot stand in a text, so that nothing was put.
    """

    places: Ints
    tokens: NDArray[np.uint16]
    scored: Pass
    kept: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    untried: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Recurring:
    """Runs on text in which phrases recur: what counts do is seen there, and nothing of it where every token is new.

    Attributes:
        text: uint16 [tokens].
        scored: the pass that counts on it.
        drawn_nll: float64 [n], nats: how likely each of `scored.drawn` was, NaN where that is not known.
        substituted: runs with some tokens replaced.
        seconds: wall time of all of them.
        lost: runs in which the script took another path, so that positions could not be told.
    """

    text: NDArray[np.uint16]
    scored: Pass
    drawn_nll: Floats
    substituted: tuple[Substituted, ...]
    seconds: float = 0.0
    lost: int = 0

    def compared(self) -> list[tuple[Flip, Comparison]]:
        """The substitutions as flips, each against the run without it.

        Only rows count that come before the replaced tokens both as the script scores and in the stream: counts of what
        stands earlier in the stream are legal, even where the script scores documents in another order.
        """
        found = []
        for made, result in self._results():
            rows = result.position < made.places.min()
            change = np.nan_to_num(np.abs(result.after[rows] - result.before[rows]), nan=np.inf)
            before = replace(result, position=result.position[rows], before=result.before[rows],
                             after=result.after[rows], largest=float(change.max(initial=0.0)))  # fmt: skip
            variant = Variant("swap", int(made.places.min()), made.places, RECURS)
            found.append((Flip(variant, "run", None), before))
        return found

    def crossed(self, tolerance: float) -> int:
        """Rows that depend on tokens which stand earlier in the stream and are scored later: two orders at once."""
        moved = [(p, made) for made, result in self._results() for p, *_ in result.moved(tolerance)]
        return sum(position > made.places.min() for position, made in moved)

    def _results(self) -> list[tuple[Substituted, Comparison]]:
        masks = [np.isin(np.arange(len(self.text)), made.places) for made in self.substituted]
        return [(made, compare(self.scored, made.scored, mask))
                for made, mask in zip(self.substituted, masks, strict=True)]  # fmt: skip


@dataclass(frozen=True)
class Turned:
    """A run in which one decision by losses came out the other way.

    Attributes:
        decision: which.
        trace: what came of it.
        error: why it shows nothing; one line, None where it does.
    """

    decision: Decision
    trace: ScriptTrace
    error: str | None = None


@dataclass
class ScriptEvidence:
    """Everything that an audit of one script gathered.

    Attributes:
        ruleset: the rules to judge by.
        documents: int64, where documents start in the validation stream.
        base: the base run.
        again: the same in a fresh box, the run that was forked; None when there was none.
        flips: what replacing tokens did, forks and whole runs.
        nulls: reports on streams of known entropy.
        recurring: runs on recurring text, for scripts that count tokens; None where none were made.
        unmade: runs beside those of the flips that were planned and of which nothing is left, by name ("null",
            "recurring", "substituted-0"): why.
        turned: runs in which one decision by losses came out the other way.
        token_bytes: int64 [tokens], true bytes of each target (0 for BOS); None where they are not known.
        sidecar_bytes: int64 [tokens], what the byte side-car beside the tokens promises, for scripts that read one.
        miscounts: int64 [tokens] by name: the bytes that a known mistake would count.
        sandbox: the box that was in force, in words.
        confined: the box kept the script from the network and from other files.
        vocab_size: of the run.
        adapted_sizes: settings that were made smaller for the run.
        ranks: processes that played the script together.
        peak_bytes: resident memory of the base run.
        seconds: wall time by stage.
        sleep: branches that never ran, of the base run; None where none were looked at.
    """

    ruleset: Ruleset
    documents: Ints
    base: ScriptTrace
    vocab_size: int
    again: ScriptTrace | None = None
    flips: Sequence[Flip] = ()
    nulls: Sequence[ScriptNull] = ()
    recurring: Recurring | None = None
    unmade: Mapping[str, str] = field(default_factory=dict)
    turned: Sequence[Turned] = ()
    token_bytes: Ints | None = None
    sidecar_bytes: Ints | None = None
    miscounts: Mapping[str, Ints] = field(default_factory=dict)
    sandbox: str = "none"
    confined: bool = False
    adapted_sizes: int = 0
    ranks: int = 1
    peak_bytes: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    sleep: Sleep | None = None

    @property
    def main(self) -> Pass | None:
        """The pass that counts."""
        return self.base.main

    @property
    def noise(self) -> float:
        """Largest change of a charged value between unchanged runs, nats; 0 where they agree or none was made."""
        found = [result.largest for result in (self.rerun(), *self.same()) if result is not None]
        return max([value for value in found if np.isfinite(value)], default=0.0)

    @property
    def tolerance(self) -> float:
        """Changes up to this are noise."""
        return max(ROUNDING, 4 * self.noise)

    def not_made(self, *names: str) -> str | None:
        """Why a planned run is missing whose name begins with one of these; None where none is."""
        return next((why for name, why in self.unmade.items() if name.startswith(names)), None)

    def rerun(self) -> Comparison | None:
        """The base run against the unchanged one in a fresh box."""
        if self.again is None or self.main is None:
            return None
        return self.against(self.again, np.zeros(self.base.tokens, bool))

    def same(self) -> list[Comparison]:
        """The base run against unchanged forks."""
        none = np.zeros(self.base.tokens, bool)
        made = (self.against(f.trace, none) for f in self.flips if f.variant.kind == "same" and f.trace)
        return [result for result in made if result is not None]

    def compared(self, flip: Flip) -> Comparison | None:
        """A flip against the base run, in the headline pass; None where there is nothing to compare."""
        if flip.trace is None or self.main is None:
            return None
        return self.against(flip.trace, flip.variant.mask(self.base.tokens))

    def against(self, other: ScriptTrace, replaced: NDArray[np.bool_]) -> Comparison | None:
        """The headline pass against the pass of another run that stands at the same place."""
        main = self.main
        match = counterpart(self.base, other)
        return compare(main, match, replaced) if main is not None and match is not None else None


def counterpart(base: ScriptTrace, other: ScriptTrace, index: int | None = None) -> Pass | None:
    """The other run's pass that corresponds to a pass: same place, same turn among the passes of it.

    Args:
        base: the run whose pass is meant.
        other: the run in which to look.
        index: of the pass; the headline pass by default.
    """
    index = base.headline if index is None else index
    if index is None:
        return None
    place = base.passes[index].place
    turn = sum(made.place == place for made in base.passes[:index])
    same = [made for made in other.passes if made.place == place]
    if turn < len(same):
        return same[turn]
    return other.passes[index] if index < len(other.passes) else None


def found(
    evidence: ScriptEvidence,
    check: str,
    status: Status,
    headline: str,
    *,
    metrics: Mapping[str, Value] | None = None,
    witness: Witness | None = None,
    power: Mapping[str, Value] | None = None,
    not_covered: Sequence[str] = (),
    figures: Mapping[str, Any] | None = None,
) -> Finding:
    """A finding as `harness.audit.evidence.finding` makes it; with a remedy only where a practice is named."""
    made = finding(
        evidence,
        check,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power=power,
        not_covered=not_covered,
        figures=figures,
    )
    return made.model_copy(update={"remedy": None}) if status == Status.INCONCLUSIVE else made


def lost(evidence: ScriptEvidence) -> list[str]:
    """What provenance could not follow in the base run, one line each with operation, count and place."""
    lines = [
        f"{item.get('name', '?')} ({item.get('count', 1)} times) at {item.get('place', 'an unknown place')}"
        for item in evidence.base.unknown
    ]
    for item in evidence.base.facts.get("missing", []):
        if isinstance(item, Mapping):
            lines.append(f"no stand-in for {item.get('name', '?')} at {item.get('file', '?')}:{item.get('line', '?')}")
        else:
            lines.append(f"no stand-in for {item}")
    return lines


def texts(items: Iterable[str]) -> list[Scalar]:
    """A list of texts as a metric."""
    return list(items)
