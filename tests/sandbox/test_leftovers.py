"""What ends without cleaning up is cleaned up after, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox import leftovers

from .conftest import MAINS, MakeBox, survivors
from .test_box import wait_for_no_survivors

#: A command of the harness that is in a box when the signal comes.
OWNER = textwrap.dedent("""
    import sys
    from pathlib import Path
    import click
    from harness import cli
    from harness.sandbox.box import Box, Limits

    @cli.cli.command("wait-in-a-box")
    def wait() -> None:
        with Box("hostile", args=["daemon_and_hang"], read=[], path=[Path({mains!r})], log=Path({log!r}),
                 limits=Limits(wall_seconds=60)) as box:
            box.wire.recv(timeout=60)
            print(box.scratch, flush=True)
            box.wait()

    sys.argv[1:] = ["wait-in-a-box"]
    cli.main()
""")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of our own."""
    home = tmp_path / "tmp"
    home.mkdir()
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(leftovers, "_swept", set())
    yield home


def started(log: Path, ignoring: signal.Signals | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER.format(mains=str(MAINS), log=str(log))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=(lambda: signal.signal(ignoring, signal.SIG_IGN)) if ignoring else None,
    )


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGINT], 130),
        ([signal.SIGTERM, signal.SIGTERM], 143),
    ],
)
def test_a_signal_ends_boxes_and_removes_their_folders(
    place: Path, tmp_path: Path, make_box: MakeBox, numbers: list[signal.Signals], code: int
) -> None:
    owner = started(tmp_path / "log")
    assert owner.stdout is not None
    box = make_box("hang")
    box.scratch = Path(owner.stdout.readline().strip())
    assert box.scratch.is_dir() and len(survivors(box)) > 2
    for number in numbers:
        owner.send_signal(number)
    _, errors = owner.communicate(timeout=60)
    assert owner.returncode == code and "harness: interrupted" in errors and "Traceback" not in errors
    wait_for_no_survivors(box)
    assert list(place.glob("golf-box-*")) == []


def test_what_is_ignored_stays_ignored(place: Path, tmp_path: Path) -> None:
    owner = started(tmp_path / "log", ignoring=signal.SIGHUP)
    assert owner.stdout is not None and owner.stdout.readline()
    owner.send_signal(signal.SIGHUP)
    owner.send_signal(signal.SIGTERM)
    owner.communicate(timeout=60)
    assert owner.returncode == 143


def test_a_killed_owners_folder_is_swept_at_the_next_start_and_a_live_ones_is_not(
    place: Path, tmp_path: Path, make_box: MakeBox
) -> None:
    killed, alive = started(tmp_path / "log"), started(tmp_path / "log2")
    assert killed.stdout is not None and alive.stdout is not None
    box = make_box("hang")
    box.scratch = Path(killed.stdout.readline().strip())
    other = Path(alive.stdout.readline().strip())
    killed.kill()
    killed.communicate()
    wait_for_no_survivors(box)
    assert box.scratch.exists()
    with make_box("leave", "0") as mine:
        mine.wait(60)
        assert not box.scratch.parent.exists() and other.exists() and mine.scratch.exists()
    assert leftovers.sweep() == [], "once is enough"
    alive.terminate()
    alive.communicate(timeout=60)
    assert alive.returncode == 143 and list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "swept"),
    [
        ({}, False),
        ({"since": 1}, True),
        ({"pid": 2**22 + 1}, True),
        ({"since": 1, "machine": "another"}, False),
        ({"since": 1, "space": "pid:[1]"}, False),
        ({"boot": "an earlier one"}, False),
        ({"pid": "no number"}, False),
    ],
)
def test_only_what_surely_nobody_owns_is_swept(place: Path, change: dict[str, object], swept: bool) -> None:
    folder = leftovers.make()
    mark = json.loads((folder / leftovers.MARK).read_text())
    (folder / leftovers.MARK).write_text(json.dumps(mark | change))
    assert (leftovers.sweep() == [folder]) is swept and folder.exists() is not swept


def test_one_from_before_the_machine_was_started_is_swept(place: Path) -> None:
    folder = leftovers.make()
    mark = json.loads((folder / leftovers.MARK).read_text())
    (folder / leftovers.MARK).write_text(json.dumps(mark | {"boot": "an earlier one"}))
    os.utime(folder, (1, 1))
    assert leftovers.sweep() == [folder]


def test_what_only_looks_like_one_stays(place: Path, tmp_path: Path) -> None:
    (place / "golf-box-empty").mkdir()
    (place / "golf-box-file").write_text("")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / leftovers.MARK).write_text("{}")
    (place / "golf-box-link").symlink_to(precious)
    linked = place / "golf-box-linked-mark"
    linked.mkdir()
    (linked / leftovers.MARK).symlink_to(precious / leftovers.MARK)
    os.mkfifo(place / "golf-box-empty" / leftovers.MARK)
    assert leftovers.sweep() == [] and len(list(place.iterdir())) == 4 and precious.exists()
