"""Whole batches on this machine: containment, resumption, limits, copies, and what ends with what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.batch import local
from harness.batch.items import Item
from harness.batch.judging import judge
from harness.batch.outcome import Outcome
from harness.batch.playing import Ended
from harness.batch.tasks import Task
from harness.errors import UsageError
from harness.progress import Progress
from tests.batch.batches import command_of, items_of, linting, wait_until_gone, write_script
from tests.support import tiny_documents, write_submission


def lint(folders: Sequence[Path | str], out: Path, *, seconds: float = 300.0, jobs: int = 2,
         fresh: bool = False) -> tuple[list[Outcome], list[str]]:  # fmt: skip
    """Outcomes, and labels of what was played for them."""
    played: list[str] = []

    def engine(tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        for task, ended in local.play(tasks, jobs=jobs):
            played.append(task.label)
            yield task, ended

    items = [Item(Path(one).name, one) if isinstance(one, Path) else Item(one, None, "not there") for one in folders]
    with Progress(quiet=True) as progress:
        outcomes = judge(items, linting(), out, engine, progress, seconds=seconds, fresh=fresh)
    return outcomes, played


def test_one_bad_item_stops_no_other_and_nothing_is_done_twice(tmp_path: Path) -> None:
    good, copy = write_script(tmp_path / "good", name="x"), write_script(tmp_path / "copy", name="x")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "README.md").write_text("soon")
    wanted: list[Path | str] = [good, "nowhere", broken, copy]
    outcomes, played = lint(wanted, tmp_path / "out")
    assert [one.label for one in outcomes] == ["good", "nowhere", "broken", "copy"]
    assert sorted(played) == ["broken", "good"]
    assert outcomes[0].kind == "evidence" and outcomes[0].home is not None
    assert (tmp_path / "out" / outcomes[0].home / "record.json").is_file()
    assert outcomes[1].outcome == "UNUSABLE" and outcomes[1].headline == "not there"
    assert outcomes[3].same_as == "good" and outcomes[3].outcome == outcomes[0].outcome

    again, played = lint(wanted, tmp_path / "out")
    assert again == outcomes and played == []
    (good / "README.md").write_text("# good\n")
    changed, played = lint([good, broken], tmp_path / "out")
    assert played == ["good"] and changed[0].key != outcomes[0].key
    fresh, played = lint([broken], tmp_path / "out", fresh=True)
    assert played == ["broken"] and fresh[0].outcome == changed[1].outcome


def test_an_item_that_takes_too_long_is_stopped_and_tried_again_with_more_time(tmp_path: Path) -> None:
    script = write_script(tmp_path / "one")
    (outcome,), _ = lint([script], tmp_path / "out", seconds=0.01)
    assert (outcome.outcome, outcome.exit_code) == ("TIMEOUT", 3) and "still running after 0.01 s" in outcome.headline
    assert not items_of(os.getpid())
    assert lint([script], tmp_path / "out", seconds=0.01)[1] == []
    (outcome,), played = lint([script], tmp_path / "out")
    assert played == ["one"] and outcome.kind == "evidence"


def test_a_killed_item_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    scripts: list[Path | str] = [write_script(tmp_path / name) for name in ("one", "two")]

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for pid in items_of(os.getpid()):
                if any(word.endswith("/one") for word in command_of(pid)):
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes, _ = lint(scripts, tmp_path / "out")
    killer.join()
    assert outcomes[0].outcome == "CRASHED" and "signal 9" in outcomes[0].headline
    assert outcomes[1].kind == "evidence"
    outcomes, played = lint(scripts, tmp_path / "out")
    assert played == ["one"] and outcomes[0].kind == "evidence"


def test_two_batches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    script = write_script(tmp_path / "one")

    def engine(tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        lint([script], tmp_path / "out")
        yield from ()

    with pytest.raises(UsageError, match="another batch writes into"), Progress(quiet=True) as progress:
        judge([Item("one", script)], linting(), tmp_path / "out", engine, progress)


def start(out: Path, *folders: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "harness", "batch", "--lint", "--jobs", "1", "--out", str(out), *map(str, folders)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_batch_takes_its_items_along_and_goes_on_later(how: int, code: int, tmp_path: Path) -> None:
    folders = [write_script(tmp_path / name) for name in ("a", "b")]
    process = start(tmp_path / "out", *folders)
    found: dict[int, int] = {}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not found:
        found = items_of(process.pid) if list((tmp_path / "out").glob("records/a-*/item.json")) else {}
        time.sleep(0.01)
    (pid,) = found
    os.kill(process.pid, how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert wait_until_gone(pid)
    assert "Traceback" not in said and (how == signal.SIGKILL or "interrupted" in said.splitlines()[-1])
    outcomes, played = lint(folders, tmp_path / "out")
    assert played == ["b"] and [one.kind for one in outcomes] == ["evidence"] * 2


def test_the_command_judges_adapters_and_scripts_and_writes_the_summary(tmp_path: Path) -> None:
    write_submission(tmp_path / "all" / "adapter")
    write_script(tmp_path / "all" / "script", code="")
    (tmp_path / "tiny.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    words = ["batch", "all", "--data", "tiny.jsonl", "--cache", "cache", "--checks", "single-pass", "--out", "out"]
    done = subprocess.run([sys.executable, "-m", "harness", *words], cwd=tmp_path, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    assert done.returncode == 2, done.stderr
    body = json.loads((tmp_path / "out" / "batch.json").read_text())
    script, adapter = body["items"]
    assert script["outcome"] == "UNUSABLE" and "train_gpt.py is empty" in script["headline"]
    assert adapter["outcome"] == "PASS" and adapter["kind"] == "adapter" and adapter["val_bpb"] > 0
    home = tmp_path / "out" / adapter["home"]
    assert json.loads((home / "record.json").read_text())["submission"]["name"] == "adapter"
    assert (home / "artifact.bin").is_file() and (home / "report.html").is_file()
    assert done.stdout.splitlines()[-1] == "exit code 2, unusable input: all/script"
    assert "UNUSABLE all/script" in done.stderr and "\r" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.txt", "--checks", "astrology"], "no check 'astrology'"),
        (["all", "--ray", "all"], "--ray took all for an address"),
        (["empty.txt"], "nothing to judge in empty.txt"),
        ([], "Missing argument"),
    ],
)
def test_bad_usage_is_said_once(words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from harness.cli.batch import command as batch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "all").mkdir()
    (tmp_path / "empty.txt").write_text("")
    done = CliRunner().invoke(batch, words)
    assert says in (done.output + str(done.exception)) and done.exit_code != 0
