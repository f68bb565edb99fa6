"""copies: a folder against a backlog, a git repository's or a folder of folders: who was first, and what differs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness import rules
from harness.cli import cli
from harness.errors import UsageError
from harness.git import Repository
from harness.papers import copies, sketch
from harness.papers.backlog import open_backlog
from harness.papers.collect import open_case
from harness.papers.near import Near, Neighbours, Shared
from harness.record import Finding, Status
from tests.papers.papers import Log, folder, three

RULES = rules.load()
#: A script of some length: layers that differ by a number each, so that shingles are many.
LINES = [
    f"def layer_{i}(x, w):\n    y = x @ w[{i}] + {i * 7 % 13}\n    return y * {i}.5 - w[{i + 1}]\n" for i in range(60)
]
CODE = "import torch\n\n" + "\n".join(LINES) + "\nprint('done')\n"
RECORDS = "records/track_10min_16mb"


def longer(seed: int, shift: float) -> Log:
    """A log with forty measurements that no other run has."""
    rng = np.random.default_rng(seed + int(1e4 * (shift + 1)))
    lines = "\n".join(
        f"{step}/20000 train_loss: {3 + rng.random():.4f} train_time: {rng.random():.4f}m tok/s: 1"
        for step in range(100, 4100, 100)
    )
    return dataclasses.replace(three()[0], seed=seed, loss=2.79 + shift, source=lines)


def logs_of(shift: float) -> list[Log]:
    return [longer(seed, shift) for seed in (42, 0, 1234)]


class Contest:
    """A repository whose refs/pull/N/head each add a folder to the main line."""

    def __init__(self, home: Path) -> None:
        self.home = home / "contest"
        self.home.mkdir()
        self.git("init", "-q", "-b", "main")
        (self.home / "README.md").write_text("# A contest\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "Launch")

    def git(self, *words: str) -> str:
        names = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *words], cwd=self.home, env={**os.environ, **names}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pull(self, number: int, name: str, **how: object) -> None:
        """A pull request, from the main line as it is now."""
        self.git("checkout", "-q", "--detach", "main")
        self.add(name, **how)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"Record {name}")
        self.git("update-ref", f"refs/pull/{number}/head", "HEAD")

    def merge(self, number: int, subject: str) -> None:
        """Put a pull request on the main line as one commit."""
        self.git("checkout", "-q", "main")
        self.git("checkout", f"refs/pull/{number}/head", "--", "records")
        self.git("commit", "-q", "-m", subject)

    def add(self, name: str, logs: list[Log] | None, *, author: str = "Ann", script: str = CODE) -> None:
        made = folder(self.home / ".made", logs, claims={"author": author}, script=script, name=name)
        target = self.home / RECORDS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)

    def out(self, number: int, name: str, tmp: Path) -> Path:
        """A pull request's folder as files."""
        from harness.batch.repository import export

        return export(self.home, f"refs/pull/{number}/head", f"{RECORDS}/{name}", tmp / "out").path


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    made = Contest(tmp_path_factory.mktemp("repo"))
    own = CODE.replace("x @ w[3] + 8", "x @ w[3] + 8 + torch.sin(x)")
    made.pull(5, "2026-04-01_First", logs=logs_of(0.0))
    made.merge(5, "Record 2026-04-01_First (#5)")
    made.pull(6, "2026-04-02_Builds", logs=logs_of(-0.01), author="Ben", script=own)
    made.pull(7, "2026-04-03_Copy", logs=logs_of(0.0), author="Cid")
    made.pull(8, "2026-04-04_Bare", logs=[], author="Dee", script=CODE.replace("\n\n", "\n# mine\n\n"))
    made.pull(9, "2026-04-05_Again", logs=logs_of(0.0))
    made.pull(10, "2026-04-06_Rerun", logs=logs_of(0.02), author="Eve")
    return made


def against(where: Path, path: Path, cache: Path, pull: int | None = None) -> Finding:
    case = open_case(path, RULES)
    found = copies.check(dataclasses.replace(case, neighbours=open_backlog(where, cache).neighbours(case, pull)))
    assert found is not None and found.status != Status.FAIL and found.question == "claim"
    return found


def judged(contest: Contest, number: int, name: str, tmp_path: Path) -> Finding:
    return against(contest.home, contest.out(number, name, tmp_path), tmp_path / "cache")


def test_copied_logs_are_a_question_with_who_was_first(contest: Contest, tmp_path: Path) -> None:
    found = judged(contest, 7, "2026-04-03_Copy", tmp_path)
    assert found.status == Status.INCONCLUSIVE
    assert "stand in the logs of #5 (Ann, 2026-04-01, earlier)" in found.headline
    assert "train_loss" in found.headline and found.value("found_as") == ["#7"]
    assert found.value("folders_compared") == 6 and found.value("pulls_compared") == 6


