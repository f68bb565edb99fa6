"""A script's settings at a tiny size: sizes and counts shrink, the geometry that leaks live in does not.

Only what the script reads is set. Layer counts stay, because features name layers by number. Windows keep overlapping
as much as the cost allows, a batch keeps covering as many window lengths as it did, and chunk ends keep falling on (or
off) the stride.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.scripts.opening import Script
from harness.scripts.places import is_launch, is_place
from harness.scripts.scaling import RULES, Geometry, Rule
from harness.scripts.settings import Settings
from harness.source.unwrap import parse

#: Vocabulary of a run where the script lets it be chosen: room for two disjoint streams of unique tokens.
VOCABULARY = 5120
#: Smallest vocabulary that is raised to it; below are byte models.
_SMALLEST = 1000
_PARAMETERS = {"batch_seqs", "batch_size", "stride", "chunk_tokens", "chunk_size", "seq_len", "steps", "slot_steps"}
_SCORING = re.compile(r"eval|slid|slot|ttt|score|calib|ppm|ngram", re.I)
_ROLES = {
    "DATA_PATH": "dataset", "DATA_DIR": "data_root", "TOKENIZER_PATH": "tokenizer", "RUN_ID": "run",
    "ARTIFACT_DIR": "output", "TRAIN_FILES": "train_glob", "VAL_FILES": "val_glob", "OUT_DIR": "output",
    "OUTPUT_DIR": "output", "DATASETS_DIR": "datasets", "VAL_BYTES_FILES": "bytes_glob", "LOG_DIR": "output",
    "DATA_PATH_BASE": "data_root", "DATA_ROOT": "data_root",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A setting that is audited at another value than was submitted; `real` is None where the default is computed."""

    name: str
    real: str | None
    tiny: str
    why: str


@dataclass(frozen=True)
class Fixed:
    """A size that is written into the source and therefore stays: its name there, its value, its line."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class Tiny:
    """How to run a script for an audit.

    Attributes:
        env: everything to set: what was submitted and differs from the default, and the tiny values. Data paths, run
            names and ranks are not in it.
        stages: for each process of the run, what it sets on top of `env`.
        argv: command line arguments of the script.
        changed: what differs from what was submitted.
        fixed: sizes that cannot be set.
        vocab_size: what the run will use.
        train_length: tokens in a training sequence at this size.
        eval_length: tokens in a window at this size; likewise stride (0 where the script has none).
        paths: {name: (role, default)} of the variables that say where things lie; the role is "" where it is not known.
    """

    env: dict[str, str]
    stages: tuple[dict[str, str], ...]
    argv: tuple[str, ...]
    changed: tuple[Change, ...]
    fixed: tuple[Fixed, ...]
    vocab_size: int
    train_length: int
    eval_length: int
    stride: int
    paths: dict[str, tuple[str, str | None]]

    @property
    def unscaled(self) -> tuple[str, ...]:
        """`fixed` as short texts: "batch_seqs = 32 (line 812)"."""
        return tuple(f"{item.name} = {item.value} (line {item.line})" for item in self.fixed)


def tiny(settings: Settings, script: Script) -> Tiny:
    """The settings for an audit of `script` on two cores.

    Overrides are kept as they are: what was asked for is not scaled.
    """
    reads = {read.name: read for read in settings.reads}
    geometry = Geometry.of(settings, script.source)
    env = dict(settings.submitted)
    argv = [*settings.stages[0].argv]
    changed: list[Change] = []
    for name, read in reads.items():
        setting = settings.values[name]
        if is_place(name) or setting.origin == "override":
            if setting.origin == "override" and setting.value is not None:
                _set(name, setting.value, read.flag, env, argv)
            continue
        rule = _rule(name, read.flag)
        wanted = rule.apply(name, setting.value, read.cast, geometry) if rule else None
        if rule is None or wanted is None or wanted == setting.value:
            continue
        _set(name, wanted, read.flag, env, argv)
        changed.append(Change(name, setting.value, wanted, rule.why))
    vocab = _vocabulary(settings)
    if vocab is None:
        real = settings.get("VOCAB_SIZE")
        vocab = VOCABULARY
        env["VOCAB_SIZE"] = str(VOCABULARY)
        if real != str(VOCABULARY):
            changed.append(Change("VOCAB_SIZE", real, str(VOCABULARY), "every position gets a token of its own"))
    stages = tuple(
        {name: _staged(name, value, reads[name].cast, geometry) for name, value in stage.env.items() if name in reads}
        for stage in settings.stages
    )
    paths = {name: (_role(name), reads[name].default) for name in reads if is_place(name) and not is_launch(name)}
    return Tiny(env, stages, tuple(argv), tuple(changed), tuple(_fixed(settings, script)), vocab, geometry.train_tiny,
                geometry.eval_tiny, geometry.stride_tiny, paths)  # fmt: skip


def _rule(name: str, flag: bool) -> Rule | None:
    plain = name.lstrip("-").replace("-", "_").upper() if flag else name
    return next((rule for rule in RULES if rule.matches(plain)), None)


def _set(name: str, value: str, flag: bool, env: dict[str, str], argv: list[str]) -> None:
    if not flag:
        env[name] = value
    elif name in argv[:-1]:
        argv[argv.index(name) + 1] = value
    else:
        argv[:] = [word for word in argv if not word.startswith(name + "=")] + [name, value]


def _staged(name: str, value: str, cast: str, geometry: Geometry) -> str:
    rule = _rule(name, False)
    return (rule.apply(name, value, cast, geometry) if rule else None) or value


def _vocabulary(settings: Settings) -> int | None:
    """The vocabulary that the run must use, or None where it can be chosen."""
    setting = settings.values.get("VOCAB_SIZE")
    if setting is None:
        constant = (settings.constants or {}).get("vocab_size") or (settings.constants or {}).get("VOCAB_SIZE")
        return int(float(constant[0])) if constant and constant[0].replace(".", "").isdigit() else 1024
    if setting.value is None or not setting.value.isdigit():
        return None
    chosen = setting.origin == "override" or int(setting.value) < _SMALLEST
    return int(setting.value) if chosen else None


def _role(name: str) -> str:
    if name in _ROLES:
        return _ROLES[name]
    if "TOKENIZER" in name and "META" not in name:  # tables made from a tokenizer; scripts make them themselves
        return "tokenizer"
    if name.startswith("DATA") or name.endswith(("DATA_PATH", "DATA_DIR")):
        return "dataset"
    return ""


def _fixed(settings: Settings, script: Script) -> list[Fixed]:
    """Sizes in the source that a rule would shrink if they could be set, and the batch sizes of its functions."""
    set_by_env = {read.attribute for read in settings.reads}
    found: dict[tuple[str, int], Fixed] = {}
    for name, (value, line) in (settings.constants or {}).items():
        rule = _rule(name.upper(), False)
        if name not in set_by_env and rule and _number(value) and _number(value) != 0:
            found[name, line] = Fixed(name, value, line)
    tree = parse(script.source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and _SCORING.search(node.name):
            arguments = node.args.args
            pairs: Mapping[ast.arg, ast.expr | None] = dict(
                [*zip(arguments[len(arguments) - len(node.args.defaults) :], node.args.defaults, strict=True),
                 *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
            )  # fmt: skip
            for argument, default in pairs.items():
                if argument.arg in _PARAMETERS and isinstance(default, ast.Constant):
                    if isinstance(default.value, int) and default.value > 1:
                        name = f"{node.name}({argument.arg})"
                        found[name, node.lineno] = Fixed(name, str(default.value), node.lineno)
    return list(found.values())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
