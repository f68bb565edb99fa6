import io
import json
import lzma
import struct
import zlib

import brotli
import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kit.artifact import pack, read_header, unpack
from harness.kit.codec import shuffle, unshuffle
from harness.kit.config import ModelConfig, QuantizeConfig
from harness.kit.model import GPT
from harness.kit.quantize import quantize

COMPRESSORS = ["zlib", "brotli", "lzma", "none", "zstd", "range"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int32, torch.int64]


def payload(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "blocks.0.up": torch.randint(-31, 32, (20, 30), dtype=torch.int8, generator=generator),
        "blocks.0.up::scale": torch.rand(20, generator=generator).half(),
        "skip_weights": torch.randn(2, 5, generator=generator),
        "counter": torch.tensor(3),
    }


META = {"bits": {"blocks.0.up": 6}}


def coded() -> dict[str, torch.Tensor]:
    """A payload whose matrix is large enough for a code of its own."""
    values = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * 6
    return payload() | {"blocks.0.up": values.round().clamp(-31, 31).to(torch.int8)}


PACKED = {compressor: pack(coded(), META, compressor) for compressor in COMPRESSORS}


def body_at(blob: bytes) -> int:
    """Where the compressed payload starts, by the format's description."""
    (size,) = struct.unpack_from("<H", blob, 6)
    return 20 + (256 * size if blob[4] == 1 else size)


