"""On macOS and on Windows, as far as that can be pretended on Linux: what reads works, what needs a box says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli import COMMANDS
from harness.environment import need_run
from harness.errors import HarnessError
from harness.files import walk
from harness.sandbox import linux
from tests.gate.repository import Scratch, below
from tests.papers.papers import folder, three
from tests.report.records import failing
from tests.scripts.audits import write_script
from tests.support import write_submission

#: Takes away what the other system's Python does not have, and runs command lines one after another. Packages come
#: first: they look at the system when they are imported, and are not what is tested.
PRETENDS = """
import contextlib, io, json, os, signal, sys, warnings
import click, datasketch, hypothesis, jinja2, markupsafe, numpy, pandas, pydantic, rich.console, rich.progress
import rich.table, scipy.stats, sentencepiece, subprocess
system, commands = sys.argv[1], json.loads(sys.stdin.read())
sys.platform = system
away = {"os": "pidfd_open sched_getaffinity setresuid O_PATH memfd_create", "signal": "pidfd_send_signal"}
if system == "win32":
    away["os"] += " fork geteuid getuid getegid getgid killpg getpgid setsid getppid sysconf uname mkfifo nice"
    away["os"] += " O_NOFOLLOW O_CLOEXEC O_DIRECTORY O_NONBLOCK setpriority getpriority"
    away["signal"] += " SIGHUP SIGALRM SIGCHLD"
    os.supports_dir_fd = set()
    for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
        sys.modules[name] = None
for module, names in away.items():
    for name in names.split():
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
# Text without a stated encoding is that of the system, which on Windows is not UTF-8.
warnings.filterwarnings("error", category=EncodingWarning, module=r"harness(\\.|$)")
from harness.cli import main
for words in commands:
    sys.argv = ["harness", "--config", "none", *words]
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
SYSTEMS = {"darwin": "macOS", "win32": "Windows"}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def elsewhere(system: str, commands: list[list[str]], home: Path) -> list[Done]:
    """The outcomes of command lines on another system."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-P", "-c", PRETENDS, system],
        input=json.dumps(commands), cwd=home, env={**os.environ, "PYTHONPATH": root, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Done(*json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with papers, records of every kind, a submission, a script and a repository."""
    for made in (folder(tmp_path, three(), name="fine"), folder(tmp_path, three(text_bytes=176_332_748), name="lying")):
        made.rename(tmp_path / made.name)
    write_submission(tmp_path / "mine")
    write_script(tmp_path / "script", "pass\n")
    failed = failing()
    for kind in ("adapter", "script"):
        (tmp_path / "kept" / kind).mkdir(parents=True)
        one = failed.model_copy(update={"submission": failed.submission.model_copy(update={"kind": kind})})
        (tmp_path / "kept" / kind / "record.json").write_text(one.sealed().to_json())
    (tmp_path / "model.py").write_text("MODEL = 1\n")
    scratch = Scratch(tmp_path / "repo.git")
    base = scratch.commit({"README.md": "x"})
    scratch.git("update-ref", "refs/heads/main", base)
    files = {path.name: path.read_bytes() for path in (tmp_path / "lying").iterdir()}
    head = scratch.commit({"README.md": "x", **below("records/track_10min_16mb/lying", files)}, base)
    scratch.git("update-ref", "refs/pull/1/head", head)
    scratch.git("update-ref", "refs/heads/mine", head)
    return tmp_path


