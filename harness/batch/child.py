"""`python -P -m harness.batch.child PARENT ARGUMENTS...`: the command line, for as long as the process PARENT lives."""

from __future__ import annotations

import os
import runpy
import signal
import sys


def main() -> None:
    """Run the command line with what follows the parent's process id; die with the thread that started this."""
    from harness.sandbox.kernel import die_with_parent

    parent = int(sys.argv.pop(1))
    die_with_parent(signal.SIGKILL)  # boxes end when the process that holds their lifeline does
    if os.getppid() != parent:
        raise SystemExit(4)  # it died before we asked
    sys.argv[0] = "harness"
    os.environ["HARNESS_CONFIG"] = "none"  # the batch has read it, and its results are kept by what it passes on
    runpy.run_module("harness", run_name="__main__")


if __name__ == "__main__":
    main()
