"""The stages of a submission, cheapest first: its papers, its files, one evaluation, the whole audit.

What is read here comes from a pull request's head; it is parsed, never imported. What is run goes through the same
boxes as `harness run` and `harness audit`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness import rules
from harness.adapters import collect
from harness.adapters.options import Options
from harness.adapters.training import resume as resume_seal
from harness.adapters.training import seal_key
from harness.audit.check import Need, within
from harness.audit.checks import CHECKS, select
from harness.corpus.dataset import DEFAULT, Dataset
from harness.environment import harness_sha256
from harness.errors import UsageError
from harness.folder import Folder, is_adapter, open_folder
from harness.gate.export import Exported
from harness.gate.keys import device, key
from harness.gate.result import Tier
from harness.gate.store import Store, mark, take
from harness.papers import linting
from harness.papers.linting import lint, record_of
from harness.progress import Progress
from harness.record import Record, Status
from harness.report import formats
from harness.rules import Ruleset
from harness.sandbox.box import Sandbox
from harness.scripts.auditing import audit_script
from harness.scripts.checks import judging
from harness.scripts.collect import ScriptOptions
from harness.scripts.opening import is_script, open_script
from harness.source.unwrap import parse

Kind = Literal["adapter", "script"]
Source = Literal["run", "resumed", "cache"]

#: What one evaluation shows; where single probabilities are claimed, with the runs that ask for more of them.
QUICK = (Need.CLAIMS,)
SMOKE = tuple(within(QUICK, CHECKS))
#: Of a script, without what the papers' stage has judged already.
SCRIPT_SMOKE = tuple(name for name in within(QUICK, judging.CHECKS) if name not in linting.CHECKS)
_ALL: dict[Kind, Sequence[str]] = {"adapter": select("all"), "script": tuple(judging.CHECKS)}
#: Of what is run; papers are read in every tier.
_MADE: dict[Tier, dict[Kind, Sequence[str]]] = {
    "papers": {"adapter": (), "script": ()},
    "quick": {"adapter": SMOKE, "script": SCRIPT_SMOKE},
    "full": _ALL,
}
SEED = 1
_MAX_SOURCE = 8 << 20


def left_out(kinds: Iterable[Kind], tier: Tier) -> list[str]:
    """Checks that a tier does not make on submissions of these kinds, in the order of a report."""
    found = [name for kind in sorted(kinds) for name in _ALL[kind] if name not in _MADE[tier][kind]]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Settings:
    """How the gate judges; everything here comes from the base or from who calls it.

    Attributes:
        ruleset: the rules.
        data: prepares the dataset that adapters are trained and scored on, once it is needed.
        data_spec: what `harness run --data` would say.
        sandbox: which box; "none" is not for a gate.
        timeout: CPU seconds for one box.
        memory_bytes: of one box.
        tokens: length of the stream that scripts are played on.
    """

    data: Callable[[], Dataset]
    ruleset: Ruleset = field(default_factory=rules.load)
    data_spec: str = DEFAULT
    sandbox: Sandbox = "auto"
    timeout: float | None = None
    memory_bytes: int = 4 << 30
    tokens: int = ScriptOptions.tokens


@dataclass(frozen=True)
class Made:
    """A record, and whether it was made now or taken from an interrupted run or a cache."""

    record: Record
    source: Source = "run"


def kind_of(path: Path) -> Kind:
    """What a folder is: an adapter has a submission.py, a script's folder other Python files.

    Raises:
        UsageError: neither.
    """
    if is_adapter(path):
        return "adapter"
    if is_script(path) or any(path.rglob("*.py")):
        return "script"
    raise UsageError(f"{path.name} holds neither a submission.py nor a script; there is nothing to run")


def papers(path: Path, settings: Settings, out: Path) -> Made:
    """Hold against each other what the folder says of itself; the record goes into `out`.

    Raises:
        UsageError: the folder is empty.
    """
    record = record_of(lint(path, settings.ruleset), settings.ruleset)
    record = record.placed(out / "record.json", path)
    out.mkdir(parents=True, exist_ok=True)
    formats.save(record, out)
    return Made(record)


def static(path: Path, kind: Kind) -> str:
    """Read the code, run nothing: is it there, and is it Python? Returns what was read, in a sentence.

    Raises:
        UsageError: metadata or code cannot be used.
    """
    if kind == "script":
        script = open_script(path)
        if parse(script.source) is None:
            raise UsageError(f"{script.entry} is not Python that can be read here")
        layers = f", {len(script.unwrapped.layers)} wrappers opened" if script.unwrapped.layers else ""
        return f"{script.entry} reads as Python{layers}" + (f"; {script.unseen}" if script.unseen else "")
    folder = open_folder(path)
    sources = [name for name in folder.code if name.endswith(".py")]
    for name in sources:
        content = folder.contents[name]
        if len(content) > _MAX_SOURCE or parse(content.decode("utf-8", "replace")) is None:
            raise UsageError(f"{name} is not Python that can be read here")
    return f"{len(sources)} Python files read as Python; submission.json is complete"


def behaviour(
    exported: Exported,
    kind: Kind,
    settings: Settings,
    home: Path,
    stage: Literal["smoke", "full"],
    store: Store,
    progress: Progress,
    *,
    resume: bool,
) -> Made:
    """Run the submission in its boxes, or take the record of a run that was the same in everything.

    Args:
        exported: the submission's files.
        kind: of submission.
        settings: how to judge.
        home: folder of the submission's results; the record goes into `home/STAGE`, an adapter's artifact into `home`.
        stage: one evaluation, or the whole audit.
        store: a cache.
        progress: told what happens.
        resume: whether results in `home` may be taken.

    Raises:
        SubmissionError: the submission's code broke.
        HarnessError: the environment failed.
    """
    out = home / stage
    common: dict[str, object] = {
        "stage": stage,
        "folder": exported.folder,
        "code": exported.sha256,
        "rules": settings.ruleset.sha256,
        "harness": harness_sha256(),
        "device": device(),
        "limits": [settings.timeout, settings.memory_bytes, settings.sandbox],
    }
    if kind == "script":
        name = key(kind=kind, tokens=settings.tokens, **common)
        found = _taken(name, out, store, resume)
        return found or _kept(name, out, store, _script(exported.path, settings, out, stage, progress))
    folder, dataset = open_folder(exported.path), settings.data()
    wanted = seal_key(folder, dataset, "smoke", SEED)
    sealed = key(seal=wanted, device=device())
    if resume_seal(home, wanted) is None and store.artifact(sealed, home):
        progress.note("cache: the sealed artifact of an identical submission")
    known = _adapter_key(folder, dataset, home, common)
    found = _taken(known, out, store, resume) if known else None
    if found:
        return found
    record = _adapter(folder, dataset, settings, home, stage, progress)
    store.keep_artifact(sealed, home)
    known = _adapter_key(folder, dataset, home, common)
    assert known is not None  # the pipeline has just sealed it
    return _kept(known, out, store, record)


def _adapter_key(folder: Folder, dataset: Dataset, home: Path, common: dict[str, object]) -> str | None:
    """The key of an adapter's record: it depends on the sealed artifact; None as long as there is none."""
    found = resume_seal(home, seal_key(folder, dataset, "smoke", SEED))
    return key(kind="adapter", artifact=found.sha256, data=dataset.sha256, seed=SEED, **common) if found else None


