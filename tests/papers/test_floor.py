"""Numbers that nobody has reached, or that no such machine can, are questions; ordinary ones are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import rules
from harness.papers import floor
from harness.papers.collect import open_case
from tests.papers.papers import Log, folder

RULES = rules.load()


def asked(path: Path) -> list[str]:
    return [one.text for one in floor.questions(open_case(path, RULES))]


def test_the_table_is_dated_and_in_order() -> None:
    table = floor.table()
    scores = [table.contest.bpb, *(one.bpb for one in table.model)]
    assert scores == sorted(scores, reverse=True)
    assert all(one.source and one.date.year > 2000 for one in (table.contest, *table.model, table.machine))
    assert all(one.asked_below < one.merged for one in table.format)


@pytest.mark.parametrize(
    ("bpb", "said"),
    [
        (0.0051, "Llama 3.1 405B"),
        (0.0274, "Llama 3.1 405B"),
        (0.0990, "Llama 3.1 405B"),
        (0.6, "Qwen2.5 72B"),
        (0.7, "FineWeb-EDU"),
        (0.95, "the best row that the contest ranked"),
        (1.05, None),
        (1.2244, None),
    ],
)
def test_a_score_that_no_model_reaches_is_asked_about(tmp_path: Path, bpb: float, said: str | None) -> None:
    found = asked(folder(tmp_path, [Log(printed_bpb=bpb)]))
    assert (said is None and not found) or (said is not None and len(found) == 1 and said in found[0]), found


def machine_log(home: Path, **facts: float) -> Path:
    """A log in the old grammar with the size of the model and its steps."""
    told = {"params": 27_000_000, "batch": 786_432, "mean": 85.0, "late": 85.0, "eval_ms": 80_000, "model": 15_900_000}
    told |= facts
    path = folder(home, [Log(tokens=62_021_632, loss=1.93)], grammar="old")
    lines = [
        "val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021632",
        "world_size:8 grad_accum_steps:1",
        "seed:42",
        f"model_params:{told['params']:.0f}",
        f"train_batch_tokens:{told['batch']:.0f} train_seq_len:2048",
        *(
            f"step:{step}/20000 train_loss:2.7 train_time:{30_000 + step * told['mean']:.0f}ms "
            f"step_avg:{told['late']:.2f}ms"
            for step in (500, 1000, 2000, 4000)
        ),
        f"Serialized model int6+zstd: {told['model']:.0f} bytes",
        f"Total submission size int6+zstd: {told['model'] + 50_000:.0f} bytes",
        f"final_int6 val_loss:1.9300 val_bpb:1.1430 stride:64 seq_len:2048 eval_time:{told['eval_ms']:.0f}ms",
    ]
    (path / "train_seed42.log").write_text("\n".join(lines) + "\n")
    (path / "submission.json").write_text('{"val_bpb": 1.143, "seeds": [42], "track": "10min_16mb"}')
    return path


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, None),
        ({"late": 80.9}, None),  # rounding, and warm-up steps that the mean leaves out
        ({"late": 60.0}, "s by the mean of a step"),
        ({"mean": 2.0, "late": 2.0}, "a step of training took 0.002 s"),
        ({"eval_ms": 1_000}, "an evaluation took 1 s"),
        ({"model": 3_000_000}, "bits for each of 27,000,000 parameters"),
        ({"params": 120_000_000, "model": 15_900_000}, "1.06 bits for each of 120,000,000 parameters"),
        ({"params": 73_700_000, "model": 15_900_000}, None),
    ],
)
def test_work_that_takes_more_than_the_machine_has(tmp_path: Path, facts: dict[str, float], said: str | None) -> None:
    found = asked(machine_log(tmp_path, **facts))
    assert (said is None and not found) or (said is not None and any(said in one for one in found)), found
