from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.record import Finding, Record, Status, Witness
from harness.report import badge, junit, sarif

from . import records
from .test_html import HOSTILE, spoiled

ALL = [records.passing, records.failing, records.unruled, records.inconclusive, records.unscored]

#: What the XML recommendation admits (https://www.w3.org/TR/xml/#charsets), nothing else.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

XML = [*HOSTILE, "\ufffe\uffff\x0b", "]]>", "\ud800 alone", "<?xml?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///'>]>&b;"]


def quoted(**data: Any) -> Record:
    witness = Witness(kind="evidence", summary="two numbers disagree", data=data)
    made = Finding(
        id="claims",
        rule="claims",
        title="Claims agree",
        status=Status.FAIL,
        headline="1.08 is claimed, 1.11 was logged",
        witness=witness,
        remedy="Correct submission.json.",
    )
    return records.record([made])


def structure(root: ET.Element) -> list[tuple[str, tuple[str, ...]]]:
    return [(element.tag, tuple(element.attrib)) for element in root.iter()]


def check_junit(record: Record, text: str) -> ET.Element:
    """The structure that JUnit's readers share: names, counts that add up, one outcome at most in a case."""
    assert not NOT_XML.search(text)
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    assert {child.tag for child in suite} <= {"properties", "testcase"} and suite[0].tag == "properties"
    assert len(cases) == len(record.findings) == int(suite.attrib["tests"]) == int(root.attrib["tests"])
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    for case in cases:
        assert case.attrib["name"] and case.attrib["classname"] and float(case.attrib["time"]) >= 0
        assert len(case) <= 1 and {child.tag for child in case} <= {"failure", "error", "skipped", "system-out"}
        assert all(child.attrib.get("message") for child in case if child.tag != "system-out")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib.get("timestamp", "2026-01-01T00:00:00"))
    return root


@pytest.mark.parametrize("make", ALL)
def test_junit_has_a_case_for_each_check(make: Callable[[], Record]) -> None:
    check_junit(make(), junit.render(make()))


def test_only_what_passed_passes_in_junit() -> None:
    root = check_junit(records.inconclusive(), junit.render(records.inconclusive()))
    outcome = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert outcome["causality"] == ["error"] and outcome["proof"] == ["skipped"] and outcome["determinism"] == []
    root = check_junit(records.failing(), junit.render(records.failing()))
    (failure,) = root.iter("failure")
    assert "31 of 48 probes leak" in failure.attrib["message"]
    assert failure.text and "harness replay record.json causality" in failure.text
    unruled = [case for case in ET.fromstring(junit.render(records.unruled())).iter("testcase") if len(case)]
    assert "UNRULED" in "".join(text for case in unruled for text in case.itertext())


SUITE = structure(ET.fromstring(junit.render(spoiled(" word"))))


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.sampled_from(XML), st.text(min_size=1, max_size=40)))
@example(XML[-1])
@example(XML[-2])
@example(XML[-4])
def test_no_text_of_a_submission_changes_the_suite_around_it(tail: str) -> None:
    record = spoiled(tail.encode("utf-8", "replace").decode())
    assert structure(check_junit(record, junit.render(record))) == SUITE


def check_sarif(text: str) -> list[dict[str, Any]]:
    """What SARIF 2.1.0 requires (sections 3.13, 3.14, 3.19, 3.27 to 3.30, 3.49), and what GitHub needs to show it."""
    log = json.loads(text)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] and ("version" in driver) != ("semanticVersion" in driver)
    assert re.fullmatch(r"\d+\.\d+\.\d+[-+.\w]*", driver.get("semanticVersion", "0.0.0"))
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids)) and all(rule["shortDescription"]["text"] for rule in driver["rules"])
    results: list[dict[str, Any]] = run["results"]
    for result in results:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"] and result["level"] in ("error", "warning", "note", "none")
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert type(place["region"]["startLine"]) is int and place["region"]["startLine"] >= 1
        uri = place["artifactLocation"]["uri"]
        assert re.fullmatch(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2}|/)+", uri), uri
        assert not uri.startswith("/") and ".." not in PurePosixPath(uri).parts and "//" not in uri
        assert all(re.fullmatch(r"[0-9a-f]{32}", mark) for mark in result["partialFingerprints"].values())
    return results


