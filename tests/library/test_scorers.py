"""`audit_scorer`: evaluations that are legal, and ones that see their future, charge too little, or come twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import Report, Scorer, audit_scorer
from harness.errors import UsageError
from harness.library.report import Leak, Undecided
from harness.record import Status
from tests.library.gallery import GALLERY, VOCAB, Cached

WINDOW, STRIDE, LENGTH = 32, 16, 160
Score = Callable[[Tensor], Any]


def sliding(model: Any, nll: bool = True, reported: bool = True, adapt: bool = False, early: bool = False) -> Score:
    """A sliding window over a stream; with `adapt` a bias that learns each stride, with `early` before it is scored."""

    def score(tokens: Tensor) -> Any:
        bias, values, positions, done = torch.zeros(VOCAB), [], [], 0
        with torch.no_grad():
            while done < len(tokens) - 1:
                end = min(len(tokens) - 1, WINDOW if not done else done + STRIDE)
                begin = max(0, end - WINDOW)
                targets = tokens[done + 1 : end + 1]
                counts = torch.bincount(targets, minlength=VOCAB).float()
                bias = bias + 0.1 * counts if adapt and early else bias
                rows = model(tokens[None, begin:end])[0, done - begin :] + bias
                bias = bias + 0.1 * counts if adapt and not early else bias
                values.append(functional.cross_entropy(rows, targets, reduction="none") if nll else rows)
                positions.append(torch.arange(done + 1, end + 1))
                done = end
        return (torch.cat(positions), torch.cat(values)) if reported else torch.cat(values)

    return score


def audited(score: Any, **options: Any) -> Report:
    return audit_scorer(score, VOCAB, **{"length": LENGTH, "steps": (WINDOW, STRIDE), **options})


TWIN = GALLERY["smear with t+1"].twin(0)
LEAK = GALLERY["smear with t+1"].leak(0)


@pytest.mark.parametrize("nll", [True, False], ids=["losses", "rows"])
@pytest.mark.parametrize("adapt", [False, True], ids=["fixed", "adapts"])
def test_a_legal_evaluation_passes(nll: bool, adapt: bool) -> None:
    report = audited(sliding(TWIN, nll, adapt=adapt))
    assert report.ok, str(report)
    report.raise_for_status()
    assert report.finding("single-pass").status == Status.PASS


@pytest.mark.parametrize("nll", [True, False], ids=["losses", "rows"])
@pytest.mark.parametrize(
    "model", [GALLERY["block means into q, k and v"].leak(0), GALLERY["no mask in evaluation"].leak(0).eval()]
)
def test_a_leaking_model_inside_is_found(model: Any, nll: bool) -> None:
    with pytest.raises(Leak, match=r"tokens? [\d,]+.* moved"):
        audited(sliding(model, nll)).raise_for_status()


def test_adapting_to_a_stride_before_it_is_scored_is_found() -> None:
    for nll in (True, False):
        with pytest.raises(Leak, match="moved"):
            audited(sliding(TWIN, nll, adapt=True, early=True)).raise_for_status()


def test_a_model_that_sees_the_token_itself_is_found_in_rows_and_in_what_losses_sum_to() -> None:
    assert audited(sliding(LEAK, nll=False)).finding("causality").status == Status.FAIL
    strong = GALLERY["attention mask off by one"].leak(0)
    strong.attend[0].out.weight.data *= 8
    found = audited(sliding(strong))
    assert not found.ok and Status.FAIL in {found.finding(name).status for name in ("causality", "normalization")}


def test_the_better_of_two_models_is_no_distribution() -> None:
    one, other = (sliding(GALLERY["smear with t+1"].twin(seed), reported=False) for seed in (0, 1))
    report = audited(lambda tokens: torch.minimum(one(tokens), other(tokens)))
    found = report.finding("normalization")
    assert found.status == Status.FAIL and found.witness is not None
    assert report.finding("causality").status == Status.PASS
    mixed = audited(lambda tokens: -torch.logaddexp(-one(tokens), -other(tokens)) + np.log(2))
    assert mixed.finding("normalization").status == Status.PASS


def test_rows_of_log_probabilities_have_to_sum_to_one() -> None:
    rows = sliding(TWIN, nll=False, reported=False)
    assert audited(lambda tokens: rows(tokens).log_softmax(-1), kind="log_probs").ok
    over = audited(lambda tokens: rows(tokens).log_softmax(-1) + 0.1, kind="log_probs")
    assert over.finding("normalization").status == Status.FAIL


def test_a_scorer_that_knows_the_answers_beats_the_entropy() -> None:
    # It sees each token, and nothing but the token's own row moves.
    report = audited(lambda tokens: torch.full((len(tokens) - 1,), 0.01), whole_row=False)
    assert report.finding("null-stream").status == Status.FAIL
    assert report.finding("normalization").status == Status.FAIL


def test_a_cache_that_stays_from_one_call_to_the_next() -> None:
    def decode(model: Cached) -> Score:
        return lambda tokens: model(tokens[None, :-1])[0].detach()

    with pytest.raises(Leak, match="call before moved|tokens? [\\d,]+.* moved"):
        audited(decode(Cached(0, stale=True)), length=64).raise_for_status()
    assert audited(decode(Cached(0, stale=False)), length=64).ok


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (lambda p: p, Status.PASS),
        (lambda p: np.concatenate([p, p]), Status.FAIL),
        (lambda p: np.concatenate([p[:40], p[80:]]), Status.FAIL),
        (lambda p: np.concatenate([p[80:], p[:80]]), Status.UNRULED),
    ],
    ids=["once", "twice", "gap", "second half first"],
)
def test_positions_say_in_which_order_it_scored(order: Any, status: Status) -> None:
    rows = sliding(TWIN, nll=False, reported=False)

    def score(tokens: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(order(np.arange(1, len(tokens))))
        return chosen, rows(tokens)[chosen - 1]

    report = audited(score, lengths=())
    assert report.finding("single-pass").status == status
    assert report.finding("causality").status != Status.FAIL


def test_a_noisy_scorer_is_undecided_and_a_breaking_one_too() -> None:
    rows = sliding(TWIN, nll=False, reported=False)
    with pytest.raises(Undecided):
        audited(lambda tokens: rows(tokens) + torch.randn(VOCAB)).raise_for_status()


def test_documents_keep_their_starts_and_are_edges() -> None:
    seen: list[Tensor] = []
    rows = sliding(TWIN, nll=False, reported=False)

    def score(tokens: Tensor) -> Any:
        seen.append(tokens)
        return rows(tokens)

    assert audited(score, bos=3, length=400, lengths=(), max_calls=100).ok
    starts = [set(torch.nonzero(tokens == 3).flatten().tolist()) for tokens in seen if len(tokens) == 400]
    whole = max(starts, key=starts.count)
    assert 0 in whole and starts.count(whole) >= len(starts) // 2


@pytest.mark.parametrize(
    ("score", "options", "says"),
    [
        (lambda tokens: torch.zeros(3), {}, r"NLL \["),
        (lambda tokens: torch.zeros(len(tokens) - 1, 3), {}, "columns"),
        (lambda tokens: (torch.zeros(2), torch.zeros(3)), {}, "positions"),
        (lambda tokens: (torch.full((1,), len(tokens)), torch.zeros(1)), {}, "positions"),
        (lambda tokens: torch.zeros(len(tokens) - 1), {"kind": "logits"}, "is said to return logits"),
        (lambda tokens: "loss", {}, "tensor"),
        (lambda tokens: torch.zeros(len(tokens) - 1), {"length": 2}, "length"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(score: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as seen:
        audited(score, **options)
    assert "\n" not in str(seen.value)
    with pytest.raises(UsageError, match="vocab_size"):
        audit_scorer(score)


def test_a_scorer_carries_what_the_audit_has_to_know() -> None:
    made = Scorer(sliding(TWIN), VOCAB, name="mine", steps=(WINDOW,))
    report = audit_scorer(made, length=LENGTH)
    assert report.ok and report.record.submission.name == "mine" and report.record.data.vocab_size == VOCAB
    assert made(torch.arange(40))[0].tolist() == list(range(1, 40))
