"""The kinds of frame that cross the wire. Both sides use this module; it has no dependencies.

Instructions go to the box as JSON text (the parent is trusted). What comes back is arrays of numbers, and short
texts for people; nothing that comes back is ever interpreted.
"""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """One frame's meaning; the arrays that it carries are in brackets."""

    # parent -> box, on the control wire
    TRAIN = 1  # [json]
    LOAD = 2  # [json]
    EVALUATE = 3  # [json] + 1 fd for each rank: the wires of the new evaluation
    GENERATE = 4  # [json] + 1 fd: the wire on which rows for drawn text are asked for; no submission code takes part
    PLAY = 5  # [json, arrays of the streams and of the variants] + 1 fd for each variant: run a script
    STUB = 6  # [json]: run a stub until it would execute code

    # parent -> box, on an evaluation's wire
    HELLO = 8  # [int64: tokens, vocabulary]
    TOKENS = 9  # [uint16: the tokens asked for, ranges concatenated]
    REFUSED = 10  # [text]: the tokens asked for may not be read that way
    DRAWN = 12  # [int64 [B]]: the token drawn for each segment; the answer is ROWS
    FORK = 11  # [] + k fds: become k + 1 processes, answer UNSPLIT from the old one, wait for the answer
    GO = 13  # []: all ranks have come to the collective operation that MEET announced

    # box -> parent
    READY = 16  # []
    PROGRESS = 17  # [float64: step, steps, loss in nats, seconds]
    MARK = 18  # [int64: Mark]
    ARTIFACT = 19  # [uint8: container bytes]
    DONE = 20  # []
    SHAPE = 22  # [json text]: the kit's GPT that is trained, and the windows that it will be evaluated with
    FAILED = 21  # [text: one line], the traceback is in the log
    READ = 24  # [int64 [k, 2] ranges, uint8 [1] Purpose]
    COMMIT = 25  # [int64 [n] positions, float32 [n, V] rows ([n, 1] for REALISED), uint8 [1] Rows]
    UPDATE = 26  # [int64: optimizer steps, backward passes, since the last frame]
    ROWS = 28  # [float32 [B, V]]: logits of each segment's next token
    NOTICE = 27  # [text]: an event that the box's own telemetry saw (network, process, file)
    STATE = 30  # [int64 [3]: digests of the state, in order of `STATE`], before a commit, where one has changed
    MEET = 31  # []: this rank is about to exchange something with the others; waits for GO
    UNSPLIT = 32  # [text]: why the process could not be split, empty where it was; it goes on waiting
    SHOWN = 33  # [json text, text]: what a stub would have executed
    OBSERVED = 29  # [what `harness.scripts.trace.observed.Observed.to_arrays` made]


class Purpose(IntEnum):
    """Why tokens are read. The referee checks HISTORY; it writes the others down as what they are."""

    INPUT = 0  # context that a causal model conditions on
    TARGET = 1  # the tokens to be predicted
    HISTORY = 2  # tokens whose positions are scored already; anything else is refused


class Rows(IntEnum):
    """What a committed row holds."""

    LOGITS = 0  # unnormalised; the referee normalises
    LOG_PROBS = 1  # natural log of probabilities; the referee takes them as they are and checks their sum
    REALISED = 2  # one column: the log-probability of the realised token alone, as claimed


class Mark(IntEnum):
    """Points in training that the parent's clock notes when the frame arrives."""

    LOADED = 0  # code imported, model built
    LOOP_START = 1
    LOOP_END = 2
    ADAPTED = 3  # after_training done
    QUANTIZED = 4
    PACKED = 5


#: What an evaluation's state is digested in.
STATE = ("parameters", "buffers and optimizer state", "registered state")
