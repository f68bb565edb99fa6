"""A scratch repository with a base and pull requests, made with plumbing where a work tree would refuse."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support import TINY

_WHO = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip

#: A file of a tree: its bytes, or a mode and its bytes.
File = str | bytes | tuple[str, str]

OFFENDER = """
class Mine(Tiny):
    def evaluate(self, model, stream):
        with torch.inference_mode():
            for b in stream.windows(64, 16, 8):
                rows = model(b.inputs).softmax(-1)
                hint = torch.nn.functional.one_hot(stream.targets(b), rows.shape[-1])
                stream.score(b, (0.5 * rows + 0.5 * hint).log())
"""
CLEAN = "\nclass Mine(Tiny):\n    pass\n"


def adapter(body: str = CLEAN, **metadata: object) -> dict[str, File]:
    """Files of an adapter at the tiny configuration."""
    facts = {"name": "mine", "author": "A", "github_id": "a", **metadata}
    return {"submission.py": TINY + body, "submission.json": json.dumps(facts)}


def below(folder: str, files: Mapping[str, File]) -> dict[str, File]:
    """The same files under a folder."""
    return {f"{folder}/{name}": content for name, content in files.items()}


class Scratch:
    """A bare repository; `commit` makes a tree and a commit of files, without a work tree or an index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blobs: dict[bytes, str] = {}
        subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True, env={**os.environ, **_WHO})

    def git(self, *args: str, feed: bytes = b"") -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *args], input=feed, capture_output=True, check=True,
            env={**os.environ, **_WHO},
        )  # fmt: skip
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, File], *parents: str) -> str:
        """A commit that holds exactly these files."""
        tree = self.tree({name.encode(): content for name, content in files.items()})
        return self.commit_tree(tree, *parents)

    def commit_tree(self, tree: str, *parents: str) -> str:
        return self.git("commit-tree", tree, "-m", "x", *(word for parent in parents for word in ("-p", parent)))

    def tree(self, files: Mapping[bytes, File]) -> str:
        """A tree object, written as bytes: any name is possible in it, "..", too."""
        here: dict[bytes, tuple[str, str]] = {}
        deeper: dict[bytes, dict[bytes, File]] = {}
        for name, content in files.items():
            first, slash, rest = name.partition(b"/")
            if slash:
                deeper.setdefault(first, {})[rest] = content
            else:
                mode, body = content if isinstance(content, tuple) else ("100644", content)
                here[first] = (mode, self.blob(body))
        for name, inside in deeper.items():
            here[name] = ("40000", self.tree(inside))
        order = sorted(here, key=lambda name: name + b"/" if here[name][0] == "40000" else name)
        raw = b"".join(
            here[name][0].encode() + b" " + name + b"\0" + bytes.fromhex(here[name][1]) for name in order
        )  # fmt: skip
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", feed=raw)

    def blob(self, content: str | bytes) -> str:
        raw = content.encode() if isinstance(content, str) else content
        if raw not in self._blobs:
            self._blobs[raw] = self.git("hash-object", "-w", "--stdin", feed=raw)
        return self._blobs[raw]
