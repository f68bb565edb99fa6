"""A verdict does not depend on what else the machine does: the same audit, alone and beside four busy loops."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.adapters.collect import run
from harness.adapters.options import Options
from harness.adapters.training import train
from harness.progress import Progress
from harness.record import Record, Status
from tests.scripts.audits import audit, write_script
from tests.support import finding, shipped, tiny_dataset, write_submission

LOOPS = 4
#: Computes until whoever started it is gone.
_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Processes of ordinary priority that compute for as long as the context lasts."""
    loops = [subprocess.Popen([sys.executable, "-c", _LOOP]) for _ in range(LOOPS)]
    try:
        yield
        assert all(loop.poll() is None for loop in loops)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def same(alone: Record, beside: Record) -> None:
    """The two records tell the same, by their own digests; findings first, which say what differs."""
    assert [item.model_dump() for item in alone.findings] == [item.model_dump() for item in beside.findings]
    assert alone.digest == beside.digest


@pytest.mark.slow
def test_an_adapters_audit_is_the_same_on_a_busy_machine(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path)
    folder = write_submission(tmp_path / "slot", code=shipped("scored_slot"))
    checks = ["determinism", "causality", "score-before-update", "normalization"]
    options = Options(audit_seed=7, depth="quick", threads=1, checks=checks)

    def judged(where: str) -> Record:
        with Progress(quiet=True) as progress:
            return run(folder, dataset, 1, tmp_path / where, options, progress, seal_in=tmp_path)

    with Progress(quiet=True) as progress:
        train(folder, dataset, 1, tmp_path, options, progress)
    alone = judged("alone")
    with busy():
        beside = judged("beside")
    same(alone, beside)
    assert finding(alone, "causality").status == Status.FAIL and finding(alone, "determinism").status == Status.PASS


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"EVAL_MODE": "slot_scored"}], ids=["plain", "slot"])
def test_a_scripts_audit_is_the_same_on_a_busy_machine(settings: dict[str, str], tmp_path: Path) -> None:
    script = write_script(tmp_path / "s")
    alone = audit(script, tmp_path / "alone", timeout=None, **settings).record
    with busy():
        beside = audit(script, tmp_path / "beside", timeout=None, **settings).record
    same(alone, beside)
    assert finding(alone, "causality").status == (Status.FAIL if settings else Status.PASS)
