"""`harness audit` and `harness replay` on scripts, from the command line."""

from __future__ import annotations

import json

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
