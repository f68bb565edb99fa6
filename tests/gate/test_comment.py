"""The comment: what is shown of a result that may be forged, and which pull request it lands on."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.gate import comment
from harness.gate.conform import problem
from harness.gate.result import Flag, GateResult, Harness, Judged, Place, Reply, Revisions, Said, Stage
from harness.gate.summary import COMMENT_LIMIT, Links, code, render
from harness.record import RulesetInfo, Status

HEAD, OTHER = "a" * 40, "b" * 40
SCHEMA = json.loads((Path(harness.__file__).parent / "gate" / "gate.schema.json").read_text())


def result(count: int = 2, text: str = "causality: it leaks", **changes: Any) -> dict[str, Any]:
    """A gate.json, as the gate would write it."""
    judged = [
        Judged(
            path=f"submissions/s{index}", folder=f"s{index}", kind="adapter", how="added", sha256="c" * 64,
            verdict="FAIL" if index else "PASS", headline=text, val_bpb=1.25,
            answers=[
                Reply(question="score", answer="INVALID" if index else "VALID", sentence=text),
                Reply(question="limits", answer="WITHIN", sentence=text),
                Reply(question="claim", answer="INCOMPLETE", sentence=text),
            ],
            stages=[Stage(name="full", verdict="FAIL", headline=text, record="s/full/record.json", sha256="d" * 64,
                          findings=[Said(id="causality", status=Status.FAIL, headline=text,
                                         places=[Place(file=text[:300] or "x.py", line=812, text=text[:300])])])],
        )
        for index in range(count)
    ]  # fmt: skip
    made = GateResult(
        complete=True, verdict="FAIL", exit_code=1, tier="full", fail_on="fail", conclusion="failure", reason=text,
        revisions=Revisions(base=OTHER, head=HEAD, merge_base=OTHER),
        harness=Harness(version="0.1.0", sha256="e" * 64, commit=OTHER),
        ruleset=RulesetInfo(name="2026-04-28", title="Rules", sha256="f" * 64),
        flags=[Flag(id="elsewhere", blocks=False, text="changes 2 files outside submissions")],
        submissions=judged,
    )  # fmt: skip
    body = json.loads(made.model_dump_json(by_alias=True))
    return {**body, **changes}


NASTY = [
    "<script>alert(1)</script>",
    "`</code>` **bold** [x](javascript:alert(1)) ![i](http://evil.example/x.png)",
    "@openai/maintainers fixes #1 https://evil.example",
    "a | b | c\n| d |\n\n# heading\n- list\n<!-- golf-harness:gate -->",
    "\x1b[31m\x00\u202e::error::x ##[error]y",
    "</details></summary><img src=x>",
    "`" * 50,
    "",
]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("text", NASTY)
def test_whatever_a_forged_result_says_stays_code(text: str, complete: bool) -> None:
    body = result(text=text)
    body["submissions"][0]["path"] = body["submissions"][0]["before"] = text
    body["ruleset"]["name"] = body["harness"]["version"] = body["flags"][0]["text"] = body["unfinished"] = text
    body["submissions"][1]["part"] = body["submissions"][1]["stages"][0]["record"] = text
    body["complete"], body["not_run"], body["tier"] = complete, [text], "quick"
    shown = render(body)
    outside = re.sub(r"`[^`\n]*`", "", shown)
    allowed = re.sub(r"</?(details|summary)>", "", outside)
    assert not re.search(r"[<@\[\]#!\x00-\x09\x0b-\x1f\u202e]|https?:|::", allowed.replace("### Gate", "")), allowed
    assert outside.count("<details>") == outside.count("</details>") == 2 and comment.MARKER not in outside
    table = [line for line in shown.splitlines() if line.startswith("| ") and "submission" not in line]
    assert {re.sub(r"`[^`]*`", "", line).count("|") for line in table} <= {4, 8}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_code_is_one_span_on_one_line(text: str) -> None:
    shown = code(text)
    assert shown == "–" or re.fullmatch(r"`[^`|]+`", shown)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", shown) and len(shown) < 2000


def test_a_comment_says_what_is_wrong_where_and_where_to_read_on() -> None:
    body = result()
    bad = body["submissions"][1]
    bad["stages"][0]["findings"][0]["places"] = [
        {"file": "train_gpt.py", "line": 812, "text": "loss = model(x, y)"},
        {"file": "lib/eval.py", "line": 7, "text": ""},
    ]
    bad["part"] = "1-of-2"
    jobs = {"papers": "https://example.org/job/1", "audit 1-of-2": "https://example.org/job/2"}
    shown = render(body, links=Links("https://example.org/artifacts/6", jobs))
    assert shown.startswith(
        "### Gate: ❌ FAIL\n\n1 of 2 submissions breaks a rule; 1 of 2 submissions passes.\n\n"
        "- `changes 2 files outside submissions`\n\n"
        "`submissions/s1`: its score is **INVALID**, because `causality: it leaks`.\n\n"
        "> `train_gpt.py`, line 812: `loss = model(x, y)`  \n"
        "> `lib/eval.py`, line 7  \n\n"
        "The report is `s/full/report.html` in [the records of this run](https://example.org/artifacts/6);"
        " the log is that of [the job](https://example.org/job/2) `audit 1-of-2`.\n\n"
        "Conclusion: **failure**.\n\n"
    ), shown
    assert "`train_gpt.py`, line 812: `loss = model(x, y)`" in shown.partition("<details>")[2], "folded, too"
    assert "the log is that of" not in render(body) and "in the records.\n" in render(body)
    bad["part"] = ""
    assert "/job/" not in render(body, links=Links(None, jobs)), "which of two jobs it was is not known"
    assert "/job/1" in render(body, links=Links(None, {"gate": "https://example.org/job/1"}))


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        (["PASS"], "The submission passes. Nothing here stops this pull request."),
        (["PASS", "PASS"], "All 2 submissions pass. Nothing here stops this pull request."),
        (["BROKEN"], "The submission is broken: it cannot be judged as it is."),
        (["ERROR", "PASS"], "environment failed, which says nothing about it; 1 of 2 submissions passes."),
        (["INCONCLUSIVE"], "its papers say too little, which is no accusation."),
        (["UNRULED", "UNRULED", "FAIL"], "1 of 3 submissions breaks a rule; 2 of 3 submissions do what no ruling"),
        ([], "This pull request changes no folder that the gate judges."),
    ],
)
def test_the_first_sentence_is_one_that_somebody_would_say(verdicts: list[str], says: str) -> None:
    body = result(len(verdicts), exit_code=1 if {*verdicts} & {"FAIL", "BROKEN", "ERROR"} else 0)
    for one, verdict in zip(body["submissions"], verdicts, strict=True):
        one["verdict"] = verdict
    first, _, second = render(body).split("\n")[:3]
    assert says in second and ("stops" in second) == (body["exit_code"] == 0 and bool(verdicts)), second
    body["flags"] = [{"id": "judge-and-submissions", "blocks": True, "text": "make it two"}]
    assert "has to be split" in render(body).split("\n")[2] and "- **blocks:** `make it two`" in render(body)


@pytest.mark.parametrize(
    ("tier", "aside"),
    [
        ("papers", " (papers only: nothing was run)"),
        ("quick", " (quick tier: causality was not run)"),
        ("full", ""),
    ],
)
def test_the_first_line_says_what_was_not_run(tier: str, aside: str) -> None:
    body = result(tier=tier, not_run=["causality", "null-stream"])
    assert render(body).splitlines()[0] == f"### Gate: ❌ FAIL{aside}"
    assert ("Not looked at: `causality`, `null-stream`." in render(body)) == bool(aside)
    assert render(result(complete=False, tier=tier)).splitlines()[0] == f"### Gate: not finished, so far ❌ FAIL{aside}"


def test_a_gate_that_did_not_finish_says_so_and_why() -> None:
    """It read "no submission to judge", because no verdict had been made."""
    body = result(1, complete=False, unfinished="the data are not there: commons", verdict=None)
    body["submissions"][0] |= {"verdict": None, "answers": []}
    body["submissions"][0]["stages"][0] |= {"name": "static", "verdict": "PASS"}
    shown = render(body)
    assert shown.startswith(
        "### Gate: not finished\n\n**The gate did not come to its end:** `the data are not there: commons`."
        " 0 of 1 submissions were judged; the next is `submissions/s0` (static done). This is no pass.\n"
    ), shown
    assert "no submission to judge" not in shown and "Conclusion" not in shown
    assert "it was stopped from outside." in render({**body, "unfinished": ""})
    assert "65 submissions" in render({**body, "unfinished": "65 submissions have changed", "submissions": []})


def test_a_summary_knows_its_size() -> None:
    body = result(64, text="é" * 1200)
    shown = render(body, limit=COMMENT_LIMIT)
    assert len(shown.encode()) <= COMMENT_LIMIT and "more submissions do not fit here" in shown
    wide = render(result(64, text="🚫" * 300), limit=COMMENT_LIMIT)
    assert len(wide.encode()) <= COMMENT_LIMIT and "do not fit here" in wide, "the table alone would be too large"
    assert len(render(result(), limit=COMMENT_LIMIT)) < 3000


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_fits_here_that_the_schemas_own_library_refuses(data: st.DataObject) -> None:
    body = result()
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inside in items:
            spots.append((value, name))
            walk(inside)

    walk(body)
    assert problem(body, SCHEMA) is None
    where, name = data.draw(st.sampled_from(spots))
    how = data.draw(st.sampled_from(["replace", "drop", "add"]))
    if how == "replace":
        where[name] = data.draw(Json)
    elif how == "drop":
        del where[name]
    else:
        parent = where if isinstance(where, dict) else body
        parent[data.draw(st.text(min_size=1, max_size=5))] = data.draw(Json)
    if problem(copy.deepcopy(body), SCHEMA) is None:
        jsonschema.Draft202012Validator(SCHEMA).validate(body)
        render(body)


def test_an_unknown_keyword_is_an_error_not_a_pass() -> None:
    with pytest.raises(ValueError, match="uniqueItems"):
        problem([], {"uniqueItems": True})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"verdict": "GREAT"}, "verdict"),
        ({"extra": 1}, "a field too many"),
        ({"exit_code": "0"}, "exit_code"),
        ({"submissions": result(1)["submissions"] * 65}, "maxItems"),
        ({"revisions": {"base": OTHER, "head": HEAD + "\n", "merge_base": OTHER}}, "pattern"),
    ],
)
def test_a_result_that_does_not_fit_is_not_shown(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        comment.read(json.dumps(result(**change)).encode())


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"a": NaN}', b"9" * 10_000, b"null"])
def test_what_is_no_json_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"gate\.json"):
        comment.read(content)


def packed(content: bytes, name: str = "gate.json") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil", "x")
        archive.writestr(name, content)
    return buffer.getvalue()


def test_archives_are_read_not_unpacked() -> None:
    assert comment.unpack(packed(b"{}")) == b"{}"
    for wrong, says in ((b"no zip", "no zip"), (packed(b"", "x"), "no zip"), (packed(b"0" * 3_000_000), "too large")):
        with pytest.raises(ValueError, match=says):
            comment.unpack(wrong)


class Site:
    """As much of GitHub as the comment needs; `calls` are (method, path, body) of what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.tokens: list[str | None] = []
        self.comments: list[dict[str, Any]] = []
        self.files = [{"filename": "submissions/x/submission.py"}]
        self.changed: int | None = None
        self.pulls = [{"number": 7, "head": {"sha": HEAD}}]
        self.archive = packed(json.dumps(result()).encode())
        self.size = 1000
        self.names: tuple[str, ...] = ("gate-summary", "gate-records")
        self.jobs: Any = [{"name": "gate", "html_url": "https://example.org/run/99/job/4", "conclusion": "failure"}]
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                site.calls.append((self.command, self.path, body))
                site.tokens.append(self.headers.get("Authorization"))
                path = self.path.removeprefix("/repos/o/r")
                if path.endswith("/zip"):
                    self.send_response(302)
                    self.send_header("Location", site.url.replace("127.0.0.1", "localhost") + "/store")
                    self.end_headers()
                    return
                if self.path == "/store":
                    self._answer(site.archive)
                else:
                    self._answer(json.dumps(site.reply(path, body)).encode())

            do_GET = do_POST = do_PATCH = do

            def _answer(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, path: str, body: Any) -> Any:
        if path.startswith("/pulls?"):
            return self.pulls
        if path.startswith("/pulls/7/files"):
            page = int(path.rpartition("&page=")[2])
            return self.files[:3000][100 * page - 100 : 100 * page]  # GitHub lists no more
        if path == "/pulls/7":
            return {"number": 7, "changed_files": self.changed if self.changed is not None else len(self.files)}
        if "/artifacts?" in path:
            name = path.partition("name=")[2].partition("&")[0]
            return {"artifacts": [
                {"id": ident, "name": name, "size_in_bytes": self.size, "expired": ident > 6}
                for ident in (3, 5, 7) if name in self.names
            ]}  # fmt: skip
        if path.startswith("/actions/runs/99/jobs"):
            return {"jobs": self.jobs} if self.jobs is not None else {}
        if path.startswith("/issues/7/comments") and body is None:
            return self.comments
        return {}

    @property
    def written(self) -> list[tuple[str, str, str]]:
        return [(method, path, body["body"]) for method, path, body in self.calls if body is not None]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=lambda: made.server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


