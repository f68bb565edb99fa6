"""Which paths of a repository are submissions, and which are the judge itself.

Standard library only: the workflow that comments on a pull request runs this without an installation.
"""

from __future__ import annotations

import fnmatch

#: Folders and files that decide how a submission is judged: a pull request should change these or submissions.
JUDGE = (
    "harness/",
    ".github/",
    ".ci/",
    "tests/",
    "action.yml",
    ".pre-commit-hooks.yaml",
    "pyproject.toml",
    "constraints.txt",
    "Makefile",
    ".gitattributes",
    ".gitmodules",
)


def submission_of(path: str) -> str | None:
    """The folder of the submission that a file belongs to, or None.

    `submissions/NAME/...` is an adapter's, `records/track_TRACK/NAME/...` one of the contest's. A file that lies beside
    these folders belongs to none of them.

    Args:
        path: of a file, relative to the repository's root, with slashes.
    """
    parts = path.split("/")
    if len(parts) >= 3 and parts[0] == "submissions":
        return "/".join(parts[:2])
    if len(parts) >= 4 and parts[0] == "records" and fnmatch.fnmatchcase(parts[1], "track_*"):
        return "/".join(parts[:3])
    return None


def is_judge(path: str) -> bool:
    """Whether a path is part of what judges: the harness, its rules, its tests, workflows and installation."""
    return any(path.startswith(one) if one.endswith("/") else path == one for one in JUDGE)
