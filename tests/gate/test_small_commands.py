"""`harness attest` and `harness precommit`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import UsageError
from harness.record import Finding, Record, Status
from tests.papers.papers import folder, three
from tests.report.records import record
from tests.support import write_submission


def invoke(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with the three files that a statement covers."""
    found = Finding(id="causality", rule="C1", title="Causality", status=Status.PASS, headline="nothing moved")
    made = record([found])
    content = b"artifact"
    assert made.artifact is not None
    artifact = made.artifact.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    home = tmp_path / "run" / "full"
    home.mkdir(parents=True)
    (home.parent / "artifact.bin").write_bytes(content)
    (home / "record.json").write_text(made.model_copy(update={"artifact": artifact}).sealed().to_json())
    (home / "report.html").write_text("<!doctype html>")
    return home


def test_a_statement_covers_the_files_and_is_always_the_same(run: Path) -> None:
    done = invoke("attest", run)
    target = run / "verdict.intoto.json"
    assert done.exit_code == 0 and done.output.strip() == str(target)
    body = json.loads(target.read_text())
    assert list(body) == ["_type", "subject", "predicateType", "predicate"]
    assert body["_type"] == "https://in-toto.io/Statement/v1"
    files = {"artifact.bin": run.parent / "artifact.bin", **{n: run / n for n in ("record.json", "report.html")}}
    assert {one["name"]: one["digest"] for one in body["subject"]} == {
        name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for name, path in files.items()
    }
    made = Record.load(run)
    assert body["predicate"]["verdict"] == "PASS" and body["predicate"]["findings"] == {"causality": "PASS"}
    assert body["predicate"]["answers"] == {"score": "VALID", "limits": "UNDECIDED", "claim": "NOT_CLAIMED"}
    assert body["predicate"]["ruleset"]["sha256"] == made.ruleset.sha256
    assert body["predicate"]["harness"]["version"] == made.harness.version
    assert body["predicate"]["environment"] == made.environment
    assert ":" in body["predicateType"]
    first = target.read_bytes()
    assert invoke("attest", run, "--out", run / "again.json").exit_code == 0
    assert (run / "again.json").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("record.json", None, "no record"),
        ("report.html", None, "no report.html"),
        ("../artifact.bin", b"another", "is not the artifact"),
        ("../artifact.bin", None, "no artifact.bin"),
    ],
)
def test_nothing_is_stated_of_what_is_not_there(run: Path, name: str, content: bytes | None, says: str) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    done = invoke("attest", run)
    assert isinstance(done.exception, UsageError) and says in str(done.exception)
    assert not (run / "verdict.intoto.json").exists()


def test_a_record_that_was_changed_is_not_attested(run: Path) -> None:
    text = (run / "record.json").read_text()
    (run / "record.json").write_text(text.replace("nothing moved", "nothing moved at all"))
    assert "was changed after the run" in str(invoke("attest", run).exception)


def test_files_about_to_be_committed_lint_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_submission(Path("submissions/mine"))
    fine = folder(Path("records"), three(), name="fine")
    lying = folder(Path("records"), three(text_bytes=176_332_748), name="lying", script="print('else')\n")
    files = [path for path in fine.iterdir()]
    done = invoke("precommit", "README.md", "submissions/mine/submission.py", *files, "submissions/gone/x.py")
    assert done.exit_code == 0 and "fine" in done.output and "mine" in done.output, "incomplete work may be committed"
    bad = invoke("precommit", *lying.iterdir())
    assert bad.exit_code == 1 and "byte-accounting" in bad.output
    assert invoke("precommit", "README.md").exit_code == 0
    Path("submissions/mine/submission.json").write_text("{")
    assert isinstance(invoke("precommit", "submissions/mine/submission.py").exception, UsageError)
