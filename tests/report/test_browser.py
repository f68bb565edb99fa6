"""The report in a real browser, where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.html import render

from . import browser, records
from .test_html import HOSTILE, spoiled

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on PATH to look at the report with")

#: The first elements that stick out at the right; what lies in a chart is clipped by it.
WIDE = """[...document.querySelectorAll('.page *')]
    .filter(e => !e.closest('svg svg, svg > *') && e.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' ')"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.page(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {
        "failing": render(records.failing(), records.RULES),
        "passing": render(records.passing(), records.RULES),
        "unscored": render(records.unscored()),
        "markup": render(spoiled(HOSTILE[1])),
        "long": render(spoiled(HOSTILE[12])),
        "overrides": render(spoiled(HOSTILE[10])),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in pages}


@pytest.mark.parametrize("name", ["failing", "passing", "unscored", "markup", "long", "overrides"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_scrolls_sideways_loads_or_complains(
    page: browser.Page, files: dict[str, Path], name: str, width: int
) -> None:
    page.open(files[name], width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.evaluate(WIDE)
    assert page.evaluate(WIDE) == ""
    requests = [event for event in page.events if event.get("method") == "Network.requestWillBeSent"]
    assert [event["params"]["request"]["url"] for event in requests] == [files[name].resolve().as_uri()]
    complaints = [
        event for event in page.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]
    assert complaints == []


def test_a_picture_can_be_taken_in_light_and_dark(page: browser.Page, files: dict[str, Path], tmp_path: Path) -> None:
    grounds = []
    for dark in (False, True):
        page.open(files["failing"], width=1280, dark=dark)
        picture = page.screenshot()
        assert picture.startswith(b"\x89PNG") and len(picture) > 50_000
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(map(int, re.findall(r"\d+", colour))))
    assert grounds[0] > 3 * 200 and grounds[1] < 3 * 60


def test_print_shows_what_is_folded_on_screen(page: browser.Page, files: dict[str, Path]) -> None:
    shown = "document.querySelector('details:last-of-type dl').checkVisibility()"
    page.open(files["failing"], width=800)
    assert page.evaluate(shown) is False
    page.open(files["failing"], width=800, media="print")
    assert page.evaluate(shown) is True


def test_a_link_of_the_table_leads_to_its_section(page: browser.Page, files: dict[str, Path]) -> None:
    page.open(files["failing"], width=1280)
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.evaluate("document.querySelector('.findings a[href=\"#normalization\"]').click()")
    assert -5 < page.evaluate("document.getElementById('normalization').getBoundingClientRect().top") < 60
