"""What an artifact's header says of its tensors, read without trusting it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.adapters.payload import describe
from harness.kit.artifact import pack


def packed(tmp_path: Path) -> Path:
    tensors = {f"blocks.{layer}.mlp.up.weight": torch.zeros(30, 10, dtype=torch.int8) for layer in range(2)}
    tensors |= {f"blocks.{layer}.mlp.up.weight::scale": torch.ones(30, dtype=torch.float16) for layer in range(2)}
    tensors["embedding.weight"] = torch.zeros(7, 3)
    bits = {"blocks.0.mlp.up.weight": 6, "blocks.1.mlp.up.weight": 6}
    path = tmp_path / "artifact.bin"
    path.write_bytes(pack(tensors, {"bits": bits}, "brotli"))
    return path


def test_groups_are_roles_over_layers_with_their_scales(tmp_path: Path) -> None:
    assert describe(packed(tmp_path)) == {
        "compressor": "brotli",
        "tensors": 5,
        "bytes": 2 * 300 + 2 * 60 + 84,
        "groups": [
            {"name": "blocks.mlp", "tensors": 4, "bits": 6, "bytes": 720},
            {"name": "embedding.weight", "tensors": 1, "bits": 32, "bytes": 84},
        ],
    }


@pytest.mark.parametrize(("compressor", "shuffle"), [("brotli", 2), ("zstd", 0), ("range", 0)])
def test_a_compressed_header_says_the_same(tmp_path: Path, compressor: str, shuffle: int) -> None:
    tensors = {"blocks.0.mlp.up.weight": torch.zeros(30, 10, dtype=torch.int8), "embedding.weight": torch.zeros(7, 3)}
    path = tmp_path / "artifact.bin"
    told = []
    for how in (("brotli", 0), (compressor, shuffle)):
        path.write_bytes(pack(tensors, {"bits": {"blocks.0.mlp.up.weight": 6}}, how[0], byte_shuffle=how[1]))
        told.append(describe(path))
    assert told[1] == {**told[0], "compressor": compressor} and told[1]["groups"]
    path.write_bytes(path.read_bytes()[:40])
    assert describe(path) == {}


def test_many_groups_become_few_and_no_byte_is_lost(tmp_path: Path) -> None:
    tensors = {f"part{n}.weight": torch.zeros(n + 1, dtype=torch.int8) for n in range(20)}
    (tmp_path / "a").write_bytes(pack(tensors, {}, "none"))
    told = describe(tmp_path / "a")
    assert len(told["groups"]) == 8 and told["groups"][-1]["name"] == "13 smaller groups"
    assert sum(group["bytes"] for group in told["groups"]) == told["bytes"] == 210


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_broken_header_is_no_description_and_no_failure(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    home = tmp_path_factory.mktemp("broken")
    path = packed(home)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    told = describe(path)
    assert told == {} or sum(group["bytes"] for group in told["groups"]) == told["bytes"]


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        {"a": {"bytes": -1, "bits": 8}},
        {"a": {"bytes": True, "bits": 8}},
        {"a": {"bytes": 1, "bits": 0}},
        {"a": {"bytes": 10**300, "bits": 8}},
        {"a": {"bytes": "9", "bits": 8}},
        {"a": {"bits": 8}},
        {"a": 7},
    ],
)
def test_numbers_that_cannot_be_are_not_shown(tmp_path: Path, tensors: object) -> None:
    body = json.dumps({"meta": {}, "payload_bytes": 1, "tensors": tensors}).encode()
    blocks = -(-len(body) // 256)
    (tmp_path / "a").write_bytes(struct.pack("<4sHH8sI", b"GOLF", 1, blocks, b"none", 0) + body.ljust(blocks * 256))
    assert describe(tmp_path / "a") == {}
    assert describe(tmp_path / "missing") == {}
