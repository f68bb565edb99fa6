from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.corpus.layout import find_layout
from harness.corpus.shards import write_shard
from harness.errors import UsageError


def test_both_ways_to_name_a_contest_folder(contest_folder: Path) -> None:
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    found = find_layout(contest_folder)
    assert found == find_layout(data)
    assert found.name == "fineweb10B_sp512" and found.train_dir == data.resolve()
    assert [path.name for path in found.train] == ["fineweb_train_000000.bin", "fineweb_train_000001.bin"]
    assert [path.name for path in found.validation] == ["fineweb_val_000000.bin", "fineweb_val_000001.bin"]
    assert found.tokenizer.name == "fineweb_512_bpe.model"
    assert found.documents is None


def test_byte_count_files_are_no_validation_shards(contest_folder: Path) -> None:
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    write_shard(data / "fineweb_val_bytes_000000.bin", [3, 3])
    found = find_layout(contest_folder)
    assert len(found.validation) == 2 and [path.name for path in found.sidecar] == ["fineweb_val_bytes_000000.bin"]


def test_train_limit(contest_folder: Path) -> None:
    assert [path.name for path in find_layout(contest_folder, train_limit=1).train] == ["fineweb_train_000000.bin"]
    with pytest.raises(UsageError, match="holds 2 training shards, 3 were asked for"):
        find_layout(contest_folder, train_limit=3)


def test_the_tokenizer_of_the_variant_is_chosen(contest_folder: Path) -> None:
    tokenizers = contest_folder / "tokenizers"
    model = tokenizers / "fineweb_512_bpe.model"
    for other in ("fineweb_1024_bpe", "fineweb_512_bpe_lossless_caps", "fineweb_1512_bpe"):
        shutil.copy(model, tokenizers / f"{other}.model")
    assert find_layout(contest_folder).tokenizer.name == "fineweb_512_bpe.model"
    data = contest_folder / "datasets"
    (data / "fineweb10B_sp512").rename(data / "fineweb10B_sp512_lossless_caps")
    assert find_layout(contest_folder).tokenizer.name == "fineweb_512_bpe_lossless_caps.model"


def test_several_tokenizers_are_named(contest_folder: Path) -> None:
    tokenizers = contest_folder / "tokenizers"
    (tokenizers / "fineweb_512_bpe.model").rename(tokenizers / "a_512.model")
    shutil.copy(tokenizers / "a_512.model", tokenizers / "b_512.model")
    with pytest.raises(UsageError, match=r"several tokenizers .*a_512\.model, b_512\.model"):
        find_layout(contest_folder)


def test_the_manifest_decides(contest_folder: Path) -> None:
    tokenizers = contest_folder / "tokenizers"
    shutil.copy(tokenizers / "fineweb_512_bpe.model", tokenizers / "special.model")
    manifest = {
        "datasets": [{"name": "fineweb10B_sp512", "tokenizer_name": "t"}],
        "tokenizers": [{"name": "t", "model_path": "tokenizers/special.model"}],
    }
    (contest_folder / "manifest.json").write_text(json.dumps(manifest))
    assert find_layout(contest_folder).tokenizer.name == "special.model"
    manifest["tokenizers"][0]["model_path"] = "../outside.model"
    (contest_folder.parent / "outside.model").write_text("")
    (contest_folder / "manifest.json").write_text(json.dumps(manifest))
    assert find_layout(contest_folder).tokenizer.name == "fineweb_512_bpe.model"
    (contest_folder / "manifest.json").write_text("[]")
    with pytest.raises(UsageError, match="is not a dataset manifest"):
        find_layout(contest_folder)


def test_missing_parts_are_named(contest_folder: Path) -> None:
    data = contest_folder / "datasets" / "fineweb10B_sp512"
    (contest_folder / "tokenizers" / "fineweb_512_bpe.model").unlink()
    with pytest.raises(UsageError, match="no tokenizer for"):
        find_layout(contest_folder)
    for path in data.glob("fineweb_train_*"):
        path.unlink()
    with pytest.raises(UsageError, match="holds no training shards"):
        find_layout(contest_folder)
    shutil.rmtree(data)
    with pytest.raises(UsageError, match="holds no validation shards"):
        find_layout(contest_folder)


def test_several_datasets_are_named(contest_folder: Path) -> None:
    shutil.copytree(contest_folder / "datasets" / "fineweb10B_sp512", contest_folder / "datasets" / "fineweb10B_sp1024")
    with pytest.raises(UsageError, match=r"several datasets; choose one of: .*sp1024, .*sp512"):
        find_layout(contest_folder)
