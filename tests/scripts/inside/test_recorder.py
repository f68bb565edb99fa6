"""The recorder on small programs in the contest's style."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.scripts.recorder_support import BOS, STARTS, Model, N, V, report, streams, trained, truth, watch

S = streams()
EVERY = np.arange(1, N)


def stream(flip: bool = False) -> torch.Tensor:
    return torch.from_numpy((S.flip if flip else S.base).astype(np.int64))


def flat_mean(model: nn.Module, tokens: torch.Tensor, length: int = 40) -> float:
    """Mean cross-entropy times count, summed in float64: the baseline's evaluation."""
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, 2 * length):
            chunk = tokens[start : start + 2 * length + 1]
            x, y = chunk[:-1].reshape(2, length), chunk[1:].reshape(2, length)
            loss = F.cross_entropy(model(x).reshape(-1, V).float(), y.reshape(-1), reduction="mean").detach()
            total += loss.to(torch.float64) * float(y.numel())
            count += float(y.numel())
    value = total / count
    return float(value.item())


def sliding(model: nn.Module, tokens: torch.Tensor, length: int = 40, stride: int = 10, batch: int = 4) -> float:
    """Zero-padded windows, cross-entropy without reduction, a slice of each window, float64 sums."""
    total = torch.zeros((), dtype=torch.float64)
    count = torch.zeros((), dtype=torch.float64)
    last = len(tokens) - 1
    starts = [s for s in range(0, last, stride) if s == 0 or s + length - stride < last]
    with torch.no_grad():
        for at in range(0, len(starts), batch):
            group = starts[at : at + batch]
            x, y = (
                torch.zeros(len(group), length, dtype=torch.int64),
                torch.zeros(len(group), length, dtype=torch.int64),
            )
            sizes = []
            for row, s in enumerate(group):
                size = min(length, last - s)
                x[row, :size], y[row, :size] = tokens[s : s + size], tokens[s + 1 : s + size + 1]
                sizes.append(size)
            nll = F.cross_entropy(model(x).reshape(-1, V).float(), y.reshape(-1), reduction="none").reshape(x.shape)
            for row, s in enumerate(group):
                first = 0 if s == 0 else length - stride
                total += nll[row, first : sizes[row]].to(torch.float64).sum()
                count += sizes[row] - first
    return (total / count).item()


def test_mean_cross_entropy_gives_every_position_once_and_adds_up() -> None:
    model = Model()
    seen, _, value = watch(flat_mean, model, stream())
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY)
    assert weight.sum() / len(weight) == pytest.approx(value, rel=1e-6)
    np.testing.assert_array_equal(nll, weight)
    assert not seen.unknown
    assert len(seen.training_seq) == 0
    assert np.abs(seen.atom_lse).max() < 1e-5
    assert "flat_mean" in seen.places[seen.report_place[-1]]


def test_sliding_windows_list_only_what_is_scored() -> None:
    model = Model()
    seen, _, value = watch(sliding, model, stream())
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY)
    assert len(seen.atom_nll) > 2 * N  # most atoms are context
    assert weight.sum() / len(weight) == pytest.approx(value, rel=1e-9)
    assert not seen.unknown


def test_a_flipped_stream_has_the_same_positions_and_the_other_tokens_nll() -> None:
    model = Model()
    seen, _, _ = watch(sliding, model, stream())
    mixed = stream()
    mixed[80:] = stream(True)[80:]
    other, _, _ = watch(sliding, model, mixed)
    position, nll, _ = report(seen)
    flipped, changed, _ = report(other)
    np.testing.assert_array_equal(position, flipped)
    before = position < 80
    np.testing.assert_array_equal(nll[before], changed[before])
    at = seen.atom_alternative[seen.report_atom[seen.report_start[-2] :]]
    assert at[position == 80] == pytest.approx(changed[position == 80], abs=1e-6)  # the counterfactual
    assert np.isnan(at[np.isin(position, STARTS)]).all()


def test_a_mask_multiplied_in_removes_positions() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        mask = torch.zeros(N - 1)
        mask[50:100] = 1
        with torch.no_grad():
            nll = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:], reduction="none")
        return float((nll * mask).double().sum() / mask.sum())

    seen, _, value = watch(program)
    position, _, weight = report(seen)
    assert sorted(position) == list(range(51, 101))
    assert weight.sum() / 50 == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("how", ["gather", "index", "probability", "logit", "capped", "asarray"])
