"""Runs on text in which phrases recur, for scripts that count tokens: counts do nothing where every token is new.

Three or five runs: the script on recurring text, then the same with single tokens replaced, far from each other, by
tokens that were drawn from the rows that scored them. That flips tokens for causality on text where counts act, and it
shows what a mixture gives to the tokens that did not come (see `checks.substitution`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.referee.null import CERTAIN
from harness.scripts import streams as data
from harness.scripts import trace
from harness.scripts.checks import substitution
from harness.scripts.checks.evidence import Recurring, ScriptEvidence, Substituted, counterpart
from harness.scripts.passes import Pass
from harness.scripts.running import Playable, Played
from harness.scripts.streams import Streams
from harness.scripts.trace import ScriptTrace

#: Words of scripts that count tokens. A hashed bigram embedding, which most scripts have, is learned and no count.
_COUNTS = re.compile(
    r"n_?-?gram|\bppm|ppm_|back_?off|suffix_(?:tree|array|automaton)|(?:hash|count|phrase)\w{0,40}_cache|\btilt|tilt_|"
    r"kneser|krause|skip_?gram|follower_counts|copy_(?:model|expert)",
    re.I,
)

#: A script that really counts says so more than once or twice.
_OFTEN = 3

#: Runs with replaced tokens, each of other places. Two go side by side; two more where those point to a sum above 1.
ROUNDS = 4
_PROMISING = 2.0
#: Tokens that one round replaces.
MOST = 120

Play = Callable[..., Played]
_CODE = (".py", ".c", ".cc", ".cpp", ".cu", ".h")


def counts(script: Playable) -> bool:
    """Whether a script's own source has words of counting tokens."""
    texts = [script.source]
    if script.folder is not None:
        side = [script.folder / name for name in script.side if name.endswith(_CODE)]
        texts += [path.read_text(errors="replace") for path in side if path.is_file()]
    return sum(len(_COUNTS.findall(text)) for text in texts) >= _OFTEN


def gather(play: Play, evidence: ScriptEvidence, base: Played, streams: Streams, seed: int) -> Recurring | None:
    """The runs; None where the script took another path on recurring text, so that positions could not be told.

    Args:
        play: `gathering.Runner.play`.
        evidence: with the base run.
        base: the base run as it was played, whose positions the others get.
        streams: its data.
        seed: of the text and of the places.
    """
    tokens = len(streams.validation)
    text, _ = data.repeated(streams, seed)
    first = play("recurring", data.with_validation(streams, text), replay=base.locations, draw=True)
    read = trace.read(first.observed, tokens)
    scored = _pass(evidence.base, read)
    if scored is None:
        return None
    chosen = places(scored, text, streams, seed)
    if not chosen:
        return Recurring(text, scored, (), first.seconds)

    def again(index: int) -> tuple[Substituted | None, float]:
        at, made = chosen[index], text.copy()
        made[at] = drawn_at(scored, at)
        played = play(f"substituted-{index}", data.with_validation(streams, made), replay=base.locations)
        other = _pass(evidence.base, trace.read(played.observed, tokens))
        return None if other is None else Substituted(at, made[at], other), played.seconds

    found = Recurring(text, scored, (), first.seconds)
    with ThreadPoolExecutor(2) as pool:
        for pair in range(0, len(chosen), 2):
            runs = list(pool.map(again, range(pair, min(pair + 2, len(chosen)))))
            more = tuple(made for made, _ in runs if made is not None)
            spent = found.seconds + max(seconds for _, seconds in runs)
            found = Recurring(text, scored, found.substituted + more, spent)
            if not _PROMISING < substitution.total(found).wealth < CERTAIN:
                break
    return found


def places(scored: Pass, text: data.Tokens, streams: Streams, seed: int) -> list[data.Ints]:
    """Where to replace tokens, a list for each round: in the later half, charges that a mixture lowered first."""
    rng = np.random.default_rng((seed, 3))
    rank = scored.rank(len(text))
    usable = np.zeros(len(text), bool)
    drawn = np.full(len(text), -1, np.int64)
    first = rank[rank >= 0]
    at = np.flatnonzero(rank >= 0)
    drawn[at] = scored.drawn[first]
    usable[at] = (drawn[at] >= 0) & (drawn[at] != text[at]) & ~substitution.special(drawn[at], text)
    usable[at] &= rank[at] >= len(scored.position) // 2  # late both as the script scores and in the stream
    usable[: len(text) // 2] = False
    usable[streams.bos_positions] = usable[-1] = False
    lowered = np.zeros(len(text), bool)
    lowered[at] = scored.lowered[first]
    order = rng.permutation(np.flatnonzero(usable))
    order = order[np.argsort(~lowered[order], kind="stable")]
    rounds: list[list[int]] = [[] for _ in range(ROUNDS)]
    for place in order:
        free = (c for c in rounds if len(c) < MOST and all(abs(place - other) >= substitution.APART for other in c))
        if (chosen := next(free, None)) is not None:
            chosen.append(int(place))
    return [np.array(sorted(chosen), np.int64) for chosen in rounds if chosen]


def drawn_at(scored: Pass, positions: data.Ints) -> data.Tokens:
    """The tokens that were drawn from the rows of these positions, uint16."""
    rank = scored.rank(int(scored.position.max()) + 1)
    return scored.drawn[rank[positions]].astype(np.uint16)


def _pass(base: ScriptTrace, other: ScriptTrace) -> Pass | None:
    """The pass that counts, in a run whose positions came from the base run; ids say nothing there."""
    if any("replay" in str(item.get("name")) for item in other.unknown):
        return None
    found = counterpart(base, other)
    return None if found is None else dataclasses.replace(found, alternative=np.full(len(found.position), np.nan))
