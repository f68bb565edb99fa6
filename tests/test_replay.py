"""Witnesses of submissions with a submission.py that need no flip: each is shown again, by the rules in the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import rules
from harness.adapters.options import Options
from harness.adapters.replay import _probes, replay
from harness.audit.evidence import PreviousRecord
from harness.audit.replays import Again
from harness.corpus.dataset import Dataset
from harness.progress import Progress
from harness.record import Record, Status, Witness
from harness.referee.source import Probe
from tests.support import finding, judge, shipped, write_submission

CHECKS = ["score-before-update", "single-pass", "size-limit", "claims", "significance"]


@pytest.mark.box
@pytest.mark.slow
def test_what_is_counted_and_computed_is_shown_again(dataset: Dataset, tmp_path: Path) -> None:
    """Bytes, claims, seeds against a record, an order of scoring, an update that the rules forbid."""
    own = rules.load("strict").texts[-1].replace("total_bytes = 16_000_000", "total_bytes = 1000")
    (tmp_path / "own.toml").write_text(own)
    claims = {"track": "10min_16mb", "val_bpb": 0.5, "bytes_total": 5, "artifact_bytes": 50_000, "code_bytes": 70_000}
    code = shipped("score_first_ttt").replace("chunk=32_768", "chunk=1_024, sequences=8")
    folder = write_submission(tmp_path / "s", code=code, **claims)
    how = {
        "scale": "record", "checks": CHECKS, "ruleset": rules.load(str(tmp_path / "own.toml")),
        "memory_bytes": 3 << 30,
    }  # fmt: skip
    first = judge(folder, dataset, tmp_path / "1", seed=1, **{**how, "checks": ["single-pass"]})
    assert first.score is not None
    how["previous"] = PreviousRecord("#1", [0.1, 0.101, 0.102], first.score.tokens, first.score.bytes, "record")
    earlier = list(first.score.per_seed)
    for seed in (2, 3):
        last = judge(folder, dataset, tmp_path / str(seed), seed=seed, earlier=tuple(earlier), **how)
        assert last.score is not None
        earlier = list(last.score.per_seed)
    (tmp_path / "own.toml").unlink()
    record = Record.load(tmp_path / "3")
    assert record.environment["limits"] == {"seconds": 120.0, "memory_bytes": 3 << 30}
    kinds = {found.id: found.witness.kind for found in record.findings if found.witness}
    assert kinds == {"score-before-update": "rerun", "size-limit": "bytes", "claims": "claims", "significance": "seeds"}
    for check in kinds:
        assert finding(record, check).status == Status.FAIL
        with Progress(quiet=True) as progress:
            options = Options(ruleset=record.ruleset.load())
            seen = replay(record, tmp_path / "3" / "artifact.bin", check, folder, dataset, options, progress)
        assert seen.reproduced, (check, seen.why)


def witness(kind: str, **data: object) -> Witness:
    return Witness(kind=kind, summary="s", data=data)


def test_a_witness_says_its_flips_and_no_others() -> None:
    flip = witness("swap", position=7, new_token=3, shift=0, token_class="rare", split=False, others=[[20, 4]])
    (probe,) = _probes("score-before-update", flip, Again.FLIP) or []
    assert probe == Probe("swap", 7, token=3, token_class="rare", split=False, others=((20, 4),))
    claimed = _probes("normalization", witness("kraft", position=7, tokens=[3, 4]), Again.TOKENS)
    assert claimed is not None and [(one.kind, one.position, one.token) for one in claimed] == [
        ("swap", 7, 3),
        ("swap", 7, 4),
    ]
    assert _probes("single-pass", witness("positions"), Again.RUN) == []
    assert _probes("size-limit", witness("rule"), Again.RULED) == []
    assert _probes("score-before-update", witness("rule"), Again.RULED) is None  # said of flips that moved nothing
    assert _probes("normalization", witness("draws"), Again.DRAWN) is None
