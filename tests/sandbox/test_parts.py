"""The box's parts by themselves: Landlock on older kernels, the seccomp filter, what is shown, process trees."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from harness.errors import SandboxError
from harness.sandbox import landlock, processes, seccomp
from harness.sandbox import view as view_module
from harness.sandbox.plan import Plan
from harness.sandbox.view import stage, view

REPOSITORY = Path(__file__).parents[2]


def run(code: str, *args: str) -> list[str]:
    """Run Python code in a process of its own, which it may confine; its words."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


LANDLOCKED = """
    import socket, sys
    from pathlib import Path
    from harness.sandbox import kernel, landlock
    version, folder = int(sys.argv[1]), Path(sys.argv[2])
    landlock.abi = lambda: version
    kernel.no_new_privileges()
    assert landlock.restrict(read=[str(folder / "read"), "/missing"], write=[str(folder / "write")],
                             devices=["/dev/null"]) == version
    def attempt(action):
        try:
            action()
            print("done")
        except PermissionError:
            print("denied")
    attempt(lambda: (folder / "read" / "file").read_text())
    attempt(lambda: (folder / "write" / "file").write_text("x"))
    attempt(lambda: (folder / "write" / "file").unlink())
    attempt(lambda: open("/dev/null", "w").write("x"))
    attempt(lambda: (folder / "other" / "file").read_text())
    attempt(lambda: (folder / "read" / "file").write_text("x"))
    attempt(lambda: (folder / "other" / "new").write_text("x"))
    attempt(lambda: (folder / "read" / "file").unlink())
    with socket.socket() as sock:
        attempt(lambda: sock.bind(("127.0.0.1", 0)))
"""


@pytest.mark.parametrize("version", range(1, 8))
def test_landlock_at_every_version(version: int, tmp_path: Path) -> None:
    if landlock.abi() < version:
        pytest.skip(f"this kernel has Landlock {landlock.abi()}")
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    words = run(LANDLOCKED, str(version), str(tmp_path))
    assert words == ["done"] * 4 + ["denied"] * 4 + ["denied" if version >= 4 else "done"]


def test_landlock_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(OSError, match="no Landlock"):
        landlock.restrict(read=[], write=[], devices=[])


FILTERED = """
    import ctypes, errno, os, socket, sys, threading
    from harness.sandbox import kernel, seccomp
    kernel.no_new_privileges()
    seccomp.install([int(word) for word in sys.argv[1:]])
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        try:
            socket.socket(family).close()
            print("done")
        except OSError as error:
            print(errno.errorcode[error.errno])
    for a in socket.socketpair():
        a.close()
    thread = threading.Thread(target=print, args=["thread"])
    thread.start()
    thread.join()
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    libc = ctypes.CDLL(None, use_errno=True)
    for number, args in ((425, (1, 0)), (435, (0, 0)), (442, (0, 0, 0, 0, 0))):
        assert libc.syscall(number, *args) == -1
        print(errno.errorcode[ctypes.get_errno()])
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.skipif(not seccomp.supported(), reason="the seccomp filter is not written for this architecture")
def test_seccomp() -> None:
    tail = ["thread", "EPERM", "ENOSYS", "EPERM", "EPERM"]
    assert run(FILTERED, "1", "2", "10") == ["done", "done", "done", *tail]
    assert run(FILTERED, "1") == ["done", "EPERM", "EPERM", *tail]
    assert run(FILTERED) == ["EPERM", "EPERM", "EPERM", *tail]


def test_what_is_staged(tmp_path: Path) -> None:
    stage(tmp_path / "code")
    package = tmp_path / "code" / "harness"
    assert sorted(entry.name for entry in package.iterdir()) == [
        "__init__.py", "kit", "library", "sandbox", "scripts"
    ]  # fmt: skip
    assert {path.name for path in (package / "library").iterdir()} == {"__init__.py", "calling.py", "serving.py"}
    scripts = {path.relative_to(package / "scripts").as_posix() for path in (package / "scripts").rglob("*.py")}
    beside = {name for name in scripts if not name.startswith("inside/")}
    assert (
        beside == {"__init__.py", "trace/__init__.py", "trace/branches.py", "trace/observed.py"}
        and "inside/worker.py" in scripts
    )
    staged = {path.name for path in (package / "sandbox").glob("*.py")}
    assert {"wire.py", "boot.py", "launcher.py"} <= staged and not {"box.py", "keeper.py", "watchdog.py"} & staged
    words = run("import sys; sys.path.insert(0, sys.argv[1]); import harness.sandbox.wire as w; print(w.__file__)",
                str(tmp_path / "code"))  # fmt: skip
    assert words == [str(package / "sandbox" / "wire.py")]


def test_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    shown = view([tmp_path / "a", tmp_path / "a" / "b", tmp_path / "link"])
    here = os.path.realpath(tmp_path)
    assert f"{here}/a" in shown.read and f"{here}/a/b" not in shown.read
    assert (f"{tmp_path}/link", f"{here}/a/b") in shown.links
    assert shown.read == sorted(shown.read) and "/" not in shown.read
    assert not any(path.startswith(("/etc/passwd", "/home", "/root/.ssh")) for path in shown.read)
    assert "/dev/null" in shown.devices and shown.hide == []
    assert os.path.realpath(np.__file__).startswith(tuple(shown.read))
    package = view_module._PACKAGE
    assert view([package.parent]).hide == [str(package)]
    with pytest.raises(SandboxError, match="whole file system"):
        view([Path("/")])


def test_a_plan_survives_its_json() -> None:
    lists = dict.fromkeys(("args", "path", "read", "devices", "hide"), ["a b", 'ü"'])
    words = dict.fromkeys(("level", "python", "code", "module", "scratch", "shm", "root"), "x")
    plan = Plan(**words, **lists, links=[("a", "b")], memory_bytes=1, file_bytes=2)  # type: ignore[arg-type]
    again = Plan.loads(plan.dumps())
    assert again == plan and again.at("none").level == "none"


def test_processes_below_one() -> None:
    code = "import os, sys, time; pid = os.fork(); print(pid, flush=True) if pid else None; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    try:
        found = {process.pid: process for process in processes.below(os.getpid())}
        assert found[child.pid].depth == 1 and found[grandchild].depth == 2
        assert found[grandchild].alive and found[grandchild].rss_bytes > 1 << 20
        assert found[grandchild].group == os.getpgrp()
        assert os.getpid() not in found and os.getppid() not in found
        share = processes.proportional_bytes(grandchild)
        assert share is not None and 0 < share < found[grandchild].rss_bytes
        assert processes.proportional_bytes(2**22 + 1) == 0
    finally:
        os.kill(grandchild, 9)
        child.kill()
        child.communicate()
    assert child.pid not in {process.pid for process in processes.below(os.getpid())}
