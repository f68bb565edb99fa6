"""Decisions by losses, turned one at a time: whatever the operation, the charge that it chose is another one then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.scripts.inside.decisions import Turn
from harness.scripts.inside.recorder import Recorder
from harness.scripts.trace.observed import Observed
from tests.scripts.recorder_support import Model, N, report, streams

S = streams()
TOKENS = torch.from_numpy(S.base.astype(np.int64))
ONE, TWO = Model(), Model()
nn.init.normal_(TWO.embed.weight)
WINDOWS = [slice(at, at + 16) for at in range(0, N - 1, 16)]


def losses() -> list[Tensor]:
    with torch.no_grad():
        return [F.cross_entropy(m(TOKENS[None, :-1])[0], TOKENS[1:], reduction="none") for m in (ONE, TWO)]


def arrays() -> list[Any]:
    return [loss.numpy() for loss in losses()]


def masked() -> Any:
    a, b = losses()
    best, better = a.clone(), b < a
    best[better] = b[better]
    return best.sum().item()


def floats(how: str) -> float:
    a, b = losses()
    total = 0.0
    for at in WINDOWS:
        pair = [a[at].sum().item(), b[at].sum().item()]
        total += {
            "min": lambda pair=pair: min(pair),
            "sorted": lambda pair=pair: sorted(pair)[0],
            "if": lambda pair=pair: pair[0] if pair[0] < pair[1] else pair[1],
            "argmin": lambda pair=pair: pair[int(np.argmin(pair))],
            "key": lambda pair=pair: pair[min(range(2), key=pair.__getitem__)],
        }[how]()
    print(f"{total:.6f}")
    return float(total)


def tensors(how: str) -> float:
    a, b = losses()
    total = torch.zeros(())
    for at in WINDOWS:
        one, two = a[at].sum(), b[at].sum()
        total += min(one, two) if how == "min" else one if one < two else two
    return total.item()


def listed() -> float:
    a, b = losses()
    total = sum(min(one, two) for one, two in zip(a.tolist(), b.tolist(), strict=True))
    print(f"{total:.6f}")
    return float(total)


def arithmetic() -> float:
    a, b = losses()
    weight = (a < b).float()
    return (weight * a + (1 - weight) * b).sum().item()


TOKEN: dict[str, Callable[[], Any]] = {
    "where": lambda: torch.where((pair := losses())[0] < pair[1], *pair).sum().item(),
    "minimum": lambda: torch.minimum(*losses()).sum().item(),
    "amin": lambda: torch.stack(losses()).amin(0).sum().item(),
    "min": lambda: torch.stack(losses()).min(0).values.sum().item(),
    "sort": lambda: torch.stack(losses(), -1).sort(-1).values[:, 0].sum().item(),
    "topk": lambda: torch.stack(losses()).topk(1, 0, largest=False).values.sum().item(),
    "argmin": lambda: (both := torch.stack(losses())).gather(0, both.argmin(0, keepdim=True)).sum().item(),
    "clamp": lambda: (pair := losses())[0].clamp(max=pair[1]).sum().item(),
    "mask": masked,
    "weights": arithmetic,
    "numpy minimum": lambda: float(np.minimum(*arrays()).sum()),
    "numpy where": lambda: float(np.where((pair := arrays())[0] < pair[1], *pair).sum()),
    "numpy min": lambda: float(np.stack(arrays()).min(0).sum()),
    "numpy sort": lambda: float(np.sort(np.stack(arrays()), axis=0)[0].sum()),
    "numpy argmin": lambda: float(np.take_along_axis(b := np.stack(arrays()), b.argmin(0)[None], 0).sum()),
    "python list": listed,
}
WINDOW: dict[str, Callable[[], Any]] = {
    **{f"floats {how}": lambda how=how: floats(how) for how in ("min", "sorted", "if", "argmin", "key")},
    **{f"tensors {how}": lambda how=how: tensors(how) for how in ("min", "if")},
}


def run(program: Callable[[], Any], turn: Turn | None = None) -> Observed:
    recorder = Recorder(S.tokens, script="test_decisions.py", turn=turn)
    recorder.install()
    try:
        with recorder:
            program()
    finally:
        recorder.uninstall()
    return recorder.observed()


@pytest.mark.parametrize("name", [*TOKEN, *WINDOW])
def test_a_turned_decision_charges_the_other_loss(name: str) -> None:
    program = (TOKEN | WINDOW)[name]
    plain, turned = (dict[int, float]() for _ in range(2))
    rows: list[dict[str, Any]] = []
    for charges in (plain, turned):  # both from one line: a place is made of lines
        asked = rows[len(rows) // 2] if rows else None
        keys = ("name", "place", "call", "element")
        seen = run(program, Turn(**{key: asked[key] for key in keys}) if asked else None)
        position, _, weight = report(seen)
        charges.update(zip(position.tolist(), weight.tolist(), strict=True))
        if asked:
            assert seen.facts["turned"] == 1
            (first, end) = asked["positions"][0]
        rows = rows or seen.facts["decisions"]
    assert set(plain) == set(turned) == set(range(1, N))
    changed = {position for position in plain if abs(plain[position] - turned[position]) > 1e-6}
    assert changed == set(range(first, end)) and len(changed) == (1 if name in TOKEN else 16)
    assert sum(turned.values()) > sum(plain.values())


def test_numbers_that_left_torch_are_floats_like_any_other() -> None:
    a = losses()[0]

    def program() -> list[Any]:
        value = a.sum().item()
        assert isinstance(value, float) and {value: 1}[float(value)] == 1
        return [value * 2, -value, round(value, 3), f"{value:.3f}", np.exp(-value), torch.tensor(value).dtype,
                torch.tensor([value, 1.0]).tolist(), value / 3 > 5, max(value, 1.0), value // 7, value % 7]  # fmt: skip

    plain = program()
    seen: list[Any] = []
    run(lambda: seen.extend(program()))
    assert seen == plain
