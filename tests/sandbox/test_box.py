"""Limits, endings and cleaning up. Where the level makes a difference, at every level and at none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from harness.errors import SandboxError
from harness.sandbox import box as box_module
from harness.sandbox.box import LEVELS, Box, Level, Limits
from harness.sandbox.wire import WireClosed

from .conftest import MAINS, MakeBox, survivors

MIB = 1 << 20


@pytest.fixture(params=[*LEVELS, "none"])
def level(request: pytest.FixtureRequest, offered: dict[str, Level]) -> str:
    if request.param != "none" and not offered[request.param].usable:
        pytest.skip(f"this machine offers no {request.param} sandbox: {offered[request.param].note}")
    return str(request.param)


def wait_for_no_survivors(box: Box) -> None:
    """For where nobody was left who waits until they are dead."""
    deadline = time.monotonic() + 60
    while survivors(box) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not survivors(box)


def test_an_exception_is_a_runtime_error_with_its_traceback_in_the_log(make_box: MakeBox, tmp_path: Path) -> None:
    with make_box("raise_error") as box:
        with pytest.raises(WireClosed):
            box.wire.recv(timeout=60)
        ended = box.wait(60)
    assert (ended.state, ended.code, ended.signal) == ("RE", 1, None)
    assert ended.message == "exited with code 1: ValueError: this is the submission's own mistake"
    log = (tmp_path / "box.log").read_text()
    assert "Traceback" in log and "in raise_error" in log


def test_a_module_that_is_missing_is_a_runtime_error(tmp_path: Path) -> None:
    with Box("no_such_module", read=[], limits=Limits(wall_seconds=60), log=tmp_path / "log") as box:
        ended = box.wait(60)
    assert ended.state == "RE" and "No module named 'no_such_module'" in ended.message


@pytest.mark.parametrize(("said", "state", "code"), [("0", "ok", 0), ("3", "RE", 3), ("stop", "RE", 1)])
def test_exit_codes(make_box: MakeBox, said: str, state: str, code: int) -> None:
    with make_box("leave", said) as box:
        ended = box.wait(60)
    assert (ended.state, ended.code) == (state, code)


def test_what_was_used_is_reported(make_box: MakeBox) -> None:
    with make_box("share_memory") as box:
        ended = box.wait(60)
    assert ended.state == "ok" and ended.message == "ended normally"
    assert ended.peak_processes == 5
    assert 128 * MIB < ended.max_rss_bytes < 400 * MIB
    assert 0 < ended.cpu_seconds < ended.wall_seconds * 8
    assert box.exit == ended


def test_signals(make_box: MakeBox, level: str) -> None:
    with make_box("abort", sandbox=level) as box:
        ended = box.wait(60)
    assert (ended.state, ended.signal, ended.message) == ("SG", signal.SIGABRT, "ended by SIGABRT")
    with make_box("shoot_group", sandbox=level) as box:
        ended = box.wait(60)
    assert (ended.state, ended.signal) == ("SG", signal.SIGKILL)


def test_a_hang_is_timed_out(make_box: MakeBox, level: str) -> None:
    with make_box("hang", limits=Limits(wall_seconds=1.0), sandbox=level) as box:
        with pytest.raises(TimeoutError):
            box.wait(0.05)
        ended = box.wait(60)
        assert not survivors(box)
    assert ended.state == "TO" and ended.message.startswith("still running after 1 s by the clock, with 0 of 900 CPU")
    assert "--timeout" in ended.message


@pytest.mark.parametrize("how", ["itself", "children", "orphans", "unwaited"])
def test_what_computes_is_stopped_by_its_cpu_seconds(make_box: MakeBox, level: str, how: str) -> None:
    """However the work is spread over processes, most of which are gone when somebody looks."""
    with make_box("spin", how, limits=Limits(cpu_seconds=2.0, wall_seconds=300.0), sandbox=level) as box:
        ended = box.wait(120)
        assert not survivors(box)
    assert ended.state == "TO" and ended.message == "it used more than 2 CPU seconds (--timeout raises this limit)"
    assert ended.cpu_seconds > 2.0


def test_what_waits_uses_no_time_and_what_computes_little_is_left_alone(make_box: MakeBox, level: str) -> None:
    with make_box("spin", "briefly", limits=Limits(cpu_seconds=3.0, wall_seconds=300.0), sandbox=level) as box:
        ended = box.wait(120)
    assert ended.state == "ok" and 0.5 < ended.cpu_seconds


def test_limits_by_the_clock_follow_from_cpu_seconds() -> None:
    assert Limits(cpu_seconds=600.0).backstop == 4800.0
    assert Limits(cpu_seconds=1.0).backstop == 300.0  # minutes, whatever the limit
    assert Limits(cpu_seconds=1.0, wall_seconds=2.0).backstop == 2.0
    more = Limits(cpu_seconds=100.0, wall_seconds=500.0).with_more(10.0)
    assert (more.cpu_seconds, more.backstop) == (110.0, 580.0) and more.patience > more.backstop


def test_a_memory_eater_is_stopped(make_box: MakeBox, level: str) -> None:
    with make_box("eat_memory", limits=Limits(memory_bytes=300 * MIB), sandbox=level) as box:
        ended = box.wait(60)
        assert not survivors(box)
    assert ended.state == "ML" and "the limit is 300 MiB" in ended.message
    assert 300 * MIB < ended.max_rss_bytes < 700 * MIB


def test_memory_of_children_counts(make_box: MakeBox) -> None:
    with make_box("eat_memory_in_children", limits=Limits(memory_bytes=250 * MIB)) as box:
        ended = box.wait(60)
    assert ended.state == "ML"


def test_an_allocation_far_beyond_the_limit_fails_at_once(make_box: MakeBox, tmp_path: Path) -> None:
    with make_box("one_huge_array", limits=Limits(memory_bytes=300 * MIB)) as box:
        ended = box.wait(60)
    assert (ended.state, ended.message) == (
        "ML", "a memory allocation failed; the limit is 300 MiB (--memory raises this limit)"
    )  # fmt: skip
    assert "MemoryError" in (tmp_path / "box.log").read_text()


def test_pages_shared_by_forks_count_once(make_box: MakeBox) -> None:
    with make_box("share_memory", limits=Limits(memory_bytes=400 * MIB)) as box:
        assert box.wait(60).state == "ok"  # five times 128 MiB by a sum of RSS


def test_a_fork_bomb_is_stopped(make_box: MakeBox, level: str) -> None:
    with make_box("fork_bomb", limits=Limits(processes=16), sandbox=level) as box:
        ended = box.wait(120)
        assert not survivors(box)
    assert ended.state == "PL" and "the limit is 16" in ended.message
    assert ended.peak_processes > 16


def test_as_many_processes_as_the_limit_says_are_fine(make_box: MakeBox) -> None:
    with make_box("share_memory", limits=Limits(processes=5)) as box:
        assert box.wait(60).state == "ok"
    with make_box("share_memory", limits=Limits(processes=4)) as box:
        assert box.wait(60).state == "PL"


def test_an_endless_printer_fills_no_disk_and_does_not_block(make_box: MakeBox, tmp_path: Path) -> None:
    with make_box("print_forever", limits=Limits(wall_seconds=1.5, output_bytes=10_000)) as box:
        assert box.wait(60).state == "TO"
    log = (tmp_path / "box.log").read_bytes()
    assert log[:10_000] == (b"x" * 999 + b"\n") * 10
    assert log[10_000:] == b"\n[output truncated after 10000 bytes]\n"


@pytest.mark.parametrize("count", [0, 9_999, 10_000])
def test_output_within_the_limit_is_kept_as_it_is(make_box: MakeBox, tmp_path: Path, count: int) -> None:
    with make_box("print_much", str(count), limits=Limits(output_bytes=10_000)) as box:
        assert box.wait(60).state == "ok"
    assert (tmp_path / "box.log").read_bytes() == b"y" * count


def test_a_file_may_not_grow_beyond_the_limit(make_box: MakeBox) -> None:
    with make_box("big_file", limits=Limits(file_bytes=5 * MIB)) as box:
        ended = box.wait(60)
        assert (box.scratch / "big").stat().st_size <= 5 * MIB
    assert ended.state == "RE" and "File too large" in ended.message


def test_many_files_may_not_fill_the_disk(make_box: MakeBox) -> None:
    with make_box("many_files", limits=Limits(file_bytes=20 * MIB, wall_seconds=60)) as box:
        ended = box.wait(90)
    assert ended.state == "OL" and "20 MiB of files" in ended.message


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_files_without_a_name_fill_the_disk_too(make_box: MakeBox, level: str, how: str) -> None:
    limits = Limits(file_bytes=20 * MIB, wall_seconds=60)
    with make_box("hold_unnamed_files", how, limits=limits, sandbox=level) as box:
        ended = box.wait(90)
    assert ended.state == "OL" and "20 MiB of files" in ended.message


def test_a_few_files_without_a_name_are_fine(make_box: MakeBox) -> None:
    with make_box("unnamed_but_small", limits=Limits(file_bytes=20 * MIB, wall_seconds=60)) as box:
        assert box.wait(90).state == "ok"


def test_threads_count(make_box: MakeBox, level: str) -> None:
    with make_box("many_threads", "200", limits=Limits(threads=100, wall_seconds=60), sandbox=level) as box:
        ended = box.wait(90)
    assert ended.state == "PL" and "the limit is 100" in ended.message and "threads" in ended.message
    with make_box("many_threads", "50", limits=Limits(threads=100, processes=2, wall_seconds=60), sandbox=level) as box:
        assert box.wait(90).state == "ok"


def test_a_daemon_does_not_outlive_its_box(make_box: MakeBox, level: str) -> None:
    with make_box("spin_away", sandbox=level) as box:
        box.wire.recv(timeout=60)
        assert box.wait(60).state == "ok"
        assert not survivors(box)
    with make_box("daemon_and_hang", sandbox=level) as box:
        box.wire.recv(timeout=60)
        assert survivors(box)
    assert not survivors(box)
    assert box.exit is not None and box.exit.state == "KL"


def test_kill(make_box: MakeBox) -> None:
    with make_box("hang") as box:
        box.wire.recv(timeout=60)
        ended = box.kill()
        assert not survivors(box)
        assert ended.state == "KL" and ended.message == "killed by the harness"
        assert box.kill() == ended == box.wait(0)


def test_a_keeper_that_is_shot_is_the_sandboxs_own_fault(make_box: MakeBox, offered: dict[str, Level]) -> None:
    level = next((name for name in ("native", "bubblewrap") if offered[name].usable), None)
    if level is None:
        pytest.skip("this machine offers no namespaces, which are what ends the box without its keeper")
    with make_box("daemon_and_hang", sandbox=level) as box:
        box.wire.recv(timeout=60)
        os.kill(box.pid, signal.SIGKILL)
        ended = box.wait(60)
        wait_for_no_survivors(box)
    assert ended.state == "XX" and "vanished" in ended.message


def test_nothing_leaks_in_the_parent(make_box: MakeBox) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = held()
    for sandbox in ("auto", "none", "auto"):
        with make_box("leave", "0", sandbox=sandbox) as box:
            box.wait(60)
    with pytest.raises(SandboxError):
        make_box("echo", read=[Path("/missing")]).__enter__()
    assert held() == before


def test_whatever_is_left_in_scratch_is_removed(make_box: MakeBox) -> None:
    with make_box("leave_a_mess") as box:
        assert box.wait(60).state == "ok"
        folder = box.scratch.parent
        assert (box.scratch / "locked").exists()
    assert not folder.exists()


def test_an_error_of_ours_ends_the_box_too(make_box: MakeBox) -> None:
    with pytest.raises(ZeroDivisionError), make_box("hang") as box:
        box.wire.recv(timeout=60)
        raise ZeroDivisionError
    assert not survivors(box) and not box.scratch.exists()


OWNER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from harness.sandbox.box import Box, Limits
    with Box("hostile", args=["daemon_and_hang"], read=[], path=[Path(sys.argv[1])], log=Path(sys.argv[2]),
             limits=Limits(wall_seconds=60), sandbox=sys.argv[3]) as box:
        box.wire.recv(timeout=60)
        print(box.scratch, flush=True)
        box.wait()
""")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_parent_is_interrupted_or_killed(
    level: str, number: signal.Signals, make_box: MakeBox, tmp_path: Path
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(MAINS), str(tmp_path / "log"), level],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert owner.stdout is not None
    box = make_box("hang")
    box.scratch = Path(owner.stdout.readline().strip())
    assert box.scratch.name == "scratch" and len(survivors(box)) > 3
    owner.send_signal(number)
    _, errors = owner.communicate(timeout=60)
    assert owner.returncode == -number and ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    wait_for_no_survivors(box)
    assert box.scratch.exists() == (number == signal.SIGKILL)
    if number == signal.SIGKILL:
        subprocess.run(["rm", "-rf", "--", str(box.scratch.parent)], check=True)