RUN = {
    "id": 99, "head_sha": HEAD, "head_branch": "a&b=c branch", "html_url": "https://example.org/run/99",
    "conclusion": "failure",
    "head_repository": {"owner": {"login": "fork"}},
}  # fmt: skip


def post(site: Site, **run: Any) -> str:
    return comment.post(comment.GitHub(site.url, "o/r", "secret"), {**RUN, **run})


def test_one_comment_is_made_and_then_renewed(site: Site) -> None:
    assert post(site) == "commented on #7"
    ((method, path, text),) = site.written
    assert (method, path) == ("POST", "/repos/o/r/issues/7/comments")
    assert text.startswith(comment.MARKER) and "❌ FAIL" in text and "https://example.org/run/99" in text
    assert "head=fork%3Aa%26b%3Dc+branch" in site.calls[0][1]
    site.comments = [
        {"id": 1, "user": {"login": "mallory"}, "body": comment.MARKER + " mine"},
        {"id": 2, "user": {"login": comment.BOT}, "body": "another bot's"},
        {"id": 3, "user": {"login": comment.BOT}, "body": text},
    ]
    site.calls.clear()
    assert post(site) == "renewed the comment on #7"
    assert [(method, path) for method, path, _ in site.written] == [("PATCH", "/repos/o/r/issues/comments/3")]


