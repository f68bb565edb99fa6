"""What a repository needs to be judged: the two workflows of the gate, or the hook before a commit, ready to commit.

The harness is named by its repository and a commit, so that a pull request to the repository cannot change the judge.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.environment import harness_info
from harness.errors import UsageError
from harness.files import write_atomically
from harness.git import Repository

_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GITHUB = re.compile(r"(?:https://github\.com/|git@github\.com:|ssh://git@github\.com/)([^/]+/[^/]+?)(?:\.git)?/?")
_DISTRIBUTION = "golf-harness"


@dataclass(frozen=True)
class Source:
    """Where the harness comes from: its GitHub repository, OWNER/NAME, and a full commit."""

    repository: str
    commit: str


def source(repository: str | None, commit: str | None) -> Source:
    """Where the harness comes from: as it is said, or as it was installed.

    Raises:
        UsageError: it is neither said nor known, or is no repository and commit.
    """
    known = _installed()
    repository, commit = repository or known.get("repository"), commit or known.get("commit")
    if repository is None:
        raise UsageError("this harness does not know its own repository; name it with --harness OWNER/NAME")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"--harness {repository}: write it as OWNER/NAME, as on GitHub")
    if commit is None:
        raise UsageError("this harness does not know its own commit; name one with --commit, 40 hexadecimal digits")
    if not _COMMIT.fullmatch(commit):
        raise UsageError(f"--commit {commit}: a whole commit has 40 hexadecimal digits; a tag or branch can be moved")
    return Source(repository, commit)


def own() -> dict[str, str]:
    """The files of the harness's own repository, which judges with itself."""
    return _workflows(
        {
            "JUDGE": "the harness and the rules of its base",
            "USES": "./",
            "MORE": "",
            "TIER": "",
            "PLACE": "the default branch",
            "WHY": "Where the harness lives, if not here: variables of the repository, which no pull request can set.",
            "CODE": "${{ vars.HARNESS_REPOSITORY || github.repository }}",
            "COMMIT": "${{ vars.HARNESS_COMMIT || github.sha }}",
        }
    )


def gate(where: Source, *, tier: str = "full", torch_index: str = "") -> dict[str, str]:
    """The workflows of a gate in any other repository, by path.

    Args:
        where: the harness.
        tier: how far the gate goes.
        torch_index: address of an index that offers a build of torch for CPUs, "" for pip's own.

    Raises:
        UsageError: that is no address.
    """
    if torch_index and not re.fullmatch(r"https://[\w./~%-]+", torch_index):
        raise UsageError(f"--torch-index {torch_index}: write an address that begins with https://")
    return _workflows(
        {
            "JUDGE": "a harness, and its rules, that are pinned by commit",
            "MORE": _inputs({"tier": tier, "torch-index": torch_index}),
            "TIER": _inputs({"tier": tier}),
            "USES": f"{where.repository}@{where.commit}",
            "PLACE": "the harness's pinned commit",
            "WHY": "The harness: repository and commit, which no pull request can set.",
            "CODE": where.repository,
            "COMMIT": where.commit,
        }
    )


def hook(where: Source) -> dict[str, str]:
    """The configuration of pre-commit, by path."""
    values = {"ADDRESS": f"https://github.com/{where.repository}", "COMMIT": where.commit}
    return {".pre-commit-config.yaml": _filled("pre-commit-config.yaml", values)}


def write(files: Mapping[str, str], home: Path, *, force: bool) -> list[Path]:
    """Write files into a repository, and say which; what is there already is as it was, or all of it is refused.

    Raises:
        UsageError: `home` is not the root of a git repository, or a file is there and says something else.
    """
    Repository(home)
    if not (home / ".git").exists():
        raise UsageError(f"{home} is not the root of a git repository; name that with --repo")
    targets = {home / name: text.encode() for name, text in files.items()}
    other = [path for path, content in targets.items() if path.exists() and path.read_bytes() != content]
    if other and not force:
        raise UsageError(f"{other[0]} is there already and says something else; --force replaces it")
    for path, content in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return list(targets)


def _workflows(values: Mapping[str, str]) -> dict[str, str]:
    return {f".github/workflows/{name}": _filled(name, values) for name in ("gate.yml", "gate-comment.yml")}


def _inputs(values: Mapping[str, str]) -> str:
    """Further inputs of a step, as lines of a workflow; "" for one that is left out."""
    return "".join(f"\n          {name}: {value}" for name, value in values.items() if value)


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (resources.files("harness.gate") / "workflows" / name).read_text(encoding="utf-8")
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def _installed() -> dict[str, str]:
    """Repository and commit of this harness, as far as pip's note about the installation or its checkout tell them."""
    found: dict[str, str] = {}
    try:
        note = json.loads(importlib.metadata.distribution(_DISTRIBUTION).read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        note = {}
    if match := _GITHUB.fullmatch(str(note.get("url", ""))):
        found["repository"] = match[1]
    commit = note.get("vcs_info", {}).get("commit_id") or harness_info().commit
    return {**found, "commit": commit} if commit else found
