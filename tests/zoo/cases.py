"""The classes: what each is, which check has to name it, and where no animal is needed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.record import Status


@dataclass(frozen=True)
class Case:
    """One class of violation that an adapter can express.

    Attributes:
        animal: file under `animals/`; its first line says what the two sides do.
        classes: ids of the taxonomy.
        check: the check that has to name it.
        status: what that check has to say; UNRULED without a ruling, INCONCLUSIVE where nothing better is known.
        own_box: it acts on its box, so it gets boxes of its own.
        note: for the table.
    """

    animal: str
    classes: str
    check: str
    status: Status = Status.FAIL
    own_box: bool = False
    note: str = ""


CASES = [
    Case(
        "v03_pre_quant",
        "V1, V3",
        "artifact-independence",
        own_box=True,
        note="Both declare that they read validation data; whoever does not is given none (see below).",
    ),
    Case("v04_adapt_then_score", "V4", "score-before-update"),
    Case(
        "v04_silenced_ledger",
        "V4",
        "causality",
        note="The ledger is told by the box and can be silenced; the flips and the null stream cannot.",
    ),
    Case("v05_oracle_choice", "V5", "causality"),
    Case("v05_min_over_passes", "V5", "causality"),
    Case("v06_two_pass_ngram", "V6", "causality"),
    Case("v07_hashed_cache", "V7, V8, B13", "normalization"),
    Case("v09_scored_slot", "V9", "score-before-update", note="The neighbour is UNRULED, which is no accusation."),
    Case("v10_shared_delta", "V10", "causality", note="The neighbour is UNRULED, which is no accusation."),
    Case("v11_target_gate", "V11", "causality"),
    Case("v12_byte_mixture", "V12, B11", "normalization"),
    Case("v13_target_lambda", "V13, B12", "causality"),
    Case(
        "v13_claimed_lambda",
        "V13, B12",
        "normalization",
        note="Its rows sum to 1.2 to 1.3: too little for a part of a row to show, so one is asked for in full.",
    ),
    Case(
        "v15_validation_warmup",
        "V15",
        "score-before-update",
        Status.UNRULED,
        note="The state is thrown away: the flips are clean, and the ledger names what happened.",
    ),
    Case("v17_skips", "V17, B9", "single-pass"),
    Case("v23_network", "V23", "isolation"),
    Case("c1_off_by_one", "C1", "causality"),
    Case("c1_small_leak", "C1", "causality"),
    Case("c1_rare_leak", "C1", "null-stream"),
    Case("c2_forged_claims", "C2", "normalization"),
    Case("c4_score_twice", "C4", "single-pass"),
    Case("w1_remembers", "C1, audit-aware", "causality", own_box=True),
    Case(
        "w2_feels_the_split",
        "C1, audit-aware",
        "null-stream",
        note="The split run decides nothing: it differs from the scored one. A flip without a split does.",
    ),
    Case("w3_knows_the_null", "C1, audit-aware", "causality"),
    Case(
        "w4_wary",
        "C1, audit-aware",
        "causality",
        note="Split processes differ from the scored run whatever they see; whole runs with one token replaced decide.",
    ),
    Case("w5_tampers", "C1, tampering", "causality", own_box=True),
]

#: Nobody is accused on either side: it is named, and the verdict stays PASS.
INFORMATION = [
    Case(
        "v18_smear",
        "V18, B10",
        "",
        Status.PASS,
        note="Causal, and attention sees across, too: information only. What a gate alone does is a dated practice.",
    ),
    Case("v22_longest_first", "V22", "", Status.PASS, note="Accepted records do it: a note."),
    Case("c4_tail_duplicates", "C4", "", Status.PASS, note="Accepted records do it: a note."),
]

ANIMALS = [case.animal for case in [*CASES, *INFORMATION]]

#: Classes that an adapter cannot express, and what holds that up.
BY_CONSTRUCTION = [
    ("V1, V3", "training or adapting on validation tokens that are not declared to be read (#44, #168, #1376)",
     "the train box holds no validation token: test_hostile.py::test_training_does_not_see_the_validation_stream"),
    ("V14", "calibrating on validation tokens (#728, #1919), or on training tokens after the time is up (#593)",
     "as V1; the clock that counts runs to the last use of the shards"),
    ("V2, B8", "training documents that are validation documents (#2127)",
     "the harness owns the split; data-split compares the texts: tests/audit/test_audit_data.py"),
    ("V20", "compiling or counting outside the timed part (#1967)",
     "the clocks are the parent's, from the start of the process"),
]  # fmt: skip
