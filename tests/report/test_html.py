from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import harness.report
from harness.errors import HarnessError
from harness.record import Record, Status
from harness.report.glossary import glossary
from harness.report.html import MAX_BYTES, render
from harness.report.sections import anchors

from . import records

ALL = [records.passing, records.failing, records.unruled, records.inconclusive, records.unscored]

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></textarea><svg onload=alert(1)>",
    "<!-- --><![CDATA[",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; &#x3c;b>",
    "::error file=a,line=1::pwned",
    "\x1b[31mred\x1b[0m\x07\x00",
    "name\u202egnp.exe\u2066\u200b",
    "e" + "\u0301" * 500,
    "A" * 100_000,
    "<" * 100_000,
    "\n\r\n\t\u2028",
]


class Outline(HTMLParser):
    """Everything of a page but its text: elements with the names of their attributes, and the links and ids.

    Words of the glossary follow the text, and are left out: that a tooltip holds nothing else is asserted here.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.structure: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "abbr":
            assert [name for name, _ in attrs] == ["title"] and attrs[0][1] in glossary().values()
        self.structure.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "use", "path", "rect", "circle", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        self.structure.append(("/" + tag, ()))

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.structure.append(("comment", ()))

    def handle_decl(self, decl: str) -> None:
        self.structure.append(("decl", ()))

    def unknown_decl(self, data: str) -> None:
        self.structure.append(("unknown", ()))

    def handle_pi(self, data: str) -> None:
        self.structure.append(("pi", ()))

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


#: Strings that are choices of the format and not text.
_FIXED = {"schema", "verdict", "answer", "question", "track", "status", "kind", "type", "digest"}


def spoil(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every free text and every free name changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [spoil(item, change) for item in value]
    if isinstance(value, dict):
        return {key: item if key in _FIXED else spoil(item, change) for key, item in value.items()}
    return value


def frame(page: str) -> Outline:
    """The outline of a page without tooltips and the list of words."""
    page = re.sub(r'<details class="words[^"]*">.*?</details>', "", page, flags=re.DOTALL)
    return Outline(re.sub(r"</?abbr[^>]*>", "", page))


def spoiled(tail: str) -> Record:
    """The failing record, with `tail` at the end of every text that a submission, a log or a file name could reach."""
    body = spoil(records.failing().model_dump(mode="json", by_alias=True), lambda text: f"x{text}{tail}")
    for free in (body["submission"]["claims"], body["submission"]["settings"], body["environment"], body["clocks"]):
        for name in list(free):
            free[f"{name}{tail}"] = free.pop(name)
    body["submission"]["claims"]["val_bpb"] = f"about 1.08{tail}"
    for finding in body["findings"]:
        for part in ("metrics", "power"):
            finding[part] = [{**one, "label": f"{one['label']}{tail}"} for one in finding[part]]
        finding["figures"] = {f"{name}{tail}": value for name, value in finding["figures"].items()}
        if finding["witness"]:
            finding["witness"]["data"][f"more{tail}"] = tail
    return Record.model_validate(body)


BENIGN = frame(render(spoiled(" word"), records.RULES))


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40)))
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[2])
@example(HOSTILE[10])
@example(HOSTILE[12])
def test_no_text_of_a_submission_changes_the_page_around_it(tail: str) -> None:
    page = render(spoiled(tail), records.RULES)
    outline = Outline(page)
    assert frame(page).structure == BENIGN.structure
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", page)
    ids = outline.values("id")
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in ids)
    assert len(ids) == len(set(ids))
    assert len(page.encode()) < MAX_BYTES


def test_the_property_above_can_fail() -> None:
    assert Outline("<p>a<b>c</b></p>").structure != Outline("<p>ac</p>").structure
    assert Outline("<p title=a onclick=b>c</p>").structure != Outline("<p title=a>c</p>").structure
    assert Outline("<p>a<!-- b --></p>").structure != Outline("<p>a</p>").structure


@pytest.mark.parametrize("make", ALL)
def test_a_page_is_whole_accessible_and_alone(make: Callable[[], Record]) -> None:
    page = render(make(), records.RULES)
    outline = Outline(page)
    names = {tag for tag, _ in outline.structure}
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert outline.open == []
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "img"}
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in outline.values("content")
    assert not re.search(r"url\(|@import|https?:", page.partition("</style>")[0])
    targets = {f"#{name}" for name in outline.values("id")}
    assert set(outline.values("href")) <= targets
    assert [tag for tag, _ in outline.structure].count("h1") == 1
    for tag, attributes in outline.structure:
        assert tag != "th" or "scope" in attributes
    assert len(page.encode()) < 100_000


@pytest.mark.parametrize("make", ALL)
def test_the_same_record_gives_the_same_bytes(make: Callable[[], Record], tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(make().to_json())
    assert render(make(), records.RULES) == render(Record.load(tmp_path), records.RULES)


def test_the_first_screen_says_what_a_reviewer_asks_first() -> None:
    page = render(records.failing(), records.RULES)
    first = " ".join(" ".join(Outline(page.partition("Evidence</h2>")[0]).text).split())
    for fact in (
        "INVALID score May this number be believed? INVALID causality shows that this score cannot be believed: a row",
        "limits Are bytes and seconds within the rules? WITHIN every limit that applies is kept: 821,465 of 16,000,000",
        "claim Do the papers carry what is claimed? NOT CLAIMED no claim was looked at",
        "Exit code 1: a rule is violated.",
        "1.6840 BPB",
        "claimed 1.0846",
        "about 1.9013 without the leak",
        "unigram model 3.3127",
        "xz 2.7713",
        "Track B",
        "Ruleset 2026-04-28",
        "Scale smoke",
        "812,345 bytes with code 821,465 shipped, 816,216 wrapped (decides), of 16,000,000",
        "1 FAIL 1 INCONCLUSIVE 6 PASS 1 NOT APPLICABLE",
    ):
        assert fact in first


def test_findings_stand_worst_first_and_link_to_their_sections() -> None:
    page = render(records.failing())
    table = page.partition('<table class="findings"')[2].partition("</table>")[0]
    links = re.findall(r'<a href="#([^"]+)"', table)
    assert links[:2] == ["causality", "normalization"]
    assert links[-1] == "train-clock"
    assert re.findall(r'<section class="finding \w+" id="([^"]+)"', page) == links


def test_a_section_holds_rule_witness_replay_power_gaps_and_remedy() -> None:
    page = render(records.failing(), records.RULES)
    section = page.partition('id="causality"')[2].partition("</section>")[0]
    text = " ".join(" ".join(Outline(section).text).split())
    for part in (
        "Rule C1 The distribution for a token depends on the artifact",
        "Replacing everything from position 4,160 on moves 12 rows",
        "the function will ·return ↵class None and the caller",
        "4,097 -63 3.1000 2.9000 -0.2000",
        "and 4 more in record.json",
        "harness replay record.json causality",
        "smallest visible nats",
        "other ranks than the first",
        "Give every window its own delta",
    ):
        assert part in text
    assert section.count('<svg class="chart"') == 4 + 2  # the finding's own, and the price
    assert section.count("No drawing for type pie") == 1


def test_the_key_number_is_the_first_that_is_no_limit() -> None:
    record = records.passing()
    record.findings[7].metrics = records.numbers(limit_bytes=16_000_000, note="x", total_bytes=7)
    assert 'class="key">total bytes <b>7</b>' in render(record)


def test_blanks_of_a_changed_token_are_visible() -> None:
    record = records.failing()
    witness = record.findings[1].witness
    assert witness
    witness.data.update(old_text=" ", new_text="")
    assert "<del>·</del><ins>(empty)</ins>" in render(record)


def test_rule_texts_are_optional() -> None:
    assert "The distribution for a token" not in render(records.failing())
    assert "Rule C1" in render(records.failing())


@pytest.mark.parametrize(("make", "word"), [(records.passing, "VALID"), (records.unruled, "UNRULED")])
def test_the_verdict_is_said_in_words(make: Callable[[], Record], word: str) -> None:
    heading = re.search(r"<h1>.*</h1>", render(make()))
    assert heading and heading[0].endswith(f"</svg>{word}</h1>")


def test_an_open_verdict_never_reads_as_a_pass() -> None:
    page = render(records.inconclusive())
    assert "neither a pass nor a violation" in page and ">VALID<" not in page
    assert "no ruling covers what null-stream found" in render(records.unruled())


def test_a_run_without_a_score_says_so() -> None:
    page = render(records.unscored())
    assert "no score" in page
    assert "Measured at" not in page


@pytest.mark.parametrize(
    ("claim", "shown"),
    [(1.0846, "claimed <b>1.0846</b>"), ("1.0846", "claimed <b>1.0846</b>"), (None, "no claimed BPB")]
    + [(bad, "which is not a number") for bad in ("great", [1], {"mean": 1.1}, True)],
)
def test_claims_in_any_spelling_are_shown(claim: Any, shown: str) -> None:
    record = records.passing()
    record.submission.claims["val_bpb"] = claim
    assert shown in render(record)


def test_a_record_that_was_edited_is_called_out() -> None:
    honest = records.failing()
    assert 'role="note"' not in render(honest)
    edited = honest.model_copy(update={"verdict": Status.PASS, "exit_code": 0})
    page = render(edited)
    assert "does not match its content" in page
    assert "add up to FAIL, not to PASS" in page
    assert "never sealed" in render(honest.model_copy(update={"digest": ""}))


def test_size_over_the_limit_is_an_alarm() -> None:
    meter = '<rect class="{}" width="100.00%" height="4"'
    record = records.passing()
    assert record.artifact and meter.format("f-alarm") not in render(record)
    record.artifact.total["shipped"] = 16_033_980
    assert meter.format("f-update") in render(record)  # over by one convention only: the finding says what it means
    record.artifact.total["wrapped"] = 16_000_001
    assert meter.format("f-alarm") in render(record)


def test_a_huge_record_still_gives_a_page_of_mail_size() -> None:
    record = records.failing()
    record.submission.claims = {f"key {index}": {str(k): "z" * 1000 for k in range(50)} for index in range(100)}
    record.findings = [record.findings[1]] * 15
    page = render(record)
    assert len(page.encode()) < MAX_BYTES
    assert "more in record.json" in page


def test_a_record_that_no_page_can_show_is_refused_in_one_line() -> None:
    record = records.passing()
    record.findings = record.findings * 60
    with pytest.raises(HarnessError, match=r"^the report would exceed 300,000 bytes: .*540 findings"):
        render(record)


def test_anchors_are_check_ids_unique_and_never_the_pages_own() -> None:
    made = anchors(["causality", "causality", "size-limit", "page-findings", "Ünï <b>", "///", ""])
    assert made[:3] == ["causality", "causality--2", "size-limit"]
    assert len(set(made)) == len(made)
    assert not any(name.startswith("page") for name in made)


def luminance(colour: str) -> float:
    digits = colour * 2 if len(colour) == 3 else colour
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_aa_in_both_themes(theme: int) -> None:
    css = (Path(harness.report.__file__).parent / "templates" / "report.css").read_text()
    block = css.split(":root {")[theme + 1].partition("}")[0]
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{3,6})", block))
    for ground in ("bg", "panel"):
        for ink in ("ink", "muted", "accent", "bad", "open", "good", "mute"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for tone in ("bad", "open", "good", "mute"):
        for ink in (tone, "ink", "muted"):
            assert contrast(colours[ink], colours[f"{tone}-wash"]) >= 4.5, (ink, tone)
    assert contrast("ffffff", "000000") == pytest.approx(21)
