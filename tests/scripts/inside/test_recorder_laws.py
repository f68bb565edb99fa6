"""Laws of the recorder: for any layout of windows and any way to sum, the atoms are the score."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.scripts.inside.atoms import Atoms
from harness.scripts.inside.locate import Locator, pack, unpack
from harness.scripts.inside.shadows import Shadows
from tests.scripts.recorder_support import STARTS, Model, N, report, streams, trained, watch

S = streams()
QUIET = settings(
    max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
WAYS = ("mean", "none", "double", "numpy", "item", "list", "buffer", "mask", "cat")


@st.composite
def layouts(draw: Any) -> list[tuple[int, int, int]]:
    """(start, length, first scored) of each window; targets are start + 1 .. start + length."""
    count = draw(st.integers(1, 6))
    made = []
    for _ in range(count):
        length = draw(st.integers(8, 60))
        start = draw(st.integers(0, N - 1 - length))
        made.append((start, length, draw(st.integers(0, length - 1))))
    return made


def evaluate(layout: list[tuple[int, int, int]], way: str, flips: list[int]) -> tuple[float, int]:
    tokens = torch.from_numpy(S.base.astype(np.int64))
    tokens[flips] = torch.from_numpy(S.flip.astype(np.int64))[flips]
    model, total, count = Model(), 0.0, 0
    running = torch.zeros((), dtype=torch.float64)
    buffer, kept = torch.zeros(len(layout), 64), []
    with torch.no_grad():
        for row, (start, length, first) in enumerate(layout):
            logits = model(tokens[None, start : start + length])[0]
            y = tokens[start + 1 : start + length + 1]
            nll = F.cross_entropy(logits, y, reduction="none")
            count += length - first
            if way == "mean":
                running += F.cross_entropy(logits[first:], y[first:]).double() * (length - first)
            elif way == "numpy":
                total += float(nll.numpy()[first:].astype(np.float64).sum())
            elif way == "item":
                total += nll[first:].sum().item()
            elif way == "list":
                total += sum(nll[first:].tolist())
            elif way == "buffer":
                buffer[row, :length] = nll
                buffer[row, :first] = 0
            elif way == "mask":
                running += torch.where(torch.arange(length) >= first, nll, torch.zeros(())).double().sum()
            elif way == "cat":
                kept.append(nll[first:])
            else:
                part = nll[first:]
                running += (part.double() if way == "double" else part).sum()
        if way == "buffer":
            running = buffer.double().sum()
        elif way == "cat":
            running = torch.cat(kept).double().mean() * count
        return (running.item() if way not in ("numpy", "item", "list") else total), count


@QUIET
@given(layouts(), st.sampled_from(WAYS), st.lists(st.integers(1, N - 1), max_size=3))
def test_atoms_of_the_reports_are_the_score(layout: list[tuple[int, int, int]], way: str, flips: list[int]) -> None:
    flips = [at for at in flips if at not in STARTS]
    seen, _, (value, count) = watch(evaluate, layout, way, flips, script="test_recorder_laws.py")
    if way in ("numpy", "item", "list"):
        parts = [report(seen, index) for index in range(len(layout))]
    else:
        parts = [report(seen)]
    position, nll, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    wanted = np.concatenate([np.arange(start + first, start + length) + 1 for start, length, first in layout])
    assert len(position) == count
    # a flip moves neither its own position nor a neighbour's
    np.testing.assert_array_equal(np.sort(position), np.sort(wanted))
    np.testing.assert_allclose(weight.sum(), value, rtol=2e-6)
    np.testing.assert_allclose(weight, nll, rtol=1e-6)
    assert not seen.unknown


@QUIET
@given(st.lists(st.tuples(st.sampled_from("st"), st.integers(0, 15)), min_size=1, max_size=12))
def test_the_order_of_scoring_and_training_is_the_scripts(acts: list[tuple[str, int]]) -> None:
    tokens = torch.from_numpy(S.base.astype(np.int64))

    def program() -> None:
        model = Model()
        for act, block in acts:
            x, y = tokens[None, block * 10 : block * 10 + 10], tokens[block * 10 + 1 : block * 10 + 11]
            if act == "t":
                F.cross_entropy(model(x)[0], y).backward()
            else:
                with torch.no_grad():
                    F.cross_entropy(model(x)[0], y).item()

    seen, _, _ = watch(program, script="test_recorder_laws.py")
    ledger = [(int(seq), "s", int(report(seen, i)[0].min())) for i, seq in enumerate(seen.report_seq)]
    for index, seq in enumerate(seen.training_seq):
        if seen.kinds[seen.training_what[index]] == "backward":
            ledger.append((int(seq), "t", int(trained(seen, index).min())))
    assert [(act, block) for _, act, block in sorted(ledger)] == [(act, block * 10 + 1) for act, block in acts]


@QUIET
@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0.125, 8)), min_size=1, max_size=6), st.randoms())
def test_weights_of_nested_sums_add_up_to_their_total(groups: list[tuple[int, float]], random: Any) -> None:
    """Sums of means with any factors: weights are proportional to what each atom really contributed."""
    atoms, marks, values, truth = Atoms(), [], [], {}
    for size, factor in groups:
        nll = np.array([random.uniform(0.1, 9) for _ in range(size)])
        ids = atoms.mint(np.arange(size), nll, None, None, 0)
        marks.append(int(atoms.combine(ids, nll, np.array([size]))[0]))
        values.append(float(nll.sum() * factor))
        truth |= {int(index): value * factor for index, value in zip(ids, nll, strict=True)}
    whole = atoms.combine(np.array(marks), np.array(values), np.array([len(marks)]))
    found, weight = atoms.expand(whole, np.array([sum(values)]))
    assert set(found) == set(truth)
    real = np.array([truth[int(index)] for index in found])
    ratio = weight / real
    # A lone atom is no sum: its number is its weight, so its group's factor is in it.
    np.testing.assert_allclose(ratio, ratio[0], rtol=2e-5)


@QUIET
@given(st.lists(st.tuples(st.integers(0, N - 8), st.integers(4, 30)), min_size=1, max_size=5), st.randoms())
def test_rows_of_the_stream_are_located_exactly(rows: list[tuple[int, int]], random: Any) -> None:
    width = max(length for _, length in rows)
    ids, truth = np.zeros((len(rows), width), np.int64), np.full((len(rows), width), -1)
    for row, (start, length) in enumerate(rows):
        at = np.arange(start, min(start + length, N))
        pick = np.array([random.random() < 0.5 for _ in at])
        ids[row, : len(at)] = np.where(pick, S.flip[at], S.base[at])
        truth[row, : len(at)] = at
    found = Locator(S.tokens).locate(ids, "here")
    assert found is not None
    again = unpack(json.loads(json.dumps(pack([("here", found.shape, found), ("there", (2,), None)]))))
    np.testing.assert_array_equal(again[0][2], found)
    assert again[1] == ("there", (2,), None)
    sure = ~np.isin(truth, STARTS)
    np.testing.assert_array_equal(found[sure], truth[sure])
    known = found[~sure]
    assert ((known == truth[~sure]) | (known == -1)).all()


def test_text_of_random_tokens_is_not_located() -> None:
    random = np.random.default_rng(1)
    position_of = np.full(65536, -1, np.int64)
    order = random.permutation(np.arange(1000, 8192))[:6144]
    position_of[order] = np.arange(6144) % 3072
    large = type(S.tokens)(position_of, S.tokens.alternative, 8192, 1, (0, 200))
    located = 0
    for _ in range(64):
        found = Locator(large).locate(random.integers(0, 8192, (4, 512)), "here")
        located += 0 if found is None else int((found >= 0).sum())
    assert located == 0


def test_one_token_a_call_is_located_by_the_calls_before() -> None:
    locator = Locator(S.tokens)
    found = [locator.locate(S.base[[at]].astype(np.int64), "loop") for at in range(1, 20)]
    assert [int(one[0]) for one in found if one is not None] == list(range(1, 20))
    jump = Locator(S.tokens)
    assert jump.locate(S.base[[70]].astype(np.int64), "loop") is None
    assert jump.locate(S.base[[20]].astype(np.int64), "loop") is None


def test_marks_of_tensors_that_are_gone_are_swept() -> None:
    shadows = Shadows()
    kept = torch.zeros(3)
    shadows.put(kept, np.array([0, -1, 1]))
    for index in range(3000):
        shadows.put(torch.zeros(4), np.array([index, -1, -1, -1]))
    assert len(shadows._shadows) < 2000
    found = shadows.get(kept[1:])
    assert found is not None and list(found) == [-1, 1]


def test_running_totals_that_are_reported_each_time_stay_cheap_and_exact() -> None:
    tokens = torch.from_numpy(S.base.astype(np.int64))

    def program() -> list[float]:
        model, total, shown = Model(), torch.zeros((), dtype=torch.float64), []
        with torch.no_grad():
            for start in range(0, N - 1, 10):
                x, y = tokens[None, start : start + 10], tokens[start + 1 : start + 11]
                total += F.cross_entropy(model(x)[0], y, reduction="none").double().sum()
                shown.append(total.item())
        return shown

    seen, _, shown = watch(program, script="test_recorder_laws.py")
    assert len(seen.report_seq) == len(shown) == 16
    for index, value in enumerate(shown):
        position, _, weight = report(seen, index)
        np.testing.assert_array_equal(position, np.arange(1, 10 * index + 11))
        np.testing.assert_allclose(weight.sum(), value, rtol=1e-9)


def test_what_stands_between_located_tokens_has_its_position_whatever_it_is() -> None:
    ids = np.array(S.base[1:33], np.int64)
    ids[[5, 6, 20]] = 3  # targets that became another token
    found = Locator(S.tokens).locate(ids, "here")
    assert found is not None and (found == np.arange(1, 33)).all()
    ids[10] = S.base[40]  # moved: the position of the token, not of the place, would be wrong
    found = Locator(S.tokens).locate(ids, "here")
    assert found is not None and (found == np.arange(1, 33)).all()
    far = np.concatenate([S.base[1:9], np.full(20, 3), S.base[100:108]])  # no place in one row
    found = Locator(S.tokens).locate(far.astype(np.int64), "here")
    assert found is not None and (found[8:28] == -1).all()
