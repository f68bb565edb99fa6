"""What runs in the boxes of the tests: `main(wire, [function, ...])`. Imported in the box only."""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.sandbox.wire import Wire, text

libc = ctypes.CDLL(None, use_errno=True)


def main(wire: Wire, args: list[str]) -> int | None:
    return globals()[args[0]](wire, *args[1:])


def attempts(wire: Wire, facts: str) -> None:
    """Try everything in turn; one text for each: "denied: ..." or "done: ..."."""
    names = json.loads(facts)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # what a watched folder sends
    results = {name: tried(action, names) for name, action in ATTEMPTS.items()}
    wire.send(1, text(json.dumps(results)))


def tried(action: Callable[[dict[str, Any]], object], names: dict[str, Any]) -> str:
    try:
        return f"done: {action(names)}"
    except (OSError, ImportError) as error:
        return f"denied: {type(error).__name__} {error}"


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def connect(family: int, kind: int, address: Any) -> str:
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        if kind == socket.SOCK_DGRAM:
            sock.sendto(b"leak", address)
        else:
            sock.connect(address)
            sock.sendall(b"leak")
    return "sent"


def data(names: dict[str, Any]) -> str:
    return str(Path(names["allowed"], "more.txt"))


def with_open(path: str, action: Callable[[int], object]) -> object:
    """What is asked of a descriptor ends when it is closed."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return action(fd)
    finally:
        os.close(fd)


def system_v(kind: str, made: int) -> int:
    """Remove what was made, so that the control leaves nothing behind."""
    return int(libc.semctl(made, 0, 0) if kind == "sem" else getattr(libc, f"{kind}ctl")(made, 0, None))


def posix_queue() -> None:
    libc.mq_close(checked(libc.mq_open(b"/golf-test", os.O_CREAT | os.O_RDWR, 0o600, None)))
    libc.mq_unlink(b"/golf-test")


def pages_in_memory(path: str) -> str:
    mapped = np.memmap(path, np.uint8, mode="r")
    page = mapped.ctypes.data & ~(mmap.PAGESIZE - 1)
    checked(libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(1), ctypes.create_string_buffer(1)))
    return "asked"


def flag(path: str) -> None:
    """Set the attributes that it has, by FS_IOC_GETFLAGS and FS_IOC_SETFLAGS."""
    with open(path, "rb") as file:
        flags = fcntl.ioctl(file, 0x80086601, bytes(8))
        fcntl.ioctl(file, 0x40086602, flags)


def mount_and_unmount(place: bytes) -> int:
    checked(libc.mount(b"tmpfs", place, b"tmpfs", 0, None))
    return checked(libc.umount2(place, 2))


ATTEMPTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "read a secret": lambda n: Path(n["secret"]).read_text(),
    "read through a link": lambda n: Path(n["allowed"], "link").read_text(),
    "read through a linked folder": lambda n: Path(n["allowed"], "folder", "secret.txt").read_text(),
    "read the tests": lambda n: Path(n["tests"]).read_text()[:10],
    "read the user database": lambda n: Path("/etc/passwd").read_text()[:10],
    "read the parent's environment": lambda n: Path(f"/proc/{n['parent']}/environ").read_bytes()[:10],
    "read the parent's memory map": lambda n: Path(f"/proc/{n['parent']}/maps").read_bytes()[:10],
    "read process 1's environment": lambda n: Path("/proc/1/environ").read_bytes()[:10],
    "look through process 1's root": lambda n: os.listdir("/proc/1/root"),
    "change a kernel setting": lambda n: Path("/proc/sys/kernel/core_pattern").open("r+").close(),
    "list the root": lambda n: os.listdir("/"),
    "list the secret's folder": lambda n: os.listdir(os.path.dirname(n["secret"])),
    "write beside the secret": lambda n: Path(n["secret"]).with_name("new").write_text("x"),
    "write over the secret": lambda n: Path(n["secret"]).open("r+").write("x"),
    "write into the read folder": lambda n: Path(n["allowed"], "new").write_text("x"),
    "truncate a file to be read": lambda n: os.truncate(Path(n["allowed"], "data.txt"), 0),
    "remove a file to be read": lambda n: os.unlink(Path(n["allowed"], "data.txt")),
    "write over the code": lambda n: Path(sys.modules["harness"].__file__ or "").open("a").write("#"),
    "write to /tmp": lambda n: Path("/tmp/golf-box-leak").write_text("x"),
    "link the secret here": lambda n: os.link(n["secret"], "hardlink"),
    "connect by TCP": lambda n: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", n["tcp"])),
    "send by UDP": lambda n: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", n["udp"])),
    "connect to an abstract socket": lambda n: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + n["abstract"]),
    "connect to a socket file": lambda n: connect(socket.AF_UNIX, socket.SOCK_STREAM, n["socket"]),
    "open a host socket": lambda n: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close(),
    "signal the parent": lambda n: os.kill(n["parent"], 0),
    "make a user namespace": lambda n: in_child(lambda: checked(libc.unshare(0x10000000))),
    "make a mount": lambda n: mount_and_unmount(os.getcwd().encode()),
    "set up io_uring": lambda n: checked(libc.syscall(425, 1, ctypes.create_string_buffer(120))),
    "become another user": lambda n: in_child(lambda: os.setresuid(12345, 12345, 12345)),
    "make System V memory": lambda n: system_v("shm", checked(libc.shmget(0, 4096, 0o1600))),
    "make a System V queue": lambda n: system_v("msg", checked(libc.msgget(0, 0o1600))),
    "make System V semaphores": lambda n: system_v("sem", checked(libc.semget(0, 1, 0o1600))),
    "open a POSIX queue": lambda n: posix_queue(),
    "make a file in memory": lambda n: os.close(os.memfd_create("x")),
    "watch what others read": lambda n: os.close(checked(libc.inotify_init1(0))),
    "watch a folder by signal": lambda n: fcntl.fcntl(
        os.open(n["allowed"], os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS
    ),
    "ask for a lease": lambda n: with_open(data(n), lambda fd: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)),
    "ask which pages are in memory": lambda n: pages_in_memory(data(n)),
    "read only what is in memory": lambda n: os.preadv(os.open(data(n), os.O_RDONLY), [bytearray(1)], 0, os.RWF_NOWAIT),
    "hold a process by descriptor": lambda n: os.close(os.pidfd_open(os.getpid())),
    "compare two processes": lambda n: checked(libc.syscall(312, os.getpid(), os.getppid(), 2, 0, 0)),
    "give a file an attribute": lambda n: os.setxattr(data(n), "user.note", b"x"),
    "flag a file": lambda n: flag(data(n)),
    "set the parent's priority": lambda n: os.setpriority(os.PRIO_PROCESS, n["parent"], os.getpriority(0, n["parent"])),
    "set the parent's processors": lambda n: os.sched_setaffinity(n["parent"], os.sched_getaffinity(n["parent"])),
    "read the parent's limits": lambda n: resource.prlimit(n["parent"], resource.RLIMIT_CPU),
    "import the referee": lambda n: __import__("harness.errors"),
    "import the parent's side": lambda n: __import__("harness.sandbox.box"),
}


def in_child(action: Callable[[], object]) -> str:
    """For what would change this process if it worked."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return "worked"


