"""The folder and the environment that a script runs in: its files, our data, and nothing of this machine.

Every path is relative to the folder, because loaders seed themselves from paths and two runs must see the same ones.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.scripts.streams import Layout, Streams, write

#: Names that every run sets or takes away, whatever was submitted.
_FIXED = {"RUN_ID": "run", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled", "TRITON_INTERPRET": "1"}
#: A script that compiles C at run time gets to see the machine's compiler, read-only.
_COMPILES = re.compile(r"""["'](?:g\+\+|gcc|cc|c\+\+|clang)["']|cpp_extension|load_inline""")
_TOOLS = ("/bin", "/usr/bin", "/usr/include", "/usr/libexec", "/usr/local/bin")
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Playable:
    """A script and how to run it.

    Attributes:
        entry: file name under which the script runs, "train_gpt.py".
        source: its plain text.
        folder: where its side files are; None for a script that has none.
        side: names of the side files, relative to `folder`.
        env: environment variables, without those of data paths and ranks.
        stages: further variables for each process of the submitted run; most have one, without any.
        argv: arguments after the script's name.
        paths: environment variables that name data -> "dataset", "data_root", "tokenizer", "val_glob",
            "train_glob", alone or with the script's default; the usual names are set in any case.
        sidecar: whether byte counts lie beside the validation tokens; None looks at text and environment.
    """

    entry: str
    source: str
    folder: Path | None = None
    side: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Mapping[str, str], ...] = ({},)
    argv: tuple[str, ...] = ()
    paths: Mapping[str, str | tuple[str, str | None]] = field(default_factory=dict)
    sidecar: bool | None = None


def tools(script: Playable) -> list[Path]:
    """What of this machine a box must show for the script to compile C; nothing for most."""
    texts = [script.source]
    for name in script.side:
        if name.endswith(".py") and script.folder is not None and (script.folder / name).is_file():
            texts.append((script.folder / name).read_text(errors="replace"))
    if not any(_COMPILES.search(text) for text in texts):
        return []
    return [Path(place) for place in _TOOLS if Path(place).is_dir()]


def furnish(folder: Path, script: Playable, streams: Streams) -> Layout:
    """Make the folder that the script runs in.

    Raises:
        UsageError: a side file is missing, or would lie outside.
    """
    folder.mkdir()
    for name in script.side:
        assert script.folder is not None
        source, target = script.folder / name, folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{name}: a side file must lie inside the script's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise UsageError(f"cannot read the side file {source}: {error.strerror}") from None
    (folder / script.entry).parent.mkdir(parents=True, exist_ok=True)
    (folder / script.entry).write_text(script.source)
    sidecar = _sidecar(script) if script.sidecar is None else script.sidecar
    defaults = sorted(set(re.findall(r"fineweb10B_\w+", script.source)))[:8]
    return write(folder / "data", streams, sidecar=sidecar, datasets=tuple(defaults))


def _sidecar(script: Playable) -> bool:
    """Whether the script reads byte counts from beside the tokens."""
    switch = script.env.get("CASEOPS_ENABLED")
    if switch is None:
        default = re.search(r"""["']CASEOPS_ENABLED["']\s*,\s*["']?(\w+)""", script.source)
        switch = default[1] if default else None
    if switch is not None:
        return switch.lower() not in ("0", "false", "")
    return "val_bytes" in script.source and "fineweb_val_bytes" in script.source


def environment(script: Playable, layout: Layout) -> dict[str, str]:
    """The submitted variables, without ranks; the data's places; what is the same in every run."""
    roles = {
        "dataset": layout.dataset,
        "data_root": layout.data,
        "tokenizer": layout.tokenizer,
        "val_glob": f"{layout.dataset}/fineweb_val_[0-9]*.bin",
        "train_glob": f"{layout.dataset}/fineweb_train_*.bin",
    }
    said = {name: (role, None) if isinstance(role, str) else role for name, role in script.paths.items()}
    named = {name: roles[role] for name, (role, default) in said.items() if role in roles and _ours(role, default)}
    kept = {name: value for name, value in script.env.items() if name not in _RANKS}
    return {**kept, **layout.env, **named, **_FIXED}


def _ours(role: str, default: str | None) -> bool:
    """Whether our data fits: an empty default needs nothing, and a tokenizer may be of another kind."""
    return default is None or (bool(default) and (role != "tokenizer" or default.endswith(".model")))
