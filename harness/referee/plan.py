"""Where to flip, and to what: probes at the edges that a trace shows, and at random positions.

Leaks hide at edges: the first position of a batch sees the rest of the batch, the last positions of a window are read
by the windows after it. The trace of the scored run says where those edges are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.corpus.tokenbytes import ByteTable
from harness.corpus.tokenizer import Tokenizer
from harness.referee.source import ALTERNATIVE, DOCUMENT_END, Probe, Tokens
from harness.referee.trace import Commit, Read, Trace

Ints = NDArray[np.int64]

DOCUMENT_START = "document start"
E = TypeVar("E")


def token_classes(tokenizer: Tokenizer, table: ByteTable, stream: Tokens) -> dict[str, Ints]:
    """Token ids by class: what a gate on the realised token could tell apart.

    Args:
        tokenizer: for its byte pieces and BOS.
        table: for word starts and control pieces.
        stream: frequencies are counted here; only tokens that occur are frequent or rare.

    Returns:
        Non-empty classes only: "word start", "continuation", "byte", "document start", "frequent", "rare".
    """
    size = len(table.base)
    ids = np.arange(size)
    count = np.bincount(stream, minlength=size)[:size]
    is_byte = np.array([tokenizer.processor.is_byte(int(i)) for i in ids], bool)
    plain = ~table.boundary & ~is_byte
    seen = np.flatnonzero((count > 0) & plain)
    by_count = seen[np.argsort(count[seen], kind="stable")]
    few = min(32, len(by_count) // 2)  # no token is both
    classes = {
        "word start": ids[plain & table.leading_space],
        "continuation": ids[plain & ~table.leading_space],
        "byte": ids[is_byte],
        DOCUMENT_START: np.array([tokenizer.bos_id]),
        "frequent": by_count[len(by_count) - few :],
        "rare": by_count[:few],
    }
    return {name: members.astype(np.int64) for name, members in classes.items() if len(members)}


def edges(trace: Trace, rng: np.random.Generator, groups: int = 4) -> list[int]:
    """Positions at the edges of commits and windows, from the ledger of the scored run.

    First, middle and last position of the first, the last and some commits in between; and the first position that
    each window of a batch does not share with the one before.
    """
    commits = [event for event in trace.events if isinstance(event, Commit)]
    chosen = _spread(commits, groups, rng)
    found: list[int] = []
    for commit in chosen:
        found += [commit.low, (commit.low + commit.high) // 2, commit.high]
    batches = [event for event in trace.events if isinstance(event, Read) and len(event.ranges) > 1]
    for batch in _spread(batches, 2, rng):
        found.append(int(batch.ranges[int(rng.integers(len(batch.ranges) - 1)), 1]))
    return found


def plan(
    trace: Trace,
    tokens: Tokens,
    classes: Mapping[str, Ints],
    *,
    seed: int,
    random_positions: int = 4,
    sampled_positions: int = 16,
) -> list[Probe]:
    """Suffix and swap probes for one audit; the same trace and seed give the same plan.

    Args:
        trace: the scored run.
        tokens: the stream that was scored, uint16.
        classes: from `token_classes`; a swap takes a token of another class, each class in turn.
        seed: of the audit.
        random_positions: positions to probe beside the edges where none are sampled.
        sampled_positions: strata of the stream from each of which one position gets a suffix probe, for the price.

    Returns:
        Probes by position. Every position gets a suffix whose first token is of the class whose turn it is, and every
        second edge a swap as well: whatever a swap moves, such a suffix moves too, but it says less of why.
    """
    rng = np.random.default_rng([seed, 0xF11B])
    last = int(trace.order.argmax()) if trace.in_order else int(trace.scored.max(initial=0))
    sampled = _stratified(trace, last, sampled_positions, rng) if last > 1 else []
    # Position `last` has no row after it, so a probe there could not show that it had teeth.
    ends = {t for t in edges(trace, rng) if 1 <= t < last and trace.order[t] >= 0}
    others: set[int] = set()
    if last > 1 and not sampled:
        others = {int(t) for t in rng.choice(np.arange(1, last), size=min(random_positions, last - 1), replace=False)}
    positions = sorted(ends | {t for t in others if trace.order[t] >= 0})
    if not trace.in_order:
        # The order depends on where documents begin; a probe that moves that changes batches, and accuses nobody.
        bos = {int(token) for token in classes.get(DOCUMENT_START, ())}
        classes = {name: members for name, members in classes.items() if name != DOCUMENT_START}
        positions = [t for t in positions if int(tokens[t]) not in bos]
    names = list(classes)
    first = int(rng.integers(len(names)))
    probes, edge, swaps = [], first, first
    for index, position in enumerate(sorted({*positions, *sampled})):
        name, _ = _other(tokens, position, classes, names[(first + index) % len(names) :] + names, rng)
        shift = _shift(tokens, position, rng, classes[name])
        if shift:
            probes.append(Probe("suffix", position, shift=shift, sampled=position in sampled))
        edge += position in positions
        if position in positions and (edge % 2 or not shift):
            name, token = _other(tokens, position, classes, names[swaps % len(names) :] + names, rng)
            probes.append(Probe("swap", position, token=token, token_class=name))
            swaps += 1
    return sorted(probes, key=lambda probe: probe.position)


def alternatives(
    trace: Trace, tokens: Tokens, vocab_size: int, *, seed: int, positions: int = 2, count: int = 24
) -> list[Probe]:
    """Swaps that ask for more of a row of which only the realised token's probability was claimed.

    At some scored positions the token is replaced by `count` others, drawn without replacement from the vocabulary.
    """
    rng = np.random.default_rng([seed, 0xA17])
    chosen = rng.choice(trace.scored[:-1], size=min(positions, len(trace.scored) - 1), replace=False)
    probes = []
    for t in sorted(int(t) for t in chosen):
        others = np.delete(np.arange(vocab_size), int(tokens[t]))
        for token in rng.choice(others, size=min(count, len(others)), replace=False):
            probes.append(Probe("swap", t, token=int(token), token_class=ALTERNATIVE))
    return probes


def boundaries(trace: Trace, tokens: Tokens, classes: Mapping[str, Ints], *, seed: int, count: int = 4) -> list[Probe]:
    """Swaps of the last token of some documents, by another of the frequent ones."""
    rng = np.random.default_rng([seed, 0xB05])
    (bos,) = classes[DOCUMENT_START]
    starts = np.flatnonzero(tokens == bos)
    ends = [int(t) - 1 for t in starts if t > 1 and trace.order[t - 1] >= 0 and tokens[t - 1] != bos]
    probes = []
    for position in sorted(int(t) for t in rng.permutation(ends)[:count]):
        others = classes["frequent"][classes["frequent"] != int(tokens[position])]
        if len(others):
            token = int(others[int(rng.integers(len(others)))])
            probes.append(Probe("swap", position, token=token, token_class=DOCUMENT_END))
    return probes


def _stratified(trace: Trace, last: int, count: int, rng: np.random.Generator) -> list[int]:
    """One scored position from each of `count` equal parts of the stream, without the last one."""
    edges = np.linspace(1, last, count + 1).astype(int)
    picks = [int(rng.integers(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True) if high > low]
    return [t for t in picks if trace.order[t] >= 0]


def _spread(events: list[E], count: int, rng: np.random.Generator) -> list[E]:
    """The first, the last, and some in between."""
    if len(events) <= count:
        return list(events)
    between = rng.choice(np.arange(1, len(events) - 1), size=max(0, count - 2), replace=False)
    return [events[i] for i in sorted([0, len(events) - 1, *(int(i) for i in between)])]


def _shift(tokens: Tokens, position: int, rng: np.random.Generator, members: Ints | None = None) -> int:
    """A rotation of the stream that changes the token at `position`; 0 if there is none (all tokens equal).

    It brings one of `members` there, where the stream has one that is another token.
    """
    others = np.flatnonzero(tokens != tokens[position])
    if members is not None and len(aimed := others[np.isin(tokens[others], members)]):
        others = aimed
    return (int(rng.choice(others)) - position) % len(tokens) if len(others) else 0


def _other(
    tokens: Tokens, position: int, classes: Mapping[str, Ints], names: list[str], rng: np.random.Generator
) -> tuple[str, int]:
    """A token of the first class in `names` that does not contain the present one."""
    present = int(tokens[position])
    for name in names:
        members = classes[name]
        if present not in members:
            return name, int(members[int(rng.integers(len(members)))])
    members = classes[names[0]][classes[names[0]] != present]
    return names[0], int(members[int(rng.integers(len(members)))])
