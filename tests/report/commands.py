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


def paste(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, in a folder, where `harness` is the harness under test."""
    root = str(Path(__file__).resolve().parents[2])
    words = f'harness() {{ "{sys.executable}" -m harness "$@"; }}; {command}'
    env = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(["bash", "-c", words], cwd=folder, env=env, capture_output=True, text=True, check=False)
