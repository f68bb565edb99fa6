"""Builds a box and stays outside it as its keeper; forks process 1, which stays inside and reaps.

    parent ── keeper (this script) ── process 1 (this script, confined) ── the process in the box (boot.py)

The keeper ends when process 1 has ended, when the parent says so, or when the parent is gone; before it ends,
nothing that came from the box is alive. It runs with `python -I -S -B` from the staged code folder.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import sys
from dataclasses import replace

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from harness.sandbox import boot, jail, kernel, processes
from harness.sandbox.bubblewrap import command
from harness.sandbox.plan import Plan
from harness.sandbox.report import reason, report

FAULT = 70
_PARENT_CHECK_MS = 500
_WIRE, _STATUS = 3, 4


def keep(plan: Plan, *, warm: bool = False) -> None:
    """Start the box and watch over it; returns when all of it is dead. `warm`: it runs in a fork of this process."""
    parent = os.getppid()
    kernel.adopt_orphans()
    ended, alive = os.pipe()
    plan = replace(plan, alive=alive)
    kernel.hurry()
    if plan.level == "native":
        jail.new_user_and_pid_namespace()
    first = os.fork()
    if first == 0:
        try:
            os.close(ended)
            os.close(plan.lifeline)
            _become_first(plan, warm)
        except BaseException as error:
            report(plan.status, fault=reason(error))
        finally:
            os._exit(FAULT)
    for fd in (alive, plan.wire, plan.status):
        os.close(fd)
    poller = select.poll()
    for fd in (plan.lifeline, ended):
        poller.register(fd, select.POLLIN)
    # The lifeline may live on in a fork of the parent, hence the second look at who our parent is.
    while not poller.poll(_PARENT_CHECK_MS) and os.getppid() == parent:
        pass
    os.kill(first, signal.SIGKILL)  # with a PID namespace that is the end of everything in it; not reaped yet
    processes.end_all()


def _become_first(plan: Plan, warm: bool) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    if plan.level == "bubblewrap":
        for fd in (plan.wire, plan.status, plan.alive):
            os.set_inheritable(fd, True)
        argv = command(plan, [plan.python, "-I", "-S", "-B", os.path.abspath(__file__), "first", plan.dumps()])
        os.execv(argv[0], argv)
    if plan.level == "native":
        jail.enter(plan)
    be_first(plan, warm)


def be_first(plan: Plan, warm: bool = False) -> None:
    """Fork the process in the box, reap whatever ends, report how that one ended."""
    kernel.adopt_orphans()
    worker = os.fork()
    if worker == 0:
        try:
            kernel.take_turns()
            kernel.die_with_parent(signal.SIGKILL)
            os.setsid()  # kill(0, ...) in the box must not reach us
            os.chdir(plan.scratch)
            os.set_inheritable(plan.alive, False)
            plan = _renumbered(plan)
            if warm:
                os.closerange(_STATUS + 1, os.sysconf("SC_OPEN_MAX"))  # what execv would have closed
                boot.enter(plan)
            script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot.py")
            # not -I, which would ignore PYTHONHASHSEED: the environment is scrubbed, -P and -s do the rest
            os.execv(plan.python, [plan.python, "-s", "-P", "-B", script, plan.dumps()])
        except BaseException as error:
            report(plan.status, fault=reason(error))
        finally:
            os._exit(FAULT)
    os.close(plan.wire)
    while True:
        pid, status, _ = os.wait4(-1, 0)
        if pid == worker:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(plan.status, ended=status, cpu_seconds=used.ru_utime + used.ru_stime, max_rss_bytes=used.ru_maxrss * 1024)
    os._exit(0)


def _renumbered(plan: Plan) -> Plan:
    """The box's two descriptors under numbers that are the same in every box, inheritable.

    Those that the parent happened to have free tell which of its boxes this is.
    """
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (plan.wire, plan.status)]
    for fd in (plan.wire, plan.status):
        os.set_inheritable(fd, False)
    for fd, number in zip(aside, (_WIRE, _STATUS), strict=True):
        os.dup2(fd, number)
    return replace(plan, wire=_WIRE, status=_STATUS, alive=-1, lifeline=-1)


def main() -> None:
    """`launcher.py keep|first PLAN`."""
    role, plan = sys.argv[1], Plan.loads(sys.argv[2])
    try:
        if role == "keep":
            keep(plan)
        else:
            be_first(plan)
    except Exception as error:
        report(plan.status, fault=reason(error))
        sys.exit(FAULT)


if __name__ == "__main__":
    main()
