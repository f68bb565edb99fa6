"""Classes that are judged by files, clocks and numbers: hand-made evidence, an offender and a neighbour each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.adapters.weigh import weigh
from harness.audit.checks import judge, select
from harness.audit.evidence import ArtifactSizes, Clocks, Evidence, PreviousRecord
from harness.corpus.dataset import Dataset
from harness.corpus.shards import write_shard
from harness.corpus.tokenbytes import ByteTable
from harness.record import SeedScore, Status
from tests.audit.evidence_builder import FIT, clean_trace, evidence, with_limits
from tests.audit.test_audit_bytes import (
    TEXTS,
    double_space,
    no_boundary,
    replacement_characters,
    spelled_byte_pieces,
)
from tests.corpus.marked import DOCUMENTS, stream_and_bytes
from tests.support import TINY, write_submission
from tests.zoo.runner import Outcome, outcome

LIMIT = 16_000_000
Build = Callable[[Dataset, Path, bool], Evidence]


@dataclass(frozen=True)
class HandCase:
    """A class, the check that has to name it, and how its evidence is made (the flag asks for the offender)."""

    name: str
    classes: str
    what: str
    check: str
    build: Build
    status: Status = Status.FAIL

    def judge(self, dataset: Dataset, home: Path, side: str) -> Outcome:
        """All checks on one side's evidence."""
        made = self.build(dataset, home / f"{self.name}-{side}", side == "offender")
        return outcome(judge(made, select("all")))


def _text(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, validation=dataset.tokenizer.stream(TEXTS), texts=TEXTS)


def _table(spoil: Callable[[ByteTable], ByteTable]) -> Build:
    def build(dataset: Dataset, home: Path, offends: bool) -> Evidence:
        data = _text(dataset)
        return evidence(dataclasses.replace(data, table=spoil(data.table)) if offends else data)

    return build


