"""The contest's own code on a CPU: a script run as it is, or its functions, in a process that is dressed up for it.

    python -m benchmarks.contest SCRIPT [--float32]

Nothing of that code is kept here: it is read from a clone of the contest's repository, which the user names. The
stand-ins are those of `harness audit` (CUDA, flash-attn, Triton, compile, process groups) with the real clock and
without the recorder. Compile is off. Attention is torch's scaled_dot_product_attention, which is what the baseline
calls by itself. What the stand-ins add is a Python call around tensor factories and `.to`.

With --float32 bfloat16 is float32 and autocast does nothing, so that both sides compute alike: the kit uses float32 on
a CPU. Without that the contest's side is slow where a CPU has no bfloat16 units, and fast where it has.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.kept import Report
from harness.batch import repository
from harness.scripts.inside import standins

BASELINE = "records/track_10min_16mb/2026-03-17_NaiveBaseline/train_gpt.py"
#: PR #1019, merged under the name of an earlier calibration.
GPTQ = "records/track_10min_16mb/2026-03-25_ValCalib_GPTQ_XSA_BigramHash3072/train_gpt.py"


def script(repo: Path, path: str, target: Path) -> Path:
    """Write the contest's file at HEAD of a clone below `target`.

    Raises:
        UsageError: no such clone or file.
    """
    return repository.export(repo, "HEAD", path, target).path


def wanted(args: argparse.Namespace, path: str, target: Path, report: Report, what: str) -> Path | None:
    """The contest's file if the user has named a clone; None otherwise, and the report says what is left out."""
    if args.contest is None:
        report.omit(f"{what}: name a clone of its repository with --contest REPO")
        return None
    return script(args.contest, path, target)


def dress(float32: bool) -> None:
    """Put the stand-ins in place for the rest of this process's life."""
    standins.install()
    if not float32:
        return
    library: Any = torch
    library.bfloat16 = torch.float32
    library.Tensor.bfloat16 = lambda self: self.to(torch.float32, copy=True)  # a cast makes a new tensor, too
    library.nn.Module.bfloat16 = lambda self: self.float()
    library.autocast = library.amp.autocast = lambda *_, **__: contextlib.nullcontext()


def load(path: Path, float32: bool) -> dict[str, Any]:
    """The names that a script defines, without its main program being run. Dresses this process."""
    dress(float32)
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            return runpy.run_path(str(path), run_name="contest")
        finally:
            os.chdir(here)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("--float32", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    dress(args.float32)
    sys.argv = [str(args.script)]
    runpy.run_path(str(args.script), run_name="__main__")


if __name__ == "__main__":
    main()
