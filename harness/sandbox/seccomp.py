"""A small seccomp filter: no ways around the namespaces and Landlock, and only the socket families that may be.

What is denied answers EPERM, so code that tries falls back or raises; nothing is killed. Denied are io_uring (its
operations pass no filter), kernel keyrings, new user namespaces and mounts, other processes' memory, bpf, perf,
and sockets of other families (AF_VSOCK reaches a virtual machine's host from every network namespace).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from harness.sandbox.kernel import CLONE_NEWUSER, prctl

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARG0 = 0, 4, 16
_X32_BIT = 0x40000000

# architecture -> (AUDIT_ARCH_*, {call: number}); calls from 424 on have one number everywhere
_ARCHES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "clone": 56, "ptrace": 101, "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167,
            "reboot": 169, "init_module": 175, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
            "unshare": 272, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "finit_module": 313, "bpf": 321, "userfaultfd": 323,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "clone": 220, "ptrace": 117, "pivot_root": 41, "mount": 40, "umount2": 39, "swapon": 224,
            "reboot": 142, "init_module": 105, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
            "unshare": 97, "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
            "process_vm_writev": 271, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        },
    ),
}  # fmt: skip
_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsmount": 432, "pidfd_getfd": 438, "mount_setattr": 442,
}  # fmt: skip
_CLONE3 = 435  # its flags are behind a pointer that a filter cannot read; ENOSYS makes libc use clone


def supported() -> bool:
    """Whether the filter is written for this machine's architecture."""
    return os.uname().machine in _ARCHES


def install(families: Iterable[int]) -> None:
    """Lay the filter on this thread and all that it starts, for good; call before any thread exists.

    Args:
        families: the AF_* numbers that `socket` may still be called with; `socketpair` is not touched.

    Raises:
        OSError: another architecture, or the kernel refused. `no_new_privileges` must have been called.
    """
    machine = os.uname().machine
    if machine not in _ARCHES:
        raise OSError(f"no seccomp filter for {machine}")
    program = _program(machine, families)
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    prctl("prctl(SECCOMP)", _PR_SET_SECCOMP, _MODE_FILTER, head)


def _program(machine: str, families: Iterable[int]) -> bytes:
    """Classic BPF: each test of a call number is followed by what to do if it matches."""
    arch, numbers = _ARCHES[machine]
    denied = _EVERYWHERE | {name: number for name, number in numbers.items() if name not in ("socket", "clone")}
    code = [
        _op(_LOAD, _OFFSET_ARCH), _op(_EQUAL, arch, 1, 0), _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD, _OFFSET_NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":
        code += [_op(_AT_LEAST, _X32_BIT, 0, 1), _deny(errno.ENOSYS)]
    for number in denied.values():
        code += [_op(_EQUAL, number, 0, 1), _deny(errno.EPERM)]
    code += [_op(_EQUAL, _CLONE3, 0, 1), _deny(errno.ENOSYS)]
    code += [
        _op(_EQUAL, numbers["clone"], 0, 4), _op(_LOAD, _OFFSET_ARG0), _op(_ANY_BIT, CLONE_NEWUSER, 0, 1),
        _deny(errno.EPERM), _op(_RETURN, _ALLOW),
    ]  # fmt: skip
    code += [_op(_EQUAL, numbers["socket"], 1, 0), _op(_RETURN, _ALLOW), _op(_LOAD, _OFFSET_ARG0)]
    for family in families:
        code += [_op(_EQUAL, family, 0, 1), _op(_RETURN, _ALLOW)]
    return b"".join([*code, _deny(errno.EPERM)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _deny(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)
