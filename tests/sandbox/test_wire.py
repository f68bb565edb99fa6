"""The wire: what goes in comes out, and nothing that arrives can hurt."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.sandbox.wire import Frame, Wire, WireClosed, WireError, WireTimeout, pair, text, untext

DTYPES = st.sampled_from([np.dtype(code) for code in ("?", "u1", "<u2", "<i4", "<i8", "<f4", "<f8")])
ARRAYS = DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)))


def wires(**options: int) -> tuple[Wire, Wire]:
    ours, theirs = pair(**options)
    return ours, Wire(theirs, **options)


def head(kind: int = 1, arrays: int = 0, fds: int = 0, magic: bytes = b"GWR1") -> bytes:
    return struct.pack("<4sHBB", magic, kind, arrays, fds)


def item(code: int, *dims: int, ndim: int | None = None) -> bytes:
    return struct.pack("<BB4Q", code, len(dims) if ndim is None else ndim, *dims, *(0,) * (4 - len(dims)))


@settings(max_examples=150, deadline=None)
@given(kind=st.integers(0, 65535), arrays=st.lists(ARRAYS, max_size=5))
def test_round_trip(kind: int, arrays: list[np.ndarray]) -> None:
    ours, theirs = wires()
    with ours, theirs:
        ours.send(kind, *arrays)
        frame = theirs.recv(timeout=10)
    assert frame.kind == kind and frame.fds == () and len(frame.arrays) == len(arrays)
    for sent, came in zip(arrays, frame.arrays, strict=True):
        assert came.dtype == sent.dtype and came.shape == sent.shape and came.tobytes() == sent.tobytes()
        assert came.flags.writeable and came.flags.c_contiguous


def test_views_are_sent_as_they_look() -> None:
    table = np.arange(24, dtype=np.int32).reshape(4, 6)
    ours, theirs = wires()
    with ours, theirs:
        ours.send(3, table.T, table[::2, 1:], np.asfortranarray(table))
        transposed, cut, fortran = theirs.recv(timeout=10).arrays
    assert np.array_equal(transposed, table.T)
    assert np.array_equal(cut, table[::2, 1:])
    assert np.array_equal(fortran, table)


def test_frames_larger_than_the_socket_buffer_arrive_whole_and_in_order() -> None:
    big = np.random.default_rng(0).standard_normal(3_000_000)
    ours, theirs = wires()
    with ours, theirs:
        sender = threading.Thread(target=lambda: [ours.send(n, big, np.array([n])) for n in range(3)])
        sender.start()
        frames = [theirs.recv(timeout=30) for _ in range(3)]
        sender.join()
    assert [frame.kind for frame in frames] == [0, 1, 2]
    assert all(np.array_equal(frame.arrays[0], big) and frame.arrays[1][0] == frame.kind for frame in frames)


def test_descriptors_travel() -> None:
    ours, theirs = wires()
    read_end, write_end = os.pipe()
    with ours, theirs:
        ours.send(9, np.zeros(2, np.uint8), fds=[write_end])
        os.close(write_end)
        frame = theirs.recv(timeout=10)
        assert len(frame.fds) == 1 and not os.get_inheritable(frame.fds[0])
        os.write(frame.fds[0], b"through")
        frame.close()
    assert os.read(read_end, 100) == b"through"
    assert os.read(read_end, 100) == b""
    os.close(read_end)


def test_fewer_descriptors_than_promised_are_refused_and_surplus_ones_closed() -> None:
    ours, raw = pair()
    read_end, write_end = os.pipe()
    with ours:
        socket.send_fds(raw, [head(fds=0)], [write_end])
        os.close(write_end)
        with pytest.raises(WireError, match="descriptors promised"):
            ours.recv(timeout=10)
    assert os.read(read_end, 1) == b""  # nobody holds the write end any more
    os.close(read_end)
    raw.close()
    ours, raw = pair()
    with ours, raw:
        raw.sendall(head(fds=2))
        with pytest.raises(WireError, match="descriptors promised"):
            ours.recv(timeout=10)


@pytest.mark.parametrize(
    "data",
    [
        head(magic=b"GWR2"),
        head(arrays=65),
        head(arrays=1) + item(7, 3),
        head(arrays=1) + item(1, 3, ndim=5),
        head(arrays=1) + item(1, 3, 3, ndim=1),
        head(arrays=1) + item(6, 2**40),
        head(arrays=1) + item(1, 2**63, 2**63, 2**63, 2**63),
        head(arrays=1) + item(1, 2**63, 0),
        head(arrays=2) + item(1, 600_000) + item(1, 600_000),
        head(arrays=1) + item(0, 2) + b"\x01\x02",
    ],
    ids=["magic", "count", "dtype", "ndim", "dims", "huge", "overflow", "huge-empty", "sum", "bool"],
)
def test_malformed_frames_are_refused(data: bytes) -> None:
    ours, raw = pair(max_bytes=1 << 20)
    with ours, raw:
        raw.sendall(data)
        with pytest.raises(WireError):
            ours.recv(timeout=10)
        with pytest.raises(WireError, match="broken"):
            ours.recv(timeout=10)


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(lambda tail: head(arrays=2) + tail)))
def test_random_bytes_never_do_anything_but_wire_errors(data: bytes) -> None:
    ours, raw = pair(max_bytes=1 << 16)
    with ours, raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        with pytest.raises(WireError):
            while True:
                frame = ours.recv(timeout=10)
                assert sum(array.nbytes for array in frame.arrays) <= 1 << 16


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 75), value=st.integers(0, 255))
def test_a_damaged_frame_is_refused_or_still_a_frame(position: int, value: int) -> None:
    good = head(arrays=2) + item(1, 4) + item(0, 2, 2) + b"abcd" + b"\0\1\1\0"
    bad = bytearray(good)
    bad[position] = value
    ours, raw = pair(max_bytes=1 << 12)
    with ours, raw:
        raw.sendall(bad)
        raw.shutdown(socket.SHUT_WR)
        try:
            frame = ours.recv(timeout=10)
        except WireError:
            return
        assert sum(array.nbytes for array in frame.arrays) <= 1 << 12


def test_too_much_is_refused_before_it_is_sent() -> None:
    ours, theirs = wires(max_bytes=1000)
    with ours, theirs:
        for bad in (np.zeros(1001, np.uint8), np.zeros(3, np.float16), np.zeros((1,) * 5, np.uint8), np.array(["x"])):
            with pytest.raises(WireError, match="cannot send"):
                ours.send(1, bad)
        for options in ({"kind": 65536}, {"kind": -1}):
            with pytest.raises(WireError, match="cannot send"):
                ours.send(**options)
        with pytest.raises(WireError, match="cannot send"):
            ours.send(1, *[np.zeros(1)] * 65)
        ours.send(1, np.zeros(1000, np.uint8))  # nothing of the refused frames went out
        assert theirs.recv(timeout=10).arrays[0].shape == (1000,)


def test_a_silent_peer_times_out_and_the_wire_stays_usable() -> None:
    ours, theirs = wires()
    with ours, theirs:
        with pytest.raises(WireTimeout):
            ours.recv(timeout=0.02)
        theirs.send(5)
        assert ours.recv(timeout=10) == Frame(5)


def test_a_dripping_peer_times_out() -> None:
    ours, raw = pair()
    stop = threading.Event()

    def drip() -> None:
        data = iter(head(arrays=1) + item(1, 10_000) + bytes(10_000))
        while not stop.wait(0.01):
            raw.send(bytes([next(data)]))

    dripper = threading.Thread(target=drip)
    dripper.start()
    with ours:
        started = time.monotonic()
        with pytest.raises(WireTimeout):
            ours.recv(timeout=0.2)
        stop.set()
        dripper.join()
        assert time.monotonic() - started < 60  # all of it would take 100 s
        with pytest.raises(WireError, match="broken"):
            ours.recv(timeout=1)
    raw.close()


def test_a_peer_that_never_reads_times_out_the_sender() -> None:
    ours, raw = pair()
    with ours, raw, pytest.raises(WireTimeout):
        ours.send(1, np.zeros(64 << 20, np.uint8), timeout=0.05)


def test_a_peer_that_is_gone() -> None:
    ours, raw = pair()
    raw.close()
    with ours:
        with pytest.raises(WireClosed):
            ours.recv(timeout=10)
        with pytest.raises(WireClosed):
            ours.send(1)
    with pytest.raises(WireClosed, match="this side"):
        ours.recv()
    ours.close()
    ours, raw = pair()
    with ours:
        raw.sendall(head(arrays=1) + item(1, 10) + b"123")
        raw.close()
        with pytest.raises(WireClosed, match="middle of a frame"):
            ours.recv(timeout=10)


def test_text() -> None:
    assert untext(text("naïve → ok"), 100) == "naïve → ok"
    assert untext(text("x" * 50), 10) == "x" * 10
    assert untext(np.frombuffer(b"a\xff\xfeb", np.uint8), 100) == "a\ufffd\ufffdb"
    assert untext(text("bad \udc80"), 100) == "bad ?"
    with pytest.raises(WireError, match="expected text"):
        untext(np.zeros(3), 100)


def test_what_is_held_arrives_first_and_as_it_was() -> None:
    ours, theirs = wires()
    numbers = np.array([1, 2])
    with ours, theirs:
        ours.hold(7, numbers)
        numbers[:] = 0
        ours.hold(8)
        with pytest.raises(WireTimeout):
            theirs.recv(0.01)
        with pytest.raises(WireError):
            ours.send(1, np.zeros(2, np.complex128))  # nothing was sent, and nothing is lost
        ours.send(9, np.array([3]))
        ours.send(10)
        got = [theirs.recv(5) for _ in range(4)]
        assert [frame.kind for frame in got] == [7, 8, 9, 10]
        assert got[0].arrays[0].tolist() == [1, 2] and got[2].arrays[0].tolist() == [3]
