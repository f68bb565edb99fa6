"""`harness new`: a folder that works from the first minute."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.errors import UsageError

_CODE = '''"""{title}: say here in a sentence what is new."""

import torch

from harness.kit import GPT, Stream, Submission


class {class_name}(Submission):
    """Override what you change; everything else is the contest's baseline."""

    def evaluate(self, model: GPT, stream: Stream) -> None:
        """Sliding windows: read a batch, commit a row of logits for every position that it scores."""
        with torch.inference_mode():
            for batch in stream.windows(length=self.length, stride=64, batch_size=32):
                stream.score(batch, model(batch.inputs))
'''

_README = """# {title}

What it does, why it is legal, and what it scored.

    harness run submissions/{name}
"""


def scaffold(parent: Path, name: str, *, author: str, github_id: str) -> Path:
    """Write a minimal submission into parent/name and return its path.

    Raises:
        UsageError: the name is not usable, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise UsageError(f"{name!r} is not a usable name; take lower-case letters, digits and _, such as my_idea")
    folder = parent / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another name")
    title = name.replace("_", " ").capitalize()
    class_name = "".join(part.capitalize() for part in name.split("_"))
    metadata = {"name": title, "author": author, "github_id": github_id, "track": "10min_16mb", "val_bpb": None}
    folder.mkdir(parents=True)
    (folder / "submission.py").write_text(_CODE.format(title=title, class_name=class_name))
    (folder / "submission.json").write_text(json.dumps(metadata, indent=2) + "\n")
    (folder / "README.md").write_text(_README.format(title=title, name=name))
    return folder