def test_a_copy_of_the_code_alone_with_nothing_of_its_own_is_a_question(contest: Contest, tmp_path: Path) -> None:
    found = judged(contest, 8, "2026-04-04_Bare", tmp_path)
    assert found.status == Status.INCONCLUSIVE and "the script, but for comments and blanks" in found.headline


def test_building_on_a_record_is_information(contest: Contest, tmp_path: Path) -> None:
    found = judged(contest, 6, "2026-04-02_Builds", tmp_path)
    assert found.status == Status.PASS
    assert "#5 (Ann, 2026-04-01, earlier)" in found.headline and "1 lines are the folder's own" in found.headline
    assert found.value("differs") == ["+ y = x @ w[3] + 8 + torch.sin(x)", "- y = x @ w[3] + 8"]
    assert 0.9 < found.value("near")[0][1] < 1.0


def test_the_same_code_with_measurements_of_its_own_is_information(contest: Contest, tmp_path: Path) -> None:
    found = judged(contest, 10, "2026-04-06_Rerun", tmp_path)
    assert found.status == Status.PASS and "the same but for comments and blanks" in found.headline


def test_the_author_may_submit_again_and_the_first_is_not_asked_about_later_copies(
    contest: Contest, tmp_path: Path
) -> None:
    again = judged(contest, 9, "2026-04-05_Again", tmp_path)
    assert again.status == Status.INCONCLUSIVE  # its logs are in #7, too, which is earlier and another's
    assert "#7" in again.headline and "#5" not in again.headline
    assert judged(contest, 5, "2026-04-01_First", tmp_path).status == Status.PASS


def test_what_was_read_is_kept_and_a_broken_file_is_read_anew(contest: Contest, tmp_path: Path) -> None:
    path, cache = contest.out(7, "2026-04-03_Copy", tmp_path), tmp_path / "cache"
    told: list[str] = []
    first = open_backlog(contest.home, cache, told.append)
    again = open_backlog(contest.home, cache, told.append)
    assert len(told) == 1 and "files of 6 folders" in told[0] and first.digest == again.digest
    case = open_case(path, RULES)
    assert first.neighbours(case) == again.neighbours(case)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    assert open_backlog(contest.home, cache, told.append).neighbours(case) == first.neighbours(case)
    assert len(told) == 2


def test_a_folder_of_folders(tmp_path: Path) -> None:
    home = tmp_path / "all"
    folder(home / "a", logs_of(0.0), claims={"author": "Ann"}, script=CODE, name="2026-04-01_First")
    copy = folder(tmp_path, logs_of(0.0), claims={"author": "Ben"}, script=CODE, name="2026-04-02_Copy")
    other = folder(tmp_path, logs_of(0.3), claims={"author": "Ben"}, name="2026-04-02_Other")
    assert against(home, copy, tmp_path).status == Status.INCONCLUSIVE
    found = against(home, other, tmp_path)
    assert found.status == Status.PASS and "none has much of the code" in found.headline
    early = folder(tmp_path, logs_of(0.0), claims={"author": "Ben"}, script=CODE, name="2026-03-30_Before")
    assert against(home, early, tmp_path).status == Status.PASS  # it was there first
    undated = folder(tmp_path, logs_of(0.0), claims={"author": "Ben"}, script=CODE, name="Some")
    found = against(home, undated, tmp_path)
    assert found.status == Status.PASS and "which came first is not known" in found.headline


def _near(**fields: object) -> Near:
    base = Near("x", 3, None, "Ann", same_author=False, before=True, code=0.95, own=4)
    return dataclasses.replace(base, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("near", "status"),
    [
        (_near(), Status.PASS),
        (_near(logs=(Shared("train_seed42.log", 100, 1, 0),)), Status.PASS),  # the first step of the same seed
        (_near(logs=(Shared("train_seed42.log", 100, 19, 0),)), Status.PASS),
        (_near(logs=(Shared("train_seed42.log", 100, 20, 0),)), Status.INCONCLUSIVE),
        (_near(logs=(Shared("train_seed42.log", 100, 0, 3),)), Status.INCONCLUSIVE),
        (_near(logs=(Shared("baseline.log", 100, 100, 9),)), Status.PASS),  # not what the claim rests on
        (_near(logs=(Shared("train_seed42.log", 100, 20, 0),), same_author=True), Status.PASS),
        (_near(logs=(Shared("train_seed42.log", 100, 20, 0),), before=False), Status.PASS),
        (_near(same_code=True, own=0), Status.PASS),
        (_near(same_code=True, own=0, identical=True), Status.INCONCLUSIVE),
    ],
)
def test_what_is_a_question(tmp_path: Path, near: Near, status: Status) -> None:
    case = open_case(folder(tmp_path), RULES)
    around = Neighbours("contest", 9, 9, "0", measurements={"train_seed42.log": 100}, near=(near,))
    found = copies.check(dataclasses.replace(case, neighbours=around))
    assert found is not None and found.status == status
    assert copies.check(case) is None
    draft = open_case(folder(tmp_path, claims={"val_bpb": None, "seed_results": None}, name="2026-04-21_Draft"), RULES)
    found = copies.check(dataclasses.replace(draft, neighbours=dataclasses.replace(around, near=())))
    assert found is not None and found.status == Status.NOT_APPLICABLE


