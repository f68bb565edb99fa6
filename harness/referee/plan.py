"""Where to flip, and to what: probes at the edges that a trace shows, and at random positions.

Leaks hide at edges: the first position of a batch sees the rest of the batch, the last positions of a window are read
by the windows after it. The trace of the scored run says where those edges are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.corpus.tokenbytes import ByteTable
from harness.corpus.tokenizer import Tokenizer
from harness.referee.null import Bigram
from harness.referee.source import ALTERNATIVE, BEFORE_END, DOCUMENT_END, Probe, Tokens
from harness.referee.trace import Commit, Read, Trace, Update

Ints = NDArray[np.int64]

DOCUMENT_START = "document start"

#: Batches that are scored after an update with unscored tokens in hand, and get a suffix each.
AIMED = 8

#: Tokens of the stream that what naturally follows a token is looked up in.
_FOLLOWED = 2_000_000
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
    splits: int = 12,
    starts: int = 4,
) -> list[Probe]:
    """Probes for processes that are split off one evaluation; the same trace and seed give the same plan.

    Args:
        trace: the scored run.
        tokens: the stream that was scored, uint16.
        classes: from `token_classes`; the first token of a suffix is of another class, each class in turn.
        seed: of these choices.
        splits: suffixes, at most, one more for each of `AIMED` batches that are scored after an update that was made
            with unscored tokens in hand: half of them at edges of commits and windows (a quarter at the last position
            of a commit, where the state before it can be compared), the others one in each of so many equal parts of
            the stream.
        starts: swaps that make or remove a document's start, half of them each.

    Returns:
        Probes by position.
    """
    rng = np.random.default_rng([seed, 0xF11B])
    last = int(trace.order.argmax()) if trace.in_order else int(trace.scored.max(initial=0))
    # Position `last` has no row after it, so a probe there could not show that it had teeth.
    ends = sorted({t for t in edges(trace, rng) if 1 <= t < last and trace.order[t] >= 0})
    chosen = {int(t) for t in rng.permutation(ends)[: splits // 4]}
    commits = [event for event in trace.events if isinstance(event, Commit) and event.high < last]
    chosen |= {event.high for event in _spread(commits, splits // 4, rng)}
    chosen |= set(stratified(trace, splits - len(chosen), rng))
    chosen |= {t for t in _after_updates(trace, rng) if 1 <= t < last}
    bos = {int(token) for token in classes.get(DOCUMENT_START, ())}
    plain = {name: members for name, members in classes.items() if name != DOCUMENT_START}
    positions = sorted(t for t in chosen if int(tokens[t]) not in bos)
    names, probes = list(plain), []
    first = int(rng.integers(len(names)))
    for index, position in enumerate(positions):
        name, _ = _other(tokens, position, plain, names[(first + index) % len(names) :] + names, rng)
        if shift := rotation(tokens, position, rng, plain[name]):
            probes.append(Probe("suffix", position, shift=shift))
    if bos and trace.in_order:  # else the order depends on where documents begin, and such a swap accuses nobody
        begins = [int(t) for t in np.flatnonzero(np.isin(tokens, list(bos))) if 1 < t < last and trace.order[t] >= 0]
        removed = [int(t) for t in rng.permutation(begins)[: starts // 2]]
        made = [t for t in stratified(trace, starts - len(removed), rng) if t not in begins]
        for t in (*removed, *made):
            members = bos if t in made else plain[names[int(rng.integers(len(names)))]]
            token = int(rng.choice(np.array(sorted(int(m) for m in members))))
            probes.append(Probe("swap", t, token=token, token_class=DOCUMENT_START))
    return sorted(probes, key=lambda probe: probe.position)


def read_at_once(trace: Trace) -> bool:
    """Whether half of the stream or more was read before anything was scored."""
    first = [event.ranges for event in trace.events if isinstance(event, Read) and event.scored == 0]
    return any(int((ranges[:, 1] - ranges[:, 0]).max(initial=0)) >= trace.tokens // 2 for ranges in first)


def _after_updates(trace: Trace, rng: np.random.Generator) -> list[int]:
    """A position in each of some commits that come next after an update made with unscored tokens in hand."""
    starts = {event.start: event for event in trace.events if isinstance(event, Commit)}
    updates = [event for event in trace.events if isinstance(event, Update) and event.pending > 0]
    early = list({event.scored: starts[event.scored] for event in updates if event.scored in starts}.values())
    chosen = [early[int(i)] for i in rng.permutation(len(early))[:AIMED]]
    return [int(rng.integers(event.low, event.high + 1)) for event in chosen]


def sampled(trace: Trace, tokens: Tokens, *, seed: int, count: int, bos: int = -1) -> list[Probe]:
    """Suffixes at one position of each of `count` equal parts of the stream: what a leak is priced from."""
    rng = np.random.default_rng([seed, 0x9A1C])
    positions = [t for t in stratified(trace, count, rng) if tokens[t] != bos]
    shifts = [(t, rotation(tokens, t, rng)) for t in positions]
    return [Probe("suffix", t, shift=shift, sampled=True) for t, shift in shifts if shift]


def spread(
    tokens: Tokens, classes: Mapping[str, Ints], rng: np.random.Generator, begin: int, stop: int, distance: int
) -> list[Probe]:
    """Swaps that are at least `distance` apart, from a random place after `begin` on, all before `stop`.

    Every second token is one that followed the token before it somewhere else in the stream, so that the text stays as
    natural as it can; the others are of each class in turn, since some gates tell only the class. Documents keep their
    starts.
    """
    bos = {int(token) for token in classes.get(DOCUMENT_START, ())}
    plain = {name: members for name, members in classes.items() if name != DOCUMENT_START}
    names = list(plain)
    turn = int(rng.integers(2 * len(names)))
    text = np.asarray(tokens[:_FOLLOWED])
    by_token = np.argsort(text[:-1], kind="stable")
    order = text[:-1][by_token]
    probes: list[Probe] = []
    position = begin + int(rng.integers(1, distance + 1))
    while position < stop:
        present = int(tokens[position])
        if present not in bos:
            before = tokens[position - 1]
            low, high = np.searchsorted(order, before, "left"), np.searchsorted(order, before, "right")
            follow = int(text[by_token[int(rng.integers(low, high))] + 1]) if high > low else present
            if turn % 2 and follow != present and follow not in bos:
                probes.append(Probe("swap", position, token=follow, token_class="natural", split=False))
            else:
                ahead = names[(turn // 2) % len(names) :] + names
                name, token = _other(tokens, position, plain, ahead, rng)
                probes.append(Probe("swap", position, token=token, token_class=name, split=False))
            turn += 1
        position += distance + int(rng.integers(distance // 3 + 1))
    return [probe for probe in probes if probe.token != int(tokens[probe.position])]


def guessed(
    probes: Sequence[Probe],
    tokens: Tokens,
    bigram: Bigram,
    taken: dict[int, list[int]],
    bos: int,
    rng: np.random.Generator,
) -> list[Probe]:
    """The same places with tokens drawn from a model of the training text, each with the probability of its drawing.

    Of a scorer that claims single probabilities each swap asks for one more. Whatever distribution it holds, what it
    claims for a drawn token is on average at most what the token was drawn with.

    Args:
        probes: swaps.
        tokens: the stream, uint16.
        bigram: what tokens are drawn from, given the one before.
        taken: by position, what was drawn there before; it is not drawn again, and what is drawn is added.
        bos: never drawn.
        rng: what draws.
    """
    made = []
    vocabulary = np.arange(bigram.vocab_size)
    for probe in probes:
        at = probe.position
        before = taken.setdefault(at, [int(tokens[at]), bos])
        weights = np.exp(bigram.log_p(np.full_like(vocabulary, int(tokens[at - 1])), vocabulary))
        weights[before] = 0.0
        weights /= weights.sum()
        token = int(rng.choice(vocabulary, p=weights))
        before.append(token)
        odds = float(np.log(weights[token]))
        made.append(Probe("swap", at, token=token, token_class=ALTERNATIVE, split=False, odds=odds))
    return made


def in_batches(
    trace: Trace, tokens: Tokens, classes: Mapping[str, Ints], *, seed: int, distance: int, wanted: int, most: int = 64
) -> list[Probe]:
    """Swaps for a scorer that never forgets: one process for each of some batches, each with as many as fit into it.

    Whatever such a scorer learns from a swap stays, so one evaluation tells of one swap; but batches are scored before
    it learns from them.

    Args:
        trace: the scored run.
        tokens: the stream, uint16.
        classes: from `token_classes`.
        seed: of these choices.
        distance: tokens between two swaps of one process, see `spread`.
        wanted: swaps in all.
        most: processes.
    """
    rng = np.random.default_rng([seed, 0xBA7C])
    commits = [event for event in trace.events if isinstance(event, Commit)]
    probes: list[Probe] = []
    for index in rng.permutation(len(commits))[:most]:
        commit = commits[int(index)]
        size = commit.high - commit.low + 1
        found = spread(tokens, classes, rng, commit.low - 1, commit.high + 1, min(distance, size))
        if found and sum(1 + len(probe.others) for probe in probes) < wanted:
            others = tuple((probe.position, probe.token) for probe in found[1:])
            probes.append(replace(found[0], split=True, others=others))
    return sorted(probes, key=lambda probe: probe.position)


def alternatives(
    trace: Trace, tokens: Tokens, vocab_size: int, *, seed: int, positions: int = 2, count: int = 24
) -> list[Probe]:
    """Swaps that ask for more of a row of which only the realised token's probability was claimed.

    At some positions with a claim the token is replaced by `count` others, drawn without replacement from the
    vocabulary.
    """
    rng = np.random.default_rng([seed, 0xA17])
    claimed = trace.claimed[trace.claimed < trace.tokens - 1]
    chosen = rng.choice(claimed, size=min(positions, len(claimed)), replace=False)
    probes = []
    for t in sorted(int(t) for t in chosen):
        others = np.delete(np.arange(vocab_size), int(tokens[t]))
        for token in rng.choice(others, size=min(count, len(others)), replace=False):
            probes.append(Probe("swap", t, token=int(token), token_class=ALTERNATIVE))
    return probes


#: How far before a document's last token another one is replaced to be held against it: within any context, and more
#: than a gate that looks one token back reaches through some layers.
BEFORE = 8


def boundaries(
    trace: Trace, tokens: Tokens, classes: Mapping[str, Ints], *, seed: int, count: int = 4, before: bool = False
) -> list[Probe]:
    """Swaps of the last token of some documents, by another of the frequent ones.

    Args:
        trace: the unperturbed run.
        tokens: the stream, uint16.
        classes: token ids by class.
        seed: of the choice.
        count: how many documents.
        before: also swap a token some way before each, where the document has one.
    """
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
        earlier = position - BEFORE
        others = classes["frequent"][classes["frequent"] != int(tokens[earlier])]
        inside = earlier > 0 and trace.order[earlier] >= 0 and not (tokens[earlier : position + 1] == bos).any()
        if before and inside and len(others):
            token = int(others[int(rng.integers(len(others)))])
            probes.append(Probe("swap", earlier, token=token, token_class=BEFORE_END))
    return sorted(probes, key=lambda probe: probe.position)


def stratified(trace: Trace, count: int, rng: np.random.Generator) -> list[int]:
    """One scored position from each of `count` equal parts of the stream, without the last one."""
    last = int(trace.order.argmax()) if trace.in_order else int(trace.scored.max(initial=0))
    edges = np.linspace(1, max(last, 1), count + 1).astype(int)
    picks = [int(rng.integers(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True) if high > low]
    return [t for t in picks if trace.order[t] >= 0]


def _spread(events: list[E], count: int, rng: np.random.Generator) -> list[E]:
    """The first, the last, and some in between."""
    if len(events) <= count:
        return list(events)
    between = rng.choice(np.arange(1, len(events) - 1), size=max(0, count - 2), replace=False)
    return [events[i] for i in sorted([0, len(events) - 1, *(int(i) for i in between)])]


def rotation(tokens: Tokens, position: int, rng: np.random.Generator, members: Ints | None = None) -> int:
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
