"""The command line of bubblewrap for a box."""

from __future__ import annotations

from harness.sandbox.plan import Plan


def command(plan: Plan, inner: list[str]) -> list[str]:
    """What to execute so that `inner` runs as process 1 of the box that the plan describes.

    The environment is inherited (it is scrubbed already); descriptors that are inheritable get through.
    """
    words = [plan.bwrap, "--unshare-all", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL", "--hostname", "box"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for place in plan.read:
        words += ["--ro-bind", place, place]
    for device in plan.devices:
        words += ["--dev-bind", device, device]
    for path, target in plan.links:
        words += ["--symlink", target, path]
    for folder in plan.hide:
        words += ["--tmpfs", folder, "--remount-ro", folder]
    words += ["--bind", plan.scratch, plan.scratch, "--bind", plan.shm, "/dev/shm"]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", plan.scratch, "--", *inner]
    return words