def test_layout_and_comments_do_not_count_and_packing_neither() -> None:
    plain = CODE.encode()
    laid_out = CODE.replace(" + ", "+").replace("\n\n", "\n\n# a word\n\n").encode()
    import base64
    import zlib

    packed = b"import zlib, base64\nexec(zlib.decompress(base64.b85decode(%r)))\n" % base64.b85encode(
        zlib.compress(plain)
    )
    for other in (laid_out, packed):
        assert np.array_equal(sketch.shingles_of(sketch.source_of(plain)), sketch.shingles_of(sketch.source_of(other)))
    half = "import torch\n\n" + "\n".join(LINES[:30])
    own, theirs = sketch.code_of(plain), sketch.code_of(half.encode())
    (share,) = own.share_in(theirs.signature[None], np.array([theirs.shingles]))
    exact = np.isin(sketch.shingles_of(CODE), sketch.shingles_of(half)).mean()
    assert abs(share - exact) < 0.1 and 0.3 < exact < 0.7


def test_measurements_are_lines_with_a_loss_and_decimals() -> None:
    text = b"""step:0/100 train_loss:2.5000 step_avg:86.00ms
    step:0/100   train_loss:2.5000 step_avg:86.00ms
loss = criterion(x)
final_exact val_loss:2.79012345 val_bpb:1.08012345
lr:0.0200 wd:0.1000
ttt_chunk 3 loss:1.083013 bpb:1.084152
"""
    made = sketch.log_of(text)
    assert len(made.measurements) == 3 and len(made.numbers) == 2
    empty = sketch.log_of(b"")
    assert len(empty.measurements) == len(empty.numbers) == 0


def test_what_is_not_there_is_counted(contest: Contest, tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "part"
    shutil.copytree(contest.home, home)
    log = contest.git("rev-parse", f"refs/pull/6/head:{RECORDS}/2026-04-02_Builds/train_seed42.log").strip()
    (home / ".git" / "objects" / log[:2] / log[2:]).unlink()
    found = against(home, contest.out(7, "2026-04-03_Copy", tmp_path), tmp_path / "cache")
    assert found.status == Status.INCONCLUSIVE and any(
        line.startswith("1 scripts and logs") for line in found.not_covered
    )


def test_neither_a_repository_nor_a_folder_of_submissions(tmp_path: Path) -> None:
    for where, says in ((tmp_path / "none", "no folder"), (tmp_path, "holds no submission")):
        with pytest.raises(UsageError, match=says):
            open_backlog(where, tmp_path / "cache")


def test_trees_sizes_and_history_of_a_repository(contest: Contest) -> None:
    repository = Repository(contest.home)
    tree, none = repository.trees([f"main:{RECORDS}", "main:nothing"])
    assert tree is not None and [entry.path for entry in tree] == ["2026-04-01_First"] and none is None
    readme = contest.git("rev-parse", "main:README.md").strip()
    assert repository.sizes([readme, "0" * 40]) == [12, None]
    assert [subject for _, _, subject in repository.history("main")] == ["Record 2026-04-01_First (#5)", "Launch"]


def test_the_command(contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = contest.out(7, "2026-04-03_Copy", tmp_path)
    ended = CliRunner().invoke(cli, ["lint", str(path), "--against", str(contest.home), "--json"])
    (found,) = (one for one in json.loads(ended.stdout)[0]["findings"] if one["id"] == "copies")
    assert ended.exit_code == 0 and found["status"] == "INCONCLUSIVE" and "#5" in found["headline"]
    assert list((tmp_path / "runs" / "against").iterdir())
    (without,) = json.loads(CliRunner().invoke(cli, ["lint", str(path), "--json"]).stdout)
    assert "copies" not in {one["id"] for one in without["findings"]}


def test_nothing_heavy_is_imported_without_a_backlog(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.cli.lint import command\nfrom harness.papers.linting import lint\n"
        "from harness import rules\nfrom pathlib import Path\nlint(Path(sys.argv[1]), rules.load())\n"
        "print(sorted({'torch', 'scipy', 'datasketch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder(tmp_path))], capture_output=True, text=True, check=True
    )
    assert not {"torch", "scipy", "datasketch"} & set(json.loads(done.stdout.replace("'", '"')))