def resealed(
    blob: bytes, header: dict | None = None, body: bytes | None = None, compressor: str | None = None
) -> bytes:
    """An artifact whose parts were changed by somebody who knows the format, checksum included."""
    start = body_at(blob)
    text = blob[20:start] if header is None else json.dumps(header, sort_keys=True).encode()
    if blob[4] == 1:
        text = text.ljust(-(-len(text) // 256) * 256)
    elif header is not None:
        text = brotli.compress(text)
    name = blob[8:16] if compressor is None else compressor.encode().ljust(8, b"\0")
    fixed = blob[:6] + struct.pack("<H", len(text) // (256 if blob[4] == 1 else 1)) + name
    rest = text + (blob[start:] if body is None else body)
    return fixed + struct.pack("<I", zlib.crc32(fixed + rest)) + rest


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return set(a) == set(b) and all(
        a[name].dtype == b[name].dtype
        and a[name].shape == b[name].shape
        and a[name].numpy(force=True).tobytes() == b[name].numpy(force=True).tobytes()
        if a[name].dtype != torch.bfloat16
        else torch.equal(a[name].view(torch.int16), b[name].view(torch.int16))
        for name in a
    )


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    count = int(np.prod(shape)) * torch.empty(0, dtype=dtype).element_size()
    raw = draw(st.binary(min_size=count, max_size=count))
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


@settings(max_examples=60, deadline=None)
@given(
    content=st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"), tensors()),
    meta=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.lists(st.booleans())),
    compressor=st.sampled_from(COMPRESSORS),
)
def test_what_goes_in_comes_out_bit_for_bit(content, meta, compressor):
    level = 1 if compressor in ("lzma", "zstd") else None  # the strongest ones take their time to start
    restored, restored_meta = unpack(pack(content, meta, compressor, level))
    assert same(restored, content)
    assert restored_meta == meta


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_the_same_input_gives_the_same_bytes(compressor):
    blob = pack(payload(), META, compressor)
    backwards = dict(reversed(payload().items()))
    assert pack(backwards, dict(META), compressor) == blob
    assert pack(payload(1), META, compressor) != blob


@pytest.mark.parametrize("compressor", ["zlib", "brotli", "lzma", "zstd"])
def test_compression_pays_and_levels_matter(compressor):
    generator = np.random.default_rng(0)
    content = {"w": torch.from_numpy(generator.integers(-8, 8, (200, 200)).astype(np.int8))}
    plain, strongest = len(pack(content, {}, "none")), len(pack(content, {}, compressor))
    assert strongest < 0.62 * plain  # four bits of eight
    assert strongest <= 1.01 * len(pack(content, {}, compressor, 1))


def test_the_header_describes_the_tensors():
    header = read_header(pack(payload(), META, "brotli"))
    assert header["meta"] == META
    assert header["tensors"]["blocks.0.up"] == {"bits": 6, "bytes": 600, "dtype": "I8", "shape": [20, 30]}
    assert header["tensors"]["blocks.0.up::scale"] == {"bits": 16, "bytes": 40, "dtype": "F16", "shape": [20]}
    assert header["tensors"]["counter"] == {"bits": 64, "bytes": 8, "dtype": "I64", "shape": []}
    assert header["payload_bytes"] >= sum(entry["bytes"] for entry in header["tensors"].values())


def test_the_format_is_as_documented():
    blob = pack(payload(), META, "none")
    magic, version, blocks, compressor, checksum = struct.unpack_from("<4sHH8sI", blob)
    assert (magic, version, compressor) == (b"GOLF", 1, b"none\0\0\0\0")
    assert checksum == zlib.crc32(blob[:16] + blob[20:])
    start = 20 + 256 * blocks
    assert json.loads(blob[20:start]) == read_header(blob)
    (length,) = struct.unpack_from("<Q", blob, start)
    entries = json.loads(blob[start + 8 : start + 8 + length])
    first, last = entries["skip_weights"]["data_offsets"]
    data = blob[start + 8 + length :][first:last]
    assert np.frombuffer(data, "<f4").tolist() == payload()["skip_weights"].flatten().tolist()


@settings(max_examples=80, deadline=None)
@given(compressor=st.sampled_from(COMPRESSORS), data=st.data())
def test_any_changed_byte_is_noticed(compressor, data):
    blob = bytearray(PACKED[compressor])
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="artifact: "):
        unpack(bytes(blob))


@settings(max_examples=40, deadline=None)
@given(compressor=st.sampled_from(COMPRESSORS), data=st.data())
def test_any_truncation_is_noticed(compressor, data):
    blob = PACKED[compressor]
    with pytest.raises(ValueError, match="artifact: "):
        unpack(blob[: data.draw(st.integers(0, len(blob) - 1))])


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(junk):
    with pytest.raises(ValueError, match="artifact: "):
        unpack(junk)
    with pytest.raises(ValueError, match="artifact: "):
        unpack(b"GOLF\x01\x00" + junk)


@pytest.mark.parametrize("compressor", ["zlib", "brotli", "lzma", "zstd", "range"])
def test_a_stream_cut_inside_is_refused_even_with_a_good_checksum(compressor):
    blob = pack(coded(), META, compressor)
    body = blob[body_at(blob) :]
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with pytest.raises(ValueError, match="artifact: the payload"):
            unpack(resealed(blob, body=body[:cut]))
    with pytest.raises(ValueError, match="artifact: the payload"):
        unpack(resealed(blob, body=body + b"more"))


@pytest.mark.parametrize(
    ("compressor", "squeeze"),
    [
        ("zlib", lambda raw: zlib.compress(raw, 1)),
        ("brotli", lambda raw: brotli.compress(raw, quality=1)),
        ("lzma", lambda raw: lzma.compress(raw, preset=0)),
        ("zstd", lambda raw: zstandard.compress(raw, 1)),
    ],
)
def test_a_bomb_is_stopped_at_the_promised_size(compressor, squeeze):
    blob = pack(payload(), META, compressor)
    header = read_header(blob)
    bomb = resealed(blob, body=squeeze(bytes(64 << 20)))
    with pytest.raises(ValueError, match=f"not the {header['payload_bytes']} bytes"):
        unpack(bomb)
    header["payload_bytes"] = 64 << 20
    with pytest.raises(ValueError, match="over the limit"):
        unpack(resealed(bomb, header=header), limit=32 << 20)


def test_the_limit_is_on_the_payload():
    blob = pack(payload(), META, "zlib")
    size = read_header(blob)["payload_bytes"]
    assert same(unpack(blob, limit=size)[0], payload())
    with pytest.raises(ValueError, match=f"over the limit of {size - 1}"):
        unpack(blob, limit=size - 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("meta"),
        lambda header: header.pop("tensors"),
        lambda header: header.update(payload_bytes=-1),
        lambda header: header.update(payload_bytes="many"),
        lambda header: header["tensors"]["skip_weights"].update(shape=[5, 2]),
        lambda header: header["tensors"].pop("counter"),
        lambda header: header["meta"].update(bits={"blocks.0.up": 8}),
    ],
)
def test_a_header_that_lies_is_refused(change):
    blob = pack(payload(), META, "zlib")
    header = read_header(blob)
    change(header)
    with pytest.raises(ValueError, match="artifact: the header"):
        unpack(resealed(blob, header=header))


