"""Small things that tests share: a tiny dataset, tiny submissions, and a run of one."""

from __future__ import annotations

import importlib.util
import json
import random
import textwrap
from collections.abc import Iterable
from pathlib import Path

from harness.adapters.collect import run
from harness.adapters.options import Options
from harness.corpus.dataset import Dataset, prepare
from harness.corpus.overlap import word_runs
from harness.folder import Folder, open_folder
from harness.kit.submission import Submission
from harness.progress import Progress
from harness.record import Finding, Record

TINY = """
from harness.kit import GPT, ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig
import torch

class Tiny(Submission):
    smoke_window = 64
    stride = 16
    windows_per_batch = 8

    def model_config(self, vocab_size):
        return ModelConfig(vocab_size=vocab_size, layers=2, dim=32, heads=2, kv_heads=1)

    def train_config(self):
        return TrainConfig(steps=6, batch_tokens=512, sequence_length=64, seconds=0.0, schedule="steps", warmdown=0.5)

    def quantize_config(self):
        return QuantizeConfig(bits=8, compressor="zlib", keep_below=1024, min_range=0.0)
"""

_WORDS = "the cat sat on a mat while rain fell over grey hills and nobody said that it would ever stop again".split()


def tiny_documents(count: int = 60, seed: int = 0) -> list[str]:
    """Short made-up documents; each differs from all others."""
    rng = random.Random(seed)
    return [
        f"Document {index}: " + " ".join(rng.choice(_WORDS) + str(rng.randrange(40)) for _ in range(90)) + "."
        for index in range(count)
    ]


def shared_share(text: str, runs: Iterable[str]) -> float:
    """The share (0 to 1) of the text's distinct 13-word runs that are among `runs`."""
    own = word_runs(text)
    return len(own.intersection(runs)) / len(own)


def tiny_dataset(folder: Path) -> Dataset:
    """A prepared dataset of about 3,000 validation tokens and 300 pieces."""
    path = folder / "tiny.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in tiny_documents()))
    return prepare(str(path), cache=folder / "cache", vocab_size=320)


def write_submission(folder: Path, body: str = "", *, code: str | None = None, **metadata: object) -> Folder:
    """A submission whose class body is `body` below the tiny configuration, or whose whole code is `code`."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = "\nclass Mine(Tiny):\n    pass\n" + textwrap.indent(textwrap.dedent(body), "    ")
    source = code if code is not None else TINY + mine
    (folder / "submission.py").write_text(source)
    facts = {"name": folder.name, "author": "A", "github_id": "a", **metadata}
    (folder / "submission.json").write_text(json.dumps(facts))
    return open_folder(folder)


def judge(folder: Folder, dataset: Dataset, out: Path, *, seed: int = 1, **options: object) -> Record:
    """Run a submission quietly, with a small audit that is always drawn alike."""
    chosen = {"timeout": 120.0, "audit_seed": 7, "depth": "quick", **options}
    with Progress(quiet=True) as progress:
        return run(folder, dataset, seed, out, Options(**chosen), progress)  # type: ignore[arg-type]


def finding(record: Record, check: str) -> Finding:
    """The finding of one check."""
    return next(found for found in record.findings if found.id == check)


def shipped(name: str) -> str:
    """The code of a submission under submissions/, at the tiny configuration."""
    return shrunk((Path(__file__).resolve().parent.parent / "submissions" / name / "submission.py").read_text())


def shrunk(source: str) -> str:
    """The code of a submission that derives from the kit's class directly, at the tiny configuration."""
    base = TINY.replace("class Tiny(Submission)", "class _Tiny(_Submission)").replace(
        "import GPT, ModelConfig, QuantizeConfig, Stream, Submission, TrainConfig",
        "import ModelConfig, QuantizeConfig, TrainConfig\nfrom harness.kit import Submission as _Submission",
    )
    assert "(Submission):" in source
    head, _, body = source.partition("\nclass ")
    return f"{head}\n{base}\n\nclass {body.replace('(Submission):', '(_Tiny):')}"


def loaded(name: str) -> Submission:
    """A submission under submissions/ at smoke scale, imported in this process."""
    path = Path(__file__).resolve().parent.parent / "submissions" / name / "submission.py"
    spec = importlib.util.spec_from_file_location(f"shipped_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (found,) = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == spec.name]
    shipped: Submission = found("smoke")
    return shipped
