"""One sticky comment on a pull request, written by a trusted workflow from an untrusted result.

Runs in `workflow_run`, with a token that can write, from the default branch's own files, without a checkout; nothing
that the pull request made is run, or unpacked on disk. Which pull request it is comes from GitHub's event and its
interface, never from the artifact. The artifact is one JSON file of bounded size, held against the schema and shown as
text. Standard library only.

    python -m harness.gate.comment          # reads GITHUB_EVENT_PATH, GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_API_URL
"""

from __future__ import annotations

import io
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.gate.conform import problem
from harness.gate.summary import COMMENT_LIMIT, Links, code, render
from harness.paths import is_judge

MARKER = "<!-- golf-harness:gate -->"
ARTIFACT, RECORDS = "gate-summary", "gate-records"
BOT = "github-actions[bot]"
MAX_BYTES = 2_000_000  #: of the artifact, packed or not
_MAX_ANSWER = 20_000_000
_PAGES = 30  # of 100
MOST_LISTED = 3_000  #: changed files of a pull request that GitHub lists; it leaves out the rest without a word
_SECONDS = 60
_INCOMPLETE = "The list of changed files is incomplete"
#: What GitHub says of a run that has left no result, as one would say it.
_ENDED = {
    "success": "The run ended well, but the gate left no result",
    "failure": "The run failed before the gate had a result",
    "cancelled": "The run was cancelled, by somebody or because its time was over, before the gate had a result",
    "timed_out": "The run was out of time before the gate had a result",
    "startup_failure": "The run could not be started: its workflow is not one that GitHub can read",
    "action_required": "The run has not begun: a maintainer has to approve it",
}
_SCHEMA = Path(__file__).with_name("gate.schema.json")


class NoResult(ValueError):
    """The run has left none."""


class Trouble(Exception):
    """GitHub did not answer as it should; one line for the log."""


