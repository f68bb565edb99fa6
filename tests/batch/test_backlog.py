"""A queue of pull requests: what each adds is found from the merge base, judged, kept, and rendered to be published."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.batch import judging, queue
from harness.batch.items import listed
from harness.cli import cli
from harness.cli.backlog import numbers, opened
from harness.errors import UsageError
from harness.progress import Progress
from harness.report.queue import ROWS, Facts, Row, render
from tests.batch.batches import CODE
from tests.gate.repository import File, Scratch, below

TRACK = "records/track_10min_16mb"


def script(name: str, bpb: object = 1.1, **more: File) -> dict[str, File]:
    facts = {"name": name, "author": f"author of {name}", "github_id": "a", "val_bpb": bpb}
    files: dict[str, File] = {"train_gpt.py": CODE + f"# {name}\n", "submission.json": json.dumps(facts), **more}
    return below(f"{TRACK}/{name}", files)


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose main has moved on since the pull requests departed from it."""
    scratch = Scratch(tmp_path_factory.mktemp("contest") / "repo")
    root = scratch.commit({"README.md": "x", **script("old")})
    main = scratch.commit({"README.md": "y", **script("old"), **script("merged")}, root)
    scratch.git("update-ref", "refs/heads/main", main)
    scratch.git("symbolic-ref", "HEAD", "refs/heads/main")
    base: dict[str, File] = {"README.md": "x", **script("old")}
    broken = below(f"{TRACK}/broken", {"submission.json": '{"author": "b", "val_bpb": 1.05}', "notes.txt": "no code"})
    pulls = {
        7: scratch.commit({**base, **script("first")}, root),
        8: scratch.commit({**base, "docs.md": "words"}, root),
        9: scratch.commit({**base, **script("one"), **script("two", 1.2, **{"model.bin": "\0" * 4000})}, root),
        10: scratch.commit({**base, **broken}, root),
        11: scratch.commit(script("alone")),  # a history of its own
        30: scratch.commit({**base, **script("first")}, root),  # another's files again
    }
    for number, commit in pulls.items():
        scratch.git("update-ref", f"refs/pull/{number}/head", commit)
    return scratch.path


