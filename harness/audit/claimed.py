"""What submission.json claims, read as numbers. It is free text by strangers: anything may be anything."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

#: The headline and its spread, in the spellings of the merged records.
BPB = ("val_bpb", "mean_val_bpb", "mean_bpb", "val_bpb_mean")
LOSS = ("val_loss", "mean_val_loss", "mean_val_loss_nats", "val_loss_mean")
BPB_STD = ("val_bpb_std", "std_val_bpb", "std_bpb")
LOSS_STD = ("val_loss_std", "std_val_loss", "std_val_loss_nats")
TOTAL = ("bytes_total", "artifact_bytes", "artifact_size_bytes", "total_bytes", "artifact_bytes_mean")
LARGEST = (*TOTAL, "artifact_bytes_max")

_TIME = re.compile(
    r"(?:^|_)(?P<phase>train|training|wallclock|eval|evaluation|ttt)(?:_\w+)?_(?P<unit>s|ms|sec|secs|seconds)(?:_mean|_max|_min)?$"
)
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,3})?")
_MOST = 200  # seeds and list items that are read


@dataclass(frozen=True)
class Quantity:
    """A number as it is claimed: where it stands, its value, how it is written, and half a unit of its last digit."""

    field: str
    value: float
    written: str
    half: float


@dataclass(frozen=True)
class Time:
    """Seconds that a phase, "train" or "eval", is said to have taken."""

    field: str
    phase: str
    seconds: float


def quantity(field: str, value: object) -> Quantity | None:
    """A number, or a number in quotes, as a quantity; None for anything else, booleans and infinities included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**30:
        return None
    written = value.strip() if isinstance(value, str) else repr(value) if isinstance(value, float) else f"{value:d}"
    if not _NUMBER.fullmatch(written):
        return None
    try:
        exact = Decimal(written)
        number, exponent = float(exact), exact.as_tuple().exponent
    except (InvalidOperation, ValueError, OverflowError):
        return None
    if not (math.isfinite(number) and isinstance(exponent, int)):
        return None
    return Quantity(field, number, written, 0.5 * 10.0 ** max(-30, min(exponent, 30)))


def first(claims: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> Quantity | None:
    """The first of these fields that holds a number."""
    found = (quantity(prefix + name, claims.get(name)) for name in names)
    return next((one for one in found if one is not None), None)


def unreadable(claims: Mapping[str, Any]) -> list[str]:
    """Loss and size fields that hold something else than a number."""
    names = (*BPB, *LOSS, *BPB_STD, *LOSS_STD, *LARGEST)
    return [name for name in names if claims.get(name) is not None and quantity(name, claims[name]) is None]


def quoted(claims: Mapping[str, Any]) -> list[str]:
    """Loss and size fields whose number stands in quotation marks."""
    return [name for name in (*BPB, *LOSS, *LARGEST) if isinstance(claims.get(name), str)]


def per_seed(claims: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Results by seed: `seed_results`, or `seeds` where that is an object."""
    for name in ("seed_results", "seeds"):
        results = claims.get(name)
        if isinstance(results, Mapping):
            items = list(results.items())[:_MOST]
            return {str(seed): one for seed, one in items if isinstance(one, Mapping)}
    return {}


def seed_field(seed: str) -> str:
    """How the results of a seed are called in a finding, with a dot at the end."""
    return f"seed_results.{_plain(seed)}."


def listed_seeds(claims: Mapping[str, Any]) -> list[str]:
    """The seeds in a list `seeds`, as text."""
    seeds = claims.get("seeds")
    if not isinstance(seeds, list):
        return []
    return [str(seed) for seed in seeds[:_MOST] if isinstance(seed, int | str) and not isinstance(seed, bool)]


def over_seeds(results: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[Quantity]:
    """One quantity per seed, for the seeds that have one."""
    found = (first(one, names, seed_field(seed)) for seed, one in results.items())
    return [one for one in found if one is not None]


def promises(claims: Mapping[str, Any]) -> dict[str, str]:
    """Booleans that are true, at the top or under `compliance`: the bare name in lower case, and where it stands."""
    compliance = claims.get("compliance")
    inner = compliance if isinstance(compliance, Mapping) else {}
    made = {str(name).lower(): str(name) for name, value in claims.items() if value is True}
    return made | {str(name).lower(): f"compliance.{name}" for name, value in inner.items() if value is True}


def times(claims: Mapping[str, Any]) -> Iterator[Time]:
    """Every duration of training or evaluation that is claimed, in seconds."""
    compliance = claims.get("compliance")
    places: list[tuple[str, Mapping[str, Any]]] = [("", claims)]
    places += [("compliance.", compliance)] if isinstance(compliance, Mapping) else []
    places += [(seed_field(seed), one) for seed, one in per_seed(claims).items()]
    for prefix, place in places:
        for name, value in place.items():
            match = _TIME.search(str(name)[:80])
            if match is None:
                continue
            phase = "train" if match["phase"] in ("train", "training", "wallclock") else "eval"
            for item in value[:_MOST] if isinstance(value, list) else [value]:
                if (found := quantity(prefix + _plain(name), item)) is not None:
                    yield Time(found.field, phase, found.value / (1000 if match["unit"] == "ms" else 1))


def track(claims: Mapping[str, Any]) -> str:
    """The track in lower case, "" where none is named."""
    named = claims.get("track")
    return named.lower() if isinstance(named, str) else ""


def claims_record(claims: Mapping[str, Any], scale: str) -> bool:
    """A record is claimed: a score for the record track, and this is the scale that records are made at."""
    named = track(claims)
    on_track = "10min" in named and "non" not in named
    return scale == "record" and on_track and first(claims, BPB) is not None


def quote(value: object) -> str:
    """A claimed value as one short line of plain characters."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = "something unreadable"
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(name: object) -> str:
    return ascii(str(name)[:40])[1:-1]
