"""The few Linux calls that Python 3.11 does not have, through ctypes. Each raises OSError with the call's name.

Constants are from the kernel's uapi headers; the call numbers above 424 are the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP = 1, 38, 36, 24
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int, *args: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a raw system call; integers go as longs.

    Raises:
        OSError: with `name` in its text.
    """
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *wide)), name)


def prctl(name: str, option: int, argument: int = 0, pointer: ctypes.Array[ctypes.c_char] | int = 0) -> int:
    """Make a prctl call with its unused arguments zero."""
    last = ctypes.c_ulong(pointer) if isinstance(pointer, int) else pointer
    return _checked(int(_libc.prctl(option, ctypes.c_ulong(argument), last, 0, 0)), name)


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when the thread that forked it ends."""
    prctl("prctl(PDEATHSIG)", _PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, daemons included."""
    prctl("prctl(CHILD_SUBREAPER)", _PR_SET_CHILD_SUBREAPER, 1)


def hurry() -> None:
    """Be scheduled before ordinary processes, children too, so that a box full of busy ones cannot starve its keepers.

    Does what this user may: real-time priority, else a higher ordinary one, else nothing.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        try:
            os.nice(-10)
        except OSError:
            pass


def take_turns() -> None:
    """Undo `hurry`."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))


def no_new_privileges() -> None:
    """Make execve unable to grant anything (set-uid programs, file capabilities), for good."""
    prctl("prctl(NO_NEW_PRIVS)", _PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability of this process and of whatever it executes.

    Raises:
        OSError: the kernel refused, and this process still has some.
    """
    try:
        for capability in range(_LAST_CAPABILITY + 1):
            prctl("prctl(CAPBSET_DROP)", _PR_CAPBSET_DROP, capability)
    except OSError:
        pass  # past the kernel's last one, or we had none to drop; what counts is checked by capset below
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)
    _checked(int(_libc.capset(header, nothing)), "capset")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    _checked(int(_libc.unshare(ctypes.c_int(flags))), "unshare")


def sethostname(name: bytes) -> None:
    """Name the machine, in this UTS namespace."""
    _checked(int(_libc.sethostname(name, ctypes.c_size_t(len(name)))), "sethostname")


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    """Attach a file system, or bind one place to another; arguments as for the system call."""
    raw = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    result = _libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3])
    _checked(int(result), f"mount {target}")


def restrict_mount(target: str, attributes: int, *, recursive: bool) -> None:
    """Add MOUNT_ATTR_* restrictions to a mount (Linux 5.12), keeping those it has."""
    change = ctypes.create_string_buffer(struct.pack("<4Q", attributes, 0, 0, 0), 32)
    flags = _AT_RECURSIVE if recursive else 0
    syscall(f"mount_setattr {target}", _SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, change, 32)


def change_root(folder: str) -> None:
    """Make `folder` (a mount point) the root of this mount namespace and let go of the old one."""
    os.chdir(folder)
    _checked(int(_libc.pivot_root(b".", b".")), "pivot_root")
    _checked(int(_libc.umount2(b".", ctypes.c_int(MNT_DETACH))), "umount2 of the old root")
    os.chdir("/")