def test_what_cannot_be_shown_is_refused(make_box: MakeBox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot show .*missing to the box: no such file"):
        make_box("echo", read=[tmp_path / "missing"]).__enter__()
    (tmp_path / "everything").symlink_to("/")
    with pytest.raises(SandboxError, match="whole file system"):
        make_box("echo", read=[tmp_path / "everything"]).__enter__()


def test_a_log_that_cannot_be_written_is_refused(make_box: MakeBox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxError, match="cannot write the box's log"):
        make_box("echo", log=tmp_path / "file" / "log").__enter__()


def test_no_sandbox_is_an_error_and_says_what_to_do(make_box: MakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_module, "_best", [])
    monkeypatch.setattr(box_module, "LEVELS", ("bubblewrap",))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match=r"bwrap is not installed\); --no-sandbox runs without isolation"):
        make_box("echo").__enter__()


def test_a_level_that_fails_gives_way_to_the_next(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offered: dict[str, Level]
) -> None:
    usable = [level.name for level in offered.values() if level.usable]
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(box_module, "_best", [])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    expected = next(name for name in usable if name != "bubblewrap")
    for _ in range(2):
        with make_box("leave", "0") as box:
            assert box.wait(60).state == "ok" and box.level.name == expected
    with pytest.raises(SandboxError, match="bubblewrap: setting up uid map: Permission denied"):
        make_box("echo", sandbox="bubblewrap").__enter__()


def test_levels_say_what_they_enforce(make_box: MakeBox, offered: dict[str, Level]) -> None:
    assert tuple(offered) == LEVELS
    with make_box("leave", "0") as box:
        best = box.level
    assert best == next(level for level in offered.values() if level.usable)
    with make_box("leave", "0", sandbox="none") as box:
        assert not box.level.usable and "no isolation" in box.level.note


def test_a_box_that_was_not_entered(make_box: MakeBox) -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        _ = make_box("echo").wire
