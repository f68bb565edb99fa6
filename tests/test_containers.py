"""Dockerfile and devcontainer.json: both parsed, and what they name is in the repository. No image is built here."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text()
DEVCONTAINER = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
#: Whatever is looked up on a network by name: an address, or something that ends like a host.
HOST = re.compile(r"https?://|\b[\w-]+(\.[\w-]+)*\.(com|org|io|net|dev|cloud)\b")


@dataclass
class Stage:
    """A stage of an image: what it begins from, and its instructions with their arguments, in order."""

    image: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [text for name, text in self.steps if name == word]


def stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name, as Docker reads it: comments out, lines that end in "\\" joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        if word == "FROM":
            match = re.fullmatch(r"(\S+) AS ([a-z]+)", rest.strip())
            assert match, line
            current = found[match[2]] = Stage(match[1])
            continue
        assert word in {"RUN", "COPY", "USER", "ARG", "WORKDIR", "ENTRYPOINT", "CMD"} and current is not None, line
        current.steps.append((word, rest.strip()))
    return found


def inherited(made: dict[str, Stage], name: str) -> list[tuple[str, str]]:
    """All steps of a stage, those of what it begins from first."""
    stage = made[name]
    return [*(inherited(made, stage.image) if stage.image in made else []), *stage.steps]


def problems(text: str, ignored: str = IGNORED) -> list[str]:
    """What a Dockerfile names that is not so."""
    made, wrong = stages(text), []
    (least,) = re.findall(r">=(\d+\.\d+)", PROJECT["project"]["requires-python"])
    outside = {stage.image for stage in made.values()} - set(made)
    if outside != {f"python:{least}-slim"}:
        wrong.append(f"not the least Python that the project needs: {outside}")
    if HOST.search(text):
        wrong.append("names a host")
    name, last = list(made.items())[-1]
    steps = inherited(made, name)
    copied = [path for word in last.of("COPY") for path in word.split()[:-1]]
    wrong += [f"{path} is not there" for path in copied if not (ROOT / path).exists()]
    wrong += [f"{path} is ignored" for path in copied if not shown(path, ignored)]
    needs = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml", "constraints.txt",
             *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
             *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]}  # fmt: skip
    wrong += [f"the wheel needs {path}" for path in sorted(needs - set(copied))]
    runs = " ".join(text for word, text in steps if word == "RUN")
    extras = {one for group in re.findall(r"'\.\[([\w,]+)\]'", runs) for one in group.split(",")}
    wrong += [f"no extra {one}" for one in extras - set(PROJECT["project"]["optional-dependencies"])]
    if extras != {"run"}:
        wrong.append(f"installs {sorted(extras)}")
    if any("-c constraints.txt" not in part for part in re.findall(r"pip install[^;&]*", runs)):
        wrong.append("installs without constraints")
    users = [text for word, text in steps if word == "USER"]
    if users[-1:] in ([], ["root"], ["0"]) or f"useradd --create-home --uid 1000 {users[-1]}" not in runs:
        wrong.append(f"runs as {users}")
    if json.loads(last.of("ENTRYPOINT")[-1])[0] not in PROJECT["project"]["scripts"]:
        wrong.append("starts what is no command of the project")
    return wrong


def shown(path: str, ignored: str) -> bool:
    """Whether .dockerignore lets a path of the root into the build: the last pattern that fits decides."""
    seen = True
    for line in ignored.splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatchcase(path, line.removeprefix("!")):
            seen = line.startswith("!")
    return seen


def test_the_dockerfile_names_what_is_there() -> None:
    assert problems(DOCKERFILE) == []
    assert re.search(r"^torch==\d", (ROOT / "constraints.txt").read_text(), re.M), "torch is pinned where it points"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("python:3.11-slim", "python:3.12-slim", "not the least Python"),
        ("python:3.11-slim", "registry.example.org/python:3.11-slim", "names a host"),
        ("COPY harness harness", "COPY harnes harness", "harnes is not there"),
        ("COPY harness harness", "COPY tests tests", "tests is ignored"),
        ("COPY submissions submissions\n", "", "the wheel needs submissions"),
        ("'.[run]'", "'.[proof]'", "no extra proof"),
        ("'.[run]'", "'.[dev]'", "installs ['dev']"),
        ("-c constraints.txt '.[run]'", "'.[run]'", "installs without constraints"),
        ("USER golf\nWORKDIR", "USER root\nWORKDIR", "runs as ['root']"),
        ('ENTRYPOINT ["harness"]', 'ENTRYPOINT ["golf"]', "no command of the project"),
    ],
)
def test_what_is_not_so_is_noticed(before: str, after: str, says: str) -> None:
    assert DOCKERFILE.count(before) == 1
    assert any(says in one for one in problems(DOCKERFILE.replace(before, after)))
    assert "harness is ignored" in problems(DOCKERFILE, IGNORED.replace("!harness\n", ""))


def test_nothing_but_what_is_copied_goes_into_the_build() -> None:
    copied = {path for text in stages(DOCKERFILE)["harness"].of("COPY") for path in text.split()[:-1]}
    assert {path.name for path in ROOT.iterdir() if shown(path.name, IGNORED)} == copied


@pytest.mark.parametrize("index", ["", "https://example.org/cpu"])
def test_the_image_installs_torch_for_processors_first_where_an_index_has_it(index: str, tmp_path: Path) -> None:
    """The step itself, by the shell that Docker takes, with a pip that writes down what it is asked for."""
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@" >> "$ASKED"\n')
    (tmp_path / "pip").chmod(0o755)
    (step,) = [text for text in stages(DOCKERFILE)["harness"].of("RUN") if "pip" in text]
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked"), "TORCH_INDEX": index}
    subprocess.run(["/bin/sh", "-c", step], env=env, check=True, timeout=60)
    common = "install --no-cache-dir -c constraints.txt"
    first = [f"{common} --index-url {index} torch"] if index else []
    assert (tmp_path / "asked").read_text().splitlines() == [*first, f"{common} .[run]"]


def test_what_is_copied_is_enough_to_build_the_package(tmp_path: Path) -> None:
    for text in stages(DOCKERFILE)["harness"].of("COPY"):
        *sources, target = text.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, tmp_path / target)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "harness/cli/gate.py" in names and "harness/examples/baseline/submission.py" in names


def made_of(container: dict[str, Any]) -> list[str]:
    """What a devcontainer.json names that is not so."""
    wrong, home = [], ROOT / ".devcontainer"
    build = container["build"]
    file = (home / build["dockerfile"]).resolve()
    if file != ROOT / "Dockerfile" or (home / build["context"]).resolve() != ROOT:
        wrong.append("another Dockerfile than the repository's")
    made = stages(DOCKERFILE)
    if build["target"] not in made:
        return [*wrong, f"no stage {build['target']}"]
    steps = inherited(made, build["target"])
    if ("USER", container["remoteUser"]) not in steps or container["remoteUser"] == "root":
        wrong.append(f"no user {container['remoteUser']}")
    words = shlex.split(container["postCreateCommand"])
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    if words[0] != "make" or not set(words[1:]) <= set(targets) or len(words) < 2:
        wrong.append(f"no target of the Makefile: {words}")
    if not any(word == "RUN" and re.search(r"install .*\bmake\b", text) for word, text in steps):
        wrong.append("make is not installed")
    (venv,) = re.findall(r"^VENV := (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    python = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    if python != f"${{containerWorkspaceFolder}}/{venv}/bin/python":
        wrong.append(f"not the Python that make install makes: {python}")
    return wrong + (["names a host"] if HOST.search(json.dumps(container)) else [])


def test_the_devcontainer_names_what_is_there() -> None:
    assert made_of(json.loads(DEVCONTAINER)) == []


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("../Dockerfile", "Dockerfile", "another Dockerfile"),
        ('"dev"', '"develop"', "no stage develop"),
        ('"dev"', '"base"', "make is not installed"),
        ('"remoteUser": "golf"', '"remoteUser": "root"', "no user root"),
        ("make install", "make everything", "no target of the Makefile"),
        (".venv/bin", "venv/bin", "not the Python"),
        ('"golf-harness"', '"registry.example.org/x"', "names a host"),
    ],
)
def test_what_is_not_so_of_the_devcontainer_is_noticed(before: str, after: str, says: str) -> None:
    assert DEVCONTAINER.count(before) == 1
    assert any(says in one for one in made_of(json.loads(DEVCONTAINER.replace(before, after))))


def test_the_document_says_the_same() -> None:
    text = (ROOT / "docs" / "containers.md").read_text()
    (image,) = {stage.image for stage in stages(DOCKERFILE).values()} - set(stages(DOCKERFILE))
    assert f"`{image}`" in text and "TORCH_INDEX" in text and "not built in CI" in text
    assert "ARG TORCH_INDEX" in DOCKERFILE and "--build-arg TORCH_INDEX" in text
