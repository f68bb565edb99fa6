"""Classes that are judged by files, clocks, numbers and papers: an exhibit each, an offender and a neighbour.

An exhibit is a small file under `exhibits/`, in the manner of the animals: lines marked for one side are that side's.
Its code is imported and does what it does; hand-made evidence or a folder around it is judged.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import rules
from harness.adapters.weigh import weigh
from harness.audit.checks import judge, select
from harness.audit.evidence import ArtifactSizes, Clocks, Evidence, PreviousRecord
from harness.corpus.dataset import Dataset
from harness.corpus.shards import write_shard
from harness.corpus.tokenbytes import ByteTable
from harness.papers.linting import lint
from harness.record import Finding, SeedScore, Status
from harness.scripts import asleep
from harness.scripts.checks import byte_accounting, coverage
from harness.scripts.checks.evidence import ScriptEvidence
from harness.scripts.trace.branches import branches
from harness.scripts.trace.reading import ScriptTrace, read
from tests.audit.evidence_builder import FIT, clean_trace, evidence, with_limits
from tests.audit.test_audit_bytes import TEXTS
from tests.corpus.marked import DOCUMENTS, stream_and_bytes
from tests.papers.papers import SCRIPT, folder, three
from tests.scripts.handmade import Story
from tests.support import TINY, write_submission
from tests.zoo.runner import HERE, Outcome, outcome, source

EXHIBITS = HERE / "exhibits"


@dataclass(frozen=True)
class Side:
    """One side of an exhibit: its text, and what it is when it is imported.

    Attributes:
        text: the code.
        module: the same, imported; None of what is no Python.
    """

    text: str
    module: Any


Build = Callable[[Dataset, Path, Side], list[Finding]]


@dataclass(frozen=True)
class HandCase:
    """A class, the check that has to name it, and what is judged of a side of its exhibit."""

    name: str
    classes: str
    check: str
    build: Build
    status: Status = Status.FAIL

    @property
    def file(self) -> Path:
        """The exhibit."""
        (found,) = EXHIBITS.glob(f"{self.name}.*")
        return found

    @property
    def what(self) -> str:
        """Its first line."""
        return self.file.read_text().splitlines()[0].strip('"# ')

    def code(self, side: str) -> str:
        """The text of one side."""
        return source(self.name, side, EXHIBITS, self.file.suffix)

    def judge(self, dataset: Dataset, home: Path, side: str) -> Outcome:
        """All checks on one side."""
        home = home / f"{self.name}-{side}"
        home.mkdir(parents=True)
        text = self.code(side)
        module = loaded(home / "exhibit.py", text) if self.file.suffix == ".py" else None
        return outcome(self.build(dataset, home, Side(text, module)))


def loaded(path: Path, text: str) -> Any:
    """A text as a module."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("exhibit", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _evidence(make: Callable[[Dataset, Path, Any], Evidence]) -> Build:
    """Judged as a submission with a submission.py is."""
    return lambda dataset, home, side: judge(make(dataset, home, side.module), select("all"))


