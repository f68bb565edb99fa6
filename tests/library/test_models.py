"""`assert_causal` and `audit_model`: what is taken, what is said, what is left as it was, and what cannot be told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from harness import HarnessError, Record, assert_causal, audit_model
from harness.errors import SubmissionError, UsageError
from harness.library.report import Leak, Undecided
from harness.record import Status
from tests.library.gallery import GALLERY, VOCAB, Small, smear

SMEAR = GALLERY["smear with t+1"]
LENGTH = 64


def audited(model: Any, **options: Any) -> harness.Report:
    return audit_model(model, VOCAB, **{"length": LENGTH, **options})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: lambda x: model(x),
        lambda model: lambda x: (model(x), None),
        lambda model: lambda x: SimpleNamespace(logits=model(x), past_key_values=None),
        lambda model: lambda x: {"logits": model(x)},
        lambda model: lambda x: (torch.zeros(()), model(x)),
    ],
    ids=["module", "function", "tuple", "object", "dict", "loss first"],
)
def test_all_that_models_return_is_taken(wrap: Any) -> None:
    assert audited(wrap(SMEAR.twin(0))).ok
    found = audited(wrap(SMEAR.leak(0)))
    assert found.finding("causality").status == Status.FAIL and not found.ok


def test_the_sentence_names_token_row_and_nats_and_they_are_true() -> None:
    model = SMEAR.leak(3)
    report = audited(model, max_forwards=64)
    says = r"^token \d+ moved (row \d+|its own row) by [\d.e-]+ nats: Small uses"
    with pytest.raises(AssertionError, match=says) as seen:
        report.raise_for_status()
    assert "\n" not in str(seen.value)
    witness = report.finding("causality").witness
    assert witness is not None
    first, last = witness.data["smallest"]["tokens"]
    row = witness.data["smallest"]["row"]
    assert first == last and row == first - 1  # what is smeared is the hidden state one to the right, of the row before


def test_a_replay_shows_the_same_witness_to_the_last_digit() -> None:
    replayed = audited(SMEAR.leak(1)).replay()
    assert replayed.reproduced and "to the last digit" in replayed.why
    with pytest.raises(UsageError, match="no witness"):
        audited(SMEAR.twin(1)).replay()


def test_parameters_modes_and_random_numbers_are_left_as_they_were() -> None:
    model = SMEAR.twin(0).train()
    model.norms.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    audited(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training and not model.norms.training and model.attend.training
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)  # type: ignore[index]


def test_a_model_that_draws_numbers_is_undecided_and_its_leak_below_the_noise_is_called_invisible() -> None:
    def noisy(size: float, model: nn.Module) -> Any:
        return lambda x: model(x) + size * torch.randn(1)

    with pytest.raises(Undecided, match="too much to see a leak in|say nothing") as seen:
        assert_causal(lambda x: SMEAR.twin(0)(x) + 0.5 * torch.randn(*x.shape, VOCAB), VOCAB, length=LENGTH)
    assert not isinstance(seen.value, Leak)
    quiet = audited(lambda x: SMEAR.twin(0)(x) + 1e-4 * torch.randn(*x.shape, VOCAB))
    found = quiet.finding("causality")
    assert found.status == Status.PASS and any("invisible" in said for said in found.not_covered)
    assert quiet.floor > 1e-4
    assert not quiet.ok  # identical runs differ, which determinism says
    # Shifting all logits alike changes no prediction.
    assert audited(noisy(1.0, SMEAR.twin(0))).finding("determinism").status == Status.PASS


def test_a_head_of_zeros_shows_nothing_until_it_is_filled() -> None:
    for ahead in (False, True):
        model = Small(0, mix=lambda x, ahead=ahead: smear(x, ahead))
        nn.init.zeros_(model.head.weight)
        nn.init.zeros_(model.head.bias)
        with pytest.raises(Undecided, match="say nothing"):
            assert_causal(model, VOCAB, length=LENGTH)
        report = audited(model, fill=0.02)
        assert report.finding("causality").status == (Status.FAIL if ahead else Status.PASS)
        assert not model.head.weight.any()
    with pytest.raises(UsageError, match="fill"):
        audited(lambda x: x, fill=0.1)


def test_rounding_is_told_from_leaks_in_float64() -> None:
    twin = GALLERY["circular convolution"].twin
    said = []
    for seed in range(6):
        report = audit_model(twin(seed).to(torch.bfloat16), VOCAB, seed=seed)
        assert report.ok
        said += [line for line in report.finding("causality").not_covered if "vanish in float64" in line]
        model = twin(seed).to(torch.bfloat16)
        try:  # a function cannot be raised to float64: it is passed or undecided, and never accused
            assert_causal(lambda x, model=model: model(x), VOCAB, seed=seed)
        except Undecided as undecided:
            assert "rounding" in str(undecided)
    assert said


def test_rows_may_depend_on_their_batch_where_that_is_allowed() -> None:
    def centred(x: Tensor) -> Tensor:
        logits = SMEAR.twin(0)(x)
        return logits - 0.3 * logits.softmax(-1).mean(0, keepdim=True) * torch.arange(VOCAB)

    report = audited(centred)
    assert "other sequences of the batch moved row" in report.sentence
    assert report.finding("causality").witness.kind == "neighbour"  # type: ignore[union-attr]
    assert audited(centred, across_batch=True).ok


def test_a_large_vocabulary_and_more_columns_than_ids() -> None:
    class Wide(nn.Module):
        def __init__(self, ahead: int) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.head, self.ahead = nn.Embedding(100_000, 8), nn.Linear(8, 100_064), ahead

        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x)
            made: Tensor = self.head(h.cumsum(1) + (h.roll(-1, 1) if self.ahead else 0))
            return made

    assert audit_model(Wide(0), 100_000, length=16, null=True).ok
    assert audit_model(Wide(1), 100_000, length=16).sentence


def test_the_config_says_vocabulary_and_length() -> None:
    model = SMEAR.twin(0)
    model.config = SimpleNamespace(vocab_size=VOCAB, max_position_embeddings=32)  # type: ignore[assignment]
    report = audit_model(model)
    assert report.record.data.tokens == 32 and report.record.data.vocab_size == VOCAB


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"vocab_size": None}, "vocab_size"),
        ({"length": 4}, "length"),
        ({"batch": 0}, "batch"),
        ({"tokens": [1, 2]}, "tokens"),
        ({"tokens": [VOCAB] * LENGTH}, "ids from"),
        ({"tokens": [1] * LENGTH}, "all the same"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as seen:
        audit_model(SMEAR.twin(0), **{"vocab_size": VOCAB, "length": LENGTH, **options})
    assert "\n" not in str(seen.value)


def test_what_is_no_logits_is_refused() -> None:
    with pytest.raises(UsageError, match="no logits"):
        audited(lambda x: "logits")
    with pytest.raises(UsageError, match=r"logits \[B, T, V\]"):
        audited(lambda x: torch.zeros(*x.shape, 3))
    with pytest.raises(SubmissionError, match="NaN"):
        audited(lambda x: torch.full((*x.shape, VOCAB), torch.nan))


def test_text_of_ones_own_and_sizes_of_blocks_are_played() -> None:
    seen: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x)
        made: Tensor = SMEAR.twin(0)(x)
        return made

    own = np.arange(LENGTH) % VOCAB
    assert audited(watched, tokens=own, steps=[24], max_forwards=40).ok
    base = torch.as_tensor(own)
    firsts = {int((row != base[: len(row)]).nonzero()[0]) for x in seen for row in x if (row != base[: len(row)]).any()}
    assert {24, 25, 23} <= firsts and torch.equal(seen[0][0], base)


def test_the_same_seed_gives_the_same_record_and_every_view_shows_it(tmp_path: Path) -> None:
    first, second, other = (audited(SMEAR.leak(0), seed=seed) for seed in (5, 5, 6))
    assert first.record.digest == second.record.digest != other.record.digest
    assert first.record.submission.kind == "library"
    assert "nothing was sandboxed" in str(first.record.environment["sandbox"])
    page = first.to_html(tmp_path / "deep" / "report.html").read_text()
    assert "moved" in page and "harness replay" not in page and "audit_model(Small" in page
    assert "moved" in first.to_markdown() and "<script" not in first._repr_html_()
    assert "moved" in str(first) and "FAIL" in repr(first)
    (tmp_path / "record.json").write_text(first.record.to_json())
    assert Record.load(tmp_path / "record.json").digest == first.record.digest


def test_what_is_undecided_may_be_allowed_by_name() -> None:
    report = audited(lambda x: SMEAR.twin(0)(x) + 1e-4 * torch.randn(*x.shape, VOCAB))
    with pytest.raises(Undecided, match="determinism"):
        report.raise_for_status()
    report.raise_for_status(allow={"determinism"})
    with pytest.raises(HarnessError, match="no check"):
        report.finding("size-limit")


def test_importing_the_harness_imports_neither_torch_nor_the_library() -> None:
    heavy = ("torch", "numpy", "pydantic", "harness.library")
    line = f"import sys, harness; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
