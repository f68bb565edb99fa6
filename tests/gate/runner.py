"""As much of GitHub's runner as the gate's workflows ask for: jobs that need others, a matrix, composite actions.

Expressions are evaluated, steps are run by the bash that a runner takes, conditions and outputs are GitHub's; checkout
and artifacts are done here, by the rules of the pinned actions. What a workflow uses beyond that is an error, so that
nothing is passed over.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(==|!=|&&|\|\||!|\(|\)|,)|([A-Za-z_][\w.-]*))")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)
_STATUS = re.compile(r"\b(always|success|failure|cancelled)\(\)")


class Expression:
    """GitHub's expressions, as far as operators, dotted names and a few functions go."""

    def __init__(self, text: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> None:
        self._contexts, self._functions = contexts, functions
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            assert found, f"no expression that is known here: {text[at:]}"
            at = found.end()
            kind = "text" if found[1] else "sign" if found[2] else "name"
            self._tokens.append((kind, found[1] or found[2] or found[3]))

    def value(self) -> Any:
        found = self._or()
        assert not self._tokens, self._tokens
        return found

    def _next(self, *signs: str) -> str | None:
        if self._tokens and self._tokens[0][0] == "sign" and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return None

    def _or(self) -> Any:
        left = self._and()
        while self._next("||"):
            right = self._and()
            left = left or right
        return left

    def _and(self) -> Any:
        left = self._equal()
        while self._next("&&"):
            right = self._equal()
            left = left and right
        return left

    def _equal(self) -> Any:
        left = self._unary()
        while sign := self._next("==", "!="):
            same = shown(left).lower() == shown(self._unary()).lower()
            left = same == (sign == "==")
        return left

    def _unary(self) -> Any:
        if self._next("!"):
            return not self._unary()
        if self._next("("):
            found = self._or()
            assert self._next(")")
            return found
        kind, text = self._tokens.pop(0)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        assert kind == "name", text
        if self._next("("):
            values = []
            while not self._next(")"):
                values.append(self._or())
                self._next(",")
            return self._functions[text](*values)
        found = self._contexts
        for part in text.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def shown(value: Any) -> str:
    """A value as it stands in a text."""
    assert not isinstance(value, dict | list), "GitHub would write Object or Array here"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class Step:
    """A step that was run: its name, and how it ended."""

    name: str
    code: int
    out: str = ""
    err: str = ""


@dataclass
class Job:
    """A job that was run, or skipped."""

    name: str
    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    summary: str = ""


@dataclass
class Runner:
    """One run of a workflow.

    Attributes:
        home: folder for everything.
        repository: what actions/checkout clones.
        github: the context of that name.
        actions: folder of an action by what a workflow names it, before the "@".
        path: folders of programs before those of this machine.
        env: further variables of every step.
    """

    home: Path
    repository: Path
    github: Mapping[str, Any]
    actions: Mapping[str, Path]
    path: Sequence[Path] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    def run(self, workflow: str) -> dict[str, list[Job]]:
        """All jobs of a workflow by their ids: several where there is a matrix."""
        body = yaml.safe_load(workflow)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        done: dict[str, list[Job]] = {}
        waiting = dict(body["jobs"])
        while waiting:
            ident = next(name for name, job in waiting.items() if set(_listed(job.get("needs"))) <= set(done))
            done[ident] = list(self._jobs(ident, waiting.pop(ident), done))
        return done

    def _jobs(self, ident: str, job: dict[str, Any], done: Mapping[str, list[Job]]) -> Iterator[Job]:
        known = {"name", "needs", "if", "runs-on", "timeout-minutes", "strategy", "outputs", "steps"}
        assert set(job) <= known, set(job) - known
        needs = {name: _joined(done[name]) for name in _listed(job.get("needs"))}
        contexts = {"github": self.github, "needs": needs, "runner": {}}
        well = all(one["result"] == "success" for one in needs.values())
        if not self._wanted(job.get("if"), contexts, well):
            yield Job(ident, "skipped")
            return
        strategy = job.get("strategy", {})
        assert set(strategy) <= {"fail-fast", "matrix"}
        for index, matrix in enumerate(self._matrix(strategy.get("matrix"), contexts)):
            yield self._job(f"{ident}-{index}", job, {**contexts, "matrix": matrix})

    def _matrix(self, matrix: dict[str, Any] | None, contexts: Mapping[str, Any]) -> list[dict[str, Any]]:
        if matrix is None:
            return [{}]
        ((name, values),) = matrix.items()
        (text,) = _EXPRESSION.findall(values)
        found = Expression(text, contexts, _functions(True)).value()
        assert isinstance(found, list) and 0 < len(found) <= 256, "an empty matrix is an error on GitHub"
        return [{name: one} for one in found]

    def _job(self, ident: str, job: dict[str, Any], contexts: Mapping[str, Any]) -> Job:
        home = self.home / "jobs" / ident
        for name in ("temp", "workspace"):
            (home / name).mkdir(parents=True)
        own = {**contexts, "runner": {"temp": str(home / "temp")}}
        made = Job(self._text(job.get("name", ident.rpartition("-")[0]), own), "success")
        steps = self._steps(job["steps"], own, home, made, None)
        scope = {**own, "steps": steps}
        made.outputs = {name: self._text(value, scope) for name, value in job.get("outputs", {}).items()}
        summary = home / "summary"
        made.summary = summary.read_text() if summary.exists() else ""
        return made

    def _steps(
        self, steps: Sequence[dict[str, Any]], contexts: Mapping[str, Any], home: Path, job: Job, action: Path | None
    ) -> dict[str, Any]:
        """Run steps, and say what each has put out; a failure is the job's, and the steps after it that want to run."""
        said: dict[str, Any] = {}
        well = True
        for step in steps:
            known = {"name", "id", "if", "uses", "with", "env", "run", "shell"}
            assert set(step) <= known, set(step) - known
            own = {**contexts, "steps": said}
            if not self._wanted(step.get("if"), own, well):
                continue
            ended, outputs = self._step(step, own, home, job, action)
            if "id" in step:
                said[step["id"]] = {"outputs": outputs}
            if not ended:
                well = False
                job.result = "failure"
        return said

    def _step(
        self, step: dict[str, Any], contexts: Mapping[str, Any], home: Path, job: Job, action: Path | None
    ) -> tuple[bool, dict[str, str]]:
        env = {name: self._text(value, contexts) for name, value in step.get("env", {}).items()}
        given = {name: self._text(value, contexts) for name, value in step.get("with", {}).items()}
        if "run" in step:
            assert "${{" not in step["run"]
            return self._bash(step, env, home, job, action)
        name, _, pin = step["uses"].partition("@")
        if name in self.actions:
            return self._composite(self.actions[name], given, contexts, home, job)
        assert re.fullmatch("[0-9a-f]{40}", pin), step["uses"]
        acts = {"checkout": self._checkout, "setup-python": lambda *_: True, "upload-artifact": self._upload,
                "download-artifact": self._download}  # fmt: skip
        well = acts[name.removeprefix("actions/")](given, home)
        job.steps.append(Step(step.get("name", name), 0 if well else 1))
        return well, {}

    def _composite(
        self, folder: Path, given: Mapping[str, str], contexts: Mapping[str, Any], home: Path, job: Job
    ) -> tuple[bool, dict[str, str]]:
        body = yaml.safe_load((folder / "action.yml").read_text())
        assert set(given) <= set(body["inputs"]), "GitHub warns of inputs that an action does not have"
        inputs = {name: given.get(name, one.get("default", "")) for name, one in body["inputs"].items()}
        assert all(inputs[name] for name, one in body["inputs"].items() if one.get("required"))
        # Of a composite action's own contexts are inputs, steps, runner and github; not needs, not matrix.
        own = {"inputs": inputs, "runner": contexts["runner"], "github": contexts["github"]}
        before, job.result = job.result, "success"
        steps = self._steps(body["runs"]["steps"], own, home, job, folder)
        well, job.result = job.result == "success", before
        scope = {**own, "steps": steps}
        return well, {name: self._text(one["value"], scope) for name, one in body["outputs"].items()}

    def _bash(
        self, step: dict[str, Any], env: Mapping[str, str], home: Path, job: Job, action: Path | None
    ) -> tuple[bool, dict[str, str]]:
        """With `shell: bash` also -o pipefail, and without startup files; else -e alone."""
        assert step.get("shell", "bash") == "bash"
        output = home / f"output-{len(job.steps)}"
        output.touch()
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail"] if "shell" in step else ["bash", "-e"]
        path = os.pathsep.join([*map(str, self.path), os.environ["PATH"]])
        runner = {"RUNNER_TEMP": str(home / "temp"), "GITHUB_OUTPUT": str(output), "CI": "true",
                  "GITHUB_STEP_SUMMARY": str(home / "summary"), "GITHUB_WORKSPACE": str(home / "workspace"),
                  "GITHUB_ACTION_PATH": str(action or ""), "PATH": path}  # fmt: skip
        script = home / f"step-{len(job.steps)}.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            [*words, str(script)], cwd=home / "workspace", env={**self.env, **runner, **env}, capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip
        job.steps.append(Step(step.get("name", "run"), done.returncode, done.stdout, done.stderr))
        outputs = {}
        for line in output.read_text().splitlines():
            name, equals, value = line.partition("=")
            assert equals and re.fullmatch(r"[\w-]+", name), line
            outputs[name] = value
        return done.returncode == 0, outputs

    def _checkout(self, given: Mapping[str, str], home: Path) -> bool:
        assert set(given) == {"ref", "fetch-depth", "persist-credentials"}
        where = home / "workspace"
        for words in (["init", "-q"], ["remote", "add", "origin", str(self.repository)], ["fetch", "-q", "origin"],
                      ["checkout", "-q", "--detach", given["ref"]]):  # fmt: skip
            subprocess.run(["git", "-C", str(where), *words], check=True, capture_output=True)
        return True

    def _upload(self, given: Mapping[str, str], _: Path) -> bool:
        """A folder becomes the root of the artifact; hidden files stay behind; some letters are refused."""
        assert set(given) == {"name", "path", "if-no-files-found", "overwrite"}
        source, target = Path(given["path"]), self.artifacts / given["name"]
        assert given["name"] and not re.search(r'[":<>|*?\r\n\\/]', given["name"]), given["name"]
        if target.exists():
            assert given["overwrite"] == "true", "an artifact of that name exists"
            shutil.rmtree(target)
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        for path in files:
            name = Path(path.name) if source.is_file() else path.relative_to(source)
            assert not re.search(r'[":<>|*?\r\n]', str(name)), name
            if not any(part.startswith(".") for part in name.parts):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / name)
        assert files or given["if-no-files-found"] == "ignore"
        return True

    def _download(self, given: Mapping[str, str], _: Path) -> bool:
        """By a pattern, each artifact goes into a folder of its name, one alone too; none at all is no error."""
        assert set(given) == {"pattern", "path"}
        for one in self.artifacts.iterdir():
            if fnmatch.fnmatchcase(one.name, given["pattern"]):
                shutil.copytree(one, Path(given["path"]) / one.name)
        return True

    def _wanted(self, condition: str | None, contexts: Mapping[str, Any], well: bool) -> bool:
        text = "success()" if condition is None else str(condition)
        text = (match := _EXPRESSION.fullmatch(text.strip())) and match[1] or text
        if not _STATUS.search(text):
            text = f"success() && ({text})"
        return bool(Expression(text, contexts, _functions(well)).value())

    def _text(self, value: Any, contexts: Mapping[str, Any]) -> str:
        functions = _functions(True)
        return _EXPRESSION.sub(lambda one: shown(Expression(one[1], contexts, functions).value()), shown(value))


def _functions(well: bool) -> dict[str, Callable[..., Any]]:
    return {
        "always": lambda: True,
        "success": lambda: well,
        "failure": lambda: not well,
        "cancelled": lambda: False,
        "fromJSON": json.loads,
        "toJSON": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    }


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _joined(jobs: Sequence[Job]) -> dict[str, Any]:
    """What a job that needs others is told of one of them; of a matrix the worst result, and the last outputs."""
    results = {job.result for job in jobs}
    result = next(one for one in ("failure", "cancelled", "skipped", "success") if one in results)
    return {"result": result, "outputs": {name: text for job in jobs for name, text in job.outputs.items()}}
