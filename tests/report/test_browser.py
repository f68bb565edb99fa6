"""Reports, comparisons and boards in a real browser. `make test` sees to it that there is one."""

from __future__ import annotations

import base64
import importlib.resources
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.record import Record, Status
from harness.report import board, compare, queue
from harness.report.html import render
from harness.verdict import Word

from . import browser, records
from .test_html import HOSTILE, spoiled

#: The first elements that stick out at the right; what lies in a chart or is for screen readers only is clipped.
WIDE = """[...document.querySelectorAll('.page *')]
    .filter(e => !e.closest('svg svg, svg > *, .hidden, thead') && e.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' ')"""

NAMES = ["failing", "passing", "unscored", "markup", "long", "overrides", "compare", "board", "hostile board", "queue"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.page(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def standing() -> list[board.Entry]:
    made = [
        records.scored("front runner", [1.0801, 1.0803, 1.0799]),
        records.scored("next", [1.0811, 1.0809, 1.0810]),
        records.scored("adapts", [1.07, 1.0702, 1.0701], track="B", status=Status.UNRULED),
        records.scored("leaks", [0.93, 0.931, 0.932], track="B", status=Status.FAIL),
        records.failing(),
        records.scored("undecided", [1.1, 1.2], status=Status.INCONCLUSIVE),
    ]
    return [board.Entry(record, "#page-board") for record in made]


def queued() -> str:
    answers: dict[str, Word | None] = {"score": "UNDECIDED", "limits": "NOT_APPLICABLE", "claim": "CONTRADICTED"}
    none: dict[str, Word | None] = dict.fromkeys(answers)
    why = "the papers contradict what is claimed: seed_results.1.val_bpb = 1.08016, and the log says another number"
    rows = [
        queue.Row(1420, "2026-04-06_TripleLoop_FusedKernels_Ngram", "A", 1.0801, answers, "FAIL", why, ("claims",)),
        queue.Row(
            1421, HOSTILE[12], HOSTILE[1], None, none, "UNUSABLE", HOSTILE[12], (), ("model.bin (size not known)",)
        ),
    ]
    return queue.render(rows, queue.Facts("the rules", "quick tier", "2 add none", "2026-04-28"))["index.html"]


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
        "compare": compare.render(records.failing(), spoiled(HOSTILE[12])),
        "board": board.render(standing()),
        "queue": queued(),
        "hostile board": board.render([board.Entry(spoiled(HOSTILE[12])), board.Entry(spoiled(HOSTILE[1]))]),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in pages}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_scrolls_sideways_loads_or_complains(page: browser.Page, files: dict[str, Path], name: str) -> None:
    for width in (360, 390, 1280):
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


@pytest.fixture(scope="module")
def axe() -> str:
    return (importlib.resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["failing", "compare", "board"])
def test_nobody_is_shut_out(page: browser.Page, files: dict[str, Path], axe: str, name: str) -> None:
    """axe-core, by Deque: nothing serious or critical, at a desk in the light and on a phone in the dark."""
    for width, dark in ((1280, False), (390, True)):
        page.open(files[name], width=width, dark=dark)
        assert violations(page, axe) == []


def test_the_audit_above_can_fail(page: browser.Page, axe: str, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><p style='color:#ccc;background:#fff'>pale <img src='data:,'></p>"
    )
    page.open(tmp_path / "bad.html", width=800)
    assert {"image-alt", "html-has-lang"} <= {one["id"] for one in violations(page, axe)}


def violations(page: browser.Page, axe: str) -> list[dict[str, Any]]:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.send("Runtime.evaluate", expression=axe)
    found: dict[str, Any] = json.loads(page.run("axe.run(document).then(result => JSON.stringify(result))"))
    assert len(found["passes"]) > 2
    return [
        {"id": one["id"], "where": [node["html"][:160] for node in one["nodes"][:3]]}
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("name", ["failing", "compare", "board"])
def test_pictures_in_light_and_dark_are_not_blank(
    page: browser.Page, files: dict[str, Path], tmp_path: Path, name: str
) -> None:
    for width in (390, 1280):
        grounds = []
        for dark in (False, True):
            page.open(files[name], width=width, dark=dark)
            picture = page.screenshot()
            (tmp_path / f"{name}-{width}-{'dark' if dark else 'light'}.png").write_bytes(picture)
            assert picture.startswith(b"\x89PNG") and len(picture) > 15_000
            assert len(set(zlib.decompress(pixels(picture)))) > 30
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds.append(sum(map(int, re.findall(r"\d+", colour))))
        assert grounds[0] > 3 * 200 and grounds[1] < 3 * 60


def pixels(picture: bytes) -> bytes:
    """The compressed image data of a PNG."""
    at, found = 8, b""
    while at < len(picture):
        size, kind = int.from_bytes(picture[at : at + 4], "big"), picture[at + 4 : at + 8]
        found += picture[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return found


def test_the_boards_filters_work_without_a_script(page: browser.Page, files: dict[str, Path]) -> None:
    page.open(files["board"], width=1280)
    shown = "[...document.querySelectorAll('.board tbody tr')].filter(e => e.checkVisibility()).map(e => e.className)"
    everything = page.evaluate(shown)
    assert sorted(set(everything)) == ["counts", "fails", "undecided"] and len(everything) == 6
    for name, left in (("counts", 3), ("fails", 2), ("undecided", 1), ("all", 6)):
        page.evaluate(f"document.getElementById('page-{name}').click()")
        assert len(page.evaluate(shown)) == left
        assert name == "all" or set(page.evaluate(shown)) == {name}
    page.evaluate("document.getElementById('page-track-A').click()")
    titles = "[...document.querySelectorAll('.standing h2')].filter(e => e.checkVisibility()).map(e => e.textContent)"
    assert [title[:7] for title in page.evaluate(titles)] == ["Track A"]


def test_print_shows_the_hashes_and_the_evidence_of_what_is_not_a_pass(
    page: browser.Page, files: dict[str, Path]
) -> None:
    hashes = "[...document.querySelectorAll('main > details')].at(-1).querySelector('dl').checkVisibility()"
    calm = """[...document.querySelectorAll('.finding')].filter(e => e.checkVisibility())
        .every(e => !/good|mute/.test(e.className))"""
    page.open(files["failing"], width=800)
    assert page.evaluate(hashes) is False and page.evaluate(calm) is False
    page.open(files["failing"], width=800, media="print")
    assert page.evaluate(hashes) is True and page.evaluate(calm) is True
    rows = "[...document.querySelectorAll('.findings tbody tr')].filter(e => e.checkVisibility()).length"
    assert page.evaluate(rows) == len(records.failing().findings), "of every finding its row is printed"


#: Pairs of a status and the text beside it that lie over each other.
OVER = """[...document.querySelectorAll('.findings tbody tr')].filter(r => {
    const a = r.querySelector('.status').getBoundingClientRect(), b = r.querySelector('.headline');
    const range = document.createRange(); range.selectNodeContents(b); const c = range.getBoundingClientRect();
    return a.left < c.right && c.left < a.right && a.top < c.bottom && c.top < a.bottom; }).length"""


def test_print_takes_six_pages_at_most_and_nothing_lies_over_a_status(
    page: browser.Page, repository: Path, tmp_path: Path
) -> None:
    for name in ("baseline", "causal_slot_batched", "scored_slot"):
        record = Record.load(repository / "reports" / "records" / f"{name}.json")
        (tmp_path / "report.html").write_text(render(record, records.RULES))
        for width in (640, 740, 980):
            page.open(tmp_path / "report.html", width=width, media="print")
            assert page.evaluate(OVER) == 0, (name, width)
        pdf = base64.b64decode(page.send("Page.printToPDF", printBackground=True)["data"])
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) <= 6, name


def test_a_link_of_the_table_leads_to_its_section(page: browser.Page, files: dict[str, Path]) -> None:
    page.open(files["failing"], width=1280)
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.evaluate("document.querySelector('.findings a[href=\"#normalization\"]').click()")
    assert -5 < page.evaluate("document.getElementById('normalization').getBoundingClientRect().top") < 60
