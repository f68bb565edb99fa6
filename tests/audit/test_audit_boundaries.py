"""document-boundary of adapters: what the last token of a document does beside one some way before it."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest

from harness import rules
from harness.audit import document_boundary
from harness.corpus.dataset import Dataset
from harness.record import Status
from harness.referee.comparator import KEPT_CHANGES, ProbeResult
from harness.referee.plan import BEFORE, DOCUMENT_START, boundaries
from harness.referee.source import BEFORE_END, DOCUMENT_END, Probe
from harness.rules.rulings import Submitted
from tests.audit.evidence_builder import clean_trace, evidence, probe_result, settled

LATER = rules.load().of(Submitted(date=datetime.date(2026, 4, 25))).judging()


def pair(end: int, own: float, before: list[tuple[int, float]] | None) -> list[ProbeResult]:
    """The end of a document replaced, which moves the next one's first row, and a token before it."""
    last = Probe("swap", end, token=3, token_class=DOCUMENT_END)
    made = [probe_result(end, probe=last, effects=[(end + 1, 1.0), (end + 2, own)] if own else [(end + 1, 1.0)])]
    if before is not None:
        earlier = Probe("swap", end - BEFORE, token=3, token_class=BEFORE_END)
        made.append(probe_result(end - BEFORE, probe=earlier, effects=before))
    return made


def found(dataset: Dataset, probes: list[ProbeResult], gate: bool = True, ruleset: rules.Ruleset = LATER):
    return document_boundary.check(evidence(dataset, probes=probes, gate=gate, ruleset=ruleset))


def test_the_last_token_alone_is_a_gate_across_documents(dataset: Dataset) -> None:
    probes = [*pair(50, 0.2, [(45, 0.3)]), *pair(90, 0.1, [(85, 0.3)])]
    made = settled(found(dataset, probes), Status.FAIL)
    assert made.witness is not None and made.witness.kind == "rule"
    assert "cocohearts" in made.headline and made.value("starts_moved_by_last_alone") == 2
    settled(found(dataset, probes, ruleset=rules.load().judging("2026-04-16")), Status.UNRULED)
    settled(found(dataset, probes, ruleset=rules.load()), Status.UNRULED)


@pytest.mark.parametrize(
    "probes",
    [
        [*pair(50, 0.2, [(52, 0.01)]), *pair(90, 0.1, [(85, 0.3)])],  # attention reaches across
        [*pair(50, 0.2, [(45, 0.3)]), *pair(90, 0.0, [(85, 0.3)])],  # one start alone
        [*pair(50, 0.2, None), *pair(90, 0.1, None)],  # nothing to hold it against
        [*pair(50, 0.2, [(45, 0.3)] * KEPT_CHANGES), *pair(90, 0.1, [(85, 0.3)])],  # not all changes were kept
        [*pair(50, 0.0, [(45, 0.3)]), *pair(90, 0.0, [(85, 0.3)])],  # a gate that stops at documents
    ],
    ids=["attention", "one", "alone", "many", "masked"],
)
def test_what_else_moves_or_moves_not_is_information(dataset: Dataset, probes: list[ProbeResult]) -> None:
    settled(found(dataset, probes), Status.PASS)


def test_without_a_gate_it_is_information(dataset: Dataset) -> None:
    made = settled(found(dataset, [*pair(50, 0.2, [(45, 0.3)]), *pair(90, 0.1, [(85, 0.3)])], gate=False), Status.PASS)
    assert made.value("starts_moved_by_last_alone") is None


def test_where_nothing_can_be_split_a_gate_is_open_only_where_it_is_ruled_out(dataset: Dataset) -> None:
    base = evidence(dataset, gate=True, ruleset=LATER)
    base = dataclasses.replace(base, unsplit="a process that uses a GPU cannot be split")
    settled(document_boundary.check(base), Status.INCONCLUSIVE)
    for other in (dataclasses.replace(base, gate=False), dataclasses.replace(base, ruleset=rules.load())):
        settled(document_boundary.check(other), Status.NOT_APPLICABLE)


def test_ends_and_tokens_before_them_are_planned_together(dataset: Dataset) -> None:
    tokens = dataset.validation[:2000]
    bos = dataset.tokenizer.bos_id
    classes = {DOCUMENT_START: np.array([bos]), "frequent": np.arange(300, 340)}
    trace = clean_trace(len(tokens))
    alone = boundaries(trace, tokens, classes, seed=1)
    both = boundaries(trace, tokens, classes, seed=1, before=True)
    ends = {probe.position for probe in both if probe.token_class == DOCUMENT_END}
    before = {probe.position + BEFORE for probe in both if probe.token_class == BEFORE_END}
    assert ends == {probe.position for probe in alone} and before <= ends and len(before) >= 2
    assert [probe.position for probe in both] == sorted(probe.position for probe in both)
    assert all(tokens[end + 1] == bos for end in ends)
