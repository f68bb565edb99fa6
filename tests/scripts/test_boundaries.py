"""document-boundary of scripts: a SmearGate across document starts, one that stops there, and attention across them."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from harness import rules
from harness.record import Status
from harness.rules import Ruleset
from harness.rules.rulings import Submitted
from harness.scripts import boundaries
from harness.scripts.play import streams
from tests.scripts.audits import SCRIPT, audit, replayed, write_script
from tests.support import finding

CHECK = "document-boundary"


def script(folder: Path, *, apart: bool, masked: bool, gate: bool = True) -> Path:
    """The test script with a gate that adds half of the token before, and attention within documents or across."""
    text = SCRIPT.read_text()
    smear = "0.5 * F.pad(x[:, :-1], (0, 0, 1, 0))" + (" * (ids != 1)[..., None]" if masked else "")
    for old, new in (
        (
            "        x = self.tok_emb(ids)\n        x = x + self.attn(F.rms_norm(x, (x.size(-1),)))\n",
            "        x = self.tok_emb(ids)\n"
            + (f"        smear_gate = {smear}\n        x = x + smear_gate\n" if gate else "")
            + "        x = x + self.attn(F.rms_norm(x, (x.size(-1),)), (ids == 1).cumsum(1))\n",
        ),
        ("    def forward(self, x):\n        batch", "    def forward(self, x, document):\n        batch"),
        (
            "        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)\n",
            "        same = document[:, :, None] == document[:, None, :]\n"
            "        same = same.tril()[:, None]\n"
            "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=same)\n"
            if apart
            else "        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)\n",
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return write_script(folder, text)


def of(year: int, month: int, day: int) -> Ruleset:
    return rules.load().of(Submitted(date=datetime.date(year, month, day), said="the command line"))


@pytest.fixture(scope="module")
def across(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return script(tmp_path_factory.mktemp("across"), apart=True, masked=False)


@pytest.mark.slow
def test_a_gate_across_documents_is_judged_by_the_day_and_replays(across: Path, tmp_path: Path) -> None:
    record = audit(across, tmp_path / "later", checks=(CHECK,), ruleset=of(2026, 4, 25)).record
    found = finding(record, CHECK)
    assert found.status == Status.FAIL and found.witness is not None and found.witness.kind == "rule", found.headline
    assert "cocohearts ruled against this" in found.headline and "Disputed" in found.headline
    assert found.value("starts_moved_by_last_alone") >= 2 and found.value("starts_moved_by_rest") == 0
    assert record.ruleset.rulings is not None
    assert [one.id for one in record.ruleset.rulings.counting] == ["smeargate_at_document_starts"]
    assert "boundary-0" in replayed(tmp_path / "later", across)[CHECK]


@pytest.mark.slow
def test_before_the_day_or_without_one_no_ruling_settles_it(across: Path, tmp_path: Path) -> None:
    for name, ruleset, says in (("before", of(2026, 4, 16), "#1667"), ("never", rules.load(), "is not known")):
        found = finding(audit(across, tmp_path / name, checks=(CHECK,), ruleset=ruleset).record, CHECK)
        assert found.status == Status.UNRULED and says in found.headline, found.headline


@pytest.mark.slow
@pytest.mark.parametrize(
    ("apart", "masked", "says"),
    [(True, True, "moves no first row"), (False, False, "so does the rest of it"), (False, True, "so does the rest")],
)
def test_a_gate_that_stops_at_documents_and_attention_across_them_are_left_alone(
    tmp_path: Path, apart: bool, masked: bool, says: str
) -> None:
    path = script(tmp_path / "s", apart=apart, masked=masked)
    found = finding(audit(path, tmp_path / "out", checks=(CHECK,), ruleset=of(2026, 4, 25)).record, CHECK)
    assert found.status == Status.PASS and says in found.headline, found.headline
    assert found.value("starts_told_apart") >= 2


@pytest.mark.slow
def test_a_script_without_a_gate_is_not_asked(tmp_path: Path) -> None:
    path = script(tmp_path / "s", apart=True, masked=False, gate=False)
    record = audit(path, tmp_path / "out", checks=(CHECK, "isolation")).record
    assert CHECK not in {one.id for one in record.findings} and "ends of documents" not in record.timing


@pytest.mark.parametrize(("vocabulary", "tokens"), [(5120, 2049), (5120, 900), (256, 1024)])
def test_the_two_lies_leave_the_starts_and_each_others_tokens_alone(vocabulary: int, tokens: int) -> None:
    made = streams.make(vocabulary, tokens)
    ends, rest = boundaries.variants(made.bos_positions, len(made.validation))
    assert not set(ends.replaced) & set(rest.replaced)
    for variant in (ends, rest):
        changed = np.flatnonzero(made.at(variant.replaced) != made.validation)
        assert set(changed) == set(variant.replaced) and not set(changed) & set(made.bos_positions)
    first, second = made.bos_positions[:2]
    assert set(range(first + 1, second - 1)) <= set(rest.replaced) and second - 1 in ends.replaced
