"""A script's settings for one pass at the submitted lengths: windows, strides and chunk ends as submitted, few of them.

The tiny settings stay but for what has to do with length. Width and depth are small, training is a step, and a batch
holds as many windows as fit into memory: their logits are most of what such a run needs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.scripts.scale import VOCABULARY, Change, Tiny
from harness.scripts.settings.submitted import Settings

#: Bytes that the logits of one batch may take, as float32.
LOGITS = 1 << 28
#: What the vocabulary holds beside the stream's own tokens: byte pieces, tokens of training, and replacements.
BESIDE = 900
_MOST = 1 << 15
#: How `scale` names a constant of the source that it made small.
_WRITTEN = re.compile(r"(?<!\w)(?P<name>\w++)(\((?P<parameter>\w++)\))? \(line (?P<line>\d+) of the source\)")
_AS_SETTINGS = {"chunk_tokens": "CHUNK_TOKENS", "chunk_size": "CHUNK_TOKENS"}


@dataclass(frozen=True)
class Long:
    """How to run a script once at the submitted lengths.

    Attributes:
        small: the settings.
        window: the longest window, in tokens, as submitted.
        tokens: of the validation stream.
        reduced: what has to do with length and is not as submitted all the same.
    """

    small: Tiny
    window: int
    tokens: int
    reduced: tuple[Change, ...]


@dataclass(frozen=True)
class _Room:
    """What there is room for.

    Attributes:
        window: as submitted.
        train: training sequence as submitted.
        windows: of a batch.
        share: the tiny training batch, in units of eight sequences.
        heads: of queries as submitted, 0 where that is not known.
    """

    window: int
    train: int
    windows: int
    share: int
    heads: int


@dataclass(frozen=True)
class _Rule:
    pattern: str
    how: Callable[[float, _Room], float]
    why: str = ""


def _same(real: float, room: _Room) -> float:
    return real


_MEMORY = "the logits of a batch have to fit into memory"
_ENDS = "a chunk ends inside the stream"

#: The first that matches counts; a setting that matches none stays as small as it is. Those without a reason have
#: nothing to do with length, or are as submitted.
_RULES = (
    _Rule(r"\w*SEQ_LEN|YARN_MAX_LEN|REGIME_WINDOW|EVAL_OVERLAP|\w+_DOC_LEN", _same),
    _Rule(r"NUM_HEADS|N_HEAD", lambda real, room: min(real, 2)),
    _Rule(r"NUM_KV_HEADS|N_KV_HEAD", lambda real, room: max(1, 2 * real // (room.heads or 8))),
    _Rule(r"(\w+_)?STRIDE|\w+_FOCAL_TOKENS", _same),
    _Rule(r"TRAIN_BATCH_TOKENS|BATCH_TOKENS", lambda real, room: 8 * room.share * room.train),
    _Rule(r"VAL_BATCH_(SIZE|TOKENS)", lambda real, room: 8 * max(room.window, room.train)),
    _Rule(r"\w*CHUNK(_TOKENS|_SIZE)?", lambda real, room: min(real, room.window), _ENDS),
    _Rule(r"TTT_BATCH(_SEQS|_SIZE)?", lambda real, room: min(real, 2)),
    _Rule(r"\w*BATCH_SEQS|\w*EVAL_BATCH|SLIDING_BATCH_SIZE|EVAL_BATCH_SIZE|batch_seqs|batch_size",
          lambda real, room: min(real, room.windows), _MEMORY),
    _Rule(r"(TOTAL_|NUM_)?ITERATIONS|MAX_STEPS|TRAIN_STEPS|NUM_ITERS|(\w+_)?EPOCHS", lambda real, room: 1),
    _Rule(r"(GPTQ|AR)_CALIB(RATION)?_(BATCHES|SEQS|SAMPLES)|GPTQ_NUM_SEQS|GPTQ_BATCH_SIZE", lambda real, room: 1),
)  # fmt: skip


def lengthen(settings: Settings, small: Tiny) -> Long | str | None:
    """The settings of a run at the submitted lengths; why there can be none; None where the tiny run is one already.

    Args:
        settings: as submitted.
        small: the same at the tiny size.
    """
    (train_tiny, train), (window_tiny, window), *strides = small.lengths
    if (train_tiny, window_tiny) == (train, window):
        return None
    tokens = 2 * max(window, train) + 1  # two whole windows: many scripts cut the text to a multiple of it
    vocab = max(small.vocab_size, -(-(tokens + BESIDE) // 256) * 256)
    chosen = small.env.get("VOCAB_SIZE") == str(VOCABULARY)  # by `scale`, not by anybody who asked for it
    if vocab > small.vocab_size and not chosen:
        return f"a stream of {tokens:,} different tokens does not fit into its vocabulary of {small.vocab_size:,}"
    if tokens > _MOST:
        return f"a window of {window:,} tokens is longer than a stream of different tokens can be"
    room = _Room(window, train, max(1, LOGITS // (4 * window * vocab)),
                 max(1, _number(small.env.get("TRAIN_BATCH_TOKENS")) // (8 * train_tiny)),
                 _number(settings.get("NUM_HEADS") or settings.get("N_HEAD")))  # fmt: skip
    env, argv, changed, reduced = dict(small.env), list(small.argv), [], []
    if vocab > small.vocab_size:
        env["VOCAB_SIZE"] = str(vocab)
    constants = dict(small.constants)
    for one in small.changed:
        written = _WRITTEN.fullmatch(one.name)
        name = (written["parameter"] or written["name"]) if written else one.name
        found = _lengthened(_AS_SETTINGS.get(name, name), one.real, one.tiny, room)
        if found is None:
            changed.append(one)
            continue
        value, why = found
        if written:
            constants[f"{written['line']}:{name}"] = float(value) if "." in value else int(value)
        elif name in env:
            env[name] = value
        elif name in argv:
            argv[argv.index(name) + 1] = value
        if value != one.real:
            other = Change(one.name, one.real, value, why or one.why)
            changed.append(other)
            reduced += [other] if why else []
    for fixed in small.fixed:
        name = fixed.name.partition("(")[2].rstrip(")") or fixed.name
        found = _lengthened(_AS_SETTINGS.get(name, name), fixed.value, fixed.value, room)
        if found is not None and found[0] != fixed.value:
            constants[fixed.key] = int(found[0])
            reduced.append(Change(f"{fixed.name} (line {fixed.line} of the source)", fixed.value, *found))
    stages = tuple(
        {name: (_lengthened(name, stage.env[name], value, room) or (value, ""))[0] for name, value in tiny.items()}
        for stage, tiny in zip(settings.stages, small.stages, strict=True)
    )
    lengths = tuple((real, real) for _, real in small.lengths)
    made = dataclasses.replace(
        small, env=env, stages=stages, argv=tuple(argv), changed=tuple(changed), vocab_size=vocab, train_length=train,
        eval_length=window, stride=strides[0][1] if strides else 0, lengths=lengths, constants=constants,
    )  # fmt: skip
    return Long(made, window, tokens, tuple(reduced))


def _lengthened(name: str, real: str | None, tiny: str, room: _Room) -> tuple[str, str] | None:
    """A setting's value in the long run and why it is not as submitted; None where it stays tiny."""
    plain = name.lstrip("-").replace("-", "_")
    rule = next((rule for rule in _RULES if re.fullmatch(rule.pattern, plain, re.I)), None)
    if rule is None:
        return None
    try:
        number = float(real) if real is not None else float(tiny)
    except ValueError:
        return (real, "") if real is not None and rule.how is _same else None
    wanted = rule.how(number, room)
    if wanted == number and real is not None:
        return real, ""
    return f"{wanted:g}" if wanted != int(wanted) else str(int(wanted)), rule.why


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
