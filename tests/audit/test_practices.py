"""One order of scoring through both doors: an adapter's trace and a script's pass get one verdict, and one sentence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import rules
from harness.audit import orders, practices, single_pass
from harness.audit.orders import Scoring
from harness.audit.practices import Seen
from harness.corpus.dataset import Dataset
from harness.record import Finding, Status
from harness.referee.trace import Trace
from harness.scripts.checks import single_pass as of_scripts
from harness.scripts.checks.evidence import ScriptEvidence
from tests.audit.evidence_builder import changed, commit, evidence
from tests.scripts.handmade import World

WORLD = World(1025, documents=(0, 100, 400, 790))
N = WORLD.tokens
ALL = list(range(1, N))


def adapter(dataset: Dataset, order: list[int], ruleset: rules.Ruleset) -> Finding:
    stream = np.full(N, 7 if dataset.tokenizer.bos_id != 7 else 8, dataset.validation.dtype)
    stream[WORLD.documents] = dataset.tokenizer.bos_id
    trace = Trace(N)
    for start in range(0, len(order), 32):
        commit(trace, order[start : start + 32])
    return single_pass.check(evidence(changed(dataset, validation=stream), trace, ruleset=ruleset))


def script(order: list[int], ruleset: rules.Ruleset) -> Finding:
    return of_scripts.check(
        ScriptEvidence(
            ruleset=ruleset,
            documents=WORLD.documents,
            base=WORLD.play(order=order),
            vocab_size=2 * N,
            sandbox="native",
            confined=True,
        )
    )


def by_length(positions: list[int]) -> list[int]:
    starts = np.append(WORLD.documents, N)
    spans = sorted(zip(starts[:-1], starts[1:], strict=True), key=lambda span: span[0] - span[1])
    return [p for a, b in spans for p in range(a + 1, min(b + 1, N)) if p in set(positions)]


ORDERS: dict[str, tuple[Callable[[], list[int]], str]] = {
    "": (lambda: ALL, "PASS"),
    "tail_scored_again": (lambda: [*ALL, *ALL[-60:]], "PASS"),
    "tail_never_scored": (lambda: ALL[:-8], "PASS"),
    "first_targets_never_scored": (lambda: ALL[8:], "PASS"),
    "gap_after_first_window": (lambda: ALL[:64] + ALL[72:], "PASS"),
    "longest_document_first": (lambda: by_length(ALL), "PASS"),
    "document_starts_never_scored": (lambda: [p for p in ALL if p not in WORLD.documents], "UNRULED"),
    "scored_again": (lambda: [*ALL[:200], *ALL[150:200], *ALL[200:]], "UNRULED"),
    "steps_back": (lambda: [*ALL[500:], *ALL[:500]], "UNRULED"),
    "gap": (lambda: [p for p in ALL if not 500 <= p < 540], "FAIL"),
    "second_pass": (lambda: [*ALL, *ALL], "FAIL"),
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("ruleset", rules.available())
def test_every_practice_of_scoring_is_one_offence(dataset: Dataset, name: str, ruleset: str) -> None:
    made, status = ORDERS[name]
    loaded = rules.load(ruleset)
    seen = [one.practice for one in orders.practices(Scoring.of_sequence(np.array(made()), N, WORLD.documents))]
    assert seen == ([name] if name else [])
    found = [adapter(dataset, made(), loaded), script(made(), loaded)]
    assert found[0].status == found[1].status == (practices.status_of(loaded, name) if name else Status.PASS)
    assert found[0].headline == found[1].headline
    if ruleset == rules.DEFAULT:
        assert found[0].status == Status(status)
    if found[0].status == Status.FAIL:
        assert found[0].witness is not None and found[0].witness == found[1].witness


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_order_gets_one_verdict_through_both_doors(dataset: Dataset, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.integers(1, N - 1), max_size=4))
    cuts = sorted({0, *pieces, N - 1})
    parts = [ALL[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    order = [p for part in data.draw(st.permutations(parts)) for p in part]
    again = data.draw(st.integers(0, 40))
    dropped = set(data.draw(st.lists(st.integers(1, N - 1), max_size=5)))
    order = [p for p in [*order, *order[-again:]] if p not in dropped] or ALL
    loaded = rules.load(data.draw(st.sampled_from(rules.available())))
    one, other = adapter(dataset, order, loaded), script(order, loaded)
    assert (one.status, one.headline) == (other.status, other.headline)
    shared = {number.id for number in one.metrics} & {number.id for number in other.metrics}
    assert len(shared) >= 8 and all(one.value(name) == other.value(name) for name in shared)


def test_the_worst_of_several_practices_decides_and_each_ruling_is_said() -> None:
    loaded = rules.load()
    seen = [Seen("tail_never_scored", "a"), Seen("steps_back", "b"), Seen("second_pass", "c")]
    for count, status in ((1, Status.PASS), (2, Status.UNRULED), (3, Status.FAIL)):
        found, headline, witness = practices.ruled(loaded, seen[:count])
        assert found == status and (witness is not None) == (status == Status.FAIL)
        assert all(loaded.practice[one.practice].text in headline for one in seen[:count])