def _taken(name: str, out: Path, store: Store, resume: bool) -> Made | None:
    if resume and (record := take(out, name)) is not None:
        return Made(record, "resumed")
    record = store.record(name, out)
    return Made(record, "cache") if record is not None else None


def _kept(name: str, out: Path, store: Store, record: Record) -> Made:
    if not any(found.status == Status.ERROR for found in record.findings):  # an ERROR is an accident of this run
        mark(out, name)
        store.keep_record(name, out)
    return Made(record)


def _adapter(
    folder: Folder, dataset: Dataset, settings: Settings, home: Path, stage: str, progress: Progress
) -> Record:
    options = Options(
        checks=SMOKE if stage == "smoke" else select("all"),
        ruleset=settings.ruleset,
        sandbox=settings.sandbox,
        timeout=settings.timeout,
        memory_bytes=settings.memory_bytes,
        data_spec=settings.data_spec,
    )
    return collect.run(folder, dataset, SEED, home / stage, options, progress, seal_in=home)


def _script(path: Path, settings: Settings, out: Path, stage: str, progress: Progress) -> Record:
    options = ScriptOptions(
        ruleset=settings.ruleset,
        sandbox=settings.sandbox,
        timeout=settings.timeout,
        memory_bytes=min(settings.memory_bytes, ScriptOptions.memory_bytes),
        tokens=settings.tokens,
    )
    if stage == "smoke":
        options = dataclasses.replace(options, checks=SCRIPT_SMOKE, most=frozenset(QUICK))
    return audit_script(path, options, out, progress).record
