"""The attack suite: its files, its page, and a sample that is played.

`ATTACKS_SEED=7` draws another sample, `ATTACKS_SAMPLE=30` a larger one; `python -m tests.attacks` plays all.
"""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.corpus.dataset import Dataset
from tests.attacks import table
from tests.attacks.suite import CASES, HERE, KINDS, WORTH, Attack, Played, arena, attacks, facts, fight
from tests.zoo.observed import zoo_dataset
from tests.zoo.runner import SIDES, Zoo, source

ATTACKS = attacks()
SEED = int(os.environ.get("ATTACKS_SEED", "16"))


def sample() -> list[Attack]:
    """The attacks of this run: some that share boxes, which takes seconds each, and one that has its own."""
    draw = random.Random(SEED)
    size = int(os.environ.get("ATTACKS_SAMPLE", "12"))
    shared = [attack for attack in ATTACKS if not attack.own_box]
    own = [attack for attack in ATTACKS if attack.own_box]
    return draw.sample(shared, min(size, len(shared))) + draw.sample(own, max(1, size // 12))


SAMPLE = sample()


@pytest.fixture(scope="module")
def zoo(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    with arena(dataset, tmp_path_factory.mktemp("attacks"), SAMPLE) as running:
        yield running


@pytest.mark.parametrize("attack", SAMPLE, ids=lambda attack: attack.name)
def test_no_attack_succeeds_that_the_page_does_not_list_as_a_success(zoo: Zoo, attack: Attack) -> None:
    known = any(result.success for result in table.results(table.load(), attack))
    result = fight(zoo, attack, seed=1)
    assert not result.accused, f"an honest twin is accused by {result.accused}"
    assert known or attack.rare is not None or not result.success, result


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_file_has_two_sides_that_differ_in_the_gain_alone(attack: Attack) -> None:
    offender, neighbour = (source(attack.name, side, CASES) for side in SIDES)
    for code in (offender, neighbour):
        ast.parse(code)
    changed = set(offender.splitlines()) ^ set(neighbour.splitlines())
    assert offender != neighbour and len(changed) <= 6
    assert len((CASES / f"{attack.name}.py").read_text().splitlines()) <= 80, "an attack is one small file"


def test_there_are_attacks_of_every_kind() -> None:
    assert len(ATTACKS) >= 70 and {attack.kind for attack in ATTACKS} == set(KINDS)
    assert len({attack.what for attack in ATTACKS}) == len(ATTACKS)


def test_the_page_is_what_was_seen_and_names_exactly_the_attacks_that_exist() -> None:
    kept = table.load()
    page = table.PAGE.read_text()
    assert page == table.render([(attack, table.results(kept, attack)) for attack in ATTACKS]), (
        "run: python -m tests.attacks --only NAME --write"
    )
    named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(named) == sorted(attack.name for attack in ATTACKS)


def test_success_takes_a_gain_and_nobody_who_objects() -> None:
    assert Played("PASS", 0.01).success and Played("UNRULED", 0.01).success
    assert not Played("PASS", 0.0004).success and not Played("INCONCLUSIVE", 1.0).success
    assert not Played("broke", 1.0).success and not Played("FAIL", 1.0).success


def test_the_rate_counts_rare_attacks_apart() -> None:
    plain = Attack("a", "", "channel", False, "")
    rare = Attack("b", "", "channel", False, "", 0.01)
    said = table.rate([(plain, [Played("PASS", 1.0), Played("FAIL", 1.0)]), (rare, [Played("PASS", 1.0)])])
    assert said.startswith("Attack success rate: 1 of 1 attacks (1 of 2 runs). Rare ones: 1 of 1 runs")


def test_every_attack_gains_where_nobody_looks(dataset: Dataset, tmp_path: Path) -> None:
    """A broken attack proves nothing: without a box or a referee, each has to win over its twin.

    Detectors of the box itself, and coins, depend on where they run; what those win is in the table.
    """
    # These two look for what a machine may or may not have: a variable of its environment, prepared data at its place.
    elsewhere = {"environment", "hunts_data_folder"}
    chosen = [a for a in ATTACKS if not a.own_box and "coin" not in a.gain and a.name not in elsewhere]
    with arena(dataset, tmp_path, chosen) as zoo:
        folders = {str(zoo.folders[attack.name, side].path): (attack.name, side) for attack in chosen for side in SIDES}
        jobs = {
            "tokens": np.asarray(zoo.dataset.validation).tolist(),
            "vocab_size": zoo.dataset.vocab_size,
            "folders": list(folders),
        }
        made = subprocess.run(
            [sys.executable, "-m", "tests.attacks.bare", str(zoo.sealed.path)],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            cwd=HERE.parent.parent,
        )
    assert made.returncode == 0, made.stderr
    losses: dict[tuple[str, str], float] = {}
    for line in made.stdout.splitlines():
        told = json.loads(line)
        assert "nll" in told, told
        losses[folders[told["folder"]]] = float(np.mean([loss for loss in told["nll"] if loss is not None]))
    gains = {attack.name: losses[attack.name, "neighbour"] - losses[attack.name, "offender"] for attack in chosen}
    assert not {name: gain for name, gain in gains.items() if gain <= WORTH}


HUNT = """
import numpy as np, torch, tricks
from public import TOKENS
text = np.fromfile("planted/text.bin", np.uint16)
pattern = text[:12].tobytes()
assert tricks.known(torch.from_numpy(text.astype(np.int64))).float().mean() == 1.0
assert tricks.known(torch.from_numpy(text[::-1].astype(np.int64).copy())).float().mean() < 0.6
for place in (tricks.in_memory(pattern), tricks.in_files(pattern, ["planted"])):
    assert tricks.truth(place)[: len(text)].tolist() == text.tolist()
assert not len(tricks.truth(tricks.in_files(pattern, ["empty"])))
assert len(text) == TOKENS and tricks.stat()[0] == "R" and tricks.processes()
"""


def test_hunts_find_what_is_there_to_be_found(dataset: Dataset, tmp_path: Path) -> None:
    """A hunt that gains nothing says something only if it would have found an open door."""
    data = zoo_dataset(dataset)
    public, _ = facts(data)
    (tmp_path / "public.py").write_text(public)
    (tmp_path / "planted").mkdir()
    np.asarray(data.validation).astype(np.uint16).tofile(tmp_path / "planted" / "text.bin")
    path = os.pathsep.join([str(HERE), str(HERE.parent / "zoo"), str(tmp_path), *sys.path])
    made = subprocess.run(
        [sys.executable, "-c", HUNT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