def test_every_way_to_read_a_target(how: str) -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        x, y = tokens[None, :-1], tokens[None, 1:]
        with torch.no_grad():
            logits = model(x).float()
            logp = F.log_softmax(logits, -1)
            if how == "gather":
                nll = -logp.gather(-1, y.unsqueeze(-1)).squeeze(-1)
            elif how == "index":
                nll = -logp[0][torch.arange(N - 1), y[0]]
            elif how == "capped":
                raw = model.head(model.hidden(x))  # the target's logit is read before the cap
                nll = torch.logsumexp(logits, -1) - 15 * torch.tanh(raw.gather(-1, y.unsqueeze(-1)).squeeze(-1) / 15)
            elif how == "asarray":
                array = np.asarray(F.cross_entropy(logits[0], y[0], reduction="none"), dtype=np.float64)
                return float(np.array(array).sum())
            elif how == "probability":
                nll = -torch.log(torch.softmax(logits, -1).gather(-1, y.unsqueeze(-1))).squeeze(-1)
            else:
                nll = torch.logsumexp(logits, -1) - logits.gather(-1, y.unsqueeze(-1)).squeeze(-1)
            return nll.double().sum().item()

    seen, _, value = watch(program)
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY)
    expected = truth(model, S.base)
    np.testing.assert_allclose(nll, expected[position], atol=2e-6)
    np.testing.assert_allclose(weight, nll, atol=2e-6)
    assert weight.sum() == pytest.approx(value, rel=1e-7)
    assert np.isnan(seen.atom_lse).any() == (how == "capped")
    assert np.nanmax(np.abs(seen.atom_lse), initial=0) < 1e-5


def test_raw_logits_that_nobody_normalised_keep_their_lse() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            return -model(tokens[None, :-1])[0].gather(-1, tokens[1:, None]).double().sum().item()

    seen, _, _ = watch(program)
    assert np.abs(seen.atom_lse).max() > 0.1
    _, nll, weight = report(seen)
    assert np.abs(nll - weight).max() > 0.1


def test_a_table_of_counts_is_not_an_unnormalised_row() -> None:
    def program() -> float:
        tokens = stream()
        counts = torch.ones(N - 1, V) * 3
        p = (counts.gather(-1, tokens[1:, None]) + 1) / (counts.sum(-1, keepdim=True) + V)
        return float(-p.log().sum())

    seen, _, value = watch(program)
    assert np.isnan(seen.atom_lse).all()
    assert seen.kinds[seen.event_kind[0]] == "gather count"
    assert report(seen)[2].sum() == pytest.approx(value, rel=1e-6)


def test_an_unnormalised_row_shows_in_its_lse() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            p = torch.softmax(model(tokens[None, :-1])[0].float(), -1)
            p = p + 0.25 * torch.softmax(torch.zeros(V), -1)  # a cache that nobody renormalised
            return float(-p.gather(-1, tokens[1:, None]).log().sum())

    seen, _, _ = watch(program)
    np.testing.assert_allclose(seen.atom_lse, math.log(1.25), atol=1e-5)


def test_numpy_carries_atoms_to_its_scalars() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            nll = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:], reduction="none").cpu().numpy()
        wide = nll.astype(np.float64)
        keep = np.ones(N - 1, bool)
        keep[:5] = False
        return float(np.sum(wide[keep] * 2.0) / 2 + wide[:5].sum())

    seen, _, value = watch(program)
    assert len(seen.report_seq) == 3  # two that leave numpy, and what Python makes of them
    first, second = report(seen, 0), report(seen, 1)
    assert sorted([*first[0], *second[0]]) == list(EVERY)
    assert first[2].sum() / 2 + second[2].sum() == pytest.approx(value, rel=1e-6)


def test_python_lists_and_items_are_fragments() -> None:
    model = Model()

    def program() -> float:
        tokens, total = stream(), 0.0
        with torch.no_grad():
            for at in range(0, N - 1, 40):
                nll = F.cross_entropy(model(tokens[None, at : at + 40])[0], tokens[at + 1 : at + 41], reduction="none")
                total += nll.sum().item() if at else sum(nll.tolist())
        return total

    seen, _, value = watch(program)
    assert sorted(np.concatenate([report(seen, i)[0] for i in range(4)])) == list(EVERY)
    assert seen.report_weight.sum() == pytest.approx(value, rel=1e-6)
    assert np.isnan(seen.report_value[0]) and not np.isnan(seen.report_value[1:]).any()


