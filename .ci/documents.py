"""What mkdocs is told of docs/: pages of folders in the navigation, and links that leave docs/.

A hook of mkdocs.yml. It imports nothing of mkdocs, so that tests can ask it what the site will be.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

#: A link of Markdown: its target, without a title.
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s]+)(?=\))")
_DIGITS = re.compile(r"(\d+)")


def pages(folder: Path, below: str) -> list[str]:
    """Pages of a folder of docs/, `index.md` first, numbers by their size."""
    found = (path.relative_to(folder).as_posix() for path in (folder / below).glob("*.md"))
    return sorted(found, key=lambda name: (not name.endswith("/index.md"), [
        int(part) if part.isdigit() else part for part in _DIGITS.split(name)
    ]))  # fmt: skip


def expanded(nav: list[Any], folder: Path) -> list[Any]:
    """The navigation with every `folder/` replaced by its pages."""
    made: list[Any] = []
    for item in nav:
        if isinstance(item, dict):
            (title, inside), = item.items()
            inner = [inside] if isinstance(inside, str) and inside.endswith("/") else inside
            made.append({title: expanded(inner, folder) if isinstance(inner, list) else inner})
        elif isinstance(item, str) and item.endswith("/"):
            made += pages(folder, item.rstrip("/"))
        else:
            made.append(item)
    return made


def outward(markdown: str, source: str, repository: str) -> str:
    """A page's text, with links to files outside docs/ turned into links to the repository."""

    def turned(found: re.Match[str]) -> str:
        target = found["target"]
        path, mark, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), path))
        if "://" in target or not path or place.startswith("docs/"):
            return target
        return f"{repository}/blob/main/{place}{mark}{anchor}"

    return LINK.sub(turned, markdown)


def on_config(config: Any) -> Any:
    """Called by mkdocs once."""
    config["nav"] = expanded(config["nav"], Path(config["docs_dir"]))
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return outward(markdown, page.file.src_uri, config["repo_url"].rstrip("/"))
