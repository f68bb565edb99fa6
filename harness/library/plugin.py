"""pytest: the fixture `causal_audit`, the marker of that name with its options, and a summary for GitHub.

    def test_it_cannot_see_its_future(causal_audit):
        causal_audit(MyModel(), vocab_size=512)

Loaded by every pytest that has the harness installed, so it imports nothing before a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.library.report import Report

_KEY: pytest.StashKey[list[Any]] = pytest.StashKey()
_SUMMARY = "causal_audit"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "causal_audit(**options): options of harness.audit_model or harness.audit_scorer for the fixture causal_audit",
    )


@pytest.fixture
def causal_audit(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """A function that audits a model, or with `scorer=True` a scorer, and fails the test for a leak.

    Called as `harness.audit_model(model, vocab_size, **options)`; options of the marker count where the call gives
    none. With `check=False` nothing is raised. Returns the report.
    """
    marked: dict[str, Any] = {}
    for mark in reversed([*request.node.iter_markers(_SUMMARY)]):
        marked |= mark.kwargs

    def audit(subject: Any, vocab_size: int | None = None, **options: Any) -> Report:
        from harness.library.models import audit_model
        from harness.library.scorers import Scorer, audit_scorer

        options = {**marked, **options}
        vocab = vocab_size if vocab_size is not None else options.pop("vocab_size", None)
        options.pop("vocab_size", None)
        scorer = options.pop("scorer", isinstance(subject, Scorer))
        check, allow = options.pop("check", True), options.pop("allow", ())
        report = (audit_scorer if scorer else audit_model)(subject, vocab, **options)
        request.node.stash.setdefault(_KEY, []).append(report)
        request.node.user_properties.append((_SUMMARY, _row(request.node.name, report)))
        if check:
            report.raise_for_status(allow=allow)
        return report

    return audit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failing test shows what was found, with the witness."""
    made = yield
    if made.when == "call" and made.failed:
        for report in item.stash.get(_KEY, []):
            made.sections.append(("causal audit", str(report)))
    return made


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In a job on GitHub, add a line to its summary. Under xdist this runs where all reports arrive."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    rows = [value for name, value in report.user_properties if name == _SUMMARY]
    if report.when != "call" or not rows or not path or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    head = "| test | verdict | what moved what |\n|---|---|---|\n"
    try:
        with open(path, "a+", encoding="utf-8") as file:
            file.seek(0)
            known = head in file.read()
            file.write("".join([*([] if known else ["\n### Causal audits\n\n", head]), *(f"{row}\n" for row in rows)]))
    except OSError:
        return


def _row(test: str, report: Report) -> str:
    said = report.sentence or report.finding("causality").headline
    cells = (test, str(report.record.verdict), said)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