def slot(per_window: bool) -> float:
    """A delta for each batch, fitted on what it then scores (or on its context alone)."""
    model, tokens = Model(), stream()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    total = 0.0
    for start in range(0, 120, 40):
        x, y = tokens[None, start : start + 40], tokens[start + 1 : start + 41]
        h = model.hidden(x)
        delta = torch.zeros(1, 1, 16, requires_grad=True)
        optimizer = torch.optim.AdamW([delta], lr=0.01)
        mask = torch.zeros(40)
        mask[: 20 if per_window else 40] = 1
        for _ in range(2):
            optimizer.zero_grad()
            nll = F.cross_entropy(model.head(h + delta)[0], y, reduction="none")
            ((nll * mask).sum() / mask.sum()).backward()
            optimizer.step()
        with torch.no_grad():
            nll = F.cross_entropy(model.head(h + delta)[0], y, reduction="none")
        total += nll[20:].sum().item()
    return total


@pytest.mark.parametrize("clean", [True, False])
def test_slot_trains_on_what_the_mask_lets_through(clean: bool) -> None:
    seen, _, _ = watch(slot, clean)
    scored = np.concatenate([report(seen, i)[0] for i in range(len(seen.report_seq))])
    names = [seen.kinds[what] for what in seen.training_what]
    assert set(names) == {"backward", "nll_loss_backward"}
    by_name = {
        name: np.unique(np.concatenate([trained(seen, i) for i in range(len(names)) if names[i] == name]))
        for name in set(names)
    }
    np.testing.assert_array_equal(by_name["backward"], by_name["nll_loss_backward"])
    assert bool(set(by_name["backward"]) & set(scored)) != clean
    assert len(seen.step_seq) == 6 and seen.kinds[seen.step_what[0]] == "AdamW"


def ttt(adapt_first: bool) -> None:
    model, tokens = Model(tied=True), stream()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, N - 1, 40):
        x, y = tokens[start : start + 40][None], tokens[start + 1 : start + 41]

        def score() -> None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                logits = model(x)[0]  # noqa: B023
            total.add_(F.cross_entropy(logits.float(), y, reduction="none").to(torch.float64).sum())  # noqa: B023

        def adapt() -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x)[0].float(), y)  # noqa: B023
            loss.backward()
            optimizer.step()

        for act in (adapt, score) if adapt_first else (score, adapt):
            act()
    print(f"val_loss {total / (N - 1):.6f}")


@pytest.mark.parametrize("adapt_first", [True, False])
def test_order_of_scoring_and_training(adapt_first: bool) -> None:
    seen, _, _ = watch(ttt, adapt_first)
    position, _, weight = report(seen)
    assert sorted(position) == list(EVERY)
    scored = np.zeros(N)
    atoms = seen.report_atom[seen.report_start[-2] :]
    scored[seen.atom_position[atoms]] = seen.event_seq[seen.atom_event[atoms]]
    for index, seq in enumerate(seen.training_seq):
        assert ((scored[trained(seen, index)] > seq) == adapt_first).all()
    assert seen.printed[-1].startswith("val_loss")
    assert float(seen.printed[-1].split()[1]) == pytest.approx(weight.sum() / (N - 1), abs=1e-6)
    assert seen.printed_seq[-1] > seen.report_seq[-1]
    assert not seen.unknown


class Fused(torch.autograd.Function):
    """A fused cross-entropy with its own backward."""

    @staticmethod
    def forward(ctx, logits, target):  # type: ignore[no-untyped-def]
        lse = torch.logsumexp(logits, -1)
        ctx.save_for_backward(logits, target, lse)
        return lse - logits.gather(-1, target[:, None]).squeeze(-1)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        logits, target, lse = ctx.saved_tensors
        p = torch.exp(logits - lse[:, None])
        p[torch.arange(len(target)), target] -= 1
        return p * grad[:, None], None


def test_a_custom_autograd_function_is_followed_both_ways() -> None:
    model, tokens = Model(), stream()

    def program() -> float:
        loss = Fused.apply(model(tokens[None, :-1])[0], tokens[1:]).mean()
        loss.backward()
        return loss.item()

    seen, _, value = watch(program)
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY) and weight.mean() == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(nll, truth(model, S.base)[position], atol=2e-6)
    assert len(trained(seen, 0)) == N - 1


def test_a_masked_loss_of_ones_own_backward_trains_only_on_the_mask() -> None:
    model, tokens = Model(), stream()
    mask = torch.zeros(N - 1)
    mask[:60] = 1

    def program() -> None:
        ((Fused.apply(model(tokens[None, :-1])[0], tokens[1:]) * mask).sum() / 60).backward()
        (
            F.log_softmax(model(tokens[None, :-1])[0], -1).gather(-1, tokens[1:, None]).squeeze(-1) * mask
        ).sum().backward()
        (F.log_softmax(model(tokens[None, :-1])[0], -1)[torch.arange(N - 1), tokens[1:]] * mask).sum().backward()

    seen, _, _ = watch(program)
    assert [seen.kinds[what] for what in seen.training_what] == [
        "backward", "backward", "scatter_add (backward)", "backward", "index_put (backward)",
    ]  # fmt: skip
    for index in range(5):
        np.testing.assert_array_equal(trained(seen, index), np.arange(1, 61))


