from __future__ import annotations

import io
import json
import logging
import sys
import threading

import pytest

from harness.progress import Progress, narrate


class Clock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def made(**options: bool) -> tuple[Progress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Progress(stream=stream, clock=clock, **options), stream, clock


def test_a_log_gets_the_start_the_end_and_little_between() -> None:
    progress, stream, clock = made()
    with progress:
        progress.phase("train", "training 700 steps")
        for step in range(1, 701):
            clock.now += 0.01
            progress.update(step, 700, note=f"loss {4 - step / 700:.2f}")
        progress.done("loss 3.00")
    assert stream.getvalue().splitlines() == [
        "train: training 700 steps",
        "train: 300/700 (43%), loss 3.57, 3.0 s, 100 a second, about 4 s left",
        "train: 600/700 (86%), loss 3.14, 6.0 s, 100 a second, about 1 s left",
        "train: done, loss 3.00, 7.0 s",
    ]


def test_a_new_phase_ends_the_one_before_with_its_last_note() -> None:
    progress, stream, clock = made()
    with progress:
        progress.phase("train")
        clock.now += 1
        progress.update(5, 10, note="loss 2.91")
        progress.phase("score", "scoring 32,767 tokens")
    assert stream.getvalue().splitlines() == [
        "train: started",
        "train: done, loss 2.91, 1.0 s",
        "score: scoring 32,767 tokens",
        "score: done, 0.0 s",
    ]


def test_a_phase_that_is_cut_short_is_not_called_done() -> None:
    progress, stream, _ = made()
    with pytest.raises(KeyboardInterrupt), progress:
        progress.phase("train")
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "train: stopped, 0.0 s"


def test_a_silent_phase_shows_that_it_lives_and_a_talking_one_does_not() -> None:
    progress, stream, clock = made()
    progress.phase("train")
    clock.now += 4
    progress.heartbeat()
    assert "still running" not in stream.getvalue()
    clock.now += 8
    progress.heartbeat()
    progress.heartbeat()
    assert stream.getvalue().splitlines() == ["train: started", "train: still running, 12.0 s"]
    progress.done()
    clock.now += 60
    progress.heartbeat()
    assert len(stream.getvalue().splitlines()) == 3


def test_the_heartbeat_has_a_thread_that_ends_with_the_block() -> None:
    progress, _, _ = made()
    with progress:
        assert "progress" in {thread.name for thread in threading.enumerate()}
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_notes_are_printed_at_once_also_outside_a_phase() -> None:
    progress, stream, _ = made()
    progress.note("cache hit")
    progress.phase("score")
    progress.note("halfway")
    assert stream.getvalue().splitlines() == ["cache hit", "score: started", "score: halfway"]


def test_updates_and_ends_outside_a_phase_are_ignored() -> None:
    progress, stream, _ = made()
    with progress:
        progress.update(1, 2)
        progress.done("nothing")
    assert stream.getvalue() == ""


def test_a_plan_numbers_its_phases_whether_they_come_never_once_or_twice() -> None:
    progress, stream, clock = made()
    progress.plan("train", "retrain", "score", "blind")
    for name in ("data", "train", "score", "blind", "blind"):
        progress.phase(name)
        clock.now += 1
    progress.done()
    told = [line.split(":")[0] for line in stream.getvalue().splitlines() if line.endswith("started")]
    assert told == ["data", "1/4 train", "3/4 score", "4/4 blind", "4/4 blind"]


def test_a_plan_is_in_json_and_on_a_terminal() -> None:
    progress, stream, _ = made(json=True)
    progress.plan("train", "score")
    progress.phase("score")
    event = json.loads(stream.getvalue())
    assert (event["phase"], event["step"], event["steps"], event["left"]) == ("score", 2, 2, None)
    terminal = Terminal()
    with Progress(stream=terminal) as live:
        live.plan("train", "score")
        live.phase("train", "700 steps")
        live.update(350, 700)
    assert "1/2 train: 700 steps" in terminal.getvalue()


def test_time_left_is_told_only_where_it_can_be_known() -> None:
    progress, stream, clock = made()
    progress.phase("score")
    for done, total in ((0, 100), (50, None), (120, 100), (100, 100)):
        clock.now += 3
        progress.update(done, total)
    assert [line.partition(" s")[2] for line in stream.getvalue().splitlines()[1:]] == [
        "", "", "", ", 8.33 a second, about 0 s left",
    ]  # fmt: skip


def test_unknown_totals_are_fine() -> None:
    progress, stream, clock = made()
    progress.phase("search")
    clock.now += 3
    progress.update(12_345)
    clock.now += 3
    progress.update(0, 0)
    assert stream.getvalue().splitlines()[1:] == ["search: 12,345, 3.0 s", "search: 0, 6.0 s"]


def test_quiet_is_silent() -> None:
    progress, stream, _ = made(quiet=True)
    with progress:
        progress.phase("train")
        progress.note("x")
    assert stream.getvalue() == ""


def test_json_lines_are_json() -> None:
    progress, stream, clock = made(json=True)
    with progress:
        progress.phase("train", "700 steps")
        clock.now += 3
        progress.update(7, 700, note="loss \u202e2")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["start", "update", "done"]
    assert events[1] == {
        "event": "update",
        "phase": "train",
        "step": None,
        "steps": None,
        "text": "loss \u202e2",
        "done": 7,
        "total": 700,
        "seconds": 3.0,
        "left": 297.0,
    }
    assert stream.getvalue().isascii()


def test_logs_have_neither_control_characters_nor_ci_commands() -> None:
    progress, stream, clock = made()
    with progress:
        progress.phase("run\r::error::x", "\x1b[31m::warning::\n::error::")
        clock.now += 3
        progress.update(1, 2, note="a\rb\n::stop")
    text = stream.getvalue()
    assert not set(text) & set("\r\x1b")
    assert not [line for line in text.splitlines() if "::" in line]
    assert len(text.splitlines()) == 3


def test_a_terminal_gets_a_live_line_and_keeps_the_ends(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.phase("train", "[bold]700 steps")
        progress.update(350, 700, note="loss [red]2.9")
        print("a result")
        progress.done("loss 2.5")
    text = stream.getvalue()
    assert "\x1b[" in text
    assert "train: [bold]700 steps" in text
    assert "train: done, loss 2.5" in text
    assert capsys.readouterr().out == "a result\n"


def test_threads_may_update_together() -> None:
    progress, stream, clock = made()
    with progress:
        progress.phase("score")

        def work() -> None:
            for step in range(200):
                clock.now += 0.01
                progress.update(step, 200)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = stream.getvalue().splitlines()
    assert all(line.startswith("score: ") for line in lines)
    assert lines[-1].startswith("score: done")


def test_the_house_says_what_it_does_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    house, inner = logging.getLogger("harness"), logging.getLogger("harness.git")
    try:
        inner.info("not asked for")
        narrate(1)
        narrate(1)  # a second time adds no second line
        inner.info("ls-tree \x1b[31m\n::error::")
        inner.debug("too much")
        narrate(2)
        inner.debug("asked for")
    finally:
        house.handlers.clear()
        house.setLevel(logging.NOTSET)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1].split(": ")[0] for line in lines] == ["INFO harness.git", "DEBUG harness.git"]
    assert "\x1b" not in lines[0] and lines[1].endswith("asked for")


def test_a_closed_stderr_does_not_end_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Progress(stream=Gone()) as progress:
        progress.phase("train")
        progress.update(1, 2)
        progress.done()


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert not sys.stderr.isatty()
    with Progress() as progress:
        progress.phase("train", "go")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("train: go\n")
