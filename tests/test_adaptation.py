"""The shipped TTT and n-gram submissions under the real audit, at a tiny size: clean forms pass, what leaks does not.

Each offender differs from its clean form by one step that comes too early, or by one window that knows too much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.corpus.dataset import Dataset
from harness.record import Status
from tests.support import write_submission
from tests.zoo.runner import HERE, Outcome, Zoo, opened

#: The stream ends with a document, before this token.
TOKENS = 1000

#: Settings that suit it, in windows of 64.
SIZES = {
    "score_first_ttt": "smoke_ttt = TTTConfig(chunk=256, epochs=2, lr=0.05)",
    "lora_ttt": "smoke_lora = LoRAConfig(rank=4, lr=0.02, chunk=16, window=64)",
    "ngram_tilt": "from harness.kit.ngram import Order\n\n"
    "    smoke_tilt = TiltConfig(orders=(Order(1, 0.5, 2), Order(2, 0.5, 1)), bits=12)",
    "ngram_cache": "smoke_cache = CacheConfig(buckets=128)",
}

#: (shipped code, what stands there instead) that make an offender of a clean form.
OFFENCES = {
    "trains first": (
        "score_first_ttt",
        [
            (
                "            with torch.inference_mode():\n",
                "            {learn}\n            with torch.inference_mode():\n",
            ),
            ("            if not chunk.last:\n                {learn}\n", ""),
        ],
    ),
    "counts first": (
        "ngram_tilt",
        [
            ("                hint, beta =", "                {count}\n                hint, beta ="),
            ('kind="log_probs")\n                {count}\n', 'kind="log_probs")\n'),
        ],
    ),
    "a window that ends with the document": (
        "lora_ttt",
        [
            ("            rows = learner.rows(batch.inputs, window.first)\n", ""),
            (
                "            count = end or inside.scored\n",
                "            count = end or inside.scored\n"
                "            first = max(start, begin + count - config.window)\n"
                "            moved = Window(first, begin + count - first, begin - first)\n"
                "            rows = learner.rows(stream.batch([moved], moved.size).inputs, moved.first)\n",
            ),
        ],
    ),
}

#: Lines that are moved: as shipped, and as they have to be where nothing is scored yet.
MOVED = {
    "{learn}": "trainer.learn(stream.history(chunk.start, chunk.stop + 1), chunk.index, chunk.of)",
    "{count}": "hints.count(inputs, stream.history(int(positions[0]), int(positions[-1]) + 1).cpu().numpy())",
}


def code(name: str, changes: list[tuple[str, str]] = ()) -> str:
    """A shipped submission with the zoo's model and small settings, changed in places."""
    text = (HERE.parent.parent / "submissions" / name / "submission.py").read_text()
    for old, new in changes:
        for mark, line in MOVED.items():
            old, new = old.replace(mark, line), new.replace(mark, line.replace("history", "read"))
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert text.count("(Submission):") == 1
    shipped = text.split("class ")[1].split("(")[0]
    text = text.replace("(Submission):", "(Tiny):").replace("from harness", "from tiny import Tiny\nfrom harness", 1)
    return f"{text}\n\nclass Small({shipped}):\n    {SIZES[name]}\n"


@pytest.fixture(scope="module")
def zoo(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    starts = [i for i in range(1, TOKENS) if int(dataset.validation[i]) == dataset.tokenizer.bos_id]
    assert dataset.texts is not None and len(starts) >= 2
    short = dataclasses.replace(
        dataset, validation=dataset.validation[: starts[-1]], texts=dataset.texts[: len(starts)], documents=len(starts)
    )
    with opened(short, tmp_path_factory.mktemp("adaptation"), []) as running:
        yield running


def judged(zoo: Zoo, name: str, text: str, **metadata: object) -> Outcome:
    home: Path = zoo.home / "code" / name.replace(" ", "_")
    home.mkdir()
    (home / "tiny.py").write_text((HERE / "tiny.py").read_text())
    zoo.folders[name, "neighbour"] = write_submission(home, code=text, **metadata)
    return zoo.judge(name, "neighbour", 1)


@pytest.mark.parametrize("name", ["score_first_ttt", "lora_ttt", "ngram_tilt"])
def test_a_clean_form_passes(zoo: Zoo, name: str) -> None:
    claims = {"document_isolated": True} if name == "lora_ttt" else {}
    found = judged(zoo, name, code(name), **claims)
    assert found.verdict == Status.PASS and not found.statuses, found.headlines


def test_the_hashed_cache_is_no_distribution(zoo: Zoo) -> None:
    found = judged(zoo, "ngram_cache", code("ngram_cache"))
    assert found.statuses.get("normalization") == Status.FAIL, found
    assert float(found.headlines["normalization"].split()[-1]) > 1.2, found.headlines
    assert found.statuses.get("null-stream") == Status.FAIL
    assert "causality" not in found.statuses and "score-before-update" not in found.statuses


@pytest.mark.parametrize("name", list(OFFENCES))
def test_a_step_too_early_is_caught(zoo: Zoo, name: str) -> None:
    found = judged(zoo, name, code(*OFFENCES[name]))
    assert found.verdict == Status.FAIL and found.statuses.get("causality") == Status.FAIL, found
    if name == "trains first":
        assert found.statuses.get("score-before-update") == Status.FAIL
