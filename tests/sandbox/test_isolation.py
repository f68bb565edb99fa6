"""What a box cannot do, at every level that this machine offers, and what honest code can."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.corpus.commons import FILE
from harness.sandbox import landlock
from harness.sandbox.box import Box, Limits
from harness.sandbox.wire import Wire, text, untext

from .conftest import MAINS, MakeBox

NAMES = [line.split('"')[1] for line in (MAINS / "hostile.py").read_text().splitlines() if '": lambda n:' in line]
#: Denied to some who are outside a sandbox too, or undone by the attempt itself: no use as a control.
NO_CONTROL = {
    "become another user",
    "change a kernel setting",
    "import the parent's side",
    "import the referee",
    "look through process 1's root",
    "make a mount",
    "read process 1's environment",
}
MAY_BE_MISSING = {
    "open a host socket", "set up io_uring", "make a user namespace", "open a POSIX queue", "compare two processes",
    "give a file an attribute", "flag a file", "read only what is in memory", "ask for a lease",
}  # fmt: skip


@contextlib.contextmanager
def bait(folder: Path) -> Iterator[dict[str, Any]]:
    """Things outside the box that attempts go for, listeners included."""
    (folder / "outside").mkdir()
    (folder / "allowed").mkdir()
    secret = folder / "outside" / "secret.txt"
    secret.write_text("the validation set")
    (folder / "allowed" / "data.txt").write_text("public")
    (folder / "allowed" / "more.txt").write_text("public, too")
    (folder / "allowed" / "link").symlink_to(secret)
    (folder / "allowed" / "folder").symlink_to(folder / "outside")
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        file = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0golf-box-{os.getpid()}-{folder.name}")
        (folder / "s").mkdir()
        os.chdir(folder / "s")  # socket paths are limited to 107 bytes
        file.bind("x")
        for listener in (tcp, abstract, file):
            listener.listen()
        yield {
            "secret": str(secret),
            "allowed": str(folder / "allowed"),
            "tests": __file__,
            "parent": os.getpid(),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": f"golf-box-{os.getpid()}-{folder.name}",
            "socket": str(folder / "s" / "x"),
        }
        udp.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            udp.recv(10)
            (folder / "udp arrived").touch()


def attempt_all(level: str, folder: Path, warm: tuple[str, ...] = ()) -> dict[str, str]:
    before = os.getcwd()
    try:
        with bait(folder) as facts:
            box = Box(
                "hostile",
                read=[folder / "allowed"],
                path=[MAINS],
                args=["attempts", json.dumps(facts)],
                limits=Limits(wall_seconds=60),
                log=folder / "log",
                sandbox=level,  # type: ignore[arg-type]
                warm=warm,
            )
            with box:
                results = json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 20))
    finally:
        os.chdir(before)
    results["udp arrived"] = str((folder / "udp arrived").exists())
    results["secret after"] = Path(facts["secret"]).read_text()
    return results


@pytest.fixture(scope="module", params=[(), ("numpy",)], ids=["fresh", "warm"])
def denied(request: pytest.FixtureRequest, isolated: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return attempt_all(isolated, tmp_path_factory.mktemp(isolated), request.param)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    leak = Path("/tmp/golf-box-leak")
    yield attempt_all("none", tmp_path_factory.mktemp("none"))
    leak.unlink()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "send by UDP"])  # bubblewrap has a loopback
def test_denied(denied: dict[str, str], name: str) -> None:
    assert denied[name].startswith("denied: "), denied[name]


def test_nothing_arrived_and_nothing_changed(denied: dict[str, str]) -> None:
    assert denied["udp arrived"] == "False"
    assert denied["secret after"] == "the validation set"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_CONTROL | MAY_BE_MISSING])
def test_the_same_attempts_work_without_a_sandbox(control: dict[str, str], name: str) -> None:
    assert control[name].startswith("done: "), control[name]


def test_without_a_sandbox_things_arrive(control: dict[str, str]) -> None:
    assert control["udp arrived"] == "True"
    assert control["secret after"] == "xhe validation set"


def test_honest_code_works(isolated: str, make_box: MakeBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "12345")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "data.txt").write_text("public")
    with make_box("normal_life", str(allowed), read=[allowed], sandbox=isolated, env={"EXTRA": "1"}, threads=2) as box:
        facts = json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 20))
        assert box.level.name == isolated and box.level.usable
        assert (box.scratch / "made" / "file").read_text() == "mine"
        assert box.wait(60).state == "ok"
    assert facts["read"] == "public" and facts["wrote"] == "mine" and facts["mmap"] == "mmap"
    assert facts["threads"] == [0, 1, 2, 3] and facts["forks"] == ["worked"] * 5 and facts["program"] == "42\n"
    assert facts["random"] == 16 and facts["cpus"] and facts["self"] and facts["linalg"] == 1.0
    assert facts["capabilities"] == ["0" * 16]
    assert facts["cwd"] == str(box.scratch)
    assert facts["environment"] == {
        "PATH": "/usr/bin:/bin",
        "HOME": str(box.scratch),
        "TMPDIR": str(box.scratch),
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "EXTRA": "1",
    } | ({"PWD": str(box.scratch)} if isolated == "bubblewrap" else {})
    fixed = subprocess.run(
        [sys.executable, "-c", "print(hash('golf'))"], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True
    )
    assert facts["hash"] == int(fixed.stdout)


def test_torch_works(isolated: str, make_box: MakeBox) -> None:
    with make_box("torch_works", sandbox=isolated) as box:
        assert box.wire.recv(timeout=60).arrays[0].tolist() == [True]


@pytest.mark.parametrize("level", ["bubblewrap", "native"])
def test_named_semaphores_work_where_the_box_has_its_own_dev_shm(
    level: str, make_box: MakeBox, offered: dict[str, Any]
) -> None:
    if not offered[level].usable:
        pytest.skip(f"this machine offers no {level} sandbox: {offered[level].note}")
    with make_box("semaphore", sandbox=level) as box:
        assert untext(box.wire.recv(timeout=60).arrays[0], 10) == "locked"


def test_nothing_marks_a_file_that_another_box_may_read(isolated: str, make_box: MakeBox, tmp_path: Path) -> None:
    """Mode, owner, dates, attributes, flags and locks: none is there for another box, or after this one."""
    (tmp_path / "shown").mkdir()
    path = tmp_path / "shown" / "data.txt"
    path.write_text("public")
    before, attributes = path.stat(), os.listxattr(path)
    first = make_box("mark", str(path), read=[path.parent], sandbox=isolated)
    second = make_box("mark", str(path), read=[path.parent], sandbox=isolated, log=tmp_path / "second.log")
    with first, second:
        said = [json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 16)) for box in (first, second)]
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for box in (first, second):
            box.wire.send(1)
    assert said[0] == said[1], "what the second is told does not depend on what the first did"
    assert said[0]["lock"].startswith("done") and said[0]["attribute"].startswith("denied")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode, before.st_uid, before.st_mtime_ns, before.st_ctime_ns,
    )  # fmt: skip
    assert os.listxattr(path) == attributes


def test_reading_a_file_leaves_no_date_of_it(isolated: str, make_box: MakeBox, tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    data = tmp_path / "shown" / "data.txt"
    data.write_text("public")
    os.utime(data, (1, 1))  # so old that the kernel would renew it at the first reading
    seen = []
    for _ in range(2):
        with make_box("normal_life", str(data.parent), read=[data], sandbox=isolated) as box:
            seen.append(data.stat().st_atime_ns)
            assert json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 20))["read"] == "public"
        seen.append(data.stat().st_atime_ns)
    assert len(set(seen)) == 1 and data.stat().st_mtime == 1


def test_forks_that_are_set_apart_do_not_reach_each_other(isolated: str, make_box: MakeBox) -> None:
    def said(how: str) -> list[dict[str, str]]:
        with make_box("siblings", how, sandbox=isolated) as box:
            return [json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 16)) for _ in range(2)]

    if landlock.abi() < 6:
        pytest.skip("this kernel's Landlock does not cut signals (Linux 6.12)")
    for who in said("apart"):
        assert who and all(how.startswith("denied") for how in who.values()), who
    together = said("together")
    assert all(who["signal"].startswith("done") and who["open file"].startswith("done") for who in together)


def test_a_box_is_started_with_the_same_descriptors_whatever_the_parent_has_open(
    isolated: str, make_box: MakeBox, tmp_path: Path
) -> None:
    """Numbers that depend on what else the parent holds open would tell which of its boxes this is."""
    said = []
    for more in (0, 7):
        held = [os.open(tmp_path, os.O_RDONLY) for _ in range(more)]
        with make_box("own_descriptors", sandbox=isolated) as box:
            said.append(json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 16)))
        for fd in held:
            os.close(fd)
    assert said[0] == said[1] and said[0]["open"] == [0, 1, 2, 3] and said[0]["argv"] == ["box"]


def test_frames_go_both_ways(isolated: str, make_box: MakeBox) -> None:
    rows = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    with make_box("echo", sandbox=isolated) as box:
        box.wire.send(25, rows, text("ok"))
        frame = box.wire.recv(timeout=60)
        assert frame.kind == 26 and np.array_equal(frame.arrays[0], rows) and untext(frame.arrays[1], 9) == "ok"
        assert box.wait(60).state == "ok"


def test_forks_in_the_box_open_wires_of_their_own(isolated: str, make_box: MakeBox) -> None:
    with make_box("forked_wires", sandbox=isolated) as box:
        frames = [box.wire.recv(timeout=60) for _ in range(3)]
        wires = [Wire(socket.socket(fileno=frame.fds[0])) for frame in frames]
        said = [wire.recv(timeout=60).arrays[0] for wire in wires]
        assert [numbers[0] for numbers in said] == [0, 1, 2] and len({numbers[1] for numbers in said}) == 3
        for wire in wires:
            wire.send(1)
            wire.close()
        assert box.wait(60).state == "ok"


def test_a_wire_can_be_handed_in(isolated: str, make_box: MakeBox) -> None:
    ours, theirs = socket.socketpair()
    with make_box("given_wire", sandbox=isolated) as box, Wire(ours) as other:
        box.wire.send(1, fds=[theirs.fileno()])
        theirs.close()
        assert untext(other.recv(timeout=60).arrays[0], 100) == "over the new one"


def test_links_on_the_way_to_what_may_be_read(isolated: str, make_box: MakeBox, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "data.txt").write_text("behind a link")
    (tmp_path / "alias").symlink_to("real")
    alias = tmp_path / "alias"
    with make_box("normal_life", str(alias), read=[alias], sandbox=isolated) as box:
        facts = json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 20))
    assert facts["read"] == "behind a link"


@pytest.mark.parametrize("level", ["bubblewrap", "native"])
def test_an_installed_referee_is_hidden(level: str, make_box: MakeBox, offered: dict[str, Any]) -> None:
    if not offered[level].usable:
        pytest.skip(f"this machine offers no {level} sandbox: {offered[level].note}")
    package = Path(harness.__file__).resolve().parent
    for folder, expected in ((package, []), (package.parent, sorted(os.listdir(package.parent)))):
        with make_box("look", str(folder), read=[package.parent], sandbox=level) as box:
            assert json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 20)) == expected


def test_the_default_data_cannot_be_read(isolated: str, make_box: MakeBox, tmp_path: Path) -> None:
    """Where the package is installed among what a box sees, and where it lies elsewhere; its neighbours can be read."""
    package = Path(harness.__file__).resolve().parent
    neighbours = [package.parent / "pyproject.toml", package.parent / "submissions" / "baseline" / "submission.py"]
    paths = [str(path) for path in (FILE, package / "record.py", *neighbours)]
    with make_box("sizes", *paths, read=[package.parent], sandbox=isolated) as box:
        installed = box.wire.recv(timeout=60).arrays[0].tolist()
    assert installed == [-1, -1, *(path.stat().st_size for path in neighbours)]
    with make_box("sizes", *paths, sandbox=isolated) as box:
        assert box.wire.recv(timeout=60).arrays[0].tolist() == [-1] * 4
    with make_box("sizes", *paths, sandbox="none") as box:
        assert box.wire.recv(timeout=60).arrays[0].tolist()[0] == FILE.stat().st_size


def test_the_kit_comes_along(isolated: str, make_box: MakeBox) -> None:
    with make_box("import_kit", sandbox=isolated) as box:
        where = untext(box.wire.recv(timeout=60).arrays[0], 1000)
    assert where == str(box.scratch.parent / "code" / "harness" / "kit" / "__init__.py")