def test_unknown_versions_and_compressors_are_refused():
    blob = pack(payload(), META, "zlib")
    with pytest.raises(ValueError, match="version 3 is unknown"):
        unpack(blob[:4] + b"\x03\x00" + blob[6:])
    with pytest.raises(ValueError, match="unknown compressor 'zstd'"):
        unpack(resealed(blob, compressor="zstd"))  # version 1 never had it
    with pytest.raises(ValueError, match="unknown compressor 'zip'"):
        unpack(resealed(blob, compressor="zip"))
    with pytest.raises(ValueError, match="unknown compressor 'zip'"):
        pack(payload(), META, "zip")
    for how in ({"level": 3}, {"byte_shuffle": 2}):
        with pytest.raises(ValueError, match="range coder has no levels"):
            pack(payload(), META, "range", **how)
    with pytest.raises(ValueError, match="no level 12"):
        pack(payload(), META, "brotli", 12)


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(ValueError, match="complex64"):
        pack({"w": torch.zeros(2, dtype=torch.complex64)}, {}, "none")
    with pytest.raises(ValueError, match="plain JSON"):
        pack(payload(), {"when": object()}, "none")
    with pytest.raises(ValueError, match="plain JSON"):
        pack(payload(), {"loss": float("nan")}, "none")


def test_shared_and_strided_tensors_are_stored_by_value():
    base = torch.arange(12).reshape(3, 4)
    content = {"a": base, "b": base, "c": base.T}
    restored, _ = unpack(pack(content, {}, "zlib"))
    assert all(torch.equal(restored[name], content[name]) for name in content)


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(max_size=60), stride=st.integers(2, 9))
def test_a_shuffle_is_a_transposition_and_is_undone(raw, stride):
    whole = raw[: len(raw) // stride * stride]
    assert shuffle(whole, stride) == np.frombuffer(whole, np.uint8).reshape(-1, stride).T.tobytes()
    assert unshuffle(shuffle(raw, stride), stride) == raw and sorted(shuffle(raw, stride)) == sorted(raw)


@pytest.mark.parametrize("compressor", ["zlib", "brotli", "lzma", "zstd", "none"])
def test_shuffled_artifacts_come_back_and_say_so(compressor):
    blob = pack(payload(), META, compressor, byte_shuffle=2)
    assert blob[4] == 2 and read_header(blob)["shuffle"] == 2
    assert same(unpack(blob)[0], payload())
    assert "shuffle" not in read_header(pack(payload(), META, compressor))
    header = read_header(blob)
    for stride in (300, -1, "2", 3):
        with pytest.raises(ValueError, match="artifact: "):
            unpack(resealed(blob, header={**header, "shuffle": stride}))


def test_what_version_1_can_say_is_said_in_version_1():
    assert [pack(payload(), META, compressor)[4] for compressor in COMPRESSORS] == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("compressor", ["zstd", "range"])
def test_the_second_format_is_as_documented(compressor):
    blob = pack(coded(), META, compressor)
    magic, version, size, padded, checksum = struct.unpack_from("<4sHH8sI", blob)
    assert (magic, version, padded.rstrip(b"\0")) == (b"GOLF", 2, compressor.encode())
    assert checksum == zlib.crc32(blob[:16] + blob[20:])
    header = json.loads(brotli.decompress(blob[20 : 20 + size]))
    assert header == read_header(blob)
    if compressor == "zstd":
        assert len(zstandard.decompress(blob[20 + size :])) == header["payload_bytes"]
        return
    assert list(header["coded"]) == ["blocks.0.up"]
    others = brotli.decompress(blob[20 + size + header["coded"]["blocks.0.up"] :])
    scale, skip = payload()["blocks.0.up::scale"], payload()["skip_weights"]
    parts = [(scale, 2), (skip, 4), (payload()["counter"], 8)]  # by dtype: float16, float32, int64
    planes = [t.numpy().reshape(-1).view(np.uint8).reshape(-1, size).T.tobytes() for t, size in parts]
    assert others == b"".join(planes)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("coded"),
        lambda header: header.update(coded={"nobody": 3}),
        lambda header: header.update(coded={"blocks.0.up": 0}),
        lambda header: header.update(coded={"blocks.0.up": "3"}),
        lambda header: header.update(coded={"blocks.0.up": 1 << 40}),
        lambda header: header.update(coded={}),
        lambda header: header.update(coded={"skip_weights": 3}),
        lambda header: header["tensors"]["blocks.0.up"].update(shape=[1 << 20, 1 << 20]),
        lambda header: header["tensors"]["blocks.0.up"].update(shape=[-20, -30]),
        lambda header: header["tensors"]["blocks.0.up"].update(shape=[0, 1 << 62]),
        lambda header: header["tensors"]["blocks.0.up"].update(dtype="I4"),
        lambda header: header["tensors"].update(skip_weights=7),
    ],
)
def test_a_header_that_lies_about_codes_is_refused(change):
    blob = pack(coded(), META, "range")
    header = read_header(blob)
    change(header)
    with pytest.raises(ValueError, match="artifact: "):
        unpack(resealed(blob, header=header))


