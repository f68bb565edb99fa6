"""Keys: the same for what gives the same result, another for everything else."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batch import tasks
from harness.batch.tasks import Settings, Task, files_sha256, task_of
from harness.errors import UsageError
from tests.batch.batches import linting, write_script
from tests.support import write_submission

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: not name.startswith("."))
FOLDERS = st.dictionaries(NAMES, st.binary(max_size=3), max_size=3)


def digest(files: dict[str, bytes]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return files_sha256(Path(folder))


@settings(max_examples=60, deadline=None)
@given(FOLDERS, FOLDERS)
def test_digests_are_equal_exactly_where_files_are(one: dict[str, bytes], two: dict[str, bytes]) -> None:
    assert (digest(one) == digest(two)) == (one == two)


def key(path: Path, how: Settings, records: Path) -> str:
    return task_of("label", path, how, records, 10.0).key


def test_what_is_hidden_or_compiled_does_not_count_and_evidence_does(tmp_path: Path) -> None:
    script = write_script(tmp_path / "one")
    before = key(script, linting(), tmp_path)
    (script / "__pycache__").mkdir()
    (script / "__pycache__" / "x.pyc").write_bytes(b"1")
    (script / ".git").mkdir()
    (script / ".git" / "HEAD").write_text("ref")
    assert key(script, linting(), tmp_path) == before
    script.rename(tmp_path / "two")
    assert key(tmp_path / "two", linting(), tmp_path) == before, "the folder's own name is not part of it"
    (tmp_path / "two" / "README.md").write_text("val_bpb: 1.0")
    assert key(tmp_path / "two", linting(), tmp_path) != before
    os.symlink("README.md", tmp_path / "two" / "link")
    with pytest.raises(UsageError, match="is a symbolic link"):
        key(tmp_path / "two", linting(), tmp_path)


def test_settings_rules_data_and_harness_are_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = write_submission(tmp_path / "adapter").path
    script = write_script(tmp_path / "script")
    how = Settings(("--seed", "1"), ("--ranks", "1"), data=("--data", "a"), identity={"ruleset": "r", "data": "d"})
    others = {
        "adapters": dataclasses.replace(how, adapters=("--seed", "2")),
        "scripts": dataclasses.replace(how, scripts=("--ranks", "2")),
        "ruleset": dataclasses.replace(how, identity={"ruleset": "s", "data": "d"}),
        "data": dataclasses.replace(how, identity={"ruleset": "r", "data": "e"}),
        "lint": dataclasses.replace(how, lint=()),
        "place of the data": dataclasses.replace(how, data=("--data", "b")),
    }

    def changed(path: Path) -> set[str]:
        return {name for name, other in others.items() if key(path, other, tmp_path) != key(path, how, tmp_path)}

    assert changed(adapter) == {"adapters", "ruleset", "data", "lint"}
    assert changed(script) == {"scripts", "ruleset", "lint"}
    before = key(script, how, tmp_path)
    monkeypatch.setattr(tasks, "harness_sha256", lambda: "another")
    assert key(script, how, tmp_path) != before


def test_commands_and_homes(tmp_path: Path) -> None:
    how = Settings(("--seed", "1"), ("--ranks", "2"), places=("--ruleset", "r"), data=("--data", "d"))
    run = task_of("a", write_submission(tmp_path / "adapter").path, how, tmp_path / "records", 5.0)
    assert run.command == ("run", Task.HERE, "--out", Task.THERE, "--seed", "1", "--ruleset", "r", "--data", "d",
                           "--quiet")  # fmt: skip
    assert run.arguments(Path("/x"), Path("/y"))[:4] == ["run", "/x", "--out", "/y"]
    audit = task_of("b", write_script(tmp_path / "odd [name]"), how, tmp_path / "records", 5.0)
    assert audit.command[:2] == ("audit", Task.HERE) and "--data" not in audit.command
    assert audit.home.parent == tmp_path / "records" and audit.home.name == f"odd_name_-{audit.key[:16]}"
    audit.home.mkdir(parents=True)
    (tmp_path / "odd [name]").rename(tmp_path / "renamed")
    assert task_of("c", tmp_path / "renamed", how, tmp_path / "records", 5.0).home == audit.home
