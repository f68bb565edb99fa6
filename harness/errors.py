"""Errors that end a command, each with the exit code that the command line returns for it.

The message is the whole user interface of an error: one line that says what is wrong, where, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class HarnessError(Exception):
    """The harness or its environment failed (exit code 4)."""

    exit_code = 4


class UsageError(HarnessError):
    """The input is not usable: a missing folder, a broken file, a wrong option (exit code 2)."""

    exit_code = 2


class SubmissionError(UsageError):
    """The submission's own code broke: it raised, hung, ran out of memory or sent rows that cannot be scored.

    Attributes:
        log: file with what the submission printed, its traceback included, or None if it printed nothing.
    """

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class SandboxError(HarnessError):
    """The box could not be built, or failed for a reason that is not the submission's (exit code 4)."""
