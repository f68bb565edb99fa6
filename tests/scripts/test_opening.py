"""A contest folder is read as data: the right entry, tolerant metadata, clear errors."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.scripts.opening import is_script, open_script

CODE = "import torch\nprint('val_loss', 'val_bpb')\n"
LOG = "".join(f"step:{step}/9 train_loss:7.{step} train_time:{step}ms\n" for step in range(9))


def folder(path: Path, **files: str | bytes) -> Path:
    """A folder with these files; `__` in a name is a dot."""
    for name, content in files.items():
        target = path / name.replace("__", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_record_folder(tmp_path: Path) -> None:
    record = folder(
        tmp_path / "2026-01-01_Mine", train_gpt__py=CODE, README__md="# Mine", run__sh="torchrun train_gpt.py",
        submission__json=json.dumps({"author": "A", "github_id": "a", "name": "Mine", "val_bpb": "1.25"}),
        train_seed1__log=LOG, helper__py="x = 1\n", seed2__txt=LOG, requirements__txt="torch\n", plot__png=b"\x89PNG",
    )  # fmt: skip
    script = open_script(record)
    assert (script.kind, script.name, script.entry, script.source) == (
        "script",
        "2026-01-01_Mine",
        "train_gpt.py",
        CODE,
    )
    assert (script.author, script.github_id, script.title, script.claimed_bpb) == ("A", "a", "Mine", 1.25)
    assert set(script.logs) == {"train_seed1.log", "seed2.txt"}
    assert set(script.side) == {"helper.py", "run.sh", "requirements.txt"}
    assert script.commands == ("run.sh",) and script.notes == ()
    with script.staged() as staged:
        assert {item.name for item in staged.iterdir()} == {"train_gpt.py", "helper.py", "run.sh", "requirements.txt"}
        assert (staged / "train_gpt.py").read_text() == CODE


def test_the_digest_is_over_code_and_not_over_words(tmp_path: Path) -> None:
    first = open_script(folder(tmp_path / "a", train_gpt__py=CODE, README__md="one", train__log=LOG))
    second = open_script(folder(tmp_path / "b", train_gpt__py=CODE, README__md="two"))
    other = open_script(folder(tmp_path / "c", train_gpt__py=CODE + "#"))
    assert first.sha256 == second.sha256 != other.sha256


def test_packed_code_is_staged_plain(tmp_path: Path) -> None:
    code = base64.b85encode(lzma.compress(CODE.encode()))
    packed = f"import lzma,base64\nexec(lzma.decompress(base64.b85decode({code!r})))"
    script = open_script(folder(tmp_path / "x", train_gpt__py=packed))
    assert script.source == CODE and script.shipped == packed.encode() and len(script.unwrapped.layers) == 1
    with script.staged() as staged:
        assert (staged / "train_gpt.py").read_text() == CODE


def test_a_stub_is_followed_only_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("print('not yours')")
    stub = "exec(open({!r}).read())"
    inside = folder(tmp_path / "in", train_gpt__py=stub.format("real.py"), real__py=CODE)
    assert open_script(inside).source == CODE and open_script(inside).unwrapped.runs_file == "real.py"
    for name in ("../secret.py", str(tmp_path / "secret.py")):
        script = open_script(folder(tmp_path / "out", train_gpt__py=stub.format(name)))
        assert "not yours" not in script.source and any("reading does not open" in note for note in script.notes)


def test_another_entry_is_found_and_said(tmp_path: Path) -> None:
    readme = "```bash\nSEED=1 torchrun --nproc_per_node=8 train_other.py\n```"
    record = folder(tmp_path / "x", train_other__py=CODE, train_more__py=CODE, README__md=readme, tool__py="x = 1")
    script = open_script(record)
    assert script.entry == "train_other.py" and "train_other.py" in script.notes[0]
    only = open_script(folder(tmp_path / "y", odd__py=CODE))
    assert only.entry == "odd.py" and only.notes


def test_a_bare_file(tmp_path: Path) -> None:
    record = folder(tmp_path / "x", train_gpt__py=CODE, submission__json="{}", train__log=LOG)
    script = open_script(record / "train_gpt.py")
    assert script.entry == "train_gpt.py" and script.side == () and script.claims == {} and script.logs == ()


@pytest.mark.parametrize(
    ("claims", "author", "github", "bpb"),
    [
        ({"authors": [{"name": "B", "github_id": "b"}], "mean_val_bpb": 1.1}, "B", "b", 1.1),
        ({"author": {"name": "C", "github": "c"}, "val_bpb": {"mean": 1.2}}, "C", "c", 1.2),
        ({"author": ["D"], "github": "d", "val_bpb": None, "bpb": "x"}, "D", "d", None),
        ({"val_bpb": True}, None, None, None),
    ],
)
def test_metadata_in_many_spellings(
    tmp_path: Path, claims: dict[str, object], author: str | None, github: str | None, bpb: float | None
) -> None:
    script = open_script(folder(tmp_path, train_gpt__py=CODE, submission_v2__json=json.dumps(claims)))
    assert (script.author, script.github_id, script.claimed_bpb) == (author, github, bpb)
    assert script.claims == claims and script.metadata_file == "submission_v2.json"


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "\xff"])
def test_broken_metadata_is_a_note(tmp_path: Path, text: str) -> None:
    script = open_script(folder(tmp_path, train_gpt__py=CODE, submission__json=text.encode("latin-1")))
    assert script.claims == {} and len(script.notes) == 1


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no script at"):
        open_script(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no code to audit"):
        open_script(folder(tmp_path / "a", README__md="words"))
    with pytest.raises(UsageError, match="is empty"):
        open_script(folder(tmp_path / "b", train_gpt__py=""))
    with pytest.raises(UsageError, match=r"say which of one\.py, two\.py"):
        open_script(folder(tmp_path / "c", one__py="x = 1", two__py="x = 2"))


def test_scripts_and_adapters_are_told_apart(tmp_path: Path) -> None:
    assert is_script(folder(tmp_path / "s", train_gpt__py=CODE))
    assert is_script(tmp_path / "s" / "train_gpt.py")
    assert is_script(folder(tmp_path / "o", other__py=CODE))
    adapter = folder(tmp_path / "a", submission__py="", submission__json="{}", train_gpt__py=CODE)
    assert not is_script(adapter) and not is_script(adapter / "submission.py") and not is_script(tmp_path / "none")