def test_the_token_does_not_follow_to_where_artifacts_lie(site: Site) -> None:
    post(site)
    told = {path: token for (_, path, _), token in zip(site.calls, site.tokens, strict=True)}
    assert told["/store"] is None and told["/repos/o/r/actions/artifacts/5/zip"] == "Bearer secret"


def test_only_the_pull_request_with_this_head_is_commented_on(site: Site) -> None:
    site.pulls = [{"number": 8, "head": {"sha": OTHER}}]
    assert "no open pull request" in post(site) and site.written == []


@pytest.mark.parametrize("name", ["filename", "previous_filename"])
def test_a_pull_request_that_changes_the_judge_is_not_believed(site: Site, name: str) -> None:
    site.files = [{"filename": "x", name: ".github/workflows/gate.yml"}]
    post(site)
    assert "changes what judges it" in site.written[0][2]
    assert site.written[0][2].index("changes what judges it") < site.written[0][2].index("### Gate")


@pytest.mark.parametrize(("count", "changed"), [(3202, None), (3000, None), (3000, 0), (1, 2)])
def test_a_list_of_files_that_is_cut_off_is_no_pass(site: Site, count: int, changed: int | None) -> None:
    """What judges comes after 3,000 other files, and the run says PASS."""
    site.files = [{"filename": f"!/{index:05d}"} for index in range(count)] + [{"filename": ".github/workflows/x.yml"}]
    site.files = site.files[: 3000 if count == 1 else None][:count]
    site.changed = changed
    site.archive = packed(json.dumps(result(verdict="PASS", exit_code=0)).encode())
    with pytest.raises(comment.Trouble, match="incomplete for #7; it was not judged"):
        post(site)
    text = site.written[0][2]
    assert "The list of changed files is incomplete" in text and "no pass" in text and "PASS" not in text
    assert "### Gate: not judged" in text and "nothing here stops" not in text.lower()


