"""Forks that go on side by side are set apart: none reaches into another's memory, open files or life.

Every process of the split calls `set_apart` right after it, the one that was there before included: what is laid on a
process is for good, and its own forks and threads inherit it. Not cut are what was opened or mapped before the split
(pipes, shared memory), futexes on files that all may read, names in /proc where the box has no /proc of its own, and
threads that a process had before. The caller closes the first, looks for the second in /proc/self/maps, and splits
processes that have one thread.
"""

from __future__ import annotations

from harness.sandbox import kernel, landlock


def set_apart() -> bool:
    """Cut this process off from every other that has not been forked by it since.

    Returns:
        Whether memory, open files and signals are all cut off: False before Linux 6.12, and where the kernel has no
        Landlock.
    """
    try:
        kernel.no_new_privileges()
        return landlock.nest()
    except OSError:
        return False
