"""Boxes that are forks of a warmed process: each is alone, and as limited as one that was started fresh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox import leftovers, warm
from harness.sandbox.box import Box, Limits
from harness.sandbox.wire import untext

from .conftest import MAINS, MakeBox

MIB = 2**20
NUMPY = ("numpy",)
LEVELS = ("native", "landlock", "none")


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, offered: dict[str, Any]) -> str:
    if request.param != "none" and not offered[request.param].usable:
        pytest.skip(f"this machine offers no {request.param} sandbox: {offered[request.param].note}")
    return str(request.param)


def told(box: Box) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(untext(box.wire.recv(timeout=60).arrays[0], 1 << 16))
    return said


def test_a_box_has_what_a_fresh_one_has_and_nothing_of_another(make_box: MakeBox, level: str) -> None:
    held = [os.open("/", os.O_RDONLY) for _ in range(5)]  # what the parent has open is not theirs
    with make_box("surroundings", "first", sandbox=level, warm=NUMPY) as box:
        first, place = told(box), box.scratch
    with (
        make_box("surroundings", "second", sandbox=level, warm=NUMPY) as box,
        make_box("surroundings", "third", sandbox=level, warm=NUMPY) as beside,
    ):
        second, third = told(box), told(beside)
    with make_box("surroundings", "fourth", sandbox=level) as box:
        fresh = told(box)
    for fd in held:
        os.close(fd)
    assert first["scratch"] == first["home"] == first["temporary"] == str(place)
    assert len({first["scratch"], second["scratch"], third["scratch"]}) == 3
    assert (first["found"], second["found"], third["found"]) == ("", "", "")
    assert first["open"] == second["open"] == third["open"] == fresh["open"]
    assert first["threads"] == fresh["threads"] == 1 and first["shared"] == fresh["shared"] == []
    assert first["variables"] == fresh["variables"] and first["mask"] == fresh["mask"]
    assert [*map(Path, first["path"])][1:] == [*map(Path, fresh["path"])][1:]
    if level == "native":  # the same numbers in every box
        assert {(one["pid"], one["parent"]) for one in (first, second, third, fresh)} == {(fresh["pid"], 1)}


def test_its_limits_hold(make_box: MakeBox, level: str) -> None:
    options: dict[str, Any] = {"sandbox": level, "warm": NUMPY}
    with make_box("spin", "children", limits=Limits(cpu_seconds=1.0, wall_seconds=300.0), **options) as box:
        assert box.wait(120).state == "TO"
    with make_box("eat_memory", limits=Limits(memory_bytes=300 * MIB), **options) as box:
        ended = box.wait(60)
    assert ended.state == "ML" and ended.max_rss_bytes < 900 * MIB
    with make_box("fork_bomb", limits=Limits(processes=16), **options) as box:
        assert box.wait(60).state == "PL"
    with make_box("hang", **options) as box:
        box.wire.recv(timeout=60)
        assert box.kill().state == "KL"
    with make_box("leave", "7", **options) as box:
        assert (box.wait(60).state, box.wait(60).code) == ("RE", 7)
    for function, state in (("raise_error", "RE"), ("abort", "SG"), ("print_much", "ok")):
        with make_box(function, *(["10"] if function == "print_much" else []), **options) as box:
            assert box.wait(60).state == state


def test_its_time_begins_with_itself(make_box: MakeBox) -> None:
    """What the warmed process has used is not the box's."""
    with make_box("leave", "0", warm=NUMPY) as box:
        ended = box.wait(60)
    assert ended.state == "ok" and ended.cpu_seconds < warm.spent() + 1.0 and warm.spent() > 0


def test_the_code_is_the_warmed_processes_and_cannot_be_changed(make_box: MakeBox) -> None:
    with make_box("import_kit", warm=NUMPY) as box:
        where = Path(untext(box.wire.recv(timeout=60).arrays[0], 1000))
        staged = where.parents[2]
    assert staged.is_dir() and staged.parent != box.scratch.parent  # it stays for the boxes to come
    assert sorted(path.name for path in staged.iterdir()) == ["harness"]


def test_where_the_warmed_process_is_gone_boxes_are_started_fresh(make_box: MakeBox) -> None:
    with make_box("leave", "0", warm=("numpy", "json")) as box:
        assert box.wait(60).state == "ok"
    one = next(known for key, known in warm._warmed.items() if key[-2:] == ("numpy", "json"))
    assert one is not None
    one._process.kill()
    one._process.wait()
    for _ in range(2):
        with make_box("surroundings", "x", warm=("numpy", "json")) as box:
            assert told(box)["threads"] == 1


def test_a_module_that_cannot_be_imported_warms_nothing(make_box: MakeBox) -> None:
    with make_box("leave", "0", warm=("there_is_no_such_module",)) as box:
        assert box.wait(60).state == "ok"


def test_what_it_leaves_goes_with_its_owner(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from harness.sandbox import warm
        from harness.sandbox.box import Box, Limits
        with Box("hostile", args=["leave", "0"], read=[], path=[Path(sys.argv[1])], limits=Limits(wall_seconds=60),
                 log=Path(sys.argv[2]), warm=("numpy",)) as box:
            box.wait(60)
        one = next(iter(warm._warmed.values()))
        print(one._process.pid, one.folder)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(MAINS), str(tmp_path / "log")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    pid, folder = done.stdout.split()
    assert not Path("/proc", pid).exists() and not Path(folder).exists()
    assert Path(folder).name.startswith(leftovers.PREFIX)
