"""Why the counted pass of a script was not traced: a closed list, one short id and one sentence each.

Records name the id under `data.facts["not traced"]`, messages have the sentence, and the table of real submissions
counts them. What is on it leaves the score UNDECIDED (exit code 3): nothing was seen, so that nothing is accused and
nothing is cleared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: {id: sentence}. An id never changes its meaning.
REASONS: dict[str, str] = {
    "framework": "It is written for MLX or JAX; only what torch and numpy compute is followed.",
    "package": "It needs a package that is not installed here and that nothing stands in for.",
    "kernel": "It needs an operation that runs on a card only and that has no faithful stand-in.",
    "compiler": "It compiles a helper at run time, and that failed here.",
    "tokenizer": "It needs a tokenizer file of a kind of its own that the folder does not hold.",
    "file": "It needs a file that the folder does not hold and that is no shard or tokenizer of the contest's kind.",
    "source": "Its code cannot be read as Python here.",
    "memory": "The run at a small size needed more memory than it may have (see --memory).",
    "time": "The run at a small size took longer than it may (see --timeout).",
    "stopped": "It stopped with an error of its own at the small size, before it had scored the text.",
    "stopped after": "It stopped with an error of its own after a pass, and a later one may be what counts.",
    "label": "The run printed no line of the kind on which the claim stands.",
    "no pass": "No number that it reported was made of losses of the validation text that could be followed.",
    "another number": "The number that it reports is not made of the losses that were followed.",
    "unlocated": "Many losses belong to tokens that could not be found in the validation text.",
}

_FRAMEWORK = re.compile(r"\b(mlx|jax|flax)\b")
_CARD = re.compile(r"\bCUDA\b|\bcuda\b|NVIDIA|\btriton\b|compute capability|\bXPU\b")
_COMPILES = re.compile(r"\b(gcc|g\+\+|cc1?|c\+\+|clang\+*|nvcc|ninja|CalledProcessError|CompileError)\b|cpp_extension")
_NO_FILE = re.compile(r"FileNotFoundError|No such file|No files found|not found: |does not exist|Not found: ")
_TOKENIZER = re.compile(r"tokenizer|\.model\b|\.vocab\b|sentencepiece", re.I)


@dataclass(frozen=True)
class Reason:
    """Why a pass was not traced.

    Attributes:
        id: one of `REASONS`.
        detail: what was seen in this run, one clause.
    """

    id: str
    detail: str

    @property
    def sentence(self) -> str:
        """What the id means."""
        return REASONS[self.id]

    @property
    def told(self) -> dict[str, str]:
        """For a record."""
        return {"reason": self.id, "sentence": self.sentence, "detail": self.detail}


def of_ending(facts: Mapping[str, Any], error: str) -> str:
    """The id for a script that ended before it had scored the text.

    Args:
        facts: of the run, see `Observed.facts`.
        error: the last line of what it said.
    """
    ended = str(facts.get("ended") or "")
    names = [str(item.get("name")) for item in facts.get("missing") or () if isinstance(item, Mapping)]
    absent = [name.removeprefix("package ") for name in names if name.startswith("package ")]
    if any(_FRAMEWORK.search(name) for name in absent) or ("Error" in error and _FRAMEWORK.search(error)):
        return "framework"
    if ended == "no stand-in":
        return "package" if "ModuleNotFoundError" in error or "ImportError" in error else "kernel"
    if ended == "killed":
        return "memory" if "memory" in error else "time" if "second" in error else "stopped"
    if "SyntaxError" in error or "IndentationError" in error:
        return "source"
    if _COMPILES.search(error):
        return "compiler"
    if _NO_FILE.search(error):
        return "tokenizer" if _TOKENIZER.search(error) else "file"
    if "ModuleNotFoundError" in error or "ImportError" in error:
        return "package"
    if _CARD.search(error):
        return "kernel"
    return "tokenizer" if _TOKENIZER.search(error) else "stopped"
