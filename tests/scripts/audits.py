"""Audits of the contest-style script in tests/scripts/scripts, one for each way of scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from harness.progress import Progress
from harness.record import Record
from harness.scripts import replaying
from harness.scripts.auditing import Audited, audit_script
from harness.scripts.collect import ScriptOptions

SCRIPT = Path(__file__).parent / "scripts" / "base.py"

#: Short enough for a test, long enough for several batches of windows.
TOKENS = 900


def write_script(folder: Path, text: str | None = None) -> Path:
    """A bare train_gpt.py in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train_gpt.py"
    path.write_text(SCRIPT.read_text() if text is None else text)
    return path


def audit(path: Path, out: Path, **options: Any) -> Audited:
    """Audit quietly; keyword arguments other than ScriptOptions' own are settings of the script.

    Without the pass at the submitted length, unless `depth="standard"` asks for it: test_at_length.py does.
    """
    own = {name: options.pop(name) for name in list(options) if name in ScriptOptions.__dataclass_fields__}
    env = {name: str(value) for name, value in options.items()}
    with Progress(quiet=True) as progress:
        return audit_script(
            path,
            ScriptOptions(**{"env": env, "tokens": TOKENS, "timeout": 600.0, "depth": "quick", **own}),
            out,
            progress,
        )


def replayed(out: Path, path: Path) -> dict[str, list[str]]:
    """Replay every witness of the record in `out`; the names of the runs that each took, by the finding's id."""
    record = Record.load(out)
    played: dict[str, list[str]] = {}
    for item in record.findings:
        if item.witness is None:
            continue
        with mock.patch.object(replaying._Keeping, "play", autospec=True, side_effect=replaying._Keeping.play) as play:
            with Progress(quiet=True) as progress:
                options = ScriptOptions(ruleset=record.ruleset.load())
                seen = replaying.replay_script(record, item.id, path, options, progress)
        assert seen.reproduced, (item.id, seen.why)
        played[item.id] = [call.args[1] for call in play.call_args_list]
    return played
