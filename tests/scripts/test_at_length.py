"""Audits of scripts that leak at the submitted sequence length alone: offenders, and neighbours that differ only in it.

No comparison shows the length. In tiny runs, whose windows have 256 tokens, none of them does anything.
"""

from __future__ import annotations

import pytest

from harness.record import Status
from tests.scripts.audits import SCRIPT, audit, replayed, write_script
from tests.support import finding

CHECKS = ("causality", "normalization", "single-pass", "coverage")

_HIDDEN = "        x = self.tok_emb(ids)\n"
_ATTEND = "        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)\n"
_DELTA = "        delta = adapt(model, hidden.detach(), y, mask) if adapt else 0.0\n"

#: Means over complete blocks of 1,024 tokens, added to the block itself or to the next one.
_BLOCKS = """
        whole = x.size(1) // 1024
        means = x[:, : whole * 1024].reshape(x.size(0), whole, 1024, x.size(-1)).mean(2)
        means = F.pad(means, (0, 0, {shift}, 0))[:, :whole].repeat_interleave(1024, 1)
        x = x + F.pad(means, (0, 0, 0, x.size(1) - whole * 1024))
"""
#: A causal mask of so many rows that is read around its end.
_MASK = """
        rows = torch.arange(length) % {rows}
        seen = torch.tril(torch.ones({rows}, {rows}, dtype=torch.bool))[rows][:, rows]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
"""
#: The mean of the tokens of a chunk of 2,048, once there is a second one: the chunk's own, or the one before it.
_CHUNK = """
        delta = 0.0
        for start, low, end in batch[:1]:
            chunk = (start + low) // 2048
            first = 2048 * (chunk - {back}) * min(chunk, 1)
            mean = model.tok_emb(val[first : first + {most}]).mean(0)
            delta = min(chunk, 1) * mean.detach()
"""


def script(where: str, what: str) -> str:
    """The base script with windows of 2,048 and one line of it in other words."""
    source = SCRIPT.read_text()
    for old, new in (
        ('"TRAIN_SEQ_LEN", 64', '"TRAIN_SEQ_LEN", 2048'),
        ('"EVAL_STRIDE", 16', '"EVAL_STRIDE", 256'),
        ('"EVAL_BATCH_SEQS", 4', '"EVAL_BATCH_SEQS", 1'),
        (where, where + what if where == _HIDDEN else what),
    ):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


OFFENDERS = {
    "blocks": script(_HIDDEN, _BLOCKS.format(shift=0)),
    "mask": script(_ATTEND, _MASK.format(rows=1024)),
    "chunk": script(_DELTA, _CHUNK.format(back=0, most=2048)),
}
CLEAN = {
    "blocks": script(_HIDDEN, _BLOCKS.format(shift=1)),
    "mask": script(_ATTEND, _MASK.format(rows=2048)),
    "chunk": script(_DELTA, _CHUNK.format(back=1, most=2048)),
}


@pytest.mark.parametrize(("how", "seed"), [("blocks", 0), ("mask", 1), ("chunk", 2)])
def test_a_leak_at_the_submitted_length_alone_is_caught_and_replays(tmp_path, how, seed):
    path = write_script(tmp_path / "s", OFFENDERS[how])
    found = finding(audit(path, tmp_path / "out", checks=CHECKS, seed=seed, depth="standard").record, "causality")
    assert found.status == Status.FAIL and "at the submitted sequence length" in found.headline, found.headline
    assert found.value("length_window") == 2048 and found.value("length_probes") >= 2
    runs = replayed(tmp_path / "out", path)["causality"]
    assert runs[:2] == ["base", "long"] and runs[-1] == "long-again"


@pytest.mark.parametrize(("how", "seed"), [("blocks", 1), ("mask", 2), ("chunk", 0)])
def test_what_looks_back_at_that_length_is_left_alone(tmp_path, how, seed):
    record = audit(
        write_script(tmp_path / "s", CLEAN[how]), tmp_path / "out", checks=CHECKS, seed=seed, depth="standard"
    ).record
    assert {item.status for item in record.findings} == {Status.PASS}, [item.headline for item in record.findings]
    assert finding(record, "causality").value("length_rows") > 2048


def test_quick_leaves_it_out_and_says_so(tmp_path):
    path = write_script(tmp_path / "s", OFFENDERS["blocks"])
    record = audit(path, tmp_path / "out", checks=("causality",), depth="quick").record
    found = finding(record, "causality")
    assert found.status == Status.PASS and found.value("length_probes") == 0
    assert "not shown, because it was not asked for (--depth quick leaves it out)" in found.headline
    assert any("at the submitted sequence length" in text for text in found.not_covered)
