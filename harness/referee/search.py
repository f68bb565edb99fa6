"""Let Hypothesis search for a causality leak, and shrink it to the smallest witness.

An example is a lie (one token replaced, or everything from it on), a distance, and what takes the token's place; it
counts when a row moves that must not, at most that distance before the lie. Hypothesis shrinks in that order: a swap
before a suffix, then the earliest position, then the nearest row, then the first token of the first class.
(MacIver and Donaldson, "Test-case reduction via test-case generation", ECOOP 2020.)
"""

from __future__ import annotations

import bisect
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.referee.comparator import ProbeResult
from harness.referee.plan import DOCUMENT_START, edges
from harness.referee.source import Probe, Tokens
from harness.referee.trace import Trace

Ints = NDArray[np.int64]
Examine = Callable[[Probe], ProbeResult]

#: Flips that shrinking may cost, in units of those that the search may.
SHRINKING = 2


@dataclass(frozen=True)
class Catch:
    """The smallest witness that was found.

    Attributes:
        probe: the lie.
        result: what it moved.
        position: the nearest row that moved and must not.
    """

    probe: Probe
    result: ProbeResult
    position: int

    @property
    def distance(self) -> int:
        """Tokens from the row that moved to the token that was replaced; 0 for a row that sees its own token."""
        return self.probe.position - self.position


@dataclass(frozen=True)
class Search:
    """What a search showed.

    Attributes:
        catch: None where nothing was found.
        first: the first lie that was caught, before it was shrunk.
        flips: flips made, those of shrinking included.
        searched: flips made until the first catch, or in all.
        positions: different positions that were flipped.
        compared: rows that were compared.
        controls: flips with a positive control: a row after the flip moved, as it should.
        broken: flips under which the submission broke.
        unread: lies about tokens that the submission never read.
        noise: changes up to this, in nats, were taken for none.
    """

    catch: Catch | None
    first: Probe | None
    flips: int
    searched: int
    positions: int
    compared: int
    controls: int
    broken: int
    unread: int
    noise: float


class _Budget:
    """Makes flips, each once, up to a number; beyond it nothing counts, so that shrinking ends where it stands."""

    def __init__(self, examine: Examine, noise: float, examples: int, tell: Callable[[int, str], None]) -> None:
        self.made: dict[Probe, ProbeResult] = {}
        self.first: tuple[Probe, int] | None = None
        self._examine = examine
        self._noise = noise
        self._examples = examples
        self._tell = tell

    @property
    def spent(self) -> bool:
        limit = self._examples if self.first is None else self.first[1] + SHRINKING * self._examples
        return len(self.made) >= limit

    def distance(self, probe: Probe) -> int | None:
        """Of the nearest row that moved; None where none did, or the budget is spent."""
        if probe not in self.made:
            if self.spent:
                return None
            self.made[probe] = self._examine(probe).above(self._noise)
            self._tell(len(self.made), "shrinking" if self.first else "searching")
        moved = self.made[probe].violations
        if moved and self.first is None:
            self.first = probe, len(self.made)
        return min((probe.position - position for position, *_ in moved), default=None)


