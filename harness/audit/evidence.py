"""What the checks look at: traces, probe results, files, clocks. Plain data; hand-made ones make good tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.corpus.at_hand import AtHand
from harness.corpus.dataset import Dataset
from harness.record import Depth, SeedScore
from harness.referee.comparator import ROUNDING, ProbeResult
from harness.referee.null import Saving
from harness.referee.trace import Difference, Trace
from harness.referee.wholerow import WholeRow
from harness.rules import Ruleset
from harness.sandbox.box import Level


@dataclass(frozen=True)
class ArtifactSizes:
    """Bytes: the sealed artifact, and the submission's code by counting convention."""

    artifact: int
    code: Mapping[str, int]
    files: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Clocks:
    """Seconds on the parent's clock. `hardware` is what they were taken on, in words."""

    train: Mapping[str, float]
    evaluation: Mapping[str, float]
    hardware: str
    comparable: bool


@dataclass(frozen=True)
class PreviousRecord:
    """The score that a record has to beat.

    Attributes:
        name: such as "#1868".
        val_bpb: bits per byte, one for each seed; a single one is a single seed, or a mean of `seeds`.
        tokens: scored tokens.
        bytes: bytes of the scored text.
        scale: "record" or "smoke"; scores compare within one scale only.
        seeds: of how many seeds a single number is said to be the mean; 1 where nothing is said.
    """

    name: str
    val_bpb: Sequence[float]
    tokens: int
    bytes: int
    scale: str = "record"
    seeds: int = 1


@dataclass(frozen=True)
class NullRun:
    """What a scorer saved on a stream that was drawn from a source of known entropy.

    Attributes:
        source: what it was drawn from, in words.
        entropy: nats per token.
        saving: what the scorer saved.
        seed: of the draw.
        kind: the option that chose the source, for a replay.
        own: the source is the submission's own model, played by the kit alone.
    """

    source: str
    entropy: float
    saving: Saving
    seed: int
    kind: str = "model"
    own: bool = False


@dataclass(frozen=True)
class ProofResult:
    """What coding a segment of the stream, and decoding it in a fresh box, showed.

    Attributes:
        tokens: tokens of the segment.
        decoded: how many of them came back before the first that did not.
        text_bytes: bytes of the text that the segment stands for.
        coded_bits: length of the code, a multiple of 8.
        nll: the segment's negative log-probability, nats, from the rows that it was coded with.
        in_order: the segment's rows were committed in stream order.
        compared: rows of the decoder that were compared with the encoder's.
        first_changed: position of the first of them that was not the same, None where all were.
        change: largest difference of a log-probability at that position, nats; None if it is infinite.
        wrong: (position, token, token decoded instead, NLL of the token when coded, NLL when decoded) where the
            decoder went astray, None where it did not; an NLL that is infinite is None.
        error: the submission broke or ran out of time; one line.
        begin: last position before the segment; the tokens up to it were given.
    """

    tokens: int
    decoded: int
    text_bytes: int
    coded_bits: int
    nll: float
    in_order: bool
    compared: int = 0
    first_changed: int | None = None
    change: float | None = 0.0
    wrong: tuple[int, int, int, float | None, float | None] | None = None
    error: str | None = None
    begin: int = 0


@dataclass(frozen=True)
class Retraining:
    """What training again with other validation data showed; an sha256 is "" for a training that was not made.

    Attributes:
        source: what the other validation data is, in words.
        tokens: tokens of either set.
        validation: sha256 of the real validation data, and of the other.
        first: sha256 of the sealed artifact, trained with the real data.
        second: of the one trained with the other data.
        first_again: of a second training with the real data, made when the two differ.
        second_again: of a second training with the other data, likewise.
        sizes: bytes of `first` and `second`, where they differ.
        difference: where those two differ first, in words.
        error: why they could not be compared; one line.
    """

    source: str
    tokens: int
    validation: tuple[str, str]
    first: str
    second: str = ""
    first_again: str = ""
    second_again: str = ""
    sizes: tuple[int, int] = (0, 0)
    difference: str = ""
    error: str | None = None

    @property
    def trainings(self) -> int:
        """Trainings that were made, the sealed one included."""
        return sum(bool(sha256) for sha256 in (self.first, self.second, self.first_again, self.second_again))

    @property
    def reproducible(self) -> bool:
        """Equal data gave equal artifacts, both ways."""
        return bool(self.first_again) and self.first == self.first_again and self.second == self.second_again

    def having(self, **facts: Any) -> Retraining:
        """The same with more known."""
        return replace(self, **facts)