def _boundary(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    space = next(i for i in range(dataset.vocab_size) if dataset.table.leading_space[i] and dataset.table.base[i] > 1)
    bos = dataset.tokenizer.bos_id
    data = dataclasses.replace(dataset, validation=np.array([bos, space, space, bos, space], np.uint16), texts=None)
    return evidence(dataclasses.replace(data, table=no_boundary(data.table)) if offends else data)


def _lone_space(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    tokenizer = dataset.tokenizer
    spelled = [tokenizer.processor.piece_to_id(piece) for piece in ("<0xE2>", "<0x96>", "<0x81>")]
    space = spelled if offends else [tokenizer.processor.piece_to_id("\u2581")]
    stream = np.array([tokenizer.bos_id, *tokenizer.encode("cat"), *space, *tokenizer.encode("sat")], np.uint16)
    return evidence(dataclasses.replace(dataset, validation=stream, texts=("cat sat",)))


def _marks_as_text(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    stream, counts = stream_and_bytes(dataset.tokenizer, DOCUMENTS)
    data = dataclasses.replace(dataset, validation=stream, texts=DOCUMENTS, documents=len(DOCUMENTS))
    return evidence(data if offends else dataclasses.replace(data, sidecar=counts))


def _folded(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    texts = [text.casefold() for text in DOCUMENTS] if offends else DOCUMENTS
    stream = dataset.tokenizer.stream(texts)
    return evidence(dataclasses.replace(dataset, validation=stream, texts=DOCUMENTS, documents=len(DOCUMENTS)))


def _hidden_text(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    def folder(name: str, size: int) -> ArtifactSizes:
        path = home / name
        path.mkdir(parents=True)
        noise = np.random.default_rng(0).integers(33, 127, size, dtype=np.uint8)
        (path / "notes.txt").write_bytes(noise.tobytes())
        return weigh(write_submission(path, code=TINY), 100_000)

    small = folder("small", 100)
    limit = small.artifact + small.code["all_files"] + 10_000
    sizes = folder("large", 200_000) if offends else small
    return evidence(dataset, sizes=sizes, ruleset=with_limits(total_bytes=limit))


def _over(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    room = LIMIT - FIT.code["all_files"]
    code = FIT.code["all_files"] - FIT.code["wrapped"]
    artifact = room + code + 1 if offends else room
    return evidence(dataset, sizes=ArtifactSizes(artifact, FIT.code, FIT.files))


def _clock(phase: str, strict: str) -> Build:
    def build(dataset: Dataset, home: Path, offends: bool) -> Evidence:
        fine = {"loop": 500.0, "touches training data": 590.0, "from process start": 590.0}
        spent = {**fine, "loop": 601.153, strict: 602.0} if offends else fine
        clocks = Clocks(**{"train": fine, "evaluation": fine, phase: spent}, hardware="8xH100", comparable=True)
        return evidence(dataset, clocks=clocks)

    return build


def _score(bpb: float, seed: int, width: float = 2.43592) -> SeedScore:
    loss = bpb * width * float(np.log(2))
    return SeedScore(seed=seed, val_loss=loss, val_bpb=bpb, artifact_sha256="0", artifact_bytes=1)


def _claim(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    claims = {"track": "10min_16mb", "val_bpb": 1.1147, "val_loss": 1.1147 * 2.43592 * float(np.log(2))}
    measured = 1.1577 if offends else 1.1148
    return evidence(dataset, claims=claims, seeds=[_score(measured, 1)])


def _mixed(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    tokens, size = len(dataset.validation) - 1, int(dataset.table.stream_bytes(np.asarray(dataset.validation)).sum())
    seeds = [_score(bpb, seed, size / tokens) for seed, bpb in ((1, 1.0801), (2, 1.0804), (3, 1.0798))]
    words = {1: "a", 2: "a", 3: "b" if offends else "a"}
    before = PreviousRecord("#1493", [1.0850, 1.0852, 1.0849], tokens, size)
    return evidence(dataset, seeds=seeds, configurations=words, previous=before)


def _overlap(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    assert dataset.texts is not None
    home.mkdir(parents=True)
    text = dataset.texts[3] if offends else dataset.texts[3][::-1]
    shard = home / "fineweb_train_000000.bin"
    write_shard(shard, dataset.tokenizer.stream(["Some text before it.", text]))
    return evidence(dataclasses.replace(dataset, train_shards=(*dataset.train_shards, shard)))


def _skipped(dataset: Dataset, home: Path, offends: bool) -> Evidence:
    trace = clean_trace(len(dataset.validation))
    if offends:
        trace.order[-500:] = -1
    return evidence(dataset, trace)


B = "byte-accounting"
HAND = [
    HandCase("b1_double_space", "V16, B1", "The leading space counted twice (#1698, #1734).", B, _table(double_space)),
    HandCase("b2_spelled_bytes", "V16, B2", "A byte piece counted as its six characters (#1734).", B,
             _table(spelled_byte_pieces)),
    HandCase("b3_no_boundary", "V16, B3", "The space that a document starts with counted (#1734).", B, _boundary),
    HandCase("b4_replacement", "V16, B4", "A byte piece counted as U+FFFD, three bytes (#1143, #1184).", B,
             _table(replacement_characters)),
    HandCase("b5_lone_space", "V16, B5", "A space spelled out in three byte pieces, and counted as three (#897).", B,
             _lone_space),
    HandCase("b6_marks_as_text", "V16, B6", "Case marks counted as text (#2071, #2138); or bytes from a side-car.", B,
             _marks_as_text),
    HandCase("b7_casefold", "B7", "Documents without their letter case (#1604: not ruled on); or as they are.", B,
             _folded, Status.UNRULED),
    HandCase("b9_cut_short", "V17, B9", "The end of the stream is never scored (#2109).", "single-pass", _skipped),
    HandCase("v02_overlap", "V2, B8", "A validation document among the training documents (#2127).", "data-split",
             _overlap),
    HandCase("v19_hidden_text", "V19", "Data in a text file beside the code (#1412, #1514); or hardly any.",
             "size-limit", _hidden_text),
    HandCase("v19_one_byte", "V19", "One byte over 16,000,000 (#1399, #1835); or exactly that.", "size-limit", _over),
    HandCase("v20_training", "V20", "601.153 s of training (#1908); or 590.", "train-clock",
             _clock("train", "touches training data")),
    HandCase("v20_evaluation", "V20", "601.153 s of evaluation (#1945, #1972); or 590.", "eval-clock",
             _clock("evaluation", "from process start")),
    HandCase("v21_claim", "V21", "A claimed score that is not the measured one (#2118).", "claims", _claim),
    HandCase("v21_mixed_seeds", "V21", "Seeds of two configurations under one mean (#2124).", "significance", _mixed,
             Status.INCONCLUSIVE),
]  # fmt: skip