def test_a_long_list_that_is_whole_is_believed(site: Site) -> None:
    site.files = [{"filename": f"submissions/x/{index:05d}"} for index in range(2999)]
    assert post(site) == "commented on #7"
    assert "incomplete" not in site.written[0][2] and "❌ FAIL" in site.written[0][2]


def test_results_that_cannot_be_used_are_said_to_be_missing(site: Site) -> None:
    for archive, size, says in (
        (packed(b"{}"), 10, "does not fit the schema"),
        (
            packed(json.dumps(result(revisions={"base": HEAD, "head": OTHER, "merge_base": HEAD})).encode()),
            10,
            "another",
        ),
        (b"", 10, "no zip file"),
        (site.archive, 10**9, "1,000,000,000 bytes"),
    ):
        site.archive, site.size = archive, size
        site.calls.clear()
        post(site)
        assert "### Gate: no result" in site.written[0][2] and says in site.written[0][2]


def test_it_links_the_records_the_run_and_the_job(site: Site) -> None:
    post(site)
    text = site.written[0][2]
    assert "report.html` in [the records of this run](https://example.org/run/99/artifacts/5)" in text, "the newest"
    assert "the log is that of [the job](https://example.org/run/99/job/4) `gate`" in text
    assert text.endswith(
        "[All records and reports](https://example.org/run/99/artifacts/5), as an archive;"
        " [the run](https://example.org/run/99)."
    )
    assert len(text) < 60_000 and "at the step" not in text, "a gate that came to its end has no job to blame"
    site.names, site.jobs = ("gate-summary",), None
    site.calls.clear()
    post(site)
    last = "[the run](https://example.org/run/99) has what there is of records and reports, as artifacts."
    assert site.written[0][2].endswith(last)