@pytest.mark.parametrize("make", ALL)
def test_findings_about_behaviour_are_not_in_sarif(make: Callable[[], Record]) -> None:
    assert check_sarif(sarif.render(make())) == []


def test_quoted_lines_are_results_with_file_and_line() -> None:
    quotes = [
        {"file": "train.log", "line": 812, "text": "val_bpb:1.11"},
        {"file": "submission.json", "line": 9, "text": "1.08"},
    ]
    results = check_sarif(sarif.render(quoted(quotes=quotes + quotes)))
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert [(place["artifactLocation"]["uri"], place["region"]["startLine"]) for place in places] == [
        ("submissions/causal_slot/train.log", 812),
        ("submissions/causal_slot/submission.json", 9),
    ]
    assert all(result["level"] == "error" for result in results)
    moved = [{**quotes[0], "line": 815}, quotes[1]]
    again = check_sarif(sarif.render(quoted(quotes=moved)))
    assert [one["partialFingerprints"] for one in again] == [one["partialFingerprints"] for one in results]


def test_the_place_that_a_script_was_followed_to_is_a_result() -> None:
    data = {
        "place": "train_gpt.py:812 eval_val < main:1207",
        "training": {"place": "train_gpt.py:640 step"},
        "other": "a:1",
    }
    lines = [
        result["locations"][0]["physicalLocation"]["region"]["startLine"]
        for result in check_sarif(sarif.render(quoted(**data)))
    ]
    assert lines == [812, 640]


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.sampled_from(XML), st.text(min_size=1, max_size=40)), st.integers())
@example("../../../etc/passwd", 1)
@example("file:///etc/passwd", 1)
@example("C:\\x\\..\\y", 1)
@example("https://example.org/a?b#c", 1)
def test_no_file_name_leads_out_of_the_repository(name: str, line: int) -> None:
    name = name.encode("utf-8", "replace").decode()
    found = check_sarif(sarif.render(quoted(quotes=[{"file": name, "line": line, "text": name}], place=f"{name}:7 f")))
    assert bool([one for one in found if one["locations"][0]["physicalLocation"]["region"]["startLine"] == line]) == (
        0 < line < 10**7
    )
    check_sarif(sarif.render(spoiled(name)))


@pytest.mark.parametrize("make", ALL)
def test_a_badge_says_verdict_and_score_and_loads_nothing(make: Callable[[], Record]) -> None:
    record = make()
    text = badge.render(record)
    root = ET.fromstring(text)
    title = root.findtext("{http://www.w3.org/2000/svg}title")
    word = record.answers.score.answer
    assert title == f"golf-harness: {word}" + (f" {record.score.val_bpb:.4f} BPB" if record.score else "")
    assert root.attrib["aria-label"] == title and root.attrib["role"] == "img"
    assert not re.search(r"script|href|url\(|@import|<style|on\w+=", text)
    assert badge.render(record) == text and len(text) < 2000


@pytest.mark.parametrize("tail", HOSTILE)
def test_no_text_of_a_submission_is_on_a_badge(tail: str) -> None:
    assert badge.render(spoiled(tail)) == badge.render(spoiled(" word"))


def test_the_three_answers_are_properties_and_a_gap_in_the_papers_fails_no_case() -> None:
    findings = [
        Finding(id=check, rule="r", title="t", status=status, headline="h")
        for check, status in (
            ("causality", Status.PASS),
            ("normalization", Status.INCONCLUSIVE),
            ("size-limit", Status.PASS),
            ("significance", Status.INCONCLUSIVE),
        )
    ]
    made = records.record(findings)
    root = ET.fromstring(junit.render(made))
    named = {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")}
    assert [named[name] for name in ("score", "limits", "claim")] == ["UNDECIDED", "WITHIN", "INCOMPLETE"]
    assert named["claim_sentence"] == "the papers do not show all that is claimed: significance: h"
    cases = {case.attrib["name"]: [child.tag for child in case] for case in root.iter("testcase")}
    assert cases["normalization"] == ["error"] and cases["significance"] == ["skipped"] and cases["causality"] == []
    assert root.attrib["errors"] == "1"
    run = json.loads(sarif.render(made))["runs"][0]
    assert run["properties"]["answers"]["claim"]["answer"] == "INCOMPLETE"
