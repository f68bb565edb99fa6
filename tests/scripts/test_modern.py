"""A packed folder of the later kind: FA3, Triton, `h`, settings that only its README and its log switch on."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path

import pytest

from harness.record import Status
from harness.scripts.auditing import Audited
from tests.scripts.audits import audit
from tests.support import finding

SOURCE = (Path(__file__).parent / "scripts" / "modern.py").read_text()
#: Two chunks of test-time training, and a bit.
TOKENS = 1801


def folder(at: Path, *, order: str, logged: bool) -> Path:
    """A record folder; the order is said by its log's dump, or by the command in its README."""
    at.mkdir()
    packed = base64.b85encode(lzma.compress(SOURCE.encode())).decode()
    (at / "train_gpt.py").write_text(f'import lzma as L,base64 as B\nexec(L.decompress(B.b85decode("{packed}")))\n')
    command = "SEED=42 TTT_ENABLED=1" + ("" if logged else f" TTT_ORDER={order}")
    (at / "README.md").write_text(f"# Modern\n\n```bash\n{command} torchrun --nproc_per_node=8 train_gpt.py\n```\n")
    (at / "submission.json").write_text(json.dumps({"author": "A", "github_id": "a", "name": "Modern", "val_bpb": 1.1}))
    if logged:
        dump = {"ttt_enabled": True, "ttt_order": order, "ttt_chunk_tokens": 32768, "train_seq_len": 2048}
        lines = ["=" * 100, "Hyperparameters:", *(f"  {name}: {value}" for name, value in sorted(dump.items())),
                 "val_tokens: 40540160", "1/20000 train_loss: 9.0090 train_time: 0.0m tok/s: 8000000"]  # fmt: skip
        (at / "train_seed42.log").write_text("\n".join(lines) + "\n")
    return at


@pytest.fixture(scope="module", params=[True, False], ids=["log", "readme"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Audited]:
    home = tmp_path_factory.mktemp("modern")
    orders = ("score_first", "train_first")
    return {
        order: audit(folder(home / order, order=order, logged=request.param), home / f"out-{order}", tokens=TOKENS)
        for order in orders
    }


@pytest.mark.slow
def test_what_was_submitted_is_what_is_audited(pair: dict[str, Audited]) -> None:
    for order, made in pair.items():
        settings = made.record.submission.settings
        submitted = {item["name"]: item for item in settings["submitted"]}
        assert submitted["TTT_ENABLED"]["value"] in ("1", "True")
        assert order == "score_first" or submitted["TTT_ORDER"]["value"] == order
        assert settings["wrappers"]
        used = made.record.data.facts["stand-ins used"]
        assert any("flash_attn" in name for name in used) and any("_leaky_relu_sq" in name for name in used)
        assert finding(made.record, "causality").value("headline_pass") == "test-time training"
        assert finding(made.record, "causality").value("difference_to_print") < 1e-6


@pytest.mark.slow
def test_the_order_decides(pair: dict[str, Audited]) -> None:
    clean, offender = pair["score_first"], pair["train_first"]
    for check in ("determinism", "causality", "score-before-update", "single-pass", "normalization", "null-stream",
                  "artifact-independence", "byte-accounting"):  # fmt: skip
        assert finding(clean.record, check).status == Status.PASS, finding(clean.record, check).headline
    assert finding(offender.record, "score-before-update").status == Status.FAIL
    assert finding(offender.record, "causality").status == Status.FAIL
    assert any("loss.backward()" in line for line in offender.explanations)


@pytest.mark.slow
def test_two_ranks_share_chunks(tmp_path: Path) -> None:
    path = folder(tmp_path / "two", order="score_first", logged=False)
    record = audit(path, tmp_path / "out", tokens=TOKENS, ranks=2).record
    for check in ("determinism", "causality", "score-before-update", "single-pass", "normalization"):
        assert finding(record, check).status == Status.PASS, finding(record, check).headline
