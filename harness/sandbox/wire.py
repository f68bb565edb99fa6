"""Length-prefixed raw arrays over a unix stream socket. Nothing is ever pickled or interpreted.

Both sides use this module: the referee, who trusts nothing that arrives, and the box. A frame is

    magic "GWR1" | kind u16 | arrays u8 | fds u8 | per array: dtype u8, ndim u8, dims 4 x u64 | the arrays' bytes

little-endian, arrays in C order; file descriptors ride on the frame's first byte (SCM_RIGHTS). Everything in the
head is checked before a byte is allocated for the arrays. Imports the standard library and numpy only.
"""

from __future__ import annotations

import array
import errno
import math
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

MAGIC = b"GWR1"
MAX_ARRAYS = 64
MAX_FDS = 64
MAX_NDIM = 4
_HEAD = struct.Struct("<4sHBB")
_ITEM = struct.Struct("<BB4Q")
_DTYPES = tuple(np.dtype(code) for code in ("?", "u1", "<u2", "<i4", "<i8", "<f4", "<f8"))
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}
_BUFFER = 4 << 20  # the default of 208 KiB costs a context switch per 100 KiB


class WireError(OSError):
    """The bytes on the wire are not a frame, or an array cannot be sent. The wire is of no further use."""


class WireClosed(WireError):
    """The peer is gone, or this side has closed the wire."""


class WireTimeout(WireError, TimeoutError):
    """The deadline passed before a whole frame came through."""


