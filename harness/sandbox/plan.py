"""What the box's own start-up code is told: one plain record, passed as JSON on the command line.

The parent writes it, the launcher and the boot script read it. Everything in it may be seen from inside the box.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

#: What the boot script exits with when the submission's memory allocation failed (no Python code uses it).
OUT_OF_MEMORY = 86


@dataclass(frozen=True)
class Plan:
    """How to build one box.

    Attributes:
        level: "bubblewrap", "native", "landlock" or "none"; see `harness.sandbox.box`.
        python: the interpreter, as it was started (a virtual environment's own path).
        code: folder that holds the staged `harness` package.
        module: its function `main(wire, args)` is what runs in the box.
        args: strings for `main`.
        path: further folders for `sys.path`.
        read: files and folders that the box may read, all of them real paths; includes `code` and `path`.
        links: (path, target) symbolic links that lead to them.
        devices: device files that the box may read and write.
        hide: folders below `read` that must look empty.
        scratch: the folder that the box may write.
        shm: the folder that it sees as /dev/shm.
        root: empty folder that becomes the box's file system.
        memory_bytes: per process, for the data segment; the watchdog counts all processes together.
        file_bytes: size limit of one file.
        bwrap: path of bubblewrap, for that level.
        wire: descriptor of the box's end of the wire.
        status: descriptor to which start-up reports, one JSON object a line.
        lifeline: descriptor that reads end-of-file when the parent wants the box dead or is dead itself.
        alive: descriptor that the box's first process holds open for as long as it lives; -1 until it exists.
    """

    level: str
    python: str
    code: str
    module: str
    args: list[str]
    path: list[str]
    read: list[str]
    links: list[tuple[str, str]]
    devices: list[str]
    hide: list[str]
    scratch: str
    shm: str
    root: str
    memory_bytes: int
    file_bytes: int
    bwrap: str = ""
    wire: int = -1
    status: int = -1
    lifeline: int = -1
    alive: int = -1

    def at(self, level: str) -> Plan:
        """The same box at another level."""
        return replace(self, level=level)

    def dumps(self) -> str:
        """The plan as one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def loads(line: str) -> Plan:
        """The plan that `dumps` wrote."""
        facts = json.loads(line)
        return Plan(**facts | {"links": [(path, target) for path, target in facts["links"]]})