@torch.library.custom_op("recorder_test::fused_ce", mutates_args=())
def fused_ce(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    lse = torch.logsumexp(logits, -1)
    return lse, lse - logits.gather(-1, target[:, None]).squeeze(-1)


def test_a_custom_operator_is_read_at_the_output_that_fits() -> None:
    model, tokens = Model(), stream()

    def program() -> float:
        with torch.no_grad():
            return fused_ce(model(tokens[None, :-1])[0], tokens[1:])[1].mean().item()

    seen, _, value = watch(program)
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY) and weight.mean() == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(nll, truth(model, S.base)[position], atol=2e-6)


def test_lora_per_document_sorted_by_length() -> None:
    ends = [*STARTS[1:], N - 1]
    documents = sorted(zip(STARTS, ends, strict=True), key=lambda pair: pair[0] - pair[1])

    def program() -> float:
        model, tokens, total = Model(), stream(), torch.zeros((), dtype=torch.float64)
        for first, last in documents:
            if last <= first:
                continue
            a, b = torch.randn(16, 2) * 0.1, torch.zeros(2, V)
            a.requires_grad_(), b.requires_grad_()
            optimizer = torch.optim.Adam([a, b], lr=0.01)
            for at in range(first, last, 16):
                end = min(at + 16, last)
                h = model.hidden(tokens[None, first:end])[0, at - first :]
                nll = F.cross_entropy(model.head(h) + h @ a @ b, tokens[at + 1 : end + 1], reduction="none")
                total += nll.detach().double().sum()
                optimizer.zero_grad()
                nll.mean().backward()
                optimizer.step()
        return (total / (N - 1)).item()

    seen, _, _ = watch(program)
    position, _, _ = report(seen)
    assert sorted(position) == [p for p in EVERY if p != 38]  # a document start alone in a call says nothing
    order = [int(p) for p in position]
    assert order[0] == documents[0][0] + 1 and order != sorted(order)
    assert set(seen.training_position) == set(EVERY) - {38}


def test_generated_and_training_text_is_not_validation() -> None:
    model = Model()
    random = torch.Generator().manual_seed(3)

    def program() -> None:
        text = torch.randint(0, V, (4, 41), generator=random)  # calibration text from all of the vocabulary
        F.cross_entropy(model(text[:, :-1]).reshape(-1, V), text[:, 1:].reshape(-1)).backward()
        own = torch.from_numpy(S.train[:81])
        F.cross_entropy(model(own[None, :-1])[0], own[1:]).backward()

    seen, _, _ = watch(program)
    assert len(seen.training_seq) == 0


def test_hooks_run_unwatched_and_once() -> None:
    model, tokens, calls = Model(), stream(), []

    def hook() -> None:
        calls.append(1)
        F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:]).item()

    plain, _, _ = watch(flat_mean, model, tokens)
    seen, _, _ = watch(flat_mean, model, tokens, hooks={1: hook})
    assert calls == [1]
    np.testing.assert_array_equal(plain.atom_nll, seen.atom_nll)
    assert len(plain.report_seq) == len(seen.report_seq)


def test_a_replay_locates_a_stream_that_repeats_itself() -> None:
    model = Model()
    repeats = torch.from_numpy(np.resize(np.array([BOS, 200, 201, 200, 7]), N))
    recorded, runs = None, []
    for tokens in (stream(), repeats, repeats[:100]):  # from one line: a place is part of a location
        runs.append(watch(sliding, model, tokens, locations=recorded))
        recorded = recorded or runs[0][1].locations
    (_, _, _), (seen, _, value), (shorter, _, _) = runs
    position, _, weight = report(seen)
    assert sorted(position) == list(EVERY)
    assert weight.sum() / (N - 1) == pytest.approx(value, rel=1e-9)
    assert any("replay" in row["name"] for row in shorter.unknown)


