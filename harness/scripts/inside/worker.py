"""The box's side of a script's run: take the order, dress the process up, run the script as `__main__`, tell.

Whatever happens in the script ends in `facts`, not in a crash of the worker: an exception, an exit, a thing without
a stand-in.
"""

from __future__ import annotations

import contextlib
import os
import resource
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from harness.sandbox.peers import Peers
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import Wire
from harness.scripts.inside import clock
from harness.scripts.inside.branches import Branches
from harness.scripts.inside.order import Order
from harness.scripts.inside.outlet import Outlet, Stopped, packed, unpacked
from harness.scripts.trace.observed import Observed

_ERROR_LINES = 12
_ERROR_CHARS = 4000


def main(wire: Wire, args: Sequence[str]) -> int:
    """Run one script; the answer is one frame, here and on the wire of every fork."""
    order = Order.of(wire.recv())
    facts = order.facts
    outlet = Outlet(wire)
    os.chdir(facts["folder"])
    run = os.getcwd()
    sys.path.insert(0, run)
    os.environ.update(facts["env"])
    ended: dict[str, Any] = {"ended": "error", "error": "the harness could not start the script"}
    outlet.collect = lambda: Observed(facts=ended)
    start = clock.real_monotonic()
    peers = Peers()
    try:
        if facts["ranks"] > 1:
            import torch  # noqa: F401  # once for all of them

            peers = Peers.start(int(facts["ranks"]))
            os.environ.update(_place(peers))
        recorder, uses, branches = _dress(order, run, outlet, peers)
        outlet.collect = lambda: _collect(recorder, uses, branches, outlet, start, ended)
        ended.update(_stages(facts, run, recorder, branches))
    except Stopped as stop:
        ended.update(ended=stop.how, error="")
    except BaseException as error:
        ended.update(ended="error", error=_told(error, run), where="harness")
    peers.farewell(" ".join(str(ended["error"] or ended["ended"]).split()))
    if peers.rank:
        os._exit(0)  # rank 0 answers for all
    peers.wait()
    outlet.send()
    return 0


def _place(peers: Peers) -> dict[str, str]:
    """What a launcher tells each rank."""
    rank, size = str(peers.rank), str(peers.size)
    return {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "29500"}  # fmt: skip


def _dress(order: Order, run: str, outlet: Outlet, peers: Peers) -> tuple[Any, Any, Branches | None]:
    """Clock, seeds, stand-ins, recorder, branches, forks."""
    import torch

    from harness.scripts.inside import standins
    from harness.scripts.inside.forks import Server
    from harness.scripts.inside.standins import files, uses

    facts = order.facts
    torch.set_num_threads(1)
    uses.FOLDER = type(uses.FOLDER)(run)
    clock.install()
    clock.seed(0)
    standins.install()
    files.watch(run)
    recorder: Any = None
    branches: Branches | None = None
    if facts["record"]:
        from harness.scripts.inside.decisions import Turn
        from harness.scripts.inside.recorder import Recorder, Tokens

        tokens = Tokens(
            position_of=order.position_of,
            alternative=order.alternative,
            steps=order.steps,
            bos=int(facts["bos"]),
            bos_positions=order.bos_positions.tolist(),
            vocab_size=int(facts["vocab_size"]),
            shards=int(facts["shards"]),
        )
        turn = Turn(**facts["turn"]) if facts["turn"] else None
        places = unpacked(order.locations)
        recorder = Recorder(tokens, facts["scripts"], places, peers.rank, bool(facts["draw"]), turn)
        recorder.install()
        branches = Branches(lambda: recorder.book.seq, facts["scripts"], facts["thresholds"], facts["constants"])
        branches.install(run)
        outlet.extra = lambda: packed(recorder.locations)
        server = Server(order, outlet, run)
        for event, hook in server.hooks():
            recorder.on_event(event, hook)
    if not peers.alone:
        from harness.scripts.inside.sharing import Sharing
        from harness.scripts.inside.standins import ranks

        ranks.install(Sharing(peers, recorder.book if recorder is not None else None))
    uses.COUNTS.clear()  # what our own dressing used
    return recorder, uses, branches


def _stages(facts: dict[str, Any], run: str, recorder: Any, branches: Branches | None) -> dict[str, Any]:
    """Run the script once for each stage, each time as `__main__`; the last failure is what counts."""
    entry = os.path.join(run, facts["entry"])
    result: dict[str, Any] = {}
    before: list[dict[str, str]] = []
    common = dict(os.environ)
    from harness.scripts.inside.standins import modal

    def script() -> None:
        if branches is None:
            runpy.run_path(entry, run_name="__main__")
        else:
            branches.run(entry)
        modal.finish()

    exact: Any = contextlib.nullcontext()
    if facts["exact"]:
        from harness.scripts.inside.exact import Exact

        exact = Exact()  # type: ignore[no-untyped-call]
    for index, stage in enumerate(facts["stages"]):
        os.environ.clear()
        os.environ.update(common)
        os.environ.update(stage["env"])
        sys.argv = [entry, *stage["argv"]]
        with exact:
            result = _one(script, run, recorder)
        before.append({"ended": result["ended"], "error": result["error"]})
        result |= {"stage": index, "stages": before}
        os.chdir(run)
        if result["ended"] == "no stand-in":
            break
    return result


def _one(script: Callable[[], Any], run: str, recorder: Any) -> dict[str, Any]:
    from harness.scripts.inside.standins.uses import NoStandIn

    try:
        if recorder is None:
            script()
        else:
            with recorder:
                script()
    except SystemExit as stop:
        code = stop.code
        if code is None or code == 0:
            return {"ended": "ok", "error": ""}
        return {"ended": f"exit {code if isinstance(code, int) else 1}", "error": str(code)[:_ERROR_CHARS]}
    except Stopped:
        raise
    except NoStandIn as error:
        return {"ended": "no stand-in", "error": str(error)}
    except ModuleNotFoundError as error:
        _absent(error)
        return {"ended": "no stand-in", "error": _told(error, run)}
    except BaseException as error:
        return {"ended": "error", "error": _told(error, run)}
    return {"ended": "ok", "error": ""}


def _absent(error: ModuleNotFoundError) -> None:
    """A package that the script cannot do without and that nobody stands in for."""
    from harness.scripts.inside.standins.uses import MISSING

    name = f"package {(error.name or '?').partition('.')[0]}"
    if all(item["name"] != name for item in MISSING):
        MISSING.append({"name": name, "why": "it is not installed here", "place": "an import"})


def _told(error: BaseException, run: str) -> str:
    """The last lines of the traceback, without the machine's paths."""
    code = __file__.removesuffix(__name__.replace(".", "/") + ".py")
    text = "".join(traceback.format_exception(error)).replace(run + "/", "").replace(code, "")
    lines = text.strip().splitlines()
    return "\n".join(lines[-_ERROR_LINES:])[-_ERROR_CHARS:]


def _collect(
    recorder: Any, uses: Any, branches: Branches | None, outlet: Outlet, start: float, ended: dict[str, Any]
) -> Observed:
    from harness.scripts.inside.standins import files

    observed: Observed = recorder.observed() if recorder is not None else Observed()
    observed.facts |= branches.told() if branches is not None else {}
    observed.facts |= ended
    observed.facts |= outlet.facts
    observed.facts |= {
        "seconds": clock.real_monotonic() - start,
        "standins": dict(uses.COUNTS),
        "missing": list(uses.MISSING),
        "files": files.facts(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": sys.modules["torch"].__version__ if "torch" in sys.modules else "",
    }
    return observed


__all__ = ["Kind", "main"]