def hypothesis() -> ModuleType:
    """The property-based testing library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module("hypothesis")
    except ImportError:
        raise UsageError("a hunt needs Hypothesis: pip install 'golf-harness[hunt]'") from None


def search(
    base: Trace,
    tokens: Tokens,
    classes: Mapping[str, Ints],
    examine: Examine,
    *,
    examples: int,
    seed: int,
    noise: float,
    tell: Callable[[int, str], None] = lambda flips, doing: None,
) -> Search:
    """Search for a leak and shrink it; the same arguments give the same answer.

    Args:
        base: the unperturbed evaluation that flips are compared with.
        tokens: the stream, uint16.
        classes: token ids by class, from `plan.token_classes`; their order is that of shrinking.
        examine: makes one flip, such as `Bench.examine`.
        examples: flips to make before giving up; shrinking may take `SHRINKING` times as many.
        seed: of the search.
        noise: changes up to this, in nats or units of a fingerprint, are none.
        tell: told the number of flips made, and what the hunt is doing.
    """
    lib = hypothesis()
    scored = base.scored
    scored = scored[scored < (scored.max(initial=0) if base.in_order else len(tokens))]
    budget = _Budget(examine, noise, examples, tell)
    caught: Probe | None = None
    if len(scored):
        # Where the order depends on where documents begin, a lie that moves one accuses nobody; see `plan`.
        if not base.in_order:
            bos = {int(token) for token in classes.get(DOCUMENT_START, ())}
            classes = {name: members for name, members in classes.items() if name != DOCUMENT_START}
            scored = scored[~np.isin(tokens[scored], list(bos))]
        rng = np.random.default_rng([seed, 0x40117])
        snaps = _snaps(scored, edges(base, rng))
        caught = _find(lib, _lies(lib, scored, snaps, tokens, classes), budget, examples, seed)
        if caught is not None and caught.kind == "suffix":
            swaps = _lies(lib, scored, snaps, tokens, classes, kinds=(False,))
            caught = _find(lib, swaps, budget, examples, seed) or caught
    catch = None
    if caught is not None:
        result = budget.made[caught]
        catch = Catch(caught, result, max(position for position, *_ in result.violations))
    made = [result for result in budget.made.values() if result.ran]
    return Search(
        catch=catch,
        first=budget.first[0] if budget.first else None,
        flips=len(made),
        searched=budget.first[1] if budget.first else len(budget.made),
        positions=len({result.probe.position for result in made}),
        compared=sum(result.compared for result in made),
        controls=sum(result.control > 0 for result in made),
        broken=sum(result.error is not None for result in made),
        unread=len(budget.made) - len(made),
        noise=noise,
    )


def _find(lib: ModuleType, lies: Any, budget: _Budget, examples: int, seed: int) -> Probe | None:
    """The simplest lie that Hypothesis arrives at."""
    settings = lib.settings(
        max_examples=2 * examples,  # some are the same flip at another distance
        database=None,
        deadline=None,
        phases=[lib.Phase.generate, lib.Phase.shrink],
        suppress_health_check=list(lib.HealthCheck),
    )

    def counts(lie: tuple[Probe | None, int]) -> bool:
        probe, distance = lie
        nearest = None if probe is None else budget.distance(probe)
        return nearest is not None and nearest <= distance

    try:
        probe, _ = lib.find(lies, counts, settings=settings, random=random.Random(seed))
    except lib.errors.NoSuchExample:
        return None
    assert isinstance(probe, Probe)
    return probe


def _lies(
    lib: ModuleType,
    scored: Ints,
    snaps: Sequence[int],
    tokens: Tokens,
    classes: Mapping[str, Ints],
    kinds: Sequence[bool] = (False, True),
) -> Any:
    """A strategy of (lie, distance); None for a lie that would change nothing. `kinds` has True for suffixes.

    Leaks hide at edges, so every other position is moved back to the edge before it. What is found there shrinks to
    the edge itself, where that is no longer needed, and on from there.
    """
    draws = lib.strategies
    names = list(classes)
    largest = max(len(members) for members in classes.values())

    def lie(
        suffix: bool, index: int, snap: bool, distance: int, name: str, member: int, shift: int
    ) -> tuple[Probe | None, int]:
        at = int(scored[index])
        if snap:
            at = snaps[bisect.bisect_right(snaps, at) - 1]
        if suffix:
            changes = tokens[(at + shift) % len(tokens)] != tokens[at]
            return (Probe("suffix", at, shift=shift) if changes else None), distance
        members = classes[name]
        token = int(members[member % len(members)])
        return (Probe("swap", at, token=token, token_class=name) if token != tokens[at] else None), distance

    return draws.builds(
        lie,
        draws.sampled_from(kinds),
        draws.integers(0, len(scored) - 1),
        draws.booleans(),
        # Any distance counts at first: small ones are where shrinking leads.
        draws.integers(0, len(tokens)),
        draws.sampled_from(names),
        draws.integers(0, largest - 1),
        draws.integers(1, len(tokens) - 1),
    )


def _snaps(scored: Ints, found: Sequence[int]) -> list[int]:
    """Edges at which a flip can be made, in order; the first scored position is one."""
    return sorted({int(scored[0]), *(int(t) for t in np.intersect1d(scored, np.array(found, np.int64)))})
