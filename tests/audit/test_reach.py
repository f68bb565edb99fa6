"""What artifact-independence and isolation say of validation text that lies in reach of a box."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.audit import artifact_independence, isolation
from harness.audit.evidence import Retraining
from harness.audit.reach import HELD, TRACE
from harness.corpus.at_hand import AtHand, Held, look
from harness.corpus.dataset import Dataset, prepare
from harness.corpus.documents import stdlib_sources, topics_source
from harness.record import Finding, Status
from tests.audit.evidence_builder import NOTHING, OPEN, evidence, settled

CHECKS = (artifact_independence.check, isolation.check)


def machine(share: float) -> AtHand:
    held = Held("/usr/lib/python3/argparse.py", share, 0, "Information about how to convert", 300)
    return dataclasses.replace(NOTHING, share=share, documents=3, files=(held,) * 4)


def brought(share: float) -> AtHand:
    held = Held("data.txt", share, 2, "Call me Ishmael", 400)
    return dataclasses.replace(NOTHING, own_share=share, own_files=(held,))


def both(dataset: Dataset, at: AtHand | None, status: Status, **changes: object) -> tuple[Finding, Finding]:
    independent, isolated = (check(evidence(dataset, at_hand=at, **changes)) for check in CHECKS)
    return settled(independent, status), settled(isolated, status)


def test_by_construction_is_said_where_nothing_is_at_hand(dataset: Dataset) -> None:
    independent, isolated = both(dataset, NOTHING, Status.PASS)
    assert independent.headline.startswith("by construction") and independent.value("by_construction") is True
    assert "no file that it could read holds a passage" in independent.headline
    assert "no file in reach holds validation text" in isolated.headline


@pytest.mark.parametrize("at", [None, AtHand(share=0.0, documents=0)])
def test_where_nobody_searched_nothing_is_promised(dataset: Dataset, at: AtHand | None) -> None:
    for found in both(dataset, at, Status.INCONCLUSIVE):
        assert "not searched" in found.headline


def test_text_on_the_machine_leaves_both_undecided(dataset: Dataset) -> None:
    for found in both(dataset, machine(0.73), Status.INCONCLUSIVE):
        assert found.headline.startswith("73.0%") and "argparse.py" in found.headline and "others" in found.headline
        assert "by construction" not in found.headline and not found.value("by_construction")
        assert found.value("readable_share") == 0.73


def test_a_trace_decides_nothing_but_is_not_called_construction(dataset: Dataset) -> None:
    independent, isolated = both(dataset, machine(TRACE / 2), Status.PASS)
    assert "by construction" not in independent.headline and independent.value("by_construction") is False
    assert "no more than a trace" in independent.headline and "no file in reach" not in isolated.headline


def test_text_that_the_submission_brings_along_fails_with_a_witness(dataset: Dataset) -> None:
    found = settled(artifact_independence.check(evidence(dataset, at_hand=brought(0.4))), Status.FAIL)
    assert found.witness is not None and found.witness.kind == "text"
    assert found.witness.data["file"] == "data.txt" and found.witness.data["passage"] == "Call me Ishmael"
    assert "40.0%" in found.headline and any("compressed" in words for words in found.not_covered)
    open_box = settled(artifact_independence.check(evidence(dataset, at_hand=brought(0.4), level=OPEN)), Status.FAIL)
    assert open_box.witness == found.witness


def test_a_quotation_is_no_accusation(dataset: Dataset) -> None:
    for share, status in ((TRACE / 2, Status.PASS), ((TRACE + HELD) / 2, Status.INCONCLUSIVE)):
        found = settled(artifact_independence.check(evidence(dataset, at_hand=brought(share))), status)
        assert not found.headline.startswith("by construction")
        assert settled(isolation.check(evidence(dataset, at_hand=brought(share))), Status.PASS)


def test_training_again_does_not_excuse_text_at_hand(dataset: Dataset) -> None:
    same = Retraining("made up", 3000, ("a", "b"), "c", second="c")
    settled(artifact_independence.check(evidence(dataset, retraining=same)), Status.PASS)
    read = settled(
        artifact_independence.check(evidence(dataset, retraining=same, at_hand=machine(0.5))), Status.INCONCLUSIVE
    )
    assert read.headline.startswith("the same bytes with other validation data, but 50.0%")
    settled(artifact_independence.check(evidence(dataset, retraining=same, at_hand=brought(0.5))), Status.FAIL)


@pytest.mark.slow
def test_the_stdlib_data_are_found_in_the_python_that_is_running(tmp_path: Path) -> None:
    """The offender among data sets, and the default beside it, against the same files."""
    topics = topics_source()
    files = [str(path) for _, path in stdlib_sources()] + ([str(topics)] if topics else [])
    shares = {}
    for name in ("stdlib", "commons"):
        data = prepare(name, cache=tmp_path)
        shares[name] = look(data, files, {}, tmp_path)
    assert shares["stdlib"].share > 0.5 and shares["stdlib"].documents > 20 and shares["commons"].share == 0.0
    for name, status in (("stdlib", Status.INCONCLUSIVE), ("commons", Status.PASS)):
        both(prepare(name, cache=tmp_path), shares[name], status, trace=None)
