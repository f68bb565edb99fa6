"""`harness new`: a folder that works from the first minute."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.environment import examples
from harness.errors import UsageError
from harness.folder import open_folder
from harness.text import meant

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


def example(name: str) -> Path:
    """The folder of a submission that ships with the harness.

    Raises:
        UsageError: there is none of this name.
    """
    home = examples()
    known = sorted(one.name for one in home.iterdir() if (one / "submission.py").is_file()) if home else []
    if home is None or name not in known:
        raise UsageError(f"no example {name!r}{meant(name, known) or ';'} there are {', '.join(known) or 'none'}")
    return home / name


def scaffold(parent: Path, name: str, *, author: str, github_id: str, source: str | None = None) -> Path:
    """Write a minimal submission, or a copy of the example `source`, into parent/name and return its path.

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
    metadata: dict[str, object] = {
        "name": title,
        "author": author,
        "github_id": github_id,
        "track": "10min_16mb",
        "val_bpb": None,
    }
    code = _CODE.format(title=title, class_name=class_name)
    others = {}
    if source is not None:
        known = open_folder(example(source))
        others = dict(known.contents)
        code = others.pop("submission.py").decode()
        metadata |= {"reads_validation": True} if known.reads_validation else {}
    folder.mkdir(parents=True)
    (folder / "submission.py").write_text(code, encoding="utf-8")
    for file, content in others.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    (folder / "submission.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_README.format(title=title, name=name), encoding="utf-8")
    return folder
