"""Finding the parts of a dataset in a folder.

Two layouts are known: the contest's, DIR/datasets/fineweb10B_<variant>/fineweb_{train,val}_*.bin with
DIR/tokenizers/*.model; and the harness's own, DIR/{train,val}/fineweb_*.bin with DIR/tokenizer/*.model.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

#: Digits only: CaseOps folders also hold fineweb_val_bytes_*.bin, which are byte counts and no tokens (#1729).
_SHARD = re.compile(r"fineweb_(train|val|val_bytes)_\d+\.bin")
_VARIANT = re.compile(r"fineweb10B_sp(\d++)(.*)")


@dataclass(frozen=True)
class Layout:
    """The files of one dataset.

    Attributes:
        name: such as "fineweb10B_sp1024".
        train_dir: the folder with the training shards.
        train: training shards in sorted order.
        validation: validation shards in sorted order.
        tokenizer: the SentencePiece model.
        documents: a .jsonl file that starts with the validation documents, if there is one.
        sidecar: shards that hold the bytes of original text by validation token, where tokens stand for other text than
            they decode to; one for each validation shard, or none.
    """

    name: str
    train_dir: Path
    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    tokenizer: Path
    documents: Path | None
    sidecar: tuple[Path, ...] = ()


def shards_in(folder: Path, part: str) -> tuple[Path, ...]:
    """The shards of one part ("train", "val" or "val_bytes"), sorted by name; none if there is no such folder."""
    found = (path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else ()
    return tuple(sorted(path for path in found if (m := _SHARD.fullmatch(path.name)) and m[1] == part))


def find_layout(folder: Path, *, train_limit: int | None = None) -> Layout:
    """Locate shards, tokenizer and documents.

    Args:
        folder: DIR of either layout, or the contest's DIR/datasets/fineweb10B_<variant>.
        train_limit: use only that many training shards, from the first.

    Raises:
        UsageError: a part is missing or there are several to choose from; names them.
    """
    top = folder.resolve()
    if shards_in(top / "val", "val"):
        name, train_dir, val_dir, root = top.name, top / "train", top / "val", top
        models = [*top.glob("*.model"), *(top / "tokenizer").glob("*.model")]
        documents = val_dir / "documents.jsonl"
    else:
        val_dir = _contest_folder(folder)
        name, train_dir, root = val_dir.name, val_dir, val_dir.parent.parent
        models = [*val_dir.glob("*.model")] or [*(root / "tokenizers").glob("*.model")]
        documents = root / "docs_selected.jsonl"
    train = shards_in(train_dir, "train")
    if not train:
        raise UsageError(f"{train_dir} holds no training shards (fineweb_train_*.bin)")
    if train_limit is not None and len(train) < train_limit:
        raise UsageError(f"{train_dir} holds {len(train)} training shards, {train_limit} were asked for")
    return Layout(
        name=name,
        train_dir=train_dir,
        train=train[:train_limit],
        validation=shards_in(val_dir, "val"),
        tokenizer=manifest_tokenizer(root, name) or _matching_tokenizer(name, sorted(models), val_dir),
        documents=documents if documents.is_file() else None,
        sidecar=shards_in(val_dir, "val_bytes"),
    )


def _contest_folder(folder: Path) -> Path:
    top = folder.resolve()
    if shards_in(top, "val"):
        return top
    inner = top / "datasets"
    found = [path for path in sorted(inner.iterdir()) if shards_in(path, "val")] if inner.is_dir() else []
    if len(found) > 1:
        names = ", ".join(str(folder / "datasets" / path.name) for path in found)
        raise UsageError(f"{folder} holds several datasets; choose one of: {names}")
    if not found:
        raise UsageError(
            f"{folder} holds no validation shards: expected fineweb_val_*.bin in {folder}/datasets/*/ or in {folder}"
        )
    return found[0]


def _matching_tokenizer(name: str, models: list[Path], data: Path) -> Path:
    """The model whose name matches the variant (sp1024 and fineweb_1024_bpe.model), or the only one there is."""
    variant = _VARIANT.fullmatch(name)
    if variant:
        exact = [path for path in models if path.stem == f"fineweb_{variant[1]}_bpe{variant[2]}"]
        sized = [path for path in models if variant[1] in re.findall(r"\d+", path.stem)]
        models = exact or sized or models
    if not models:
        raise UsageError(f"no tokenizer for {data}: expected a .model file there or in {data.parent.parent}/tokenizers")
    if len(models) > 1:
        names = ", ".join(path.name for path in models)
        raise UsageError(f"several tokenizers could belong to {data}: {names}; put the right .model into that folder")
    return models[0]


def manifest_tokenizer(root: Path, dataset: str) -> Path | None:
    """The tokenizer that DIR/manifest.json names for a dataset; None if it names none or the file is not there.

    Raises:
        UsageError: the file is no manifest.
    """
    path = root / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        name = next((d["tokenizer_name"] for d in manifest["datasets"] if d["name"] == dataset), None)
        relative = next((t.get("model_path") for t in manifest["tokenizers"] if t["name"] == name), None)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not a dataset manifest of the contest") from None
    found = root / str(relative)
    inside = relative is not None and found.resolve().is_relative_to(root.resolve())
    return found if inside and found.is_file() else None
