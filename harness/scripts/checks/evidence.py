"""What the checks of scripts look at: the trace of the base run, and of runs in which tokens were replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.audit.check import finding
from harness.record import Finding, Scalar, Status, Value, Witness
from harness.referee.comparator import ROUNDING
from harness.rules import Ruleset
from harness.scripts.asleep import Sleep
from harness.scripts.checks.comparing import SAME_ROW, Comparison, compare
from harness.scripts.settings.unstated import Unstated
from harness.scripts.trace.decided import Decision
from harness.scripts.trace.observed import Floats, Ints
from harness.scripts.trace.reading import Pass, ScriptTrace

#: Nats by which the first replaced token's own row may differ, see `comparing`.
COUNTERFACTUAL = SAME_ROW

#: What is special about a flip on recurring text.
RECURS = "on text in which phrases recur"
AT_LENGTH = "at the submitted sequence length"
#: Why the flips of `ScriptEvidence.boundaries` are made.
ENDS, REST = "the last tokens of documents", "all tokens of every second document but its last"

#: How a second run ends that got as far as it was meant to: a fork stops after the pass that counts.
FINISHED = ("ok", "exit 0", "stopped")

Kind = Literal["suffix", "swap"]


@dataclass(frozen=True, eq=False)
class Variant:
    """Tokens to replace by those of the other permutation.

    Attributes:
        kind: "suffix" for a position and all that is processed later, "swap" for it alone.
        position: the first of them in order of processing.
        replaced: int64, all of them, sorted.
        why: what is special about the place.
        trained: int64, those of them that are replaced by tokens of the training text, over and over the same few.
    """

    kind: Kind
    position: int
    replaced: Ints
    why: str = ""
    trained: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def mask(self, tokens: int) -> NDArray[np.bool_]:
        """Boolean [tokens], True where a token is replaced."""
        made = np.zeros(tokens, bool)
        made[self.replaced] = True
        return made


@dataclass(frozen=True)
class Flip:
    """A run, or the fork of one, in which validation tokens were replaced.

    Attributes:
        variant: which tokens.
        scope: "pass": forked at the start of the headline pass; "run": the whole run on a changed stream.
        trace: what came of it; None if nothing did.
        edited: live arrays of the script that were changed; None where the data on disk were.
        error: why there is no trace; one line.
        rounding: nats by which rows moved that hold still in float64; 0 where that was not asked, or they do not.
    """

    variant: Variant
    scope: Literal["pass", "run"]
    trace: ScriptTrace | None
    edited: int | None = None
    error: str | None = None
    rounding: float = 0.0


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


@dataclass(frozen=True)
class AtLength:
    """One pass at the submitted sequence length, with a small model.

    Attributes:
        window: the longest window, in tokens, as submitted.
        tokens: of the stream.
        shown: what came of it: a base run, flips, branches; None where nothing did.
        why: why nothing is shown, one clause; empty where something is.
        reduced: what has to do with length and was not as submitted, one line each.
    """

    window: int
    tokens: int = 0
    shown: ScriptEvidence | None = None
    why: str = ""
    reduced: tuple[str, ...] = ()


@dataclass(frozen=True)
class OtherWorld:
    """The audit of the same script with the switches turned that nobody states and something speaks for.

    Attributes:
        settings: {name: value} that it was made with.
        findings: of the checks that were made here, too; empty where it could not be made.
        here: the findings with the defaults.
        error: why it says too little, one clause; None where it does not.
        unclaimed: that it printed no line with the claimed score's label, one clause; None where it did.
    """

    settings: Mapping[str, str]
    findings: Sequence[Finding]
    here: Sequence[Finding]
    error: str | None = None
    unclaimed: str | None = None


@dataclass
class ScriptEvidence:
    """Everything that an audit of one script gathered.

    Attributes:
        ruleset: the rules to judge by.
        documents: int64, where documents start in the validation stream.
        base: the base run.
        again: the same in a fresh box: the fork that changes nothing; None when there was none.
        flips: what replacing tokens did, forks and whole runs.
        nulls: reports on streams of known entropy.
        recurring: runs on recurring text, for scripts that count tokens; None where none were made.
        boundaries: what replacing the ends of documents, and the rest of them, did; None where the source names no
            SmearGate.
        unmade: runs beside those of the flips that were planned and of which nothing is left, by name ("null",
            "recurring", "substituted-0"): why.
        turned: runs in which one decision by losses came out the other way.
        stream: uint16 [tokens], the validation stream; None where it is not at hand.
        position_of: int64 [65536], position of a token id of the stream or of its flip, -1 for others; None with it.
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
        unseen: why not all code that ran is known, one clause; None where it is.
        stub_ran: the code was taken from a wrapper by running it.
        at_length: the pass at the submitted sequence length; None where the tiny runs have that already.
        unstated: switches that nobody states and something speaks for; None where nothing stands beside the script.
        other: the audit with these turned; None where none was made.
        blurred: why it is not known whether rows that moved a little moved by rounding alone; None where it is.
    """

    ruleset: Ruleset
    documents: Ints
    base: ScriptTrace
    vocab_size: int
    again: ScriptTrace | None = None
    flips: Sequence[Flip] = ()
    boundaries: Sequence[Flip] | None = None
    nulls: Sequence[ScriptNull] = ()
    recurring: Recurring | None = None
    unmade: Mapping[str, str] = field(default_factory=dict)
    turned: Sequence[Turned] = ()
    stream: NDArray[np.uint16] | None = None
    position_of: Ints | None = None
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
    unseen: str | None = None
    stub_ran: bool = False
    at_length: AtLength | None = None
    unstated: Sequence[Unstated] | None = None
    other: OtherWorld | None = None
    blurred: str | None = None

    @property
    def main(self) -> Pass | None:
        """The pass that counts."""
        return self.base.main

    @property
    def noise(self) -> float:
        """Largest change of a charged value between unchanged runs, nats; 0 where they agree or none was made."""
        again = self.rerun()
        return again.largest if again is not None and np.isfinite(again.largest) else 0.0

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

    def compared(self, flip: Flip) -> Comparison | None:
        """A flip against the base run, in the headline pass; None where there is nothing to compare."""
        if flip.trace is None or self.main is None:
            return None
        result = self.against(flip.trace, flip.variant.mask(self.base.tokens))
        return dataclasses.replace(result, rounding=flip.rounding) if result is not None and flip.rounding else result

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
