"""`harness audit` and `harness replay` on scripts, from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import UsageError
from tests.scripts.audits import write_script

pytestmark = pytest.mark.box

BROKEN = "import os\nSTEPS = int(os.environ.get('ITERATIONS', 5))\nraise SystemExit(3)\n"


def test_a_script_is_audited_and_json_is_a_list_of_records(tmp_path):
    path = write_script(tmp_path / "s", BROKEN)
    done = CliRunner().invoke(cli, ["audit", str(path), "--json", "--quiet", "--out", str(tmp_path / "out")])
    (body,) = json.loads(done.stdout)
    assert body == json.loads((tmp_path / "out" / "record.json").read_text())
    assert body["submission"]["kind"] == "script"
    assert body["verdict"] == "INCONCLUSIVE"
    assert done.exit_code == 3
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_report_on_the_terminal_and_nothing_to_explain(tmp_path):
    path = write_script(tmp_path / "s", BROKEN)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        cli, ["audit", str(path.parent), "--explain", "-q", "--env", "ITERATIONS=2", "--out", str(out)]
    )
    assert "INCONCLUSIVE" in done.output
    assert "nothing to explain" in done.output
    settings = json.loads((out / "record.json").read_text())["submission"]["settings"]
    assert settings["overrides"] == {"ITERATIONS": "2"}


def test_progress_is_numbered_and_every_box_is_named_where_that_is_asked_for(tmp_path):
    path = write_script(tmp_path / "s", BROKEN)
    words = [sys.executable, "-m", "harness", "audit", str(path), "--out", str(tmp_path / "out")]
    plain, told, early = (
        subprocess.run([*run, *more], capture_output=True, text=True, timeout=300, check=False).stderr
        for run, more in ((words, []), (words, ["-v"]), ([*words[:3], "-v", *words[3:]], []))
    )
    assert re.search(r"(?m)^1/\d read: source", plain) and re.search(r"(?m)^2/\d base: the unmodified script", plain)
    assert "level" not in plain
    for said in (told, early):
        assert re.search(r"INFO harness\.sandbox\.box: \S+: started at level \w+, process \d+", said)
        assert re.search(r"INFO harness\.sandbox\.box: .*CPU seconds, .* by the clock, \d+ MiB at most", said)


def test_env_is_for_scripts(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "submission.py").write_text("")
    done = CliRunner().invoke(cli, ["audit", str(tmp_path / "adapter"), "--env", "A=1"])
    assert done.exit_code == 2
    assert "none of PATHS is one" in done.output


def test_a_setting_is_written_as_name_and_value(tmp_path):
    path = write_script(tmp_path / "s", BROKEN)
    done = CliRunner().invoke(cli, ["audit", str(path), "--env", "A"])
    assert done.exit_code == 2 and "write it as NAME=VALUE" in done.output


def test_an_unknown_check_is_a_usage_error(tmp_path):
    path = write_script(tmp_path / "s", BROKEN)
    done = CliRunner().invoke(cli, ["audit", str(path), "--checks", "causality,wrong"])
    assert isinstance(done.exception, UsageError)
    assert "wrong" in str(done.exception)
