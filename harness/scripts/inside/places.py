"""Where in the script something happened: "train_gpt.py:812 eval_val < main:1207 < <module>:1300", innermost first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import CodeType, FrameType

_SHORT = 6
_LONG = 16


class Places:
    """The script's frames as texts, each text numbered once.

    Args:
        scripts: endings of the file names whose frames are the script's own ("train_gpt.py", a folder's module ...).
    """

    def __init__(self, scripts: Sequence[str]) -> None:
        self._endings = tuple(scripts)
        self._own: dict[int, bool] = {}
        self._codes: list[CodeType] = []  # keeps ids of code objects from being reused
        self._numbers: dict[tuple[int, ...], int] = {}
        self._by_text: dict[str, int] = {}
        self.texts: list[str] = []

    def here(self, full: bool = False) -> int:
        """Index into `texts` of the place that is running now; `full` keeps more of the callers."""
        frames: list[FrameType] = []
        wanted = _LONG if full else _SHORT
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and len(frames) < wanted:
            code = frame.f_code
            own = self._own.get(id(code))
            if own is None:
                own = self._own[id(code)] = code.co_filename.endswith(self._endings)
                self._codes.append(code)
            if own:
                frames.append(frame)
            frame = frame.f_back
        key = tuple(part for frame in frames for part in (id(frame.f_code), frame.f_lineno))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self.number(_text(frames))
        return number

    def number(self, text: str) -> int:
        """Index of a text in `texts`."""
        number = self._by_text.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


def _text(frames: Sequence[FrameType]) -> str:
    if not frames:
        return "outside the script"
    first = frames[0]
    name = first.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
    parts = [f"{name}:{first.f_lineno} {first.f_code.co_name}"]
    parts += [f"{frame.f_code.co_name}:{frame.f_lineno}" for frame in frames[1:]]
    return " < ".join(parts)
