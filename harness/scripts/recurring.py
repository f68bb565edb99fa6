"""Runs on text in which phrases recur, for scripts that count tokens: counts do nothing where every token is new.

Three or five runs: the script on recurring text, then the same with single tokens replaced, far from each other, by
tokens that were drawn from the rows that scored them. That flips tokens for causality on text where counts act. Where a
mixture lowered the charge a lot decides whether the token stays, which shows what the mixture sums to over the
vocabulary (see `checks.substitution`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.referee.null import CERTAIN
from harness.scripts.checks import substitution
from harness.scripts.checks.evidence import Recurring, ScriptEvidence, Substituted, counterpart
from harness.scripts.play import streams as data
from harness.scripts.play.running import Playable, Played
from harness.scripts.play.streams import Streams
from harness.scripts.trace import reading
from harness.scripts.trace.passes import Pass
from harness.scripts.trace.reading import ScriptTrace

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
    return sum(len(_COUNTS.findall(text)) for text in script.texts(_CODE)) >= _OFTEN


def gather(
    play: Play, evidence: ScriptEvidence, base: Played, streams: Streams, seed: int, only: data.Ints | None = None
) -> Recurring | None:
    """The runs; None where the script took another path on recurring text, so that positions could not be told.

    Args:
        play: `play.running.Runner.play`.
        evidence: with the base run.
        base: the base run as it was played, whose positions the others get.
        streams: its data.
        seed: of the text and of the places.
        only: int64 [k], sorted: make that one run alone which replaces the tokens at these places, for a replay.
    """
    tokens = len(streams.validation)
    text, _ = data.repeated(streams, seed)
    first = play("recurring", data.with_validation(streams, text), replay=base.locations, draw=True)
    read = reading.read(first.observed, tokens)
    scored = _pass(evidence.base, read)
    if scored is None:
        return None
    # Rows may be off 1 by rounding; tokens are drawn from the row divided by its sum.
    drawn_nll = scored.alternative + np.where(scored.logit, 0.0, scored.lse)
    scored = dataclasses.replace(scored, alternative=np.full(len(drawn_nll), np.nan))
    found = Recurring(text, scored, drawn_nll, (), first.seconds)
    chosen = [dealt for at in places(found, streams, seed) if len((dealt := deal(found, at, seed)).places)]
    if only is not None:
        chosen = [dealt for dealt in chosen if np.array_equal(dealt.places, only)]
    if not chosen:
        return found

    def again(index: int) -> tuple[Substituted | None, float]:
        dealt, made = chosen[index], text.copy()
        made[dealt.places] = dealt.tokens
        played = play(f"substituted-{index}", data.with_validation(streams, made), replay=base.locations)
        other = _pass(evidence.base, reading.read(played.observed, tokens))
        return None if other is None else dataclasses.replace(dealt, scored=other), played.seconds

    with ThreadPoolExecutor(2) as pool:
        for pair in range(0, len(chosen), 2):
            runs = list(pool.map(again, range(pair, min(pair + 2, len(chosen)))))
            more = tuple(made for made, _ in runs if made is not None)
            spent = found.seconds + max(seconds for _, seconds in runs)
            found = dataclasses.replace(found, substituted=found.substituted + more, seconds=spent,
                                        lost=len(runs) - len(more))  # fmt: skip
            if found.lost or not _PROMISING < substitution.total(found).wealth < CERTAIN:
                break
    return found


def places(found: Recurring, streams: Streams, seed: int) -> list[data.Ints]:
    """Where to replace tokens, a list for each round: in the later half, charges that a mixture lowered first.

    What is chosen where the lots decide depends on the first run alone, and on u only as far as it is another token.
    """
    scored, text = found.scored, found.text
    rng = np.random.default_rng((seed, 3))
    rank = scored.rank(len(text))
    at = np.flatnonzero(rank >= 0)
    first = rank[at]
    by_lot = np.zeros(len(text), bool)
    by_lot[at] = substitution.source(scored, found.drawn_nll).usable[first]
    drawn = np.full(len(text), -1, np.int64)
    drawn[at] = scored.drawn[first]
    usable = (drawn >= 0) & (drawn != text) & (by_lot | ~substitution.special(drawn, text))
    usable[at] &= first >= len(scored.position) // 2  # late both as the script scores and in the stream
    usable[: len(text) // 2] = False
    usable[streams.bos_positions] = usable[-1] = False
    order = rng.permutation(np.flatnonzero(usable))
    order = order[np.argsort(~by_lot[order], kind="stable")]
    rounds: list[list[int]] = [[] for _ in range(ROUNDS)]
    for place in order:
        free = (c for c in rounds if len(c) < MOST and all(abs(place - other) >= substitution.APART for other in c))
        if (chosen := next(free, None)) is not None:
            chosen.append(int(place))
    return [np.array(sorted(chosen), np.int64) for chosen in rounds if chosen]


def deal(found: Recurring, at: data.Ints, seed: int) -> Substituted:
    """Which of these places, int64 [k], get the token that was drawn for them; `scored` is that of the first run.

    Everywhere but where a mixture lowered the charge: there by lot, as `substitution` has it.
    """
    rank = found.scored.rank(len(found.text))[at]
    known, drawn = substitution.source(found.scored, found.drawn_nll), found.scored.drawn[rank]
    lots = np.random.default_rng((seed, 4, *at[:1].tolist())).random(len(at))
    kept = known.usable[rank] & (lots < known.keeps[rank])
    untried = ~kept & substitution.special(drawn, found.text)
    put = ~kept & ~untried
    return Substituted(at[put], drawn[put].astype(np.uint16), found.scored, at[kept], at[untried])


def _pass(base: ScriptTrace, other: ScriptTrace) -> Pass | None:
    """The pass that counts, in a run whose positions came from the base run."""
    if any("replay" in str(item.get("name")) for item in other.unknown):
        return None
    return counterpart(base, other)
