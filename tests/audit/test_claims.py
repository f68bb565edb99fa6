"""claims: the merged records' own metadata, contradictions of every kind, and text that is no metadata at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.audit import claimed, claims
from harness.audit.evidence import ArtifactSizes, Clocks
from harness.corpus.dataset import Dataset
from harness.record import Finding, SeedScore, Status
from harness.referee.trace import Trace
from tests.audit.evidence_builder import FIT, clean_trace, commit, evidence, leak, read, settled

# submission.json of #1019, as merged, without its prose.
PR1019: dict[str, Any] = {
    "track": "10min_16mb",
    "val_bpb": 1.11473509,
    "val_loss": 1.88217853,
    "val_bpb_std": 0.00035387,
    "val_loss_std": 0.0005975,
    "seeds": [314, 42, 999],
    "seed_results": {
        "314": {"val_bpb": 1.1150812, "val_loss": 1.88276292, "artifact_bytes": 15863278},
        "42": {"val_bpb": 1.11437394, "val_loss": 1.88156874, "artifact_bytes": 15984850},
        "999": {"val_bpb": 1.11475014, "val_loss": 1.88220393, "artifact_bytes": 15876310},
    },
    "artifact_bytes_mean": 15908146,
    "bytes_total": 15984850,
}


def judged(dataset: Dataset, made: dict[str, Any], scale: str = "smoke", **changes: Any) -> Finding:
    return claims.check(evidence(dataset, claims=made, scale=scale, **changes))


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PR1019), **fields}


def contradictions(found: Finding) -> list[str]:
    assert found.witness is not None
    return [point["field"] for point in found.witness.data["contradictions"]]


def test_a_merged_record_agrees_with_itself(dataset: Dataset) -> None:
    found = settled(judged(dataset, PR1019), Status.PASS)
    assert found.value("compared") == found.value("agree") == found.value("comparisons")
    assert any("record scale" in line for line in found.not_covered)


def test_no_claims(dataset: Dataset) -> None:
    for made in ({}, {"name": "x", "author": "y", "date": "2026-03-18", "track": "10min_16mb", "blurb": "1.08 BPB"}):
        settled(judged(dataset, made), Status.NOT_APPLICABLE)


def test_a_score_of_record_scale_is_not_held_against_smoke(dataset: Dataset) -> None:
    found = settled(judged(dataset, {"val_bpb": 0.01}, seeds=[score(2.5)]), Status.NOT_APPLICABLE)
    assert "0.01" in found.headline and "record scale" in found.headline


@pytest.mark.parametrize(
    ("loss", "bpb"),
    [
        (2.05104604, 1.214745),  # 03-19_10L_MixedPrecision, sp1024
        (2.52618, 1.09785),  # 04-01, sp4096
        (2.77261037, 1.07336388),  # 04-10, sp8192
        (2.33674426, 1.06780094),  # 04-18, caseops with sidecar
        (2.07269931, 1.2243657),  # naive baseline, older export
        (2.0142, 1.1929),  # 03-17_LoRA_TTT, four decimals
    ],
)
def test_known_bytes_per_token(dataset: Dataset, loss: float, bpb: float) -> None:
    settled(judged(dataset, {"val_loss": loss, "val_bpb": bpb}), Status.PASS)


@pytest.mark.parametrize(
    ("loss", "bpb"),
    [
        (2.77261037, 1.07336388 / 1.1671),  # B1, the double-counted space
        (2.52618, 1.09785 / 1.0413),  # B4, three-byte pieces
        (1.14276, 1.14276),  # one of the two is in the other's unit
    ],
)
def test_an_unknown_ratio_is_asked_about_and_no_proof(dataset: Dataset, loss: float, bpb: float) -> None:
    found = settled(judged(dataset, {"val_loss": loss, "val_bpb": bpb}), Status.INCONCLUSIVE)
    assert "bytes per token" in found.headline


def test_10l_int5mlp_gives_its_bpb_as_a_loss(dataset: Dataset) -> None:
    found = settled(judged(dataset, {"val_loss": 1.14276, "bytes_total": 15900000}), Status.INCONCLUSIVE)
    assert "may be the BPB" in found.headline
    settled(judged(dataset, {"val_loss": 2.05104604, "bytes_total": 15900000}), Status.PASS)


def test_hessian_sdclip_states_a_loss_that_is_not_the_mean(dataset: Dataset) -> None:
    made = {  # 04-06_SP8192_HessianSDClip, merged as #1412
        "val_loss": 2.7995,
        "val_bpb": 1.08354,
        "seed_results": {
            "1337": {"val_bpb": 1.08301, "val_loss": 2.79749},
            "42": {"val_bpb": 1.08363, "val_loss": 2.7991},
            "3141": {"val_bpb": 1.08399, "val_loss": 2.80002},
        },
    }
    found = settled(judged(dataset, made), Status.FAIL)
    assert contradictions(found) == ["val_loss"]
    assert found.witness is not None and "2.79887" in found.witness.summary
    settled(judged(dataset, {**made, "val_loss": 2.79887}), Status.PASS)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"val_bpb": 1.1137}, "val_bpb"),
        ({"val_bpb": -1.1}, "val_bpb"),
        ({"val_bpb_std": 0.0001}, "val_bpb_std"),
        ({"seeds": [314, 42, 42]}, "seeds"),
        ({"seeds": [314, 42, 7]}, "seeds"),
        ({"n_seeds": 5}, "n_seeds"),
        ({"bytes_total": 16_000_001}, "bytes_total"),
        ({"artifact_bytes_max": 16_092_287}, "artifact_bytes_max"),
        ({"wallclock_seconds": 900.0}, "wallclock_seconds"),
        ({"train_time_s_mean": 601.153}, "train_time_s_mean"),
        ({"eval_time_seconds": [83, 615, 83]}, "eval_time_seconds"),
        ({"compliance": {"eval_time_max_s": 688}}, "compliance.eval_time_max_s"),
    ],
)
def test_contradictions(dataset: Dataset, fields: dict[str, Any], named: str) -> None:
    found = settled(judged(dataset, changed(**fields)), Status.FAIL)
    assert named in contradictions(found)
    assert named in found.headline


def test_times_of_a_seed_in_milliseconds(dataset: Dataset) -> None:
    made = changed()
    made["seed_results"]["42"] |= {"train_time_ms": 600_137, "ttt_time_ms": 400_000}
    settled(judged(dataset, made), Status.PASS)  # one step of overshoot, as in thirty merged logs
    made["seed_results"]["42"]["eval_time_ms"] = 617_000
    assert contradictions(settled(judged(dataset, made), Status.FAIL)) == ["seed_results.42.eval_time_ms"]


def test_over_a_limit_without_saying_so_is_asked_about(dataset: Dataset) -> None:
    settled(judged(dataset, {"wallclock_seconds": 1860}), Status.INCONCLUSIVE)
    settled(judged(dataset, {"wallclock_seconds": 1860, "track": "non-record-16mb"}), Status.NOT_APPLICABLE)
    settled(judged(dataset, {"bytes_total": 16_500_000}), Status.INCONCLUSIVE)
    promised = {"bytes_total": 16_500_000, "compliance": {"artifact_under_16mb": True}}
    settled(judged(dataset, promised), Status.FAIL)


def test_both_divisors_of_a_spread_are_in_use(dataset: Dataset) -> None:
    settled(judged(dataset, changed(val_bpb_std=0.00028893)), Status.PASS)  # by n
    settled(judged(dataset, changed(val_bpb_std=0.0004)), Status.PASS)  # rounded


def test_the_best_seed_as_the_headline_is_asked_about(dataset: Dataset) -> None:
    made = changed(val_bpb=1.11437394, val_loss=1.88156874)
    settled(judged(dataset, made), Status.INCONCLUSIVE)


def test_two_seeds_with_one_score_are_asked_about(dataset: Dataset) -> None:
    made = {"seed_results": {"1": {"val_bpb": 1.1150812}, "2": {"val_bpb": 1.1150812}}, "val_bpb": 1.1150812}
    settled(judged(dataset, made), Status.INCONCLUSIVE)


def test_three_seeds(dataset: Dataset) -> None:
    made = {"seeds": [42], "compliance": {"three_seeds": True}}
    assert contradictions(settled(judged(dataset, made), Status.FAIL)) == ["compliance.three_seeds"]
    settled(judged(dataset, {**made, "seeds": [1, 2, 3]}), Status.PASS)
    settled(judged(dataset, {"seeds": [42], "compliance": {"three_seeds": False}}), Status.PASS)


def test_a_number_in_quotes_is_read(dataset: Dataset) -> None:
    found = settled(judged(dataset, {"val_bpb": "1.214745", "val_loss": 2.05104604}), Status.PASS)  # as in #1229
    assert any("quotation marks" in line for line in found.not_covered)
    settled(judged(dataset, {"val_bpb": "about 1.2"}), Status.INCONCLUSIVE)


# Against what was measured.


def score(bpb: float, width: float = 2.43592, seed: int = 1) -> SeedScore:
    loss = bpb * width * 0.6931471805599453
    return SeedScore(seed=seed, val_loss=loss, val_bpb=bpb, artifact_sha256="0", artifact_bytes=1)


SEALED = ArtifactSizes(15_880_000, {"shipped": 90_000, "wrapped": 30_000, "all_files": 200_000}, FIT.files)


def record(dataset: Dataset, made: dict[str, Any], bpb: float, **changes: Any) -> Finding:
    facts: dict[str, Any] = {"seeds": [score(bpb)], "sizes": SEALED, **changes}
    return judged(dataset, made, "record", **facts)


def test_a_measured_score_of_record_scale(dataset: Dataset) -> None:
    settled(record(dataset, PR1019, 1.1160), Status.PASS)
    found = settled(record(dataset, PR1019, 1.1577), Status.FAIL)
    assert contradictions(found) == ["val_bpb"] and "1.15770" in found.headline
    settled(record(dataset, PR1019, 1.0900), Status.INCONCLUSIVE)  # better than claimed is odd, and no offence


def test_other_text_is_not_compared(dataset: Dataset) -> None:
    found = settled(record(dataset, PR1019, 2.5, seeds=[score(2.5, width=3.0)]), Status.PASS)
    assert any("not the contest's text" in line for line in found.not_covered)
    found = settled(record(dataset, PR1019, 2.5, seeds=[]), Status.PASS)
    assert any("no score was measured" in line for line in found.not_covered)


def test_the_sealed_artifact(dataset: Dataset) -> None:
    other = ArtifactSizes(14_000_000, SEALED.code, FIT.files)
    found = settled(record(dataset, PR1019, 1.1150, sizes=other), Status.FAIL)
    assert contradictions(found) == ["bytes_total"] and "14,030,000 (wrapped)" in found.headline
    settled(judged(dataset, PR1019, sizes=other), Status.PASS)  # smoke scale


def early_updates(dataset: Dataset) -> Trace:
    """Every position once and in order, with an update between reading a chunk and scoring it."""
    trace = Trace(len(dataset.validation))
    for start in range(0, trace.tokens - 1, 100):
        stop = min(start + 100, trace.tokens - 1)
        read(trace, start, stop + 1)
        trace.update(1, 1)
        commit(trace, range(start + 1, stop + 1))
    return trace


def test_promises_against_measurements(dataset: Dataset) -> None:
    made = {"compliance": {"score_first_ttt": True, "no_slot": True, "no_ngram_cache": True}}
    found = settled(judged(dataset, made, trace=clean_trace(len(dataset.validation))), Status.PASS)
    assert any("no_ngram_cache" in line for line in found.not_covered)
    found = judged(dataset, made, trace=early_updates(dataset), probes=[leak()])
    assert contradictions(settled(found, Status.FAIL)) == ["compliance.score_first_ttt", "compliance.no_slot"]
    found = judged(dataset, made, trace=early_updates(dataset))  # context-only SLOT: no offence, yet no "no SLOT"
    assert "no_slot" in settled(found, Status.INCONCLUSIVE).headline


def test_test_time_training_is_claimed_truly_where_a_ruleset_forbids_it(dataset: Dataset) -> None:
    trace = clean_trace(len(dataset.validation))
    trace.update(1, 1)
    made = {"compliance": {"score_first_ttt": True}}
    settled(judged(dataset, made, trace=trace, ruleset=rules.load("strict")), Status.PASS)


def test_limits_that_were_measured_at_record_scale(dataset: Dataset) -> None:
    made = {"compliance": {"artifact_under_16mb": True, "train_under_600s": True, "eval_under_600s": True}}
    settled(record(dataset, made, 1.1), Status.PASS)
    clocks = Clocks(
        {"loop": 601.0, "touches training data": 602.0}, {"loop": 9.0, "from process start": 9.0}, "x", True
    )
    big = ArtifactSizes(16_000_000, SEALED.code, FIT.files)
    found = settled(record(dataset, made, 1.1, clocks=clocks, sizes=big), Status.FAIL)
    assert contradictions(found) == ["compliance.artifact_under_16mb", "compliance.train_under_600s"]
    settled(judged(dataset, made, clocks=clocks, sizes=big), Status.NOT_APPLICABLE)  # smoke scale


# Text by strangers.

names = st.sampled_from(
    [*claimed.BPB, *claimed.LOSS, *claimed.BPB_STD, *claimed.LARGEST, "seeds", "n_seeds", "compliance", "track"]
    + ["seed_results", "train_time_s", "eval_time_ms", "wallclock_seconds", "three_seeds", "no_slot"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just(10**400)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(made=st.dictionaries(names, anything, max_size=8), scale=st.sampled_from(["smoke", "record"]))
def test_any_metadata_gives_a_finding(dataset: Dataset, made: dict[str, Any], scale: str) -> None:
    found = judged(dataset, made, scale, seeds=[score(1.1)])
    settled(found, found.status)
    assert found.headline.isprintable()
    assert (found.status == Status.FAIL) == bool(found.value("contradict"))


@given(st.floats(0.5, 3.0), st.integers(2, 8))
def test_a_written_number_is_known_to_half_its_last_digit(value: float, digits: int) -> None:
    found = claimed.quantity("x", f"{value:.{digits}f}")
    assert found is not None
    assert found.half == pytest.approx(0.5 * 10.0**-digits)
    assert abs(found.value - value) <= found.half * 1.000001


@pytest.mark.parametrize(
    "value", [True, None, "", "1e999", "nan", "0x10", "1_0", [], {}, float("inf"), 10**400, "9" * 99]
)
def test_these_are_no_numbers(value: object) -> None:
    assert claimed.quantity("x", value) is None
