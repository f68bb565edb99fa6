"""How many were looked at: for each way to choose an offender that is found and a clean neighbour that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import rules
from harness.papers import looks
from harness.papers.collect import open_case
from harness.papers.linting import lint
from harness.record import Finding, Status
from tests.papers.papers import SCRIPT, Log, folder, three

RULES, STRICT = rules.load(), rules.load("strict")


def runs(count: int = 6) -> list[Log]:
    return [replace(Log(), seed=seed, loss=2.79 + 1e-3 * seed) for seed in range(1, count + 1)]


def significance(path: Path, ruleset: rules.Ruleset = RULES) -> Finding:
    return next(found for found in lint(path, ruleset).findings if found.id == "significance")


def of(logs: list[Log], *seeds: int) -> dict[str, object]:
    """Claims of these seeds only: their mean, their number, their results."""
    chosen = [log for log in logs if log.seed in seeds]
    mean = sum(log.bpb for log in chosen) / len(chosen)
    results = {str(log.seed): {"val_bpb": round(log.bpb, 6)} for log in chosen}
    return {"val_bpb": round(mean, 6), "seeds": list(seeds), "seed_results": results}


def test_the_best_three_of_six_runs(tmp_path: Path) -> None:
    logs = runs()
    found = significance(folder(tmp_path, logs, claims=of(logs, 1, 2, 3)))
    assert found.status == Status.UNRULED and "the best 3 of 6 of one configuration" in found.headline
    assert "by chance 0.05" in found.headline and "brute-forcing" in found.headline
    found = significance(tmp_path / "track_10min_16mb" / "2026-04-20_Something", STRICT)
    assert found.status == Status.FAIL and found.witness is not None
    assert {quote["file"] for quote in found.witness.data["quotes"]} >= {"train_seed1.log", "train_seed6.log"}


@pytest.mark.parametrize("seeds", [(1, 2, 4), (4, 5, 6), (1, 2, 3, 4, 5, 6)])
def test_other_choices_are_not_the_best(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    logs = runs()
    found = significance(folder(tmp_path, logs, claims=of(logs, *seeds)), STRICT)
    assert found.status == Status.NOT_APPLICABLE, found.headline
    if len(seeds) < 6:
        assert "not the best ones" in str(found.value("chosen"))


def test_runs_of_other_settings_are_no_reruns(tmp_path: Path) -> None:
    logs = [replace(log, settings={"matrix_lr": 0.01 * log.seed if log.seed > 3 else 0.02}) for log in runs()]
    found = significance(folder(tmp_path, logs, claims=of(logs, 1, 2, 3)), STRICT)
    assert found.status == Status.NOT_APPLICABLE
    assert "beside 3 runs of other or unknown settings" in str(found.value("chosen"))
    assert "6 scored runs of 6 seeds with 4 different settings" in str(found.value("chosen"))
    bare = runs()  # a log of March dumps no settings, so nothing is known of them
    found = significance(folder(tmp_path / "b", bare, claims=of(bare, 1, 2, 3), grammar="old"), STRICT)
    assert found.status == Status.NOT_APPLICABLE


def test_one_run_of_three_is_claimed(tmp_path: Path) -> None:
    logs = runs(3)
    best = {"val_bpb": round(logs[0].bpb, 6), "seed_results": None}
    found = significance(folder(tmp_path, logs, claims=best))
    assert "the best run of 3 of one configuration" in found.headline and found.status == Status.INCONCLUSIVE
    worst = {"val_bpb": round(logs[2].bpb, 6), "seed_results": None}
    assert "best" not in significance(folder(tmp_path / "b", logs, claims=worst)).headline


@pytest.mark.parametrize(("claim", "seen"), [(1.0801, True), (1.081, True), (1.084, False), (1.0826, False)])
def test_results_by_seed_in_the_readme(tmp_path: Path, claim: float, seen: bool) -> None:
    path = folder(tmp_path, [], claims={"val_bpb": claim, "seed_results": None})
    rows = "".join(f"| {seed} | {bpb:.4f} | 15,900,000 |\n" for seed, bpb in ((7, 1.0801), (8, 1.082), (9, 1.0846)))
    (path / "README.md").write_text(f"# Something\n\n| Seed | val_bpb | bytes |\n|---|---|---|\n{rows}\n{claim}\n")
    found = looks.count(open_case(path, RULES))
    assert found.seeds == 3
    assert bool(found.seen) == seen, found.told


def test_what_the_readme_says_of_it(tmp_path: Path) -> None:
    path = folder(tmp_path, runs(1))
    (path / "README.md").write_text((path / "README.md").read_text() + "\nThis is the best of five seeds.\n")
    found = significance(path)
    assert "the README calls the claim the best of several runs" in found.headline
    assert any("best of five seeds" in str(line) for line in found.value("evidence"))  # type: ignore[union-attr]


def sweep(path: Path, best: str) -> None:
    """A log whose script tries several temperatures on the validation text, and claims one of them."""
    for file in path.glob("*.log"):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("quantized_ttt")]
        points = [
            f"sweep temperature={t} val_bpb:{bpb}"
            for t, bpb in (("0.9", "1.0852"), ("1.0", "1.0831"), ("1.1", "1.0799"))
        ]
        file.write_text("\n".join([*lines, *points, best]) + "\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("final_best val_bpb:1.0799", Status.FAIL),
        ("final val_bpb:1.0799", Status.INCONCLUSIVE),  # nothing says that it was chosen
        ("final_best val_bpb:1.0831", Status.INCONCLUSIVE),  # a lower one is not claimed
        ("final_best_agree val_bpb:1.0799", Status.INCONCLUSIVE),  # the name of an expert
    ],
)
def test_one_evaluation_of_a_sweep(tmp_path: Path, line: str, expected: Status) -> None:
    value = float(line.rsplit(":", 1)[1])
    script = SCRIPT + 'print(f"sweep temperature={t} val_bpb:{b:.4f}")\nprint(f"final_best val_bpb:{b:.4f}")\n'
    path = folder(tmp_path, [Log()], script=script, claims={"val_bpb": value, "seed_results": None})
    sweep(path, line)
    found = significance(path)
    assert found.status == expected, found.headline
    assert "points of a sweep" in str(found.value("chosen"))


def test_a_number_that_is_printed_twice_was_not_chosen(tmp_path: Path) -> None:
    script = SCRIPT + 'print(f"best so far val_bpb:{b:.4f}")\nprint(f"final_best val_bpb:{b:.4f}")\n'
    path = folder(tmp_path, [Log()], script=script, claims={"val_bpb": 1.0799, "seed_results": None})
    for file in path.glob("*.log"):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("quantized_ttt")]
        file.write_text("\n".join([*lines, "best so far val_bpb:1.0799", "final_best val_bpb:1.0799"]) + "\n")
    assert significance(path).status == Status.INCONCLUSIVE  # one seed, and nothing worse


def test_no_record_no_practice(tmp_path: Path) -> None:
    logs = runs()
    path = folder(tmp_path, logs, claims={**of(logs, 1, 2, 3), "track": "non-record"})
    found = significance(path)
    assert found.status == Status.NOT_APPLICABLE and "the best" in str(found.value("chosen"))


def test_a_p_that_holds_whenever_one_stopped_stands_beside_welchs(tmp_path: Path) -> None:
    path = folder(tmp_path, three())
    bpb = [log.bpb for log in three()]
    found = next(one for one in lint(path, RULES, previous=("before", [b + 4e-4 for b in bpb])).findings
                 if one.id == "significance")  # fmt: skip
    p, any_look = found.value("p"), found.value("p_any_look")
    assert isinstance(p, float) and any_look == pytest.approx(2 * p)
    assert found.status == Status.PASS if p < 0.25 else Status.FAIL
    assert ("if seeds were added until it passed" in found.headline) == (p < 0.25 <= 2 * p)
