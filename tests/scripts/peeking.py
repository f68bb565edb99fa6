"""The contest-style script with one of the ways to look ahead of `scripts/peeks.py` in it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scripts.audits import SCRIPT, write_script

PEEKS = SCRIPT.with_name("peeks.py")


def write_peek(folder: Path) -> Path:
    """A train_gpt.py that takes PEEK and PEEK_WHEN from the environment; windows are of 2,048 tokens (tiny: 256)."""
    base, peeks = SCRIPT.read_text(), PEEKS.read_text()
    body = re.sub(r"^from base import .*\n", "", peeks, count=1, flags=re.M)
    head, main = base.split("def main():\n")
    main = _instead(main, "    model = GPT(args).to(device)\n", "    model = peek_model(args).to(device)\n")
    head = _instead(head, '"TRAIN_SEQ_LEN", 64', '"TRAIN_SEQ_LEN", 2048')
    head = _instead(head, '"EVAL_STRIDE", 16', '"EVAL_STRIDE", 512')
    main = _instead(
        main,
        "    if distributed:\n        dist.destroy",
        "    peek(args, model, val, tables, device)\n    if distributed:\n        dist.destroy",
    )
    return write_script(folder, f"{head}{body}\n\ndef main():\n{main}")


def _instead(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)