class GitHub:
    """The few requests that are needed. `api` is such as https://api.github.com, `repository` OWNER/NAME."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        self._root = f"{api.rstrip('/')}/repos/{repository}"
        self._token = token

    def json(self, path: str, *, method: str = "GET", body: Mapping[str, object] | None = None) -> Any:
        """Ask for `path` below the repository; the answer's JSON."""
        return json.loads(self._open(self._root + path, method, body))

    def pages(self, path: str) -> list[Any]:
        """All items of a listing, a hundred at a time, as far as is sensible."""
        found: list[Any] = []
        for page in range(1, _PAGES + 1):
            items = self.json(f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
            found += items
            if len(items) < 100:
                break
        return found

    def download(self, artifact: int) -> bytes:
        """An artifact's zip file."""
        return self._open(f"{self._root}/actions/artifacts/{artifact}/zip", "GET", None)

    def _open(self, url: str, method: str, body: Mapping[str, object] | None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        request.add_header("Accept", "application/vnd.github+json")
        request.add_header("X-GitHub-Api-Version", "2022-11-28")
        # A download is redirected to another host, which must not get the token.
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                content: bytes = answer.read(_MAX_ANSWER + 1)
        except urllib.error.HTTPError as error:
            raise Trouble(f"{method} {urllib.parse.urlsplit(url).path}: HTTP {error.code}") from None
        except OSError as error:
            raise Trouble(f"{method} {urllib.parse.urlsplit(url).path}: {error}") from None
        if len(content) > _MAX_ANSWER:
            raise Trouble(f"{method} {urllib.parse.urlsplit(url).path}: more than {_MAX_ANSWER:,} bytes")
        return content


def main() -> int:
    """Find the pull request of the run that has ended, and write or renew the comment; the exit code."""
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())
        github = GitHub(os.environ["GITHUB_API_URL"], os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_TOKEN"])
        print(post(github, event["workflow_run"]))
    except (Trouble, KeyError, ValueError) as error:
        print(f"gate comment: {type(error).__name__}: {code(error)}", file=sys.stderr)
        return 1
    return 0


def post(github: GitHub, run: Mapping[str, Any]) -> str:
    """Write the comment for a workflow run; says in a sentence what was done.

    Raises:
        Trouble: GitHub refused, or does not list all changed files, which the comment says by then.
    """
    number = pull_request(github, run)
    if number is None:
        return "no open pull request has this head; nothing to comment on"
    text = body(github, run, number)
    mine = next((one for one in github.pages(f"/issues/{number}/comments") if _is_ours(one)), None)
    if mine is not None:
        github.json(f"/issues/comments/{int(mine['id'])}", method="PATCH", body={"body": text})
    else:
        github.json(f"/issues/{number}/comments", method="POST", body={"body": text})
    if _INCOMPLETE in text:
        raise Trouble(f"{_INCOMPLETE} for #{number}; it was not judged, and the comment says so")
    return f"renewed the comment on #{number}" if mine is not None else f"commented on #{number}"


def _is_ours(comment: Mapping[str, Any]) -> bool:
    return comment["user"]["login"] == BOT and str(comment["body"]).startswith(MARKER)


def pull_request(github: GitHub, run: Mapping[str, Any]) -> int | None:
    """The open pull request whose head the run was of, as GitHub says; None if it has moved on or is closed."""
    owner, branch, sha = run["head_repository"]["owner"]["login"], run["head_branch"], run["head_sha"]
    query = urllib.parse.urlencode({"state": "open", "head": f"{owner}:{branch}", "per_page": "100"})
    for found in github.json(f"/pulls?{query}"):
        if found["head"]["sha"] == sha:
            return int(found["number"])
    return None


def body(github: GitHub, run: Mapping[str, Any], number: int) -> str:
    """The comment's text: what cannot be believed, and the summary, or why there is none."""
    parts = [MARKER, ""]
    listed = github.pages(f"/pulls/{number}/files")
    judge = sorted({name for item in listed for name in _names(item) if is_judge(name)})
    said = int(github.json(f"/pulls/{number}").get("changed_files", 0))
    incomplete = len(listed) >= MOST_LISTED or said > len(listed)
    if judge:
        shown = ", ".join(code(name, 120) for name in judge[:5]) + (" and more" if len(judge) > 5 else "")
        parts += [
            f"> **This pull request changes what judges it** ({len(judge)} files: {shown}). The run below may be of its"
            " own making; judge it again with `harness gate` from the base before you believe it.",
            "",
        ]
    if incomplete:
        parts += [
            f"> **{_INCOMPLETE}** ({len(listed):,} of {max(said, len(listed)):,} or more):"
            " GitHub lists no more, and what judges may be among the rest. This is no pass;"
            " judge it with `harness gate` from the base, or have it split.",
            "",
        ]
        parts += ["### Gate: not judged", ""]
        return "\n".join([*parts, f"[the run]({_address(run)}) has the records and reports, as artifacts."])
    jobs = jobs_of(github, run)
    links = Links(_records(github, run), {str(job["name"]): _quoted(job["html_url"]) for job in jobs})
    last = [*_last(links, run)]
    try:
        result = result_of(github, run)
        if not result["complete"]:
            last = [*_stopped(jobs), *last]
        parts.append(render(result, limit=COMMENT_LIMIT - len("\n".join([*parts, *last]).encode()), links=links))
    except NoResult as error:
        ended = str(run.get("conclusion"))
        why = _ENDED.get(ended, f"The run ended ({code(ended, 40)}) and the gate left no result")
        parts += ["### Gate: not finished", "", f"{why}: {code(error, 300)}. This is no pass.", "", *_stopped(jobs)]
    except ValueError as error:
        parts += ["### Gate: no result", "", f"The run left no result that can be shown: {code(error, 300)}."]
    return "\n".join([*parts, *last])


def jobs_of(github: GitHub, run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The jobs of a run; none where GitHub does not tell: a comment without links is better than no comment."""
    try:
        found = github.json(f"/actions/runs/{int(run['id'])}/jobs?filter=latest&per_page=100")["jobs"]
    except (Trouble, KeyError, ValueError):
        return []
    return [job for job in found if job.get("name") and job.get("html_url")]


def _stopped(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What did not end well, job by job, with the step at which it was. Names may be of a pull request's own making."""
    lines = []
    for job in jobs:
        if job.get("conclusion") in ("success", "skipped", "neutral"):
            continue
        steps = [one for one in job.get("steps") or () if one.get("conclusion") not in ("success", "skipped")]
        step = f", at the step {code(steps[0].get('name'), 100)}" if steps else ""
        ended = code(job.get("conclusion") or "not ended", 40)
        lines.append(f"- [the job]({_quoted(job['html_url'])}) {code(job['name'], 100)}: {ended}{step}")
    return [*lines, ""] if lines else []


def _last(links: Links, run: Mapping[str, Any]) -> list[str]:
    """Where everything is."""
    if links.records is None:
        return ["", f"[the run]({_address(run)}) has what there is of records and reports, as artifacts."]
    return ["", f"[All records and reports]({links.records}), as an archive; [the run]({_address(run)})."]


def _records(github: GitHub, run: Mapping[str, Any]) -> str | None:
    """The address of the archive with records and reports; None where there is none."""
    found = _artifact(github, run, RECORDS)
    return f"{_address(run)}/artifacts/{int(found['id'])}" if found is not None else None


def _artifact(github: GitHub, run: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The newest artifact of that name that a run has."""
    listed = github.json(f"/actions/runs/{int(run['id'])}/artifacts?name={name}&per_page=100")["artifacts"]
    found = [item for item in listed if item["name"] == name and not item["expired"]]
    return max(found, key=lambda item: int(item["id"]), default=None)


def result_of(github: GitHub, run: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's result that a run left behind.

    Raises:
        NoResult: there is none.
        ValueError: it is too large, does not fit the schema, or is about another commit.
    """
    found = _artifact(github, run, ARTIFACT)
    if found is None:
        raise NoResult(f"there is no artifact {ARTIFACT}")
    if int(found["size_in_bytes"]) > MAX_BYTES:
        raise ValueError(f"the artifact has {int(found['size_in_bytes']):,} bytes")
    result = read(unpack(github.download(int(found["id"]))))
    if result["revisions"]["head"] != run["head_sha"]:
        raise ValueError("it is about another commit")
    return result


def unpack(archive: bytes) -> bytes:
    """The bytes of gate.json in a zip file; nothing is written anywhere.

    Raises:
        ValueError: no zip file, no gate.json in it, or more than `MAX_BYTES` of it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open("gate.json") as file:
            content = file.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, RuntimeError, NotImplementedError):
        raise ValueError("the artifact is no zip file with a gate.json in it") from None
    if len(content) > MAX_BYTES:
        raise ValueError("gate.json is too large")
    return content


def read(content: bytes) -> dict[str, Any]:
    """gate.json as data that fits the schema.

    Raises:
        ValueError: it does not.
    """
    try:
        result = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
        found = problem(result, json.loads(_SCHEMA.read_bytes()))
    except (ValueError, RecursionError):
        raise ValueError("gate.json is not JSON") from None
    if found is not None:
        raise ValueError(f"gate.json does not fit the schema: {found}")
    assert isinstance(result, dict)
    return result


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _names(item: Mapping[str, Any]) -> list[str]:
    return [str(item[name]) for name in ("filename", "previous_filename") if item.get(name)]


def _address(run: Mapping[str, Any]) -> str:
    """The run's page, from GitHub's event."""
    return _quoted(run["html_url"])


def _quoted(address: object) -> str:
    """An address from GitHub; anything that would end a Markdown link is quoted."""
    return urllib.parse.quote(str(address), safe=":/")


if __name__ == "__main__":
    raise SystemExit(main())