READS: dict[str, tuple[list[str], int, str]] = {
    "lint": (["lint", "fine", "lying", "--out", "records"], 1, "byte-accounting"),
    "report": (["report", "records/lying", "--format", "md", "--out", "-"], 0, "INVALID"),
    "compare": (["compare", "records/fine", "records/lying", "--out", "compare.html"], 0, "compare.html"),
    "board": (["board", "records", "--out", "board.html"], 0, "2 records"),
    "replay": (["replay", "records/lying", "byte-accounting", "--submission", "lying"], 0, "reproduced"),
    "explain": (["explain", "causality"], 0, "causality"),
    "list": (["list"], 0, "causal_slot"),
    "new": (["new", "fresh"], 0, "submissions/fresh is ready"),
    "precommit": (["precommit", "submissions/fresh/submission.py"], 0, "fresh"),
    "init": (["init", "pre-commit", "--help"], 0, "hook"),
    "gate": (["gate", "--repo", "repo.git", "--base", "main", "--head", "mine", "--tier", "papers"], 1, "INVALID"),
}
RUNS: dict[str, list[str]] = {
    "run": ["run", "mine"],
    "audit": ["audit", "mine"],
    "audit a script": ["audit", "script"],
    "hunt": ["hunt", "mine"],
    "prove": ["prove", "mine"],
    "unpack": ["unpack", "x.golf", "--submission", "mine", "--artifact", "a.bin", "--tokenizer", "t.model"],
    "replay": ["replay", "kept/adapter", "causality"],
    "replay of a script": ["replay", "kept/script", "causality"],
    "check": ["check", "model.py:MODEL"],
    "batch": ["batch", "mine"],
    "backlog": ["backlog", "--repo", "repo.git", "--prs", "1", "--base", "main"],
    "gate": ["gate", "--repo", "repo.git", "--base", "main", "--head", "mine"],
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_only_reads_works(system: str, home: Path) -> None:
    for (name, (_, code, says)), done in zip(
        READS.items(), elsewhere(system, [words for words, _, _ in READS.values()], home), strict=True
    ):
        assert done.code == code and says in done.out, (name, done)
    assert (home / "records" / "lying" / "record.json").is_file() and (home / "board.html").stat().st_size > 1000


def test_letters_that_a_pipe_does_not_take_are_no_failure(home: Path) -> None:
    root = str(Path(__file__).resolve().parent.parent.parent)
    env = {**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "cp1252"}
    for words, says in ((["lint", "lying", "--out", "record"], b"byte-accounting"),
                        (["report", "record", "--format", "md", "--out", "-"], b"## ? INVALID")):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness", "--config", "none", *words], cwd=home, env=env,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert says in done.stdout and done.stderr == b"", done.stderr


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_needs_a_box_says_so_in_one_line_and_begins_nothing(system: str, home: Path) -> None:
    before = [one.name for one in walk(home)]
    for name, done in zip(RUNS, elsewhere(system, list(RUNS.values()), home), strict=True):
        assert done.code == 4 and done.out == "" and done.err.count("\n") == 1, (name, done)
        line = done.err.strip()
        assert line.startswith("harness: ") and f"needs Linux, and this is {SYSTEMS[system]}; lint" in line, line
    after = [one.name for one in walk(home)]
    assert [name for name in after if name not in before] == ["runs/gate/gate.json", "runs/gate/summary.md"]
    assert "needs Linux" in (home / "runs" / "gate" / "gate.json").read_text(), "a gate says so in its result, too"


@pytest.mark.parametrize("system", SYSTEMS)
def test_doctor_says_the_same(system: str, home: Path) -> None:
    (done,) = elsewhere(system, [["doctor"]], home)
    (line,) = [line for line in done.out.splitlines() if line.startswith("NO")]
    assert done.code == 4 and f"needs Linux, and this is {SYSTEMS[system]}" in line


def test_every_command_is_of_one_kind_or_the_other() -> None:
    tried = {name.split()[0] for name in (*READS, *RUNS)} | {"doctor"}
    assert {*COMMANDS} - tried == {"attest"}, "it reads a run's folder, which only Linux makes"


@pytest.mark.parametrize(("system", "name"), [*SYSTEMS.items(), ("freebsd14", "")])
def test_here_and_there(system: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert linux.elsewhere() is None
    linux.need_linux()
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(HarnessError, match=f"needs Linux, and this is {name}") as caught:
        need_run()
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
