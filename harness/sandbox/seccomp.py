"""A small seccomp filter: no ways around the namespaces and Landlock, no channels past them, and few socket families.

What is denied answers EPERM or ENOSYS, so code that tries falls back or raises; nothing is killed. Denied are io_uring
(its operations pass no filter), kernel keyrings, new user namespaces and mounts, other processes' memory, bpf, perf,
sockets of other families (AF_VSOCK reaches a virtual machine's host from every network namespace), and what would carry
a word from one box to another, or outlive one, though it touches no file that may be written: System V and POSIX
queues, semaphores and memory, extended attributes, watching what others read, asking which pages are in memory.

Locks are answered as if they had been granted, because honest code takes them on files of its own; a lock in a box
locks nothing. Where boxes see the files of the machine itself (the landlock level), changes of a file's mode, owner and
dates are answered as done likewise, and done nowhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Sequence

from harness.sandbox.kernel import CLONE_NEWUSER, prctl

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARG0, _ARG = 0, 4, 16, 8
_X32_BIT = 0x40000000

# architecture -> (AUDIT_ARCH_*, {call: number}); calls from 424 on have one number everywhere
_ARCHES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "clone": 56, "ptrace": 101, "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167,
            "reboot": 169, "init_module": 175, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
            "unshare": 272, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "finit_module": 313, "bpf": 321, "userfaultfd": 323, "shmget": 29, "shmat": 30,
            "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220, "msgget": 68, "msgsnd": 69,
            "msgrcv": 70, "msgctl": 71, "mq_open": 240, "mq_unlink": 241, "setxattr": 188, "lsetxattr": 189,
            "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "kcmp": 312, "syslog": 103,
            "inotify_init": 253, "inotify_init1": 294, "fanotify_init": 300, "mincore": 27, "memfd_create": 319,
            "fadvise64": 221, "preadv2": 327, "flock": 73, "fcntl": 72, "ioctl": 16, "chmod": 90, "fchmod": 91,
            "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "utime": 132, "utimes": 235,
            "futimesat": 261, "utimensat": 280, "setpriority": 141, "ioprio_set": 251, "sched_setaffinity": 203,
            "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314, "prlimit64": 302,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "clone": 220, "ptrace": 117, "pivot_root": 41, "mount": 40, "umount2": 39, "swapon": 224,
            "reboot": 142, "init_module": 105, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
            "unshare": 97, "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
            "process_vm_writev": 271, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "shmget": 194, "shmat": 196,
            "shmctl": 195, "semget": 190, "semop": 193, "semctl": 191, "semtimedop": 192, "msgget": 186, "msgsnd": 189,
            "msgrcv": 188, "msgctl": 187, "mq_open": 180, "mq_unlink": 181, "setxattr": 5, "lsetxattr": 6,
            "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "kcmp": 272, "syslog": 116,
            "inotify_init1": 26, "fanotify_init": 262, "mincore": 232, "memfd_create": 279, "fadvise64": 223,
            "preadv2": 286, "flock": 32, "fcntl": 25, "ioctl": 29, "fchmod": 52, "fchmodat": 53, "fchown": 55,
            "fchownat": 54, "utimensat": 88, "setpriority": 140, "ioprio_set": 30, "sched_setaffinity": 122,
            "sched_setscheduler": 119, "sched_setparam": 118, "sched_setattr": 274, "prlimit64": 261,
        },
    ),
}  # fmt: skip
_EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "memfd_secret": 447, "process_mrelease": 448, "cachestat": 451,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip

#: Newer ways to do something, or hints: code that finds them missing takes the older way.
_MISSING = {"inotify_init", "inotify_init1", "fanotify_init", "mincore", "memfd_create", "memfd_secret", "cachestat"}
#: What leaves a mark on a file, or takes a lock, and is answered as done.
_MARKS = {
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat",
}  # fmt: skip
_LOCKS = {"flock", "fadvise64"}
#: Calls whose arguments decide.
_SPECIAL = {"socket", "clone", "fcntl", "preadv2", "ioctl"}
#: Calls that change another process where its number is given: (call: which argument that is).
_OTHERS = {
    "setpriority": 1, "ioprio_set": 1, "sched_setaffinity": 0, "sched_setscheduler": 0, "sched_setparam": 0,
    "sched_setattr": 0, "prlimit64": 0,
}  # fmt: skip
_SET_LOCK = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_WATCH = (1024, 1026)  # F_SETLEASE, F_NOTIFY
_NO_WAIT = 8  # RWF_NOWAIT: succeeds only where the page is in memory
#: ioctl's that mark a file which is only open for reading: FS_IOC_SETFLAGS (both sizes), FS_IOC_SETVERSION,
#: FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY, FIDEDUPERANGE.
_FILE_IOCTLS = (0x40086602, 0x40046602, 0x40087602, 0x401C5820, 0x40806685, 0xC0189436)
_CLONE3 = 435  # its flags are behind a pointer that a filter cannot read; ENOSYS makes libc use clone


def supported() -> bool:
    """Whether the filter is written for this machine's architecture."""
    return os.uname().machine in _ARCHES


