"""What somebody copies out of each view to replay a finding."""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from rich.console import Console

from harness.record import Record
from harness.report import html as page
from harness.report import junit, markdown, sarif, terminal


def copied(record: Record) -> dict[str, list[str]]:
    """The commands in each view, in its order: worst first."""
    out = io.StringIO()
    terminal.summary(record, Console(file=out, width=60), report=None)
    cases = ET.fromstring(junit.render(record)).iter("testcase")
    lines = [line for case in cases for line in "".join(case.itertext()).splitlines()]
    results = json.loads(sarif.render(record))["runs"][0]["results"]
    return {
        "terminal": re.findall(r"^replay    (.*)$", out.getvalue(), re.M),
        "html": [
            html.unescape(one) for one in re.findall(r'"command">(harness replay .*?)</code>', page.render(record))
        ],
        "markdown": [
            made[1] for made in re.findall(r"^Replay it, in .*?: (`+) ?(.*?) ?\1$", markdown.render(record), re.M)
        ],
        "junit": [line.removeprefix("replay: ") for line in lines if line.startswith("replay: ")],
        "sarif": list(dict.fromkeys(one["properties"]["replay"] for one in results)),
    }


def shown(record: Record) -> dict[str, str]:
    """Each view for people as one line of text, without the marks of its format."""
    out = io.StringIO()
    terminal.summary(record, Console(file=out, width=200), report=None)
    return {
        "terminal": " ".join(out.getvalue().split()),
        "html": " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.render(record))).split()),
        "markdown": " ".join(markdown.render(record).replace("\\", "").split()),
    }


def standing(record: Record) -> dict[str, list[str]]:
    """The places in files that each view for people gives for a witness, as file:line."""
    out = io.StringIO()
    terminal.summary(record, Console(file=out, width=2000), report=None)
    listed = "".join(re.findall(r'<ul class="places">(.*?)</ul>', page.render(record), re.S))
    told = [line.partition(" and ")[0] for line in re.findall(r"^at        (.*)$", out.getvalue(), re.M)]
    return {
        "terminal": [place for line in told for place in line.split(", ")],
        "html": [html.unescape(one) for one in re.findall(r"<li><code>(.*?)</code>", listed)],
        "markdown": re.findall(r"^- `([^`]+:\d+)`", markdown.render(record), re.M),
    }


def paste(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, in a folder, where `harness` is the harness under test."""
    root = str(Path(__file__).resolve().parents[2])
    words = f'harness() {{ "{sys.executable}" -m harness "$@"; }}; {command}'
    env = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(["bash", "-c", words], cwd=folder, env=env, capture_output=True, text=True, check=False)
