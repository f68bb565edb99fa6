"""Dated rulesets: what is checked against, as data. The engine does not change when the rules do."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError

DEFAULT = "2026-04-28"

#: Rules that the checks cite; a ruleset has them all, and may have more.
CITED = (
    "noise",
    "C1",
    "C2",
    "C3",
    "C4",
    "metric",
    "size",
    "train_clock",
    "eval_clock",
    "isolation",
    "data",
    "boundary",
    "claims",
    "records",
    "proof",
)

Unit = Literal["token", "byte"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Table):
    """One rule: its text in our own words, where it comes from, and what helps."""

    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    source: str = Field(min_length=1)
    remedy: str = Field(min_length=1)


class Limits(_Table):
    """Numbers: bytes (decimal), seconds, and the hardware that the seconds are for."""

    total_bytes: int = Field(gt=0)
    train_seconds: float = Field(gt=0, allow_inf_nan=False)
    eval_seconds: float = Field(gt=0, allow_inf_nan=False)
    hardware: str
    size_convention: str = Field(pattern="^(shipped|wrapped|all_files)$")


class Policy(_Table):
    """Where rulesets differ in principle.

    Attributes:
        adaptation: "scored-only" admits updates from tokens that are scored already (Track B of issue #1017),
            "forbidden" admits none at all (Track A).
        unruled_is: "unruled" reports a practice without a ruling as what it is, "fail" holds it against the submission.
    """

    adaptation: Literal["scored-only", "forbidden"]
    unruled_is: Literal["unruled", "fail"]


class Bar(_Table):
    """What a record has to show: an improvement of more than `margin_nats` per `margin_unit`, at p < `p_value`."""

    title: str = Field(min_length=1)
    margin_nats: float = Field(ge=0, allow_inf_nan=False)
    margin_unit: Unit
    p_value: float = Field(gt=0, lt=1, allow_inf_nan=False)
    source: str = Field(min_length=1)


class Significance(_Table):
    """How a record is told from luck: the bars by name, the one that decides, and how many seeds are wanted."""

    decides: str
    test: Literal["welch"]
    min_seeds: int = Field(ge=2)
    max_seeds: int = Field(ge=2)
    source: str = Field(min_length=1)
    bar: dict[str, Bar] = Field(min_length=1)


class Ruleset(_Table):
    """A whole ruleset. `unruled` names practices without a ruling, and why each is unruled."""

    name: str = Field(min_length=1)
    title: str = Field(min_length=1)
    limits: Limits
    policy: Policy
    significance: Significance
    rule: dict[str, Rule]
    unruled: dict[str, str] = {}
    sha256: str = ""


def load(name: str = DEFAULT) -> Ruleset:
    """Read a ruleset that ships with the harness, by name, or a TOML file, by path.

    Raises:
        UsageError: no such ruleset, or the file does not fit the schema, or lacks a rule that a check cites.
    """
    known = available()
    shipped = resources.files(__name__) / f"{name}.toml"
    try:
        content = (shipped if name in known else Path(name)).read_bytes()
    except (OSError, ValueError):
        raise UsageError(f"no ruleset {name!r}; the harness ships {', '.join(known)}, or give a .toml file") from None
    try:
        data = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"ruleset {name} is not TOML: {error}") from None
    if "sha256" in data:
        raise UsageError(f"ruleset {name}: sha256: no such field; the harness computes it")
    try:
        ruleset = Ruleset.model_validate({**data, "sha256": hashlib.sha256(content).hexdigest()})
    except ValidationError as error:
        raise UsageError(f"ruleset {name}: {_plain(error.errors()[0])}") from None
    if missing := [rule for rule in CITED if rule not in ruleset.rule]:
        raise UsageError(f"ruleset {name}: rule.{missing[0]}: missing; the checks cite {', '.join(CITED)}")
    wanted = ruleset.significance
    if wanted.decides not in wanted.bar:
        raise UsageError(
            f"ruleset {name}: significance.decides: no bar {wanted.decides!r}; there are {', '.join(wanted.bar)}"
        )
    if wanted.min_seeds > wanted.max_seeds:
        raise UsageError(
            f"ruleset {name}: significance.min_seeds: {wanted.min_seeds} are more than max_seeds, {wanted.max_seeds}"
        )
    return ruleset


def available() -> list[str]:
    """Names of the rulesets that ship with the harness: by date, oldest first, then the others."""
    names = (path.name for path in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def _plain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = {"missing": "missing", "extra_forbidden": "no such field"}.get(problem["type"])
    if message is None:
        message = f"{problem['msg']}, got {str(problem['input'])[:60]!r}"
    return f"{where}: {message}"
