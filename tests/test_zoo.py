"""The zoo: every offender is caught by the check that names its rule, and no neighbour is accused.

One seed by default; `ZOO_SEEDS=10` runs more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.corpus.dataset import Dataset
from harness.record import Status
from tests.zoo import observed
from tests.zoo.cases import ANIMALS, CASES, INFORMATION, Case
from tests.zoo.hand import HAND, HandCase
from tests.zoo.runner import HERE, SIDES, Outcome, Zoo, opened, source
from tests.zoo.table import render

SEEDS = list(range(1, 1 + int(os.environ.get("ZOO_SEEDS", "1"))))


@pytest.fixture(scope="module")
def zoo(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    with opened(observed.zoo_dataset(dataset), tmp_path_factory.mktemp("zoo"), ANIMALS) as running:
        yield running


def as_kept(case: Case, side: str, found: Outcome) -> bool:
    """Whether a run is what docs/checks.md says."""
    return observed.fits(observed.load()["animals"][case.animal][side], found.statuses)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.animal)
def test_an_offender_is_named(zoo: Zoo, case: Case, seed: int) -> None:
    found = zoo.judge(case.animal, "offender", seed, own_box=case.own_box)
    assert found.statuses.get(case.check) == case.status, found
    assert found.verdict != Status.PASS
    assert as_kept(case, "offender", found), found.headlines


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", [*CASES, *INFORMATION], ids=lambda case: case.animal)
def test_a_neighbour_is_not_accused(zoo: Zoo, case: Case, seed: int) -> None:
    found = zoo.judge(case.animal, "neighbour", seed, own_box=case.own_box)
    assert not found.failed, found.headlines
    assert found.verdict in (Status.PASS, Status.UNRULED)
    assert as_kept(case, "neighbour", found), found.headlines


@pytest.mark.parametrize("case", INFORMATION, ids=lambda case: case.animal)
def test_what_is_information_accuses_nobody(zoo: Zoo, case: Case) -> None:
    found = zoo.judge(case.animal, "offender", 1)
    assert found.verdict == Status.PASS, found.headlines


@pytest.mark.parametrize("case", HAND, ids=lambda case: case.name)
def test_hand_made_evidence(dataset: Dataset, tmp_path: Path, case: HandCase) -> None:
    offender = case.judge(dataset, tmp_path, "offender")
    neighbour = case.judge(dataset, tmp_path, "neighbour")
    assert offender.statuses.get(case.check) == case.status, offender
    assert not neighbour.failed, neighbour
    recorded = observed.load()["hand"][case.name]
    assert {side: recorded[side]["statuses"] for side in SIDES} == {
        "offender": offender.statuses,
        "neighbour": neighbour.statuses,
    }


def test_a_row_fits_what_its_seeds_have_in_common() -> None:
    entries = {"1": {"statuses": {"a": "FAIL", "b": "FAIL"}}, "2": {"statuses": {"a": "FAIL"}}}
    assert observed.fits(entries, {"a": "FAIL"}) and observed.fits(entries, {"a": "FAIL", "b": "FAIL"})
    for wrong in ({}, {"b": "FAIL"}, {"a": "UNRULED"}, {"a": "FAIL", "c": "FAIL"}):
        assert not observed.fits(entries, wrong)


def test_the_table_is_what_was_observed() -> None:
    assert observed.TABLE.read_text() == render(observed.load()), "run: python -m tests.zoo.table --render"


def test_every_animal_is_a_case_and_differs_in_the_offence_alone() -> None:
    assert sorted(ANIMALS) == sorted(path.stem for path in (HERE / "animals").glob("*.py"))
    for animal in ANIMALS:
        offender, neighbour = (source(animal, side).splitlines() for side in SIDES)
        changed = set(offender) ^ set(neighbour)
        assert offender != neighbour and len(changed) <= 6, animal