def _table(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    text = dataclasses.replace(dataset, validation=dataset.tokenizer.stream(TEXTS), texts=TEXTS)
    return evidence(_counted(text, exhibit))


def _counted(dataset: Dataset, exhibit: Any) -> Dataset:
    """The data with the exhibit's byte table, which is asked for some bytes itself."""
    base, space, boundary = tables = exhibit.tables(dataset.tokenizer.processor)
    table = ByteTable(np.array(base, np.int16), np.array(space, bool), np.array(boundary, bool))
    stream = dataset.validation
    counted = [exhibit.count(tables, int(b), int(a)) for a, b in zip(stream[:50], stream[1:51], strict=False)]
    assert counted == table.stream_bytes(stream)[:50].tolist()
    return dataclasses.replace(dataset, table=table)


def _boundary(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    space = next(i for i in range(dataset.vocab_size) if dataset.table.leading_space[i] and dataset.table.base[i] > 1)
    bos = dataset.tokenizer.bos_id
    stream = np.array([bos, space, space, bos, space], np.uint16)
    return evidence(_counted(dataclasses.replace(dataset, validation=stream, texts=None), exhibit))


def _lone_space(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    tokens = exhibit.tokens(dataset.tokenizer.processor, ("cat", "sat"))
    stream = np.array([dataset.tokenizer.bos_id, *tokens], np.uint16)
    return evidence(dataclasses.replace(dataset, validation=stream, texts=("cat sat",)))


def _marks_as_text(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    stream, sidecar = stream_and_bytes(dataset.tokenizer, DOCUMENTS)
    data = dataclasses.replace(dataset, validation=stream, texts=DOCUMENTS, documents=len(DOCUMENTS))
    counts = exhibit.byte_counts(stream, dataset.table, sidecar)
    by_table = np.array_equal(counts, dataset.table.stream_bytes(stream))
    return evidence(data if by_table else dataclasses.replace(data, sidecar=np.array([0, *counts], np.uint16)))


def _folded(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    stream = dataset.tokenizer.stream(exhibit.prepared(DOCUMENTS))
    return evidence(dataclasses.replace(dataset, validation=stream, texts=DOCUMENTS, documents=len(DOCUMENTS)))


def _skipped(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    trace = clean_trace(len(dataset.validation))
    scored = exhibit.targets(len(dataset.validation))
    assert scored.start == 1
    trace.order[scored.stop :] = -1
    return evidence(dataset, trace)


def _overlap(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    assert dataset.texts is not None
    documents = [*dataset.texts, *(text[::-1] for text in dataset.texts)]
    exhibit.HELD_OUT = exhibit.HELD_OUT * len(dataset.texts) // 50
    validation, train = exhibit.split(documents, len(dataset.texts))
    assert tuple(validation) == tuple(dataset.texts)
    shard = home / "fineweb_train_000000.bin"
    write_shard(shard, dataset.tokenizer.stream(train))
    return evidence(dataclasses.replace(dataset, train_shards=(*dataset.train_shards, shard)))


def _hidden_text(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    table = np.random.default_rng(0).integers(33, 127, 200_000, dtype=np.uint8).tobytes()

    def folder_of(name: str, most: int) -> ArtifactSizes:
        (home / name).mkdir()
        exhibit.ship(home / name, table[:most])
        return weigh(write_submission(home / name, code=TINY), 100_000)

    small = folder_of("small", 100)
    limit = small.artifact + small.code["all_files"] + 10_000
    return evidence(dataset, sizes=folder_of("whole", len(table)), ruleset=with_limits(total_bytes=limit))


def _over(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    return evidence(dataset, sizes=ArtifactSizes(exhibit.room(FIT.code["wrapped"]), FIT.code, FIT.files))


class Clock:
    """Seconds that pass as they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[..., None]:
        """Something that takes so long."""

        def passes(*_: object) -> None:
            self.now += seconds

        return passes


def _timed(dataset: Dataset, phase: str, loop: float, strict: str, whole: float) -> Evidence:
    fine = {"loop": 500.0, "touches training data": 590.0, "from process start": 590.0}
    spent = {**fine, "loop": loop, strict: whole}
    clocks = Clocks(**{"train": fine, "evaluation": fine, phase: spent}, hardware="8xH100", comparable=True)
    return evidence(dataset, clocks=clocks)


def _trained(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    clock = Clock()
    loop = exhibit.train(clock, clock.takes(0.1))
    return _timed(dataset, "train", loop, "touches training data", loop)


def _calibrated(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    clock = Clock()
    loop, whole = exhibit.train(clock, clock.takes(0.25), clock.takes(4.7))
    return _timed(dataset, "train", loop, "touches training data", whole)


def _evaluated(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    clock = Clock()
    loop = exhibit.evaluate(clock, range(1000), clock.takes(0.2), clock.takes(0.45))
    return _timed(dataset, "evaluation", loop, "from process start", loop)


def _score(bpb: float, seed: int, width: float = 2.43592) -> SeedScore:
    loss = bpb * width * float(np.log(2))
    return SeedScore(seed=seed, val_loss=loss, val_bpb=bpb, artifact_sha256="0", artifact_bytes=1)


def _claim(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    claimed = exhibit.claim([1.1575, 1.1577, 1.1579])
    claims = {"track": "10min_16mb", "val_bpb": claimed, "val_loss": claimed * 2.43592 * float(np.log(2))}
    return evidence(dataset, claims=claims, seeds=[_score(1.1577, 1)])


def _mixed(dataset: Dataset, home: Path, exhibit: Any) -> Evidence:
    tokens, size = len(dataset.validation) - 1, int(dataset.table.stream_bytes(np.asarray(dataset.validation)).sum())
    seeds = [_score(bpb, seed, size / tokens) for seed, bpb in ((1, 1.0801), (2, 1.0804), (3, 1.0798))]
    words = {seed.seed: str(exhibit.settings(seed.seed)) for seed in seeds}
    before = PreviousRecord("#1493", [1.0850, 1.0852, 1.0849], tokens, size)
    return evidence(dataset, seeds=seeds, configurations=words, previous=before)


def _linted(make: Callable[[Path, Side], Path]) -> Build:
    """Judged as a folder's papers are."""
    return lambda dataset, home, side: lint(make(home, side), rules.load()).findings


def _renamed(home: Path, side: Side) -> Path:
    path = folder(home)
    (path / "prepare.sh").write_text(side.text)
    return path


def _divided(home: Path, side: Side) -> Path:
    return folder(home, [], claims={"val_bpb": 1.1465, "seeds": [42], "bytes_total": None}, script=side.text)


def _printed(home: Path, side: Side) -> Path:
    """Logs of a line that the folder's script does not print by itself, and the exhibit behind it."""
    _, own = side.text.split("\n", 1)  # but for the first line, which quotes what is not to be found
    script = SCRIPT + own
    return folder(home, three(code=len(script), label="final_ppm_mix"), script=script)


def _story(**facts: Any) -> tuple[Story, ScriptTrace]:
    story = Story()
    place = "train_gpt.py:3 eval_val < main:9"
    story.facts |= facts
    story.report(story.score(range(1, 65), 2.0, place=place), place=place)
    story.say("final val_loss:2.0000 val_bpb:1.0000")
    return story, read(story.observed(), 65)


def _clamped(dataset: Dataset, home: Path, side: Side) -> list[Finding]:
    """A script's run: it charges for the exhibit's ids of a stream that has larger ones."""
    _, trace = _story()
    assert trace.main is not None
    stream = (1000 + np.arange(65)).astype(np.uint16)
    position_of = np.full(65536, -1, np.int64)
    position_of[stream] = np.arange(65)
    token = np.asarray(side.module.targets(stream, 1024)).astype(np.int64)[trace.main.position]
    trace = dataclasses.replace(trace, passes=(dataclasses.replace(trace.main, token=token),), headline=0)
    made = ScriptEvidence(rules.load(), np.array([0]), trace, 8192, stream=stream, position_of=position_of)
    made.token_bytes = np.full(65, 2 / np.log(2))
    return [byte_accounting.check(made)]


def _slept(dataset: Dataset, home: Path, side: Side) -> list[Finding]:
    """A script's run in which no first arm of the exhibit's branches ran."""
    found = [one.number for one in branches(ast.parse(side.text)) if isinstance(one.node, ast.If)]
    never = {"file": "train_gpt.py", "first": 1, "last": 1, "ran": 0, "filled": 0}
    rows = [{**never, "number": number} for number in found]
    watched = {"tests": 4, "branches": len(found), "functions": 0, "unwatched": 0}
    story, trace = _story(branches=rows, functions=[], watched=watched)
    assert trace.main is not None
    text = asleep.Text({"train_gpt.py": side.text}, {}, {}, frozenset(), (), (64, 40_000_000))
    sleep = asleep.look(story.observed(), trace.main, text)
    judged = coverage.check(ScriptEvidence(rules.load(), np.array([0]), trace, 5120, sleep=sleep))
    return [judged] if judged else []


B = "byte-accounting"
HAND = [
    HandCase("v01_renamed_shard", "V1", "data-split", _linted(_renamed), Status.INCONCLUSIVE),
    HandCase("b1_double_space", "V16, B1", B, _evidence(_table)),
    HandCase("b2_spelled_bytes", "V16, B2", B, _evidence(_table)),
    HandCase("b3_no_boundary", "V16, B3", B, _evidence(_boundary)),
    HandCase("b4_replacement", "V16, B4", B, _evidence(_table)),
    HandCase("b5_lone_space", "V16, B5", B, _evidence(_lone_space)),
    HandCase("b6_marks_as_text", "V16, B6", B, _evidence(_marks_as_text)),
    HandCase("b7_casefold", "V16, B7", B, _evidence(_folded), Status.UNRULED),
    HandCase("constant_divisor", "constant-divisor", B, _linted(_divided)),
    HandCase("clamped_targets", "clamped-targets", B, _clamped),
    HandCase("b9_cut_short", "V17, B9", "single-pass", _evidence(_skipped)),
    HandCase("v02_overlap", "V2, B8", "data-split", _evidence(_overlap)),
    HandCase("v14_no_reserve", "V14", "train-clock", _evidence(_calibrated), Status.UNRULED),
    HandCase("v19_hidden_text", "V19", "size-limit", _evidence(_hidden_text)),
    HandCase("v19_one_byte", "V19", "size-limit", _evidence(_over)),
    HandCase("v20_training", "V20", "train-clock", _evidence(_trained)),
    HandCase("v20_evaluation", "V20", "eval-clock", _evidence(_evaluated)),
    HandCase("v21_claim", "V21", "claims", _evidence(_claim)),
    HandCase("v21_mixed_seeds", "V21", "significance", _evidence(_mixed), Status.INCONCLUSIVE),
    HandCase("unprintable_line", "V21", "claims", _linted(_printed)),
    HandCase("sleeping_code", "sleeping-code", "coverage", _slept, Status.INCONCLUSIVE),
]
