"""The attacks as data, and what becomes of one: both sides through the zoo's pipeline, and the gain over the twin.

Nothing here imports an attack: headers are read as text, code runs in the box.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.adapters.recording import score_of
from harness.audit.checks import judge, select
from harness.corpus.dataset import Dataset
from harness.corpus.shards import read_shard
from harness.errors import SubmissionError
from harness.folder import open_folder
from harness.kit.windows import sliding
from harness.record import Status
from tests.zoo.observed import zoo_dataset
from tests.zoo.runner import SIDES, Zoo, opened, outcome, source

HERE = Path(__file__).parent
CASES = HERE / "cases"

KINDS = (
    "run detector", "place of the leak", "channel", "silence", "claims", "text at hand", "telemetry", "order",
    "arithmetic", "state", "resources",
)  # fmt: skip

#: Nats per token that an attack has to win over its twin.
WORTH = 0.0005

_HEADER = re.compile(r"^# (kind|where|gain|rare): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Attack:
    """One file under cases/.

    Attributes:
        name: the file's.
        what: its first line: what the offender does.
        kind: one of KINDS.
        own_box: it acts on its box, so it gets boxes of its own, and draws its own null stream.
        gain: what it is after, in words.
        rare: the share of positions that it means to leak at; None where no share is meant to be small.
        sha256: of its code.
    """

    name: str
    what: str
    kind: str
    own_box: bool
    gain: str
    rare: float | None = None
    sha256: str = ""

    @classmethod
    def read(cls, name: str) -> Attack:
        """Read a file's header.

        Raises:
            ValueError: a field is missing or means nothing.
        """
        text = (CASES / f"{name}.py").read_text()
        fields = dict(_HEADER.findall(text))
        first = text.splitlines()[0]
        if not (first.startswith('"""') and first.endswith('"""')):
            raise ValueError(f"{name}: the first line has to be a docstring that says what the attack does")
        missing = {"kind", "where", "gain"} - set(fields)
        if missing or fields["kind"] not in KINDS or fields["where"] not in ("box", "suite"):
            raise ValueError(f"{name}: header {fields}; it needs kind (one of {KINDS}), where (box or suite) and gain")
        rare = float(fields["rare"]) if "rare" in fields else None
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cls(name, first.strip('"'), fields["kind"], fields["where"] == "box", fields["gain"], rare, digest)


def attacks() -> list[Attack]:
    """All attacks, by kind and name."""
    found = [Attack.read(path.stem) for path in CASES.glob("*.py")]
    return sorted(found, key=lambda attack: (KINDS.index(attack.kind), attack.name))


@dataclass
class Played:
    """What became of an attack with one seed.

    Attributes:
        verdict: of the offender's run; "broke" where the submission did not come to an end.
        gain: nats per token of the offender's score below its twin's.
        share: of positions whose loss differs between the two.
        caught: checks that were not quiet, with their status.
        twin: the twin's verdict.
        accused: checks that failed the twin.
        error: why it broke.
    """

    verdict: str
    gain: float = 0.0
    share: float = 0.0
    caught: dict[str, str] = field(default_factory=dict)
    twin: str = ""
    accused: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def success(self) -> bool:
        """Whether a better score was bought: nobody says no, and the gain is worth it."""
        return self.verdict in (Status.PASS, Status.UNRULED) and self.gain > WORTH

    def as_kept(self) -> dict[str, Any]:
        """As it is written to a file."""
        return asdict(self) | {"gain": round(self.gain, 5), "share": round(self.share, 4)}


def facts(dataset: Dataset) -> tuple[str, np.ndarray]:
    """What everybody knows of a public validation set: Python source, and counts of pairs of training tokens [V, V]."""
    tokens = np.asarray(dataset.validation).astype(np.uint16)
    grams = sorted({zlib.crc32(tokens[at : at + 4].tobytes()) for at in range(len(tokens) - 3)})
    bos = dataset.tokenizer.bos_id
    layout = list(sliding(len(tokens) - 1, 64, 16))
    batches = []
    for at in range(0, len(layout), 8):
        group = layout[at : at + 8]
        first, last = group[0].start + 1 + group[0].first, group[-1].start + group[-1].size
        batches.append(zlib.crc32(tokens[first : last + 1].tobytes()))
    starts = np.flatnonzero(tokens == bos).tolist()
    edges = {tokens[at : at + size].tobytes() for at in starts for size in (1, 2, 3)}
    edges |= {tokens[at - size : at].tobytes() for at in [*starts[1:], len(tokens)] for size in (1, 2, 3)}
    code = (
        f"BOS = {bos}\nTOKENS = {len(tokens)}\nSTARTS = {starts}\nBATCHES = {batches}\nGRAMS = frozenset({grams})\n"
        f"EDGES = frozenset({sorted(map(zlib.crc32, edges))})\n"
        f"LONGEST = {int(np.diff([*starts, len(tokens)]).max())}\n"
    )
    pairs = np.zeros((dataset.vocab_size, dataset.vocab_size))
    for shard in dataset.train_shards:
        train = np.asarray(read_shard(shard)).astype(np.int64)
        np.add.at(pairs, (train[:-1], train[1:]), 1)
    return code, pairs / np.maximum(pairs.sum(1, keepdims=True), 1)


@contextmanager
def arena(dataset: Dataset, home: Path, chosen: list[Attack]) -> Iterator[Zoo]:
    """A zoo of both sides of some attacks."""
    data = zoo_dataset(dataset)
    code = {(attack.name, side): source(attack.name, side, CASES) for attack in chosen for side in SIDES}
    public, pairs = facts(data)
    with opened(data, home / "zoo", [], code) as zoo:
        zoo.depth = "standard"  # what counts is what somebody gets who asks for nothing else
        for key in code:
            path = zoo.folders[key].path
            shutil.copy(HERE / "tricks.py", path)
            (path / "public.py").write_text(public)
            np.save(path / "bigram.npy", pairs.astype(np.float32))
            zoo.folders[key] = open_folder(path)
        yield zoo


def fight(zoo: Zoo, attack: Attack, seed: int) -> Played:
    """Both sides of an attack with one seed, which has to decide all that is drawn: only the attack may differ."""
    try:
        honest = zoo.run(attack.name, "neighbour", seed, own_box=attack.own_box)
    except SubmissionError as error:
        return Played("broke", error=f"its twin: {error}")
    twin = outcome(judge(honest, select("all")))
    try:
        evidence = zoo.run(attack.name, "offender", seed, own_box=attack.own_box)
    except SubmissionError as error:
        return Played("broke", twin=twin.verdict, accused=twin.failed, error=str(error))
    found = outcome(judge(evidence, select("all")))
    gain = float(score_of(honest.trace, honest.dataset)[0] - score_of(evidence.trace, evidence.dataset)[0])
    a, b = (run.trace.nll + np.maximum(run.trace.excess, 0.0) for run in (honest, evidence))
    differs = ~(np.abs(a - b)[1:] <= 1e-6)
    return Played(found.verdict, gain, float(differs.mean()), found.statuses, twin.verdict, twin.failed)