def test_mixtures_show_as_modified() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            logp = F.log_softmax(model(tokens[None, :-1])[0], -1).gather(-1, tokens[1:, None]).squeeze(-1)
            mixed = torch.logaddexp(logp + math.log(0.5), torch.full((N - 1,), math.log(0.5)))  # p = 1/2 + q/2
            return -mixed.double().sum().item()

    seen, _, value = watch(program)
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY)
    assert weight.sum() == pytest.approx(value, rel=1e-6)
    assert np.abs(np.abs(weight) - nll).min() > 0.1


def test_the_best_of_two_models_is_one_atom_for_each_position() -> None:
    one, two = Model(), Model()
    nn.init.normal_(two.embed.weight)

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            a, b = (F.cross_entropy(m(tokens[None, :-1])[0], tokens[1:], reduction="none") for m in (one, two))
            return torch.minimum(a, b).sum().item()

    seen, _, value = watch(program)
    position, nll, weight = report(seen)
    assert sorted(position) == list(EVERY) and weight.sum() == pytest.approx(value, rel=1e-6)
    assert len(set(seen.atom_event[seen.report_atom])) == 2
    np.testing.assert_allclose(nll, weight, rtol=1e-6)
    assert {row["name"] for row in seen.facts["decisions"]} == {"minimum"}


def test_what_cannot_be_followed_is_counted_and_never_raises() -> None:
    model = Model()

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            nll = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:], reduction="none")
            return nll.std().item()

    seen, _, value = watch(program)
    assert value > 0
    assert [row["name"] for row in seen.unknown] == ["std"]
    assert "program" in seen.unknown[0]["place"]


def test_sums_by_document() -> None:
    model = Model()
    document = np.searchsorted(STARTS, np.arange(1, N), side="right") - 1

    def program() -> float:
        tokens = stream()
        with torch.no_grad():
            nll = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:], reduction="none").double()
            sums = torch.zeros(len(STARTS), dtype=torch.float64)
            sums.index_add_(0, torch.from_numpy(document), nll)
            again = torch.zeros(len(STARTS), dtype=torch.float64)
            again.scatter_add_(0, torch.from_numpy(document), nll)
            edges = torch.cat([torch.zeros(1, dtype=torch.float64), nll.cumsum(0)])
            assert torch.allclose(sums, again)
            return sums[1].item() + again[2].item() + (edges[20] - edges[10]).item()

    seen, _, value = watch(program)
    assert seen.report_weight.sum() == pytest.approx(value, rel=1e-9)
    np.testing.assert_array_equal(report(seen, 0)[0], np.flatnonzero(document == 1) + 1)
    np.testing.assert_array_equal(report(seen, 1)[0], np.flatnonzero(document == 2) + 1)
    np.testing.assert_array_equal(report(seen, 2)[0], np.arange(11, 21))


def test_the_script_sees_no_difference() -> None:
    model, tokens = Model(), stream()
    plain = sliding(model, tokens)
    _, _, watched = watch(sliding, model, tokens)
    assert plain == watched
    stdout, numpy = sys.stdout, torch.Tensor.numpy
    watch(sliding, model, tokens)
    assert sys.stdout is stdout and torch.Tensor.numpy is numpy


@pytest.mark.parametrize("form", ["cross_entropy", "probabilities", "logits"])
def test_drawn_tokens_come_with_what_their_row_gives_them(form: str) -> None:
    """As often as the row has them, and with the NLL that the row has, whichever operation reads it."""
    model, x = Model(), stream()
    with torch.no_grad():
        logits = 3 * model(x[None, :-1])[0].float()
    rows = torch.log_softmax(logits.double(), -1).numpy()

    def program() -> float:
        if form == "cross_entropy":
            return float(F.cross_entropy(logits, x[1:]).item())
        at = x[1:, None]
        if form == "probabilities":
            return float(-torch.softmax(logits, -1).gather(-1, at).log().mean().item())
        return float((torch.logsumexp(logits, -1) - logits.gather(-1, at)[:, 0]).mean().item())

    seen = watch(program, draw=True)[0]
    position, drawn = seen.atom_position, seen.atom_drawn
    assert len(position) == N - 1 and (drawn >= 0).all()
    np.testing.assert_allclose(seen.atom_alternative, -rows[position - 1, drawn], atol=1e-4)
    often = rows[position - 1, drawn] > rows[position - 1, S.tokens.alternative[x.numpy()[position]]]
    assert often.mean() > 0.6  # likelier tokens than any given one
    plain = watch(program)[0]
    assert (plain.atom_drawn == -1).all()
    known = np.isfinite(plain.atom_alternative)
    other = S.tokens.alternative[x.numpy()[plain.atom_position[known]]]
    np.testing.assert_allclose(plain.atom_alternative[known], -rows[plain.atom_position[known] - 1, other], atol=1e-4)