STOPPED = [
    {"name": "papers", "html_url": "https://example.org/run/99/job/1", "conclusion": "success", "steps": []},
    {"name": "audit 1-of-2](x)", "html_url": "https://example.org/run/99/job/2) [x](y", "conclusion": "cancelled",
     "steps": [{"name": "Set up", "conclusion": "success"}, {"name": "`@all` Audit", "conclusion": "cancelled"}]},
    {"name": "gate", "html_url": "https://example.org/run/99/job/3", "conclusion": None},
]  # fmt: skip
BLAMED = (
    "- [the job](https://example.org/run/99/job/2%29%20%5Bx%5D%28y) `audit 1-of-2](x)`: `cancelled`, at the step"
    " `'@all' Audit`\n"
    "- [the job](https://example.org/run/99/job/3) `gate`: `not ended`\n"
)


@pytest.mark.parametrize(
    ("conclusion", "says"),
    [
        ("cancelled", "The run was cancelled, by somebody or because its time was over"),
        ("failure", "The run failed before the gate had a result"),
        ("timed_out", "out of time"),
        ("startup_failure", "could not be started"),
        ("action_required", "a maintainer has to approve it"),
        ("success", "ended well, but the gate left no result"),
        ("x](y) @all", "The run ended (`x](y) @all`)"),
    ],
)
def test_a_run_without_a_result_is_not_finished_and_says_why(site: Site, conclusion: str, says: str) -> None:
    site.names, site.jobs = (), STOPPED
    post(site, conclusion=conclusion)
    text = site.written[0][2]
    assert "### Gate: not finished\n" in text and says in text and BLAMED in text and "This is no pass." in text
    assert "no submission to judge" not in text and "[the run](https://example.org/run/99)" in text


def test_a_result_that_is_not_finished_names_the_jobs_that_stopped(site: Site) -> None:
    site.jobs = STOPPED
    body = result(complete=False, unfinished="1-of-2: it was stopped from outside")
    site.archive = packed(json.dumps(body).encode())
    post(site)
    text = site.written[0][2]
    assert "### Gate: not finished, so far ❌ FAIL" in text and "`1-of-2: it was stopped from outside`" in text
    assert BLAMED in text


def test_it_runs_alone_on_the_files_that_the_workflow_reads(site: Site, repository: Path, tmp_path: Path) -> None:
    workflow = (repository / ".github" / "workflows" / "gate-comment.yml").read_text()
    for name in sorted(set(re.findall(r"harness/[\w/.]+", workflow.split("gh api")[0]))):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / name, tmp_path / "code" / name)
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    env = {"GITHUB_EVENT_PATH": str(tmp_path / "event.json"), "GITHUB_API_URL": site.url, "GITHUB_REPOSITORY": "o/r",
           "GITHUB_TOKEN": "secret", "PATH": os.environ["PATH"]}  # fmt: skip
    command = [sys.executable, "-S", "-s", "-m", "harness.gate.comment"]
    done = subprocess.run(
        command, cwd=tmp_path / "code", env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "commented on #7\n"), done.stderr
    (tmp_path / "event.json").write_text("{}")
    done = subprocess.run(
        command, cwd=tmp_path / "code", env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
