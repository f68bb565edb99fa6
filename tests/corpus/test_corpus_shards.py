from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.corpus.shards import read_shard, split_documents, write_shard
from harness.errors import UsageError

TOKENS = npst.arrays(np.uint16, st.integers(0, 300))


@settings(deadline=None, derandomize=True)
@given(tokens=TOKENS)
def test_what_is_written_is_read(tokens: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("shard") / "a.bin"
    write_shard(path, tokens)
    found = read_shard(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, tokens)
    assert path.stat().st_size == 1024 + 2 * tokens.size


def test_bytes_are_the_contest_format(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.bin", [1, 258, 65535])
    raw = (tmp_path / "a.bin").read_bytes()
    assert raw[:12] == (20240520).to_bytes(4, "little") + (1).to_bytes(4, "little") + (3).to_bytes(4, "little")
    assert raw[12:1024] == bytes(1012)
    assert raw[1024:] == b"\x01\x00\x02\x01\xff\xff"


def _header(magic: int = 20240520, version: int = 1, count: int = 2) -> bytes:
    head = np.zeros(256, dtype="<i4")
    head[:3] = (magic, version, count)
    return head.tobytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes found, the header alone has 1,024"),
        (_header()[:500], "500 bytes found, the header alone has 1,024"),
        (_header(magic=7) + bytes(4), "magic number 7 found, 20240520 expected"),
        (_header(version=2) + bytes(4), "shard version 2"),
        (_header() + bytes(2), "truncated: 1,026 bytes found, 1,028 expected for 2 tokens"),
        (_header() + bytes(3), "truncated: 1,027 bytes found, 1,028 expected"),
        (_header() + bytes(6), "does not explain: 1,030 bytes found, 1,028 expected"),
        (_header(count=-1) + bytes(6), "does not explain"),
    ],
)
def test_broken_shards_are_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "fineweb_val_000000.bin"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_shard(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the token shard .*none.bin: No such file"):
        read_shard(tmp_path / "none.bin")


@pytest.mark.parametrize("tokens", [[70000], [-1], [[1, 2]], [0.5]])
def test_tokens_that_are_no_uint16_row_are_refused(tmp_path: Path, tokens: list) -> None:
    with pytest.raises(UsageError):
        write_shard(tmp_path / "a.bin", tokens)
    assert not (tmp_path / "a.bin").exists()


def test_documents_of_a_stream() -> None:
    stream = np.array([7, 1, 5, 6, 1, 1, 9], dtype=np.uint16)
    assert [list(piece) for piece in split_documents(stream, 1)] == [[7], [5, 6], [], [9]]
    assert [list(piece) for piece in split_documents(stream[1:], 1)] == [[5, 6], [], [9]]
    assert [list(piece) for piece in split_documents(stream[:1], 1)] == [[7]]
    assert split_documents(stream[:0], 1) == []
