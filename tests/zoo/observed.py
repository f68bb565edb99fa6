"""What was observed over ten seeds: kept as data, shown as docs/checks.md, and held against every new run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from harness.corpus.dataset import Dataset
from tests.zoo.cases import CASES, INFORMATION, Case
from tests.zoo.runner import HERE, MEASURES, SIDES, Outcome, Zoo

FILE = HERE / "observed.json"
TABLE = HERE.parent.parent / "docs" / "checks.md"

#: The zoo's stream ends with a document, before token 1,700.
TOKENS = 1700

Entry = dict[str, Any]


def zoo_dataset(dataset: Dataset) -> Dataset:
    """The first documents of the tiny data set."""
    starts = [i for i in range(1, TOKENS) if int(dataset.validation[i]) == dataset.tokenizer.bos_id]
    assert dataset.texts is not None
    return dataclasses.replace(
        dataset, validation=dataset.validation[: starts[-1]], texts=dataset.texts[: len(starts)], documents=len(starts)
    )


def entry(outcome: Outcome) -> Entry:
    """An outcome as it is kept: statuses, and sizes to four digits."""
    sizes = {check: float(f"{value:.4g}") for check, value in outcome.sizes.items()}
    return {"statuses": outcome.statuses, "sizes": sizes}


def observe(zoo: Zoo, case: Case, seeds: list[int]) -> dict[str, dict[str, Entry]]:
    """Both sides of one case, by seed."""
    return {
        side: {str(seed): entry(zoo.judge(case.animal, side, seed, own_box=case.own_box)) for seed in seeds}
        for side in SIDES
    }


def load() -> dict[str, Any]:
    """What was kept."""
    return json.loads(FILE.read_text())


def save(kept: dict[str, Any]) -> None:
    """Keep it, and write the table."""
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    TABLE.parent.mkdir(exist_ok=True)


def summary(case: Case) -> str:
    """The first line of the animal's file."""
    first = (HERE / "animals" / f"{case.animal}.py").read_text().splitlines()[0]
    return first.strip('"')


def caught(entries: dict[str, Entry]) -> str:
    """Checks that were not quiet, with the number of seeds where that is not all of them."""
    seen: dict[tuple[str, str], int] = {}
    for found in entries.values():
        for check, status in found["statuses"].items():
            seen[check, status] = seen.get((check, status), 0) + 1
    parts = [
        f"{check} {status}" + (f" ({count} of {len(entries)})" if count < len(entries) else "")
        for (check, status), count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    ]
    return ", ".join(parts) or "nothing"


def fits(entries: dict[str, Entry], statuses: dict[str, str]) -> bool:
    """Whether a run says all that every kept seed said, and nothing that none did.

    A check that catches some seeds and not others is near its limit there, and may do either on another machine.
    """
    seen = [set(found["statuses"].items()) for found in entries.values()]
    return set.intersection(*seen) <= set(statuses.items()) <= set.union(*seen)


def smallest(entries: dict[str, Entry]) -> str:
    """The smallest size that each check measured, over the seeds in which it accused."""
    parts = []
    for check, (_, unit) in MEASURES.items():
        values = [e["sizes"][check] for e in entries.values() if check in e["sizes"]]
        if values and min(values) > 0:
            parts.append(f"{min(values):.3g} {unit}")
    return ", ".join(parts) or "–"


def all_cases() -> list[Case]:
    """Accused and informative ones."""
    return [*CASES, *INFORMATION]