def install(families: Iterable[int], *, shared_files: bool = True, memfd: bool = False) -> None:
    """Lay the filter on this thread and all that it starts, for good; call before any thread exists.

    Args:
        families: the AF_* numbers that `socket` may still be called with; `socketpair` is not touched.
        shared_files: the box sees files and process numbers of the machine itself, not read-only mounts of its own.
        memfd: files that are in memory only may be made; GPU drivers make some.

    Raises:
        OSError: another architecture, or the kernel refused. `no_new_privileges` must have been called.
    """
    machine = os.uname().machine
    if machine not in _ARCHES:
        raise OSError(f"no seccomp filter for {machine}")
    program = _program(machine, families, shared_files=shared_files, memfd=memfd)
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    prctl("prctl(SECCOMP)", _PR_SET_SECCOMP, _MODE_FILTER, head)


def _program(machine: str, families: Iterable[int], *, shared_files: bool, memfd: bool) -> bytes:
    """Classic BPF: each test of a call number is followed by what to do if it matches."""
    arch, own = _ARCHES[machine]
    numbers = own | _EVERYWHERE
    left = _SPECIAL | set(_OTHERS) | (set() if shared_files else _MARKS) | ({"memfd_create"} if memfd else set())
    code = [
        _op(_LOAD, _OFFSET_ARCH), _op(_EQUAL, arch, 1, 0), _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD, _OFFSET_NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":
        code += [_op(_AT_LEAST, _X32_BIT, 0, 1), _deny(errno.ENOSYS)]
    for name, number in numbers.items():
        if name not in left:
            code += [_op(_EQUAL, number, 0, 1), _answer(name)]
    code += [_op(_EQUAL, _CLONE3, 0, 1), _deny(errno.ENOSYS)]
    locks = [(_EQUAL, value, 0) for value in _SET_LOCK]
    code += _by_argument(numbers["fcntl"], 1, [*locks, *((_EQUAL, value, errno.EPERM) for value in _WATCH)])
    code += _by_argument(numbers["preadv2"], 5, [(_ANY_BIT, _NO_WAIT, errno.EOPNOTSUPP)])
    if shared_files:
        code += _by_argument(numbers["ioctl"], 1, [(_EQUAL, value, errno.EPERM) for value in _FILE_IOCTLS])
        for name, which in _OTHERS.items():
            code += [
                _op(_EQUAL, numbers[name], 0, 4), _op(_LOAD, _OFFSET_ARG0 + _ARG * which), _op(_EQUAL, 0, 0, 1),
                _op(_RETURN, _ALLOW), _deny(errno.EPERM),
            ]  # fmt: skip
    code += _by_argument(numbers["clone"], 0, [(_ANY_BIT, CLONE_NEWUSER, errno.EPERM)])
    code += [_op(_EQUAL, numbers["socket"], 1, 0), _op(_RETURN, _ALLOW), _op(_LOAD, _OFFSET_ARG0)]
    for family in families:
        code += [_op(_EQUAL, family, 0, 1), _op(_RETURN, _ALLOW)]
    return b"".join([*code, _deny(errno.EPERM)])


def _by_argument(number: int, argument: int, tests: Sequence[tuple[int, int, int]]) -> list[bytes]:
    """For one call: (test, value, error) of the low half of an argument in turn; what passes them all is allowed."""
    inside = [_op(_LOAD, _OFFSET_ARG0 + _ARG * argument)]
    for test, value, error in tests:
        inside += [_op(test, value, 0, 1), _deny(error)]
    inside.append(_op(_RETURN, _ALLOW))
    return [_op(_EQUAL, number, 0, len(inside)), *inside]


def _answer(name: str) -> bytes:
    if name in _MARKS or name in _LOCKS:
        return _deny(0)  # no error and nothing done
    return _deny(errno.ENOSYS if name in _MISSING else errno.EPERM)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _deny(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)