@dataclass
class Evidence:
    """Everything that one seed's run left behind.

    Attributes:
        ruleset: the rules to judge by.
        dataset: what was scored; `tokens` and `texts` inside it belong to the trusted side only.
        trace: the scored run.
        again: the unperturbed lineage of the second run, in a fresh box, the one that was split for probes.
        difference: how the two differ; None when there was no second run.
        probes: what the flips showed, in the order of their positions.
        sizes: bytes of artifact and code.
        clocks: seconds.
        level: the sandbox that was in force.
        scored_tokens: positions of the stream that was played.
        validation_tokens: positions of the whole validation set, which may be longer.
        scale: "smoke" or "record".
        null: what the null stream showed.
        seeds: the scores of all seeds of this submission, this run's included.
        configurations: what each seed ran with, in any words (digests of submission and data); equal ones compare.
        previous: the record to beat, None if there is none.
        claims: what submission.json claims.
        peak_bytes: resident memory of the boxes at their peaks, by stage.
        proof: what decoding a segment showed; None where no proof was asked for.
        retraining: what training again with other validation data showed; None where training read none.
        given: the artifact is a file that somebody named; nothing is known of how it was made.
        rows: rows that were asked for in full, of a scorer that claims single probabilities.
        no_row: why none came, where one was asked for.
        ranks: how many processes played the stream together.
        unsplit: why evaluations could not be split, so that flips are whole runs; "" where they could.
        audit_seed: the nonce that every choice of this audit follows from; None in hand-made evidence.
        chosen: somebody named the nonce, as a replay does; else it was drawn after the artifact was sealed.
        depth: how much was tried, see `options.PLANS`.
        forgets: rows are what they were again some way after a replaced token; False for a scorer that keeps learning.
        gate: the submission's code names a SmearGate, a mixture of each token with the one before it.
        planned: positions whose own rows a flip was to be compared at, at the least, for a PASS.
        at_hand: how much of the validation text lies where a box can read it; None where nobody looked.
    """

    ruleset: Ruleset
    dataset: Dataset
    trace: Trace
    sizes: ArtifactSizes
    clocks: Clocks
    level: Level
    scale: str
    again: Trace | None = None
    difference: Difference | None = None
    probes: list[ProbeResult] = field(default_factory=list)
    null: NullRun | None = None
    seeds: Sequence[SeedScore] = ()
    configurations: Mapping[int, str] = field(default_factory=dict)
    previous: PreviousRecord | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    proof: ProofResult | None = None
    retraining: Retraining | None = None
    given: bool = False
    rows: Sequence[WholeRow] = ()
    no_row: str = ""
    ranks: int = 1
    unsplit: str = ""
    audit_seed: int | None = None
    chosen: bool = True
    depth: Depth = "standard"
    forgets: bool = True
    gate: bool = False
    planned: int = 0
    at_hand: AtHand | None = None

    @property
    def tolerance(self) -> float:
        """Changes up to this are noise: four times what two identical runs differ by, 0 where they agree."""
        if self.difference is None:
            return 0.0
        return 4 * self.difference.largest

    @property
    def repeated(self) -> bool:
        """A second evaluation in a fresh box scored the same positions, with the same rows within rounding."""
        again = self.difference
        return again is not None and again.positions > 0 and not again.missing and again.largest <= ROUNDING

    @property
    def flip_tolerance(self) -> float:
        """The same for rows under a flip, which may have been computed in windows of another length."""
        return max(self.tolerance, ROUNDING)
