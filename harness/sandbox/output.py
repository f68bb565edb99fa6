"""What a box prints: drained at once, so that it never blocks, and kept up to a limit, so that it fills no disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

from harness.errors import SandboxError

_CHUNK = 1 << 16
_TAIL = 4096
_PATIENCE = 10.0


class Output:
    """Copies a pipe to a log file on a thread of its own, until the last writer is gone.

    Args:
        pipe: the reading end; closed at the end.
        log: replaced if it exists; its folder is made if need be.
        limit: bytes to keep. If there were more, a last line says so.

    Raises:
        SandboxError: the log cannot be written.
    """

    def __init__(self, pipe: IO[bytes], log: Path, limit: int) -> None:
        self._pipe = pipe
        self._limit = limit
        self._tail = b""
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._file = log.open("wb", buffering=0)
        except OSError as error:
            pipe.close()
            raise SandboxError(f"cannot write the box's log {log}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._drain, name="box output", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until every writer is gone and the log is complete; a writer that cannot be killed is not waited for."""
        self._thread.join(_PATIENCE)

    def last_line(self) -> str:
        """The last line with anything in it, at most 300 characters, without control characters."""
        lines = self._tail.decode("utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "".join(c if c.isprintable() else "?" for c in last[:300])

    def _drain(self) -> None:
        room = self._limit
        cut = False
        with self._file, self._pipe:
            while chunk := self._pipe.read1(_CHUNK):  # type: ignore[attr-defined]
                self._tail = (self._tail + chunk)[-_TAIL:]
                cut = cut or len(chunk) > room
                try:
                    self._file.write(chunk[:room])
                except OSError:
                    cut, room = True, 0  # our disk is full: go on draining
                room -= min(room, len(chunk))
            if cut:
                try:
                    self._file.write(f"\n[output truncated after {self._limit} bytes]\n".encode())
                except OSError:
                    pass