@dataclass(frozen=True)
class Frame:
    """One message. Whoever receives it owns the file descriptors.

    Attributes:
        kind: what it means, 0..65535; the wire does not care.
        arrays: fresh arrays in the sender's order, each writable and C-contiguous.
        fds: open file descriptors, close-on-exec.
    """

    kind: int
    arrays: tuple[NDArray[Any], ...] = ()
    fds: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the descriptors; for frames whose descriptors nobody asked for."""
        for fd in self.fds:
            os.close(fd)


class Wire:
    """One end of a connection. Not thread-safe: one thread sends and receives.

    Args:
        sock: a connected unix stream socket. The wire owns it from here on and makes it non-blocking.
        max_bytes: the most array bytes that a frame may carry, either way.
    """

    def __init__(self, sock: socket.socket, *, max_bytes: int = 2**31) -> None:
        sock.setblocking(False)  # a blocking flag would be shared with forks of this process; poll() is not
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        self._sock = sock
        self._max_bytes = max_bytes
        self._broken: str | None = None
        self._held: list[memoryview] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed; lets `select` and `poll` wait for a frame."""
        return self._sock.fileno()

    def close(self) -> None:
        """Hang up. Closing twice does nothing."""
        self._sock.close()

    def send(self, kind: int, *arrays: NDArray[Any], fds: Sequence[int] = (), timeout: float | None = None) -> None:
        """Send one frame; returns when the kernel has all of it.

        Args:
            kind: 0..65535.
            arrays: up to 64 arrays of bool, uint8, uint16, int32, int64, float32 or float64, up to 4 dimensions.
            fds: up to 64 descriptors; the peer gets duplicates, the caller keeps (and closes) these.
            timeout: seconds for the whole frame; None waits for as long as the peer lives.

        Raises:
            WireError: an array has another dtype or shape, or the frame is too big. Nothing was sent.
            WireTimeout: the peer did not read in time. Part of the frame may be out: the wire is broken.
            WireClosed: the peer is gone.
        """
        self._check_usable()
        views, self._held = [*self._held, *self._frame(kind, arrays, len(fds))], []
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        deadline = None if timeout is None else time.monotonic() + timeout
        while views:
            try:
                sent = self._sock.sendmsg(views, ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
                continue
            except OSError as error:
                self._fail(_lost(error))
            ancillary = []
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]

    def hold(self, kind: int, *arrays: NDArray[Any]) -> None:
        """Keep one frame for the next `send` to take along before its own: alone it would wake the peer for little.

        Raises:
            WireError: as `send`.
        """
        # a copy: what is sent is what the arrays hold now
        self._held += [memoryview(bytes(view)) for view in self._frame(kind, arrays, 0)]

    def _frame(self, kind: int, arrays: Sequence[NDArray[Any]], fds: int) -> list[memoryview]:
        ready = [np.asarray(item, order="C") for item in arrays]
        head = self._head(kind, ready, fds)
        return [memoryview(head), *(item.reshape(-1).view(np.uint8).data for item in ready if item.nbytes)]

    def recv(self, timeout: float | None = None) -> Frame:
        """Wait for one whole frame.

        Args:
            timeout: seconds for the whole frame, so a peer that drips bytes cannot hold us; None waits.

        Raises:
            WireError: what arrived is not a frame, or is larger than `max_bytes`; nothing was allocated for it.
            WireTimeout: no frame in time. If none of it had arrived the wire stays usable, else it is broken.
            WireClosed: the peer is gone.
        """
        self._check_usable()
        deadline = None if timeout is None else time.monotonic() + timeout
        head = memoryview(bytearray(_HEAD.size))
        got, fds = self._first(head, deadline)
        try:
            self._fill(head[got:], deadline)
            magic, kind, count, promised = _HEAD.unpack(head)
            if magic != MAGIC:
                self._fail(WireError("not a frame: wrong magic"))
            if promised != len(fds) or count > MAX_ARRAYS:
                self._fail(WireError(f"bad frame: {count} arrays, {promised} descriptors promised, {len(fds)} came"))
            items = memoryview(bytearray(_ITEM.size * count))
            self._fill(items, deadline)
            layout = self._layout(items)
            arrays = tuple(self._array(dtype, shape, deadline) for dtype, shape in layout)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Frame(kind, arrays, fds)

    def _head(self, kind: int, arrays: Sequence[NDArray[Any]], fds: int) -> bytes:
        if not 0 <= kind < 1 << 16 or len(arrays) > MAX_ARRAYS or fds > MAX_FDS:
            raise WireError(f"cannot send kind {kind} with {len(arrays)} arrays and {fds} descriptors")
        parts = [_HEAD.pack(MAGIC, kind, len(arrays), fds)]
        total = 0
        for item in arrays:
            if item.dtype not in _CODES or item.ndim > MAX_NDIM:
                raise WireError(f"cannot send an array of {item.dtype}, {item.ndim} dimensions")
            dims = (*item.shape, *(0,) * (MAX_NDIM - item.ndim))
            parts.append(_ITEM.pack(_CODES[item.dtype], item.ndim, *dims))
            total += _room(item.shape, item.dtype)
        if total > self._max_bytes:
            raise WireError(f"cannot send {total} bytes in one frame; the limit is {self._max_bytes}")
        return b"".join(parts)

    def _layout(self, items: memoryview) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
        layout = []
        total = 0
        for code, ndim, *dims in _ITEM.iter_unpack(items):
            if code >= len(_DTYPES) or ndim > MAX_NDIM or any(dims[ndim:]):
                self._fail(WireError(f"bad frame: dtype code {code}, {ndim} dimensions"))
            shape = tuple(dims[:ndim])
            total += _room(shape, _DTYPES[code])
            if total > self._max_bytes:
                self._fail(WireError(f"frame too big: more than {self._max_bytes} bytes of arrays"))
            layout.append((_DTYPES[code], shape))
        return layout

    def _array(self, dtype: np.dtype[Any], shape: tuple[int, ...], deadline: float | None) -> NDArray[Any]:
        raw = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
        self._fill(raw.data, deadline)
        if dtype == np.bool_ and raw.size and raw.max() > 1:
            self._fail(WireError("bad frame: a bool that is neither 0 nor 1"))
        return raw.view(dtype).reshape(shape)

    def _first(self, buffer: memoryview, deadline: float | None) -> tuple[int, tuple[int, ...]]:
        """The frame's first bytes, and the descriptors that ride on them."""
        room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
        while True:
            try:
                got, ancillary, flags, _ = self._sock.recvmsg_into([buffer], room, socket.MSG_CMSG_CLOEXEC)
                break
            except BlockingIOError:
                self._wait(select.POLLIN, deadline, started=False)
            except OSError as error:
                self._fail(_lost(error))
        fds = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not got or flags & socket.MSG_CTRUNC:
            for fd in fds:
                os.close(fd)
            self._fail(WireError("bad frame: too many descriptors") if got else WireClosed("the peer hung up"))
        return got, tuple(fds)

    def _fill(self, buffer: memoryview, deadline: float | None) -> None:
        while buffer:
            try:
                got = self._sock.recv_into(buffer)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError as error:
                self._fail(_lost(error))
            if not got:
                self._fail(WireClosed("the peer hung up in the middle of a frame"))
            buffer = buffer[got:]
            if deadline is not None and buffer and time.monotonic() > deadline:
                self._fail(WireTimeout("the frame did not arrive in time"))

    def waiting(self, seconds: float) -> bool:
        """Whether something to receive, or the peer's end, comes within so many seconds (whole milliseconds count)."""
        self._check_usable()
        return self._polled(select.POLLIN, seconds)

    def _wait(self, event: int, deadline: float | None, *, started: bool = True) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._polled(event, left):
            error = WireTimeout("no whole frame came through in time")
            if started:
                self._fail(error)
            raise error

    def _polled(self, event: int, seconds: float | None) -> bool:
        poller = select.poll()
        poller.register(self._sock, event)
        return bool(poller.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def _check_usable(self) -> None:
        if self._sock.fileno() < 0:
            raise WireClosed("this side has closed the wire")
        if self._broken:
            raise WireError(f"the wire is broken: {self._broken}")

    def _fail(self, error: WireError) -> NoReturn:
        if not isinstance(error, WireClosed):
            self._broken = str(error)
        raise error


def _lost(error: OSError) -> WireError:
    if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
        return WireClosed("the peer hung up")
    return WireError(f"the wire failed: {error.strerror or error}")


def _room(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Bytes that a shape stands for, counting a zero as one: numpy refuses (2**62, 0) as too big."""
    return math.prod(max(1, dim) for dim in shape) * dtype.itemsize


def text(value: str) -> NDArray[np.uint8]:
    """A string as uint8 [n], utf-8."""
    return np.frombuffer(value.encode("utf-8", errors="replace"), np.uint8)


def untext(array: NDArray[Any], limit: int) -> str:
    """At most `limit` bytes of a uint8 array as a string; what is not utf-8 becomes U+FFFD.

    Raises:
        WireError: the array is not uint8.
    """
    if array.dtype != np.uint8:
        raise WireError(f"expected text, got an array of {array.dtype}")
    return array.reshape(-1)[:limit].tobytes().decode("utf-8", errors="replace")


def pair(*, max_bytes: int = 2**31) -> tuple[Wire, socket.socket]:
    """A wire and the socket at its other end, to be wrapped by whoever gets it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Wire(ours, max_bytes=max_bytes), theirs