def normal_life(wire: Wire, allowed: str) -> None:
    """Things that honest code does."""
    facts: dict[str, object] = {"read": Path(allowed, "data.txt").read_text()}
    Path("made/deep").mkdir(parents=True)
    Path("made/deep/file").write_text("mine")
    os.rename("made/deep/file", "made/file")
    facts["wrote"] = Path("made/file").read_text()
    with open("mapped", "w+b") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096) as view:
            view[:4] = b"mmap"
    facts["mmap"] = Path("mapped").read_bytes()[:4].decode()
    found: list[int] = []
    threads = [threading.Thread(target=found.append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts["threads"] = sorted(found)
    facts["forks"] = [in_child(lambda: None) for _ in range(5)]
    facts["program"] = subprocess.run([sys.executable, "-c", "print(6*7)"], capture_output=True, text=True).stdout
    facts["random"] = len(os.urandom(8)) + len(Path("/dev/urandom").open("rb").read(8))
    facts["cpus"] = bool(Path("/proc/cpuinfo").read_text()) and bool(os.cpu_count())
    facts["self"] = "VmRSS" in Path("/proc/self/status").read_text()
    facts["capabilities"] = [
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    ]
    facts["environment"] = dict(os.environ)
    facts["hash"] = hash("golf")
    facts["linalg"] = float(np.linalg.det(np.eye(3)))
    facts["cwd"] = os.getcwd()
    wire.send(1, text(json.dumps(facts)))


def torch_works(wire: Wire) -> None:
    """Training, compiling, saving, temporary files, locks: what honest submissions do."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    x, y = torch.randn(64, 8), torch.randn(64, 1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (compiled(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as named:
        torch.save(model.state_dict(), f"{folder}/model.pt")
        shutil.copy2(f"{folder}/model.pt", f"{folder}/copy.pt")
        os.chmod(f"{folder}/copy.pt", 0o600)
        Path(folder, "copy.pt").touch()
        named.write(b"x")
        with open(f"{folder}/lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fcntl.lockf(lock, fcntl.LOCK_EX)
        model.load_state_dict(torch.load(f"{folder}/copy.pt", weights_only=True))
    with tempfile.TemporaryFile() as unnamed:
        np.save(unnamed, x.numpy())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    wire.send(1, np.array([losses[-1] < losses[0] and len(list(loader)) == 4]))


def mark(wire: Wire, path: str) -> None:
    """Everything that would leave a mark on a file which may only be read; then what can be seen of it."""
    flock = os.open(path, os.O_RDONLY)
    actions: dict[str, Callable[[], object]] = {
        "mode": lambda: os.chmod(path, 0o777),
        "mode of the open file": lambda: os.fchmod(flock, 0o777),
        "owner": lambda: os.chown(path, os.getuid(), os.getgid()),
        "dates": lambda: os.utime(path, (1, 1)),
        "dates of the open file": lambda: os.utime(flock, (1, 1)),
        "attribute": lambda: os.setxattr(path, "user.note", b"x"),
        "flag": lambda: flag(path),
        "lock": lambda: fcntl.flock(flock, fcntl.LOCK_EX | fcntl.LOCK_NB),
        "shared record lock": lambda: fcntl.lockf(flock, fcntl.LOCK_SH | fcntl.LOCK_NB),
    }
    said = {name: tried(lambda names, action=action: action(), {}) for name, action in actions.items()}  # type: ignore[misc]
    wire.send(1, text(json.dumps(said)))
    wire.recv()


def siblings(wire: Wire, how: str) -> None:
    """Two forks, and what the second, and this process, can do to the first; `how` says whether they are set apart."""
    from harness.sandbox.apart import set_apart

    ready, go = os.pipe()
    kept = os.pipe()  # open in the first only
    first = os.fork()
    if first == 0:
        if how == "apart":
            set_apart()
        os.write(go, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    for end in kept:
        os.close(end)
    tries: dict[str, Callable[[], object]] = {
        "memory": lambda: open(f"/proc/{first}/mem", "r+b", buffering=0).close(),
        "memory map": lambda: open(f"/proc/{first}/maps").read(10),
        "open file": lambda: os.close(os.open(f"/proc/{first}/fd/{kept[0]}", os.O_RDONLY | os.O_NONBLOCK)),
        "signal": lambda: os.kill(first, 0),
        "memory of the parent": lambda: open(f"/proc/{os.getppid()}/mem", "r+b", buffering=0).close(),
        "signal to the parent": lambda: os.kill(os.getppid(), 0),
    }

    def attempt() -> dict[str, str]:
        return {name: tried(lambda names, action=action: action(), {}) for name, action in tries.items()}  # type: ignore[misc]

    second = os.fork()
    if second == 0:
        if how == "apart":
            set_apart()
        wire.send(1, text(json.dumps(attempt())))
        os._exit(0)
    os.waitpid(second, 0)
    if how == "apart":
        set_apart()
    wire.send(1, text(json.dumps({name: said for name, said in attempt().items() if "parent" not in name})))


def own_descriptors(wire: Wire) -> None:
    """What is open in this process, and what it is told of how it was started."""
    found = []
    for fd in range(64):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            pass
    plan = json.loads(Path("/proc/self/cmdline").read_bytes().split(b"\0")[-2])
    told = {name: value for name, value in plan.items() if isinstance(value, int)}
    wire.send(1, text(json.dumps({"open": found, "argv": sys.orig_argv, "plan": told})))


def surroundings(wire: Wire, value: str) -> None:
    """What a box of a warmed process has of its own, and what it finds of another's."""
    here = {"scratch": os.getcwd(), "home": os.environ["HOME"], "temporary": tempfile.gettempdir()}
    here |= {"found": getattr(np, "left_behind", ""), "pid": os.getpid(), "parent": os.getppid()}
    here |= {"open": sorted(fd for fd in range(256) if _is_open(fd)), "threads": len(os.listdir("/proc/self/task"))}
    here |= {"variables": sorted(os.environ), "path": sys.path, "shared": shared_memory(), "mask": os.umask(0o22)}
    np.left_behind = value  # type: ignore[attr-defined]
    Path("left behind").write_text(value)
    wire.send(1, text(json.dumps(here)))


def shared_memory() -> list[str]:
    """Mappings that writes to would be seen by others."""
    return [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.split()[1].startswith("rw") and line.split()[1].endswith("s")
    ]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def hold_unnamed_files(wire: Wire, how: str) -> None:
    """Files that no folder shows: open and unlinked, or mapped and closed."""
    held: list[Any] = []
    for number in range(40):
        fd = os.open(f"f{number}", os.O_CREAT | os.O_RDWR)
        os.unlink(f"f{number}")
        os.write(fd, bytes(1 << 20))
        held.append(fd if how == "open" else mmap.mmap(fd, 1 << 20))
        if how == "mapped":
            os.close(fd)
    time.sleep(30)


def unnamed_but_small(wire: Wire) -> None:
    """A temporary file and a shared mapping, as libraries make them, beside a little that is in the folder."""
    with tempfile.TemporaryFile() as unnamed, mmap.mmap(-1, 1 << 20):
        unnamed.write(bytes(1 << 20))
        unnamed.flush()
        Path("named").write_bytes(bytes(1 << 20))
        time.sleep(2)


def many_threads(wire: Wire, count: str) -> None:
    threading.stack_size(1 << 16)
    end = threading.Event()
    for _ in range(int(count)):
        threading.Thread(target=end.wait, daemon=True).start()
    time.sleep(2)


def semaphore(wire: Wire) -> None:
    import multiprocessing

    lock = multiprocessing.Lock()
    with lock:
        wire.send(1, text("locked"))


def echo(wire: Wire) -> int:
    frame = wire.recv()
    wire.send(frame.kind + 1, *frame.arrays)
    return 0


def forked_wires(wire: Wire) -> None:
    """Forks answer on wires of their own, whose other ends go to the parent."""
    for number in range(3):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            with Wire(ours) as mine:
                mine.send(7, np.array([number, os.getpid()]))
                mine.recv()
            os._exit(0)
        ours.close()
        wire.send(2, np.array([number]), fds=[theirs.fileno()])
        theirs.close()
    for _ in range(3):
        os.wait()


def given_wire(wire: Wire) -> None:
    frame = wire.recv()
    with Wire(socket.socket(fileno=frame.fds[0])) as other:
        other.send(8, text("over the new one"))


def raise_error(wire: Wire) -> None:
    raise ValueError("this is the submission's own mistake")


def leave(wire: Wire, code: str) -> None:
    sys.exit(int(code) if code.isdigit() else code)


def abort(wire: Wire) -> None:
    os.abort()


def shoot_group(wire: Wire) -> None:
    os.kill(0, signal.SIGKILL)


def spin(wire: Wire, how: str) -> None:
    """Compute for ever: in this process, in children that are short-lived, or orphaned, or not waited for."""
    if how == "briefly":
        _burn(0.5)
        time.sleep(1.0)
        return
    if how == "unwaited":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if how == "itself":
            _burn(0.2)
        elif (child := os.fork()) == 0:
            if how == "orphans" and os.fork():
                os._exit(0)
            _burn(0.2)
            os._exit(0)
        elif how == "children":
            os.waitpid(child, 0)
        else:
            if how == "orphans":
                os.waitpid(child, 0)
            time.sleep(0.2)


def _burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def hang(wire: Wire) -> None:
    wire.send(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    while True:
        time.sleep(60)


def spin_away(wire: Wire) -> None:
    """Leave a daemon behind, forked twice."""
    daemon()
    wire.send(1)


def daemon() -> None:
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write_end, b"x")
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()
    os.read(read_end, 1)


def daemon_and_hang(wire: Wire) -> None:
    daemon()
    hang(wire)


def eat_memory(wire: Wire) -> None:
    kept = []
    while True:
        kept.append(np.ones(2 << 20))
        time.sleep(0.005)


def eat_memory_in_children(wire: Wire) -> None:
    for _ in range(4):
        if os.fork() == 0:
            block = np.ones(10 << 20)
            time.sleep(60)
            print(block.sum())
    time.sleep(60)


def one_huge_array(wire: Wire) -> None:
    np.ones(1 << 40)


def share_memory(wire: Wire) -> None:
    block = np.ones(16 << 20)  # 128 MiB
    for _ in range(4):
        if os.fork() == 0:
            time.sleep(1.0)
            os._exit(int(block[0]) - 1)
    for _ in range(4):
        os.wait()


def fork_bomb(wire: Wire) -> None:
    while True:
        try:
            os.fork()
        except OSError:
            pass


def print_forever(wire: Wire) -> None:
    line = "x" * 999
    while True:
        print(line)


def print_much(wire: Wire, count: str) -> None:
    sys.stdout.write("y" * int(count))


def big_file(wire: Wire) -> None:
    with open("big", "wb") as file:
        while True:
            file.write(bytes(1 << 20))


def many_files(wire: Wire) -> None:
    for number in range(10**6):
        Path(f"file{number}").write_bytes(bytes(1 << 18))
        time.sleep(0.001)


def leave_a_mess(wire: Wire) -> None:
    for _ in range(1100):
        os.mkdir("d")
        os.chdir("d")
    Path("file").write_text("x")
    os.chdir(os.environ["HOME"])
    os.mkdir("locked")
    Path("locked/file").write_text("x")
    os.chmod("locked", 0)


def sizes(wire: Wire, *paths: str) -> None:
    """How many bytes of each file can be read; -1 where it cannot."""
    found = []
    for path in paths:
        try:
            found.append(len(Path(path).read_bytes()))
        except OSError:
            found.append(-1)
    wire.send(1, np.array(found))


def look(wire: Wire, folder: str) -> None:
    wire.send(1, text(json.dumps(sorted(os.listdir(folder)))))


def import_kit(wire: Wire) -> None:
    import harness.kit

    wire.send(1, text(harness.kit.__file__ or ""))