def backlog(repo: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(
        cli, ["--config", "none", "backlog", "--repo", str(repo), "--out", str(out), "-q", "--jobs", "1", *words]
    )


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def rows(out: Path) -> dict[tuple[int, str], dict[str, object]]:
    items = json.loads((out / "batch.json").read_text())["items"]
    return {(item["pull"], item["label"].rpartition("/")[2].rpartition(":")[2]): item for item in items}


def test_a_queue_is_judged_resumed_and_published(contest: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "public"
    done = backlog(contest, tmp_path / "out", "--prs", "7-12,30", "--lint", "--bundle", str(bundle))
    assert done.exit_code == 2, done.output  # 10 and 11 are unusable
    made = rows(tmp_path / "out")
    assert set(made) == {(7, "first"), (9, "one"), (9, "two"), (10, "broken"), (11, ""), (30, "first")}
    assert "merged" not in done.output, "what the base has won since is nobody's"
    assert made[30, "first"]["same_as"] is None, "rulings may be on one of the two"
    assert made[7, "first"]["author"] == "author of first"
    claimed = {key: item["claimed_bpb"] for key, item in made.items()}
    assert claimed == {
        (7, "first"): 1.1, (9, "one"): 1.1, (9, "two"): 1.2, (10, "broken"): 1.05, (11, ""): None, (30, "first"): 1.1,
    }  # fmt: skip
    assert made[10, "broken"]["outcome"] == "INCONCLUSIVE" or made[10, "broken"]["outcome"] == "UNUSABLE"
    page = (bundle / "index.html").read_text()
    assert "1 add none, 1 are not in the repository" in page and "nothing was run" in page
    assert "<script" not in page and str(tmp_path) not in page
    for file in bundle.rglob("*.html"):
        for link in Links(file.read_text()).found:
            assert not link.startswith(("/", "http:", "file:")), link
            if not link.startswith(("#", "http")):
                assert (file.parent / link).is_file(), link
    assert len(list((bundle / "reports").glob("*.html"))) >= 3 and (bundle / "queue.csv").is_file()
    again = backlog(contest, tmp_path / "out", "--prs", "7-12,30", "--lint", "--bundle", str(bundle))
    assert (bundle / "index.html").read_text() == page and again.exit_code == 2
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").rglob("item.json")}
    backlog(contest, tmp_path / "out", "--prs", "7-9", "--lint")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").rglob("item.json")} == kept


def test_only_open_ones_and_only_what_was_asked_for(contest: Path, tmp_path: Path) -> None:
    (tmp_path / "open.json").write_text(json.dumps([{"number": 9}, {"number": 30}]))
    (tmp_path / "open.txt").write_text("#9 a title with 7 in it\n30\n")
    assert opened(tmp_path / "open.json") == opened(tmp_path / "open.txt") == {9, 30}
    done = backlog(contest, tmp_path / "out", "--prs", "1-20", "--open-only", str(tmp_path / "open.txt"), "--lint")
    assert {number for number, _ in rows(tmp_path / "out")} == {9}, done.output
    nothing = backlog(contest, tmp_path / "none", "--prs", "8", "--lint")
    assert isinstance(nothing.exception, UsageError) and "1 add none" in str(nothing.exception)
    assert numbers("12, 40-42,#7") == {7, 12, 40, 41, 42}
    for text in ("", "x", "9-3", "1-"):
        with pytest.raises(UsageError, match="write 1000-2200"):
            numbers(text)


def test_a_clone_that_lacks_a_blob_judges_without_that_file_and_names_it(contest: Path, tmp_path: Path) -> None:
    lacking = Scratch(tmp_path / "lacking")
    copy = lacking.path
    base = lacking.commit({"README.md": "x"})
    lacking.git("update-ref", "refs/heads/main", base)
    lacking.git("symbolic-ref", "HEAD", "refs/heads/main")
    files = {"README.md": "x", **script("two", 1.2, **{"model.bin": "weights that were left out"})}
    lacking.git("update-ref", "refs/pull/9/head", lacking.commit(files, base))
    whole = listed([f"{copy}@refs/pull/9/head:{TRACK}/two"], tmp_path / "sources")[0]
    assert whole.path is not None and (whole.path / "model.bin").is_file() and not whole.missing
    blob = lacking.blob("weights that were left out")
    (copy / "objects" / blob[:2] / blob[2:]).unlink()
    item = listed([f"{copy}@refs/pull/9/head:{TRACK}/two"], tmp_path / "sources")[0]
    assert item.missing == ("model.bin (size not known)",) and item.path is not None
    assert {path.name for path in item.path.iterdir()} == {"train_gpt.py", "submission.json"}
    backlog(copy, tmp_path / "out", "--prs", "9", "--lint")
    (row,) = rows(tmp_path / "out").values()
    assert row["missing"] == ["model.bin (size not known)"] and row["outcome"] != "UNUSABLE"
    assert "judged without what the clone lacks: model.bin" in (tmp_path / "out" / "index.html").read_text()
    (clean,) = [item for item in listed([f"{contest}@refs/pull/7/head:{TRACK}/first"], tmp_path / "s")]
    assert clean.missing == ()


def test_a_clone_that_lacks_what_a_rename_is_told_from_loses_no_pull_request(tmp_path: Path) -> None:
    lacking = Scratch(tmp_path / "lacking")
    text = "".join(f"line {n} of something long enough to be told from other files\n" for n in range(200))
    base = lacking.commit({"README.md": "x", "old.txt": text})
    lacking.git("update-ref", "refs/heads/main", base)
    lacking.git("symbolic-ref", "HEAD", "refs/heads/main")
    moved = {"README.md": "x", "new.txt": f"{text}and one more\n", **script("two", 1.2)}
    lacking.git("update-ref", "refs/pull/9/head", lacking.commit(moved, base))
    lacking.git("update-ref", "refs/pull/10/head", lacking.commit({"README.md": "y", **script("three", 1.3)}, base))

    def lose(name: str) -> None:
        (lacking.path / "objects" / name[:2] / name[2:]).unlink()

    lose(lacking.blob(text))
    pattern = [f"{lacking.path}@refs/pull/*/head:records/*"]
    assert [item.path.name for item in listed(pattern, tmp_path / "s") if item.path] == ["two", "three"]
    backlog(lacking.path, tmp_path / "out", "--prs", "9-10", "--lint")
    assert {number: row["outcome"] != "UNUSABLE" for (number, _), row in rows(tmp_path / "out").items()} == {
        9: True, 10: True,
    }  # fmt: skip
    lose(lacking.git("rev-parse", "refs/pull/9/head^{tree}").strip())
    assert [item.path.name for item in listed(pattern, tmp_path / "t") if item.path] == ["three"]
    backlog(lacking.path, tmp_path / "less", "--prs", "9-10", "--lint")
    assert {number: row["outcome"] for (number, _), row in rows(tmp_path / "less").items()}[9] == "UNUSABLE"


def test_a_pattern_of_refs_is_what_each_of_them_adds(contest: Path, tmp_path: Path) -> None:
    found = listed([f"{contest}@refs/pull/*/head:records/*"], tmp_path)
    labels = [item.label.partition("@")[2] for item in found]
    assert labels == [
        *(f"refs/pull/{number}/head:{TRACK}/{name}" for number, name in ((7, "first"), (9, "one"), (9, "two"))),
        *(f"refs/pull/{number}/head:{TRACK}/{name}" for number, name in ((10, "broken"), (30, "first"))),
    ]
    (one,) = listed([f"{contest}@refs/pull/*/head:*/two"], tmp_path)
    assert one.path is not None and one.path.name == "two"
    (none,) = listed([f"{contest}@refs/tags/*:records/*"], tmp_path)
    assert none.path is None and "no ref that matches" in none.problem


def test_the_queue_names_the_pull_request_whatever_its_refs_are_called(contest: Path, tmp_path: Path) -> None:
    with Progress(quiet=True) as progress:
        found = queue.find(contest, "refs/pull/{}/head", [7, 8, 99], "HEAD", tmp_path, progress)
        assert [judging.pull_of(item.label) for item in found.items] == [7]
        assert (found.without, found.absent) == ([8], [99])
        with pytest.raises(UsageError, match="where the number stands"):
            queue.find(contest, "refs/pull/7/head", [7], "HEAD", tmp_path, progress)


def test_the_time_left_is_told_from_what_was_measured(contest: Path, tmp_path: Path) -> None:
    words = ["--config", "none", "backlog", "--repo", str(contest), "--out", str(tmp_path), "--jobs", "1", "--lint"]
    said = CliRunner().invoke(cli, [*words, "--prs", "9"]).stderr
    assert re.search(r"1 of 2: .*:records/.*/one \(\d+ s\); about \d+ s left", said), said
    assert re.search(r"2 of 2: .*:records/.*/two \(\d+ s\)$", said, re.M), said
    assert [judging.duration(value) for value in (12, 100, 3599, 3700, 40_000)] == [
        "12 s", "2 min", "1 h 00 min", "1 h 02 min", "11 h 07 min",
    ]  # fmt: skip


def test_hostile_names_are_text_and_long_queues_go_on_on_further_pages() -> None:
    answers = {"score": "UNDECIDED", "limits": "WITHIN", "claim": "INCOMPLETE"}
    bad = "<img src=x onerror=alert(1)>"
    made = [
        Row(number, f"{bad}{number}", bad, 1.0, answers, "INCONCLUSIVE", bad, (), (bad,), "reports/a b.html")  # type: ignore[arg-type]
        for number in range(ROWS + 5)
    ]
    pages = render(made, Facts("rules", "", "all add some", "2026-04-28"))
    assert list(pages) == ["index.html", "page-2.html"]
    for text in pages.values():
        assert "<img" not in text and "./reports/a%20b.html" in text
    assert len(re.findall("<tr", pages["page-2.html"])) == 1 + 5 and 'href="./page-2.html"' in pages["index.html"]
