"""Run animals fast: one artifact and two boxes serve the whole zoo; everything else is the collect's own `gather`.

In the collect each of the three evaluations has a box of its own. Here animals share boxes (each evaluation is a fresh
process all the same), unless a case says that it acts on its box.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from harness.adapters import blind, collect, nulls
from harness.adapters.options import Options
from harness.adapters.scoring import EvaluationBox, Job
from harness.adapters.training import WORKER, Sealed, train
from harness.audit.checks import judge, select
from harness.audit.evidence import Evidence
from harness.corpus.dataset import Dataset
from harness.folder import Folder
from harness.progress import Progress
from harness.record import Depth, Finding, Status, verdict_of
from harness.referee.null import NullStream
from harness.sandbox.box import Box, Limits
from tests.support import write_submission

HERE = Path(__file__).parent
SIDES = ("offender", "neighbour")

#: The nonce of the audit with seed 0.
AUDIT = 1_000_003

#: Neither PASS nor any of these is news.
QUIET = (Status.PASS, Status.NOT_APPLICABLE, Status.NOT_RUN)

#: What measures an accusation, by check: a metric, and its unit in words.
MEASURES = {
    "causality": ("largest_change", "nats moved"),
    "null-stream": ("saving", "nats saved"),
    "normalization": ("worst_sum", "row sum"),
    "score-before-update": ("updates_early", "early updates"),
}


@dataclass(frozen=True)
class Outcome:
    """What all checks said of one run: those that are not quiet, the verdict, and the size of what was seen."""

    statuses: dict[str, str]
    verdict: str
    sizes: dict[str, float] = field(default_factory=dict)
    headlines: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def failed(self) -> list[str]:
        """Checks that accuse."""
        return [check for check, status in self.statuses.items() if status == Status.FAIL]


def outcome(findings: list[Finding]) -> Outcome:
    """Sum findings up."""
    loud = {found.id: found for found in findings if found.status not in QUIET}
    sizes: dict[str, float] = {}
    for check, (metric, _) in MEASURES.items():
        value = loud[check].value(metric) if check in loud else None
        if isinstance(value, int | float):
            sizes[check] = float(value)
    return Outcome(
        {check: found.status.value for check, found in loud.items()},
        verdict_of(findings).value,
        sizes,
        {check: found.headline for check, found in loud.items()},
    )


def source(animal: str, side: str, folder: Path = HERE / "animals", suffix: str = ".py") -> str:
    """The code of one side: lines marked for the other side are left out."""
    other = SIDES[1 - SIDES.index(side)]
    lines = (folder / f"{animal}{suffix}").read_text().splitlines()
    kept = [line.removesuffix(f"  # {side}") for line in lines if not line.endswith(f"  # {other}")]
    return "\n".join(kept) + "\n"


class Zoo:
    """Every animal's two folders, one sealed artifact, and two boxes that can run any of them.

    `more` is code of other submissions with the tiny model, by animal and side.
    """

    #: The small audit; a seed is another one.
    depth: Depth = "quick"

    def __init__(
        self, dataset: Dataset, home: Path, animals: list[str], more: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        self.dataset = dataset
        self.home = home
        self._null: dict[int, NullStream] = {}
        starts, sizes = dataset.table.leading_space.tolist(), dataset.table.base.tolist()
        self.folders: dict[tuple[str, str], Folder] = {}
        code = {(animal, side): source(animal, side) for animal in animals for side in SIDES}
        code |= more or {}
        code["plain", "neighbour"] = "from tiny import Tiny\n\n\nclass Plain(Tiny): ...\n"
        for (animal, side), text in code.items():
            folder = home / "code" / f"{animal}-{side}"
            folder.mkdir(parents=True)
            shutil.copy(HERE / "tiny.py", folder)
            known = dataset.validation[:64].tolist()  # the contest's validation text is public
            (folder / "classes.py").write_text(f"WORD_STARTS = {starts}\nBYTES = {sizes}\nOPENING = {known}\n")
            reads = {"reads_validation": True} if "data.validation" in text else {}
            self.folders[animal, side] = write_submission(folder, code=text, **reads)
        self.sealed = self._trained(self.folders["plain", "neighbour"], 0, home)
        self._stack = contextlib.ExitStack()
        self._boxes: dict[str, tuple[Box, Path]] = {}
        self._ready: set[str] = set()

    def __enter__(self) -> Zoo:
        with self._stack as stack:
            for name in ("score", "null"):
                log = self.home / f"{name}.log"
                limits = Limits(memory_bytes=8 << 30, cpu_seconds=7200.0)
                read = [self.home / "code", self.sealed.path]
                self._boxes[name] = stack.enter_context(Box(WORKER, read=read, limits=limits, log=log)), log
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, animal: str, side: str, seed: int, *, own_box: bool = False, checks: list[str] | None = None
    ) -> Evidence:
        """What the collect gathers of one animal for some checks, or for all."""
        out = self.home / "runs" / f"{animal}-{side}-{seed}"
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            folder = self.folders[animal, side]
            sealed = self._trained(folder, seed, out) if folder.reads_validation else self.sealed
            if sealed is self.sealed and not own_box:  # who acts on its box may act on what draws the null stream
                stack.enter_context(mock.patch.object(nulls, "drawn", self._drawn(nulls.drawn)))
            if not own_box:
                stack.enter_context(mock.patch.object(collect, "EvaluationBox", self._shared("score")))
                stack.enter_context(mock.patch.object(blind, "EvaluationBox", self._shared("score")))
                stack.enter_context(mock.patch.object(nulls, "EvaluationBox", self._shared("null")))
            progress = stack.enter_context(Progress(quiet=True))
            # An audit's own nonce; a submission is given the seed alone.
            checks = checks or select("all")
            options = Options(
                timeout=300.0, wall_seconds=600.0, threads=1, checks=checks, audit_seed=AUDIT + seed, depth=self.depth
            )  # some wait for ever
            return collect.gather(folder, self.dataset, sealed, seed, out, options, progress)

    def judge(self, animal: str, side: str, seed: int, *, own_box: bool = False) -> Outcome:
        """All checks on one animal."""
        return outcome(judge(self.run(animal, side, seed, own_box=own_box), select("all")))

    def _trained(self, folder: Folder, seed: int, out: Path) -> Sealed:
        """A sealed artifact. One serves all animals but those that read validation data, which train their own."""
        with Progress(quiet=True) as progress:
            return train(folder, self.dataset, seed, out, Options(timeout=300.0, threads=1), progress)

    def _shared(self, name: str) -> Callable[[Job, Path], EvaluationBox]:
        zoo = self

        class Shared(EvaluationBox):
            """An evaluation box that is not started and ended, but borrowed."""

            def __enter__(self) -> EvaluationBox:
                self._box, self._log = zoo._boxes[name]
                self._code = self._job.folder.path
                self._ready = name in zoo._ready
                zoo._ready.add(name)
                return self

            def __exit__(self, *_: object) -> None:
                self.abort()

            def abort(self) -> None:
                for wire in self._wires:
                    wire.close()

        return Shared

    def _drawn(self, draw: Callable[..., NullStream]) -> Callable[..., NullStream]:
        """The null stream depends on the model and the seed only, so animals share it too."""

        @functools.wraps(draw)
        def cached(job: Job, *others: object) -> NullStream:
            if job.seed not in self._null:
                self._null[job.seed] = draw(job, *others)
            return self._null[job.seed]

        return cached


@contextlib.contextmanager
def opened(
    dataset: Dataset, home: Path, animals: list[str], more: Mapping[tuple[str, str], str] | None = None
) -> Iterator[Zoo]:
    """A zoo with its boxes running."""
    with Zoo(dataset, home, animals, more) as zoo:
        yield zoo
