"""Documents hang together: links and anchors lead somewhere, the site has every page, and what it renders is there.

Nothing here needs mkdocs, which builds the site in CI with warnings as errors.
"""

from __future__ import annotations

import importlib.util
import pydoc
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

import harness

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
READER = MarkdownIt("commonmark").enable(["table"])
PAGES = [
    *sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("submissions/*/README.md")),
    *sorted(ROOT.glob("reports/*.md")), *sorted(ROOT.glob("benchmarks/*.md")),
]  # fmt: skip


def flat(text: str) -> Iterator[Token]:
    for token in READER.parse(text):
        yield token
        yield from token.children or []


def links(text: str) -> list[str]:
    """Targets of links and pictures; what stands in code is none."""
    pointing = (token for token in flat(text) if token.type in ("link_open", "image"))
    return [str(token.attrGet("href") or token.attrGet("src")) for token in pointing]


def headings(text: str) -> list[str]:
    tokens = READER.parse(text)
    inside = [after for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]
    return ["".join(child.content for child in token.children or []) for token in inside]


def of_github(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def of_the_site(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def lost(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere, on GitHub or on the site."""
    found = []
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        inside = place.is_relative_to(ROOT) and place.exists()
        titles = headings(text if place == page else place.read_text()) if inside and anchor else []
        known = all(anchor in map(slug, titles) for slug in (of_github, of_the_site))
        if not inside or (anchor and not known):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert lost(page, page.read_text()) == []


def test_a_lost_link_is_noticed() -> None:
    text = "# A title\n\n[a](#a-title) [b](#no) [c](gone.md) [d](verdict.md#practices) [e](verdict.md#gone) `[f](x)`\n"
    assert lost(DOCS / "index.md", text) == ["#no", "gone.md", "verdict.md#gone"]
    assert lost(ROOT / "README.md", "[a](../elsewhere) ![b](docs/gone.png) [c](https://example.org)") == [
        "../elsewhere", "docs/gone.png",
    ]  # fmt: skip
    assert of_github("Logs & the `code`: 3 ways") == "logs--the-code-3-ways"
    assert of_the_site("Logs & the `code`: 3 ways") == "logs-the-code-3-ways"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documents", ROOT / ".ci" / "documents.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    body = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert isinstance(body, dict)
    return body


def leaves(nav: list[Any]) -> Iterator[str]:
    for item in nav:
        inside = next(iter(item.values())) if isinstance(item, dict) else item
        if isinstance(inside, list):
            yield from leaves(inside)
        else:
            yield inside


def test_every_page_is_in_the_navigation_once(hook: ModuleType, site: dict[str, Any]) -> None:
    listed = list(leaves(hook.expanded(site["nav"], DOCS)))
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert listed.index("violations/index.md") < listed.index("violations/V2.md") < listed.index("violations/V10.md")
    assert site["hooks"] == [".ci/documents.py"] and site["docs_dir"] == "docs"


def test_links_that_leave_the_documents_go_to_the_repository_and_others_stay(hook: ModuleType) -> None:
    text = "[a](../README.md#more) [b](verdict.md) [c](#x) [d](https://e.org) ![p](board.png)"
    turned = hook.outward(text, "index.md", "https://h/r")
    assert turned == text.replace("../README.md", "https://h/r/blob/main/README.md")
    below = hook.outward("[a](../power.md) [b](../../LICENSE)", "checks/x.md", "r")
    assert below == "[a](../power.md) [b](r/blob/main/LICENSE)"


def test_what_the_site_renders_from_code_is_there() -> None:
    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.M)
    assert len(names) == len(set(names)) and names
    for name in names:
        found = pydoc.locate(name)
        assert found is not None and (getattr(found, "__doc__", None) or ""), name
    exported = {f"harness.{name}" for name in harness.__all__ if name != "__version__"}
    assert exported <= set(names)
    assert [page.name for page in DOCS.rglob("*.md") if re.search(r"^::: ", page.read_text(), re.M)] == ["api.md"]


def test_the_site_is_built_in_ci_with_warnings_as_errors_and_tests_do_without_it() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [step.get("run", "") for step in jobs["docs"]["steps"]]
    assert any("[docs]" in words for words in commands) and "mkdocs build --strict" in commands
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(name.startswith("mkdocs-material") for name in extras["docs"])
    assert not [name for name in extras["dev"] if "mkdocs" in name or "[docs]" in name]
