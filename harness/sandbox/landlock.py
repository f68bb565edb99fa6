"""Landlock: rules on files, TCP, signals and abstract sockets that a process lays on itself and its children.

Needs no privilege; Linux 5.13 (files), 6.7 (TCP), 6.12 (signals, abstract sockets). Rules name real files, so
a symbolic link inside an allowed folder leads nowhere new. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Collection, Iterable, Iterator

from harness.sandbox.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_QUERY, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
_FILES_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NEWEST_FILES = max(_FILES_BY_ABI)
_ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_READ = EXECUTE | READ_FILE | READ_DIR
_NET = 0b11  # bind and connect, TCP; none is granted
_SCOPES = 0b11  # abstract unix sockets, signals


def abi() -> int:
    """The kernel's Landlock version; 0 if it has none or it is switched off."""
    try:
        return syscall("landlock_create_ruleset", _CREATE_RULESET, None, 0, _VERSION_QUERY)
    except OSError:
        return 0


def restrict(*, read: Iterable[str], write: Iterable[str], devices: Iterable[str], hide: Collection[str] = ()) -> int:
    """Confine this thread, and all that it starts from here on, for good; call before any thread exists.

    Args:
        read: files and folders to read and execute. One that does not exist is left out.
        write: folders to do anything in but make device files.
        devices: device files to read, write and control.
        hide: folders inside `read` of which no file may be read; their names can be listed.

    Returns:
        The Landlock version in force. From 4 on TCP is denied, from 6 on signals and abstract sockets leave
        the box no more.

    Raises:
        OSError: the kernel has no Landlock or refused a rule. `no_new_privileges` must have been called.
    """
    version = abi()
    if not version:
        raise OSError("this kernel has no Landlock")
    files = _FILES_BY_ABI[min(version, _NEWEST_FILES)]
    attributes = struct.pack("<3Q", files, _NET if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, size, 0)
    try:
        for path in read:
            for place, access in _around(path, hide):
                _allow(ruleset, place, files & access)
        for path in write:
            _allow(ruleset, path, files & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV))
        for path in devices:
            _allow(ruleset, path, files & (READ_FILE | WRITE_FILE | IOCTL_DEV))
        syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _around(path: str, hide: Collection[str]) -> Iterator[tuple[str, int]]:
    """Rules for a path without what is hidden in it: rules only ever add, so everything beside it gets one."""
    if path in hide:
        return
    if not any(folder.startswith(path + "/") for folder in hide):
        yield path, _READ
        return
    yield path, READ_DIR
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_symlink():  # a rule would be one on what it leads to
                yield from _around(entry.path, hide)


def nest() -> bool:
    """Lay one more domain on this thread, with no rule on files: it can no longer trace or signal what lacks it.

    What other processes have open, mapped and in memory (`/proc/PID/fd`, `/proc/PID/mem`) is then out of reach.

    Returns:
        Whether signals are cut, too (Linux 6.12).

    Raises:
        OSError: the kernel has no Landlock, or sixteen domains are laid already.
    """
    version = abi()
    if not version:
        raise OSError("this kernel has no Landlock")
    attributes = struct.pack("<3Q", MAKE_BLOCK, 0, _SCOPES if version >= 6 else 0)  # a domain must deny something
    ruleset = syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, 24 if version >= 6 else 8, 0)
    try:
        syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version >= 6


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _ON_A_FILE
        rule = ctypes.create_string_buffer(struct.pack("<Qi", access, fd), 12)
        syscall(f"landlock_add_rule {path}", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)
