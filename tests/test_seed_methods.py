"""The evaluation methods of the SLOT family under the real flip audit, at a tiny size.

Each exists in a form that shares its vector over a batch of overlapping windows, as pull requests shipped it, and in
one that goes window by window. The first is not causal and the second is, whatever else differs between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.audit.checks import judge
from harness.audit.evidence import Evidence
from harness.corpus.dataset import Dataset
from harness.record import Finding, Status
from tests.support import shipped, shrunk
from tests.zoo import observed
from tests.zoo.runner import Zoo, opened

CHECKS = ["causality", "score-before-update", "single-pass"]

#: PR #1333: the delta goes in before the final norm.
BEFORE_NORM = """
import torch

from harness.kit import Submission
from harness.kit.context import contexts
from harness.kit.slot import SlotConfig, context_delta, shifted_logits


class BeforeNorm(Submission):
    slot = SlotConfig(steps=16, lr=0.008, before_norm=True)

    def evaluate(self, model, stream):
        geometry = {"length": self.length, "stride": self.stride, "batch_size": BATCH}
        for context in contexts(model, stream, before_norm=True, **geometry):
            delta = context_delta(model, context.fitted, context.targets, self.slot)
            with torch.no_grad():
                stream.score(context.batch, shifted_logits(model, context.scored, delta, self.slot))
"""

SHARED, WINDOWS = "shared", "per window"
FORMS = {
    ("#1306", SHARED): shipped("causal_slot_batched"),
    ("#1306", WINDOWS): shipped("causal_slot"),
    ("#1333", SHARED): shrunk(BEFORE_NORM.replace("BATCH", "self.windows_per_batch")),
    ("#1333", WINDOWS): shrunk(BEFORE_NORM.replace("BATCH", "1")),
    ("#1350", SHARED): shipped("lbfgs_slot"),
    ("#1350", WINDOWS): shipped("lbfgs_slot_per_window"),
    ("#1415", SHARED): shipped("etlb_batched"),
    ("#1399", WINDOWS): shipped("etlb"),
}
LEAKING = [form for form in FORMS if form[1] == SHARED]
CAUSAL = [form for form in FORMS if form[1] == WINDOWS]


@pytest.fixture(scope="module")
def zoo(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    with opened(observed.zoo_dataset(dataset), tmp_path_factory.mktemp("methods"), [], FORMS) as running:
        yield running


def judged(zoo: Zoo, form: tuple[str, str]) -> tuple[Evidence, dict[str, Finding]]:
    evidence = zoo.run(*form, 1, checks=CHECKS)
    return evidence, {found.id: found for found in judge(evidence, CHECKS)}


@pytest.mark.parametrize("form", LEAKING, ids=" ".join)
def test_a_vector_that_a_batch_shares_is_not_causal(zoo: Zoo, form: tuple[str, str]) -> None:
    evidence, findings = judged(zoo, form)
    found = findings["causality"]
    assert found.status == Status.FAIL and found.witness is not None, found.headline
    assert all(row["position"] <= found.witness.data["position"] for row in found.witness.data["affected"])
    assert findings["score-before-update"].status == Status.FAIL
    assert findings["single-pass"].status == Status.PASS
    # it is no matter of a lucky probe
    assert sum(result.violated for result in evidence.probes) > len(evidence.probes) / 2


@pytest.mark.parametrize("form", CAUSAL, ids=" ".join)
def test_one_that_goes_window_by_window_is(zoo: Zoo, form: tuple[str, str]) -> None:
    evidence, findings = judged(zoo, form)
    found = findings["causality"]
    assert found.status == Status.PASS, found.headline
    assert not any(result.violated for result in evidence.probes)
    assert found.value("probes_with_control") == found.value("probes_made") >= 20
    assert findings["score-before-update"].status == Status.UNRULED  # no ruling on context-only SLOT (#1336)
    assert findings["single-pass"].status == Status.PASS
