"""`harness new` gives a folder that opens, weighs and imports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.adapters.scaffold import scaffold
from harness.errors import UsageError
from harness.folder import open_folder
from harness.kit.worker import load_submission


@pytest.mark.parametrize("name", ["my_idea", "x", "gpt", "stream", "submission", "a__b", "g_p_t"])
def test_a_scaffold_is_a_submission(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setitem(__import__("sys").modules, "submission", None)
    path = scaffold(tmp_path / "submissions", name, author="Ada", github_id="ada")
    assert path == tmp_path / "submissions" / name and (path / "README.md").read_text().startswith("# ")
    folder = open_folder(path)
    assert folder.code == ["submission.py"] and folder.metadata.author == "Ada"
    assert json.loads((path / "submission.json").read_text())["val_bpb"] is None
    submission = load_submission(path, "smoke")
    assert submission.smoke and "evaluate" in vars(type(submission))


@pytest.mark.parametrize("name", ["", "My", "1st", "my idea", "my-idea", "../up", "a/b", "x" * 65, "é", "_x", "a\n"])
def test_unusable_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a usable name; take lower-case letters") as caught:
        scaffold(tmp_path, name, author="A", github_id="a")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="exists already; choose another name"):
        scaffold(tmp_path, "mine", author="A", github_id="a")
    assert not list((tmp_path / "mine").iterdir())