def test_a_few_bytes_of_code_cannot_become_a_large_matrix():
    content = {"w": torch.zeros(4096, 4096, dtype=torch.int8)}
    blob = pack(content, {"bits": {"w": 8}}, "range")
    assert len(blob) < 200 and same(unpack(blob)[0], content)
    with pytest.raises(ValueError, match="16777216 bytes is over the limit of 1048576"):
        unpack(blob, limit=1 << 20)


def test_a_header_that_expands_without_end_is_refused():
    blob = pack(payload(), META, "range")
    bomb = brotli.compress(b" " * (20 << 20))
    rest = bomb + blob[body_at(blob) :]
    fixed = blob[:6] + struct.pack("<H", len(bomb)) + blob[8:16]
    with pytest.raises(ValueError, match="artifact: the header cannot be read .*too long"):
        unpack(fixed + struct.pack("<I", zlib.crc32(fixed + rest)) + rest)


def entropy_bytes(grid: torch.Tensor) -> float:
    counts = grid.to(torch.int64).flatten().add(128).bincount().double()
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log2()).sum() * grid.numel() / 8)


@pytest.mark.parametrize(
    ("weights", "how"),
    [
        ("trained", {"bits": 8}),
        ("trained", {"bits": 6}),
        ("trained", {"bits": 6, "clip": "sd"}),
        ("trained", {"bits": 8, "min_range": 1.0}),
        ("record shape", {"bits": 8}),
        ("record shape", {"bits": 6, "clip": "sd"}),
    ],
)
def test_the_entropy_coder_is_near_the_limit_and_below_the_contests_packing(trained, weights, how):
    if weights == "trained":
        state = trained.model.state_dict()
    else:
        torch.manual_seed(0)  # one layer of the record's nine: all shapes that it has
        state = GPT(ModelConfig(vocab_size=256, layers=1)).state_dict()
    cfg = QuantizeConfig(**{"keep_below": 4096, "min_range": 0.0, **how})
    content, meta = quantize(state, cfg)
    blob = pack(content, meta, "range")
    assert same(unpack(blob)[0], content)
    others = [tensor for name, tensor in content.items() if name not in meta["bits"]]
    raw = sum(tensor.numel() * tensor.element_size() for tensor in others)
    bound = sum(entropy_bytes(content[name]) for name in meta["bits"]) + raw + body_at(blob)
    assert len(blob) <= 1.02 * bound
    buffer = io.BytesIO()
    torch.save({"w": content, "m": meta}, buffer)
    assert len(blob) <= len(brotli.compress(buffer.getvalue(), quality=11))
