"""The command line: exit codes, one-line errors, resumption, and what lands where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.corpus.dataset import Dataset
from tests.support import tiny_documents, write_submission

pytestmark = pytest.mark.box

HARNESS = [sys.executable, "-m", "harness"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> list[str]:
    """--data and --cache options for a tiny dataset, prepared once."""
    folder = tmp_path_factory.mktemp("cli-data")
    path = folder / "tiny.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    return ["--data", str(path), "--cache", str(folder / "cache")]


def harness(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HARNESS, *args], capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "nowhere"], "no submission at nowhere"),
        (["run"], "Missing argument"),
        (["run", ".", "--checks", "astrology"], "no submission|no check|has no submission.json"),
        (["replay", "nowhere", "causality"], "no record at nowhere"),
        (["report", "nowhere"], "no record at nowhere"),
        (["frobnicate"], "No such command"),
        (["new", "Bad Name"], "not a usable name"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(args: list[str], says: str, tmp_path: Path) -> None:
    done = harness(*args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert any(part in lines[0] for part in says.split("|")), lines[0]
    assert done.stdout == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold an object"),
        ('{"name": "x", "author": "y"}', "github_id: missing"),
        ('{"name": "x", "author": "y", "github_id": "z", "val_bpb": "fast"}', "val_bpb"),
        ('{"name": "x", "author": "y", "github_id": "z", "val_bpb": NaN}', "NaN"),
    ],
)
def test_broken_metadata_is_named(metadata: str, says: str, tmp_path: Path) -> None:
    folder = write_submission(tmp_path / "mine").path
    (folder / "submission.json").write_text(metadata)
    done = harness("run", str(folder), cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_run_prints_its_findings_and_writes_its_report(data: list[str], tmp_path: Path) -> None:
    write_submission(tmp_path / "submissions" / "mine")
    done = harness("run", "submissions/mine", "--audit-seed", "7", *data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("score   VALID: ") and "runs/mine/report.html" in done.stdout
    for check in ("causality", "normalization", "byte-accounting"):
        assert check in done.stdout
    assert {path.name for path in (tmp_path / "runs" / "mine").iterdir()} >= {
        "record.json",
        "report.html",
        "artifact.bin",
    }
    assert "\r" not in done.stderr and "train" in done.stderr

    audit = harness("audit", "submissions/mine", "--flip-test", "--json", *data, cwd=tmp_path)
    (record,) = json.loads(audit.stdout)
    assert audit.returncode == 0, audit.stderr
    assert [found["id"] for found in record["findings"]] == ["determinism", "causality"]
    assert record["environment"]["resumed"] is True
    full = json.loads((tmp_path / "runs" / "mine" / "record.json").read_text())
    assert len(full["findings"]) > 2, "an audit of some checks must not replace the full record"

    (tmp_path / "runs" / "mine" / "report.html").unlink()
    again = harness("report", "runs/mine", cwd=tmp_path)
    assert again.returncode == 0 and (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_broken_code_is_exit_code_2_and_leaves_its_log(data: list[str], tmp_path: Path) -> None:
    write_submission(tmp_path / "bad", "def evaluate(self, model, stream):\n    raise ValueError('boo')")
    done = harness("run", "bad", "-q", *data, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "ValueError: boo (submission.py:" in line and "runs/bad/evaluation.log" in line
    assert "Traceback" in (tmp_path / "runs" / "bad" / "evaluation.log").read_text()
    assert not (tmp_path / "runs" / "bad" / "record.json").exists()


def test_ctrl_c_is_130_and_a_later_run_resumes(data: list[str], tmp_path: Path) -> None:
    slow = "def evaluate(self, model, stream):\n    import os, time\n    time.sleep(600)"
    write_submission(tmp_path / "mine", slow)
    process = subprocess.Popen(
        [*HARNESS, "run", "mine", *data], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs" / "mine" / "seal.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr.splitlines()[-1] and "Traceback" not in stderr
    assert not (tmp_path / "runs" / "mine" / "record.json").exists()
    again = subprocess.Popen([*HARNESS, "run", "mine", *data], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert again.stderr is not None
    seen = []
    for line in again.stderr:
        seen.append(line)
        if "earlier run sealed" in line or "train: done" in line:
            break
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=300)
    assert any("earlier run sealed" in line for line in seen), seen


def test_several_seeds_get_a_folder_each(data: list[str], tmp_path: Path) -> None:
    write_submission(tmp_path / "mine")
    done = harness(
        "run", "mine", "--seed", "1", "--seed", "2", "--checks", "single-pass", "--json", *data, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [record["seeds"] for record in records] == [[1], [2]]
    assert [len(record["score"]["per_seed"]) for record in records] == [1, 2]
    assert records[0]["artifact"]["sha256"] != records[1]["artifact"]["sha256"]
    assert (tmp_path / "runs" / "mine" / "seed-2" / "record.json").is_file()


def test_a_record_to_beat_is_judged_over_all_seeds(data: list[str], tmp_path: Path) -> None:
    write_submission(tmp_path / "mine")
    first = harness("run", "mine", "--seed", "7", "--checks", "single-pass", "--out", "old", "-q", *data, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    args = ["--seed", "1", "--seed", "2", "--checks", "significance", "--previous", "old", "--json"]
    done = harness("run", "mine", *args, *data, cwd=tmp_path)
    last = json.loads(done.stdout)[-1]
    (found,) = last["findings"]
    assert found["id"] == "significance" and found["status"] in ("INCONCLUSIVE", "PASS", "NOT_APPLICABLE")
    assert {one["id"]: one["value"] for one in found["metrics"]}["seeds"] == 2 and done.returncode in (0, 3)


def test_a_disk_that_takes_no_more_is_exit_code_4(data: list[str], tmp_path: Path) -> None:
    big = """
    def model_config(self, vocab_size):
        return ModelConfig(vocab_size=vocab_size, layers=2, dim=128, heads=2, kv_heads=2)
    """
    write_submission(tmp_path / "mine", big)
    harness("run", "mine", "-q", "--checks", "single-pass", "--out", "first", *data, cwd=tmp_path)  # prepares the data
    again = f"{sys.executable} -m harness run mine -q --checks single-pass --out second {' '.join(data)}"
    full = f"ulimit -f 100; exec {again}"
    done = subprocess.run(["bash", "-c", full], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "cannot write" in line and "free some space" in line
    assert not list((tmp_path / "second").glob("*.part")) and not (tmp_path / "second" / "record.json").exists()


def test_damaged_data_is_named(tmp_path: Path) -> None:
    write_submission(tmp_path / "mine")
    shards = tmp_path / "contest" / "datasets" / "fineweb10B_sp1024"
    shards.mkdir(parents=True)
    (tmp_path / "contest" / "tokenizers").mkdir()
    (shards / "fineweb_val_000000.bin").write_bytes(b"\0" * 2000)
    done = harness("run", "mine", "--data", "contest", "--cache", "cache", cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()[-1:]) == 1 and "Traceback" not in done.stderr


def test_new_scaffolds_something_that_works(data: list[str], tmp_path: Path) -> None:
    made = harness("new", "my_idea", "--author", "Ada", cwd=tmp_path)
    assert made.returncode == 0 and "harness run submissions/my_idea" in made.stdout
    assert harness("new", "my_idea", cwd=tmp_path).returncode == 2
    listed = harness("list", cwd=tmp_path)
    assert "My idea" in listed.stdout


def test_doctor_says_what_this_machine_can_do() -> None:
    done = harness("doctor")
    assert done.returncode in (0, 4) and "sandbox in use" in done.stdout
