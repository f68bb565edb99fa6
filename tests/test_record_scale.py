"""Every shipped submission at full size: its model has the parameters of its source, its settings make sense."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from harness.kit import ModelConfig
from harness.kit.config import small_model
from harness.kit.worker import load_submission

SUBMISSIONS = Path(__file__).parents[1] / "submissions"

#: "model_params:N" in the sources' own logs: the naive baseline's (2026-03-17), and those of the pull requests below.
BASELINE = 17_059_912
PRINTED = {
    "xsa_gptq": (1024, 27_067_484),
    "sp4096_recurrence": (4096, 34_401_372),
    "sp4096_causal_slot": (4096, 34_401_372),
    "causal_slot_prequant": (1024, 26_993_756),
    "scored_slot_gptq": (1024, 26_996_316),
    "lbfgs_slot": (1024, 26_993_756),
    "lbfgs_slot_per_window": (1024, 26_993_756),
}
NAMES = sorted(path.parent.name for path in SUBMISSIONS.glob("*/submission.py"))


@pytest.fixture(autouse=True)
def _own_modules():
    known, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - known:
        if name == "submission":
            del sys.modules[name]
    sys.path[:] = path


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_with_the_parameters_of_its_source(name):
    submission = load_submission(SUBMISSIONS / name, "record")
    vocabulary, printed = PRINTED.get(name, (1024, BASELINE))
    with torch.device("meta"):
        model = submission.build_model(vocabulary)
    count = sum(param.numel() for param in model.parameters())
    assert abs(count / printed - 1) <= 0.01
    train, quantize = submission.train_config(), submission.quantize_config()
    assert train.seconds <= 600 and quantize.prune_to <= 16_000_000
    if quantize.needs_calibration and quantize.calibration.inside_clock:
        assert train.reserve_seconds > 0  # or the Hessians would come after the 600 s


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_the_small_model_has_the_same_parts(name):
    full = load_submission(SUBMISSIONS / name, "record").model_config(1024)
    small = load_submission(SUBMISSIONS / name, "smoke").model_config(1024)
    assert small == small_model(full)
    plain = ModelConfig()
    for part in ("xsa_last", "smear", "bigram_buckets", "ve_layers", "rope_dims", "recur_layers", "parallel"):
        off = getattr(plain, part)
        assert (getattr(full, part) == off) == (getattr(small, part) == off), part
    for part in ("qk_gain", "leaky_slope", "mlp_ratio", "ln_scale", "skip_gates", "orthogonal_init"):
        assert getattr(full, part) == getattr(small, part), part
