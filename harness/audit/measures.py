"""What a finding's numbers are called: an id that stays, and for people a label and a unit, all of them in one file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from harness.record import Metric, Value


@cache
def measures() -> dict[str, tuple[str, str]]:
    """Label and unit of every number, by its id; from measures.toml."""
    content = resources.files("harness.audit").joinpath("measures.toml").read_text(encoding="utf-8")
    return {name: (one["label"], one["unit"]) for name, one in tomllib.loads(content).items()}


def metrics_of(values: Mapping[str, Value]) -> list[Metric]:
    """Values by id as a finding holds them, in their order.

    Raises:
        KeyError: an id is not in measures.toml.
    """
    known = measures()
    return [Metric(id=name, value=value, label=known[name][0], unit=known[name][1]) for name, value in values.items()]
