"""The recorder: watches every tensor operation of a script and writes down what it scored and what it trained on.

`TorchDispatchMode` sees operations below autograd, after autocast, and without the script's knowledge. Most operations
have no marked operand and leave at once; the rest go to `seeds` (atoms are made) or `follow` (marks travel). Nothing
that the recorder does raises into the script: what it cannot do is counted in `Observed.unknown`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.scripts.inside import follow, roots
from harness.scripts.inside.book import Book, floats
from harness.scripts.inside.call import Call, Follower
from harness.scripts.inside.deciding import DECIDES, decide
from harness.scripts.inside.decisions import Turn
from harness.scripts.inside.locate import Location, Locator, Tokens
from harness.scripts.inside.places import Places
from harness.scripts.inside.seeds import Seeds
from harness.scripts.inside.shadows import address
from harness.scripts.trace.observed import Observed

__all__ = ["Recorder", "Tokens"]

_QUIET_SPACES = ("prim", "prims", "profiler", "c10d", "_c10d_functional", "quantized", "debugprims", "symm_mem")
_NLL = ("nll_loss_forward", "nll_loss2d_forward")
_NLL_BACKWARD = ("nll_loss_backward", "nll_loss2d_backward")
_IS_COMPOSITE = "CompositeImplicitAutograd"


@dataclass
class _Plan:
    """What to do with one overload."""

    name: str  # without namespace, and without the underscore of in-place operations
    inplace: bool
    composite: bool
    seed: Callable[[tuple[Any, ...], Any], bool] | None
    follower: Follower | None
    before: bool


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record one run.

    Args:
        tokens: what token ids say of positions.
        script: endings of the file names that are the script's own.
        locations: positions by call, from `locations` of an earlier run of the same script: for streams whose tokens
            repeat.
        rank: of this process, where there are several.
        draw: whether to draw a token from each row that is read.
        turn: a decision by losses that is to come out the other way.
    """

    def __init__(
        self,
        tokens: Tokens,
        script: str | Sequence[str] = "train_gpt.py",
        locations: Sequence[Location] | None = None,
        rank: int = 0,
        draw: bool = False,
        turn: Turn | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._locator = Locator(tokens, locations)
        self.book = Book(self._locator, Places((script,) if isinstance(script, str) else script), rank, turn)
        self.seeds = Seeds(self.book, draw)
        self.operations = 0
        self._plans: dict[Any, _Plan] = {}
        self._undo: Callable[[], None] | None = None
        self._depth = 0
        self._streams: list[tuple[str, roots.Lines]] = []

    # what callers use ------------------------------------------------------------------------------------------------

    @property
    def locations(self) -> list[Location]:
        """Where the targets of every call were found, for a replay."""
        return self._locator.log

    def install(self) -> None:
        """Patch where numbers leave torch; once, before the script imports anything from torch."""
        if self._undo is None:
            self._undo = roots.install(self.book)

    def uninstall(self) -> None:
        """Take the patches back."""
        if self._undo is not None:
            self._undo()
            self._undo = None

    def on_event(self, index: int, hook: Callable[[], None]) -> None:
        """Call `hook` just before event `index` is written; recording rests meanwhile.

        The operation that makes the event has run by then: a fork that edits tokens in the hook sees the change from
        the next batch on.
        """
        self.book.hooks[index] = hook

    def observed(self) -> Observed:
        """What was recorded so far."""
        made = self.book.observed()
        made.facts["operations"] = self.operations
        return made

    def __enter__(self) -> Recorder:
        if self._depth == 0:
            for name in ("stdout", "stderr"):
                lines = roots.Lines(getattr(sys, name), self.book)
                setattr(sys, name, lines)
                self._streams.append((name, lines))
        self._depth += 1
        self.book.active = True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        self._depth -= 1
        if self._depth == 0:
            self.book.active = False
            while self._streams:
                name, lines = self._streams.pop()
                stream = lines.finish()
                if getattr(sys, name) is lines:
                    setattr(sys, name, stream)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would wrap every operation of ours in a guard against compilation: 15 us each

    # operations ------------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        plan = self._plans.get(func)
        if plan is None:
            plan = self._plans[func] = self._plan(func)
        if plan.composite:
            with _again(self):
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        book = self.book
        self.operations += 1
        if not book.active:
            return func(*args, **kwargs)
        tracked = plan.follower is not None and self._tracked(args, kwargs)
        before = None
        if tracked and plan.before and plan.inplace:
            before = self._guarded(plan.name, lambda: floats(args[0]).copy())
        out = func(*args, **kwargs)
        if plan.seed is not None or tracked:
            self._guarded(plan.name, lambda: self._observe(plan, func, args, kwargs, out, tracked, before))
        return out

    def _tracked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        shadows = self.book.shadows._shadows
        if not shadows:
            return False
        for value in args:
            if isinstance(value, Tensor):
                if address(value) in shadows:
                    return True
            elif isinstance(value, (list, tuple)):
                for item in value:
                    if isinstance(item, Tensor) and address(item) in shadows:
                        return True
        return any(isinstance(value, Tensor) and address(value) in shadows for value in kwargs.values())

    def _guarded(self, name: str, act: Callable[[], Any]) -> Any:
        self.book.active = False
        self.book.gradients = torch.is_grad_enabled()
        try:
            with torch.no_grad():
                return act()
        except Exception as error:
            self.book.miss(f"recorder: {name}: {type(error).__name__}: {str(error)[:120]}")
            return None
        finally:
            self.book.active = True

    def _observe(
        self,
        plan: _Plan,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        tracked: bool,
        before: Any,
    ) -> None:
        if tracked and plan.name in DECIDES:
            decide(self.book, Call(func, plan.name, plan.inplace, args, kwargs, out))
        if plan.seed is not None and plan.seed(args, out):
            return
        if not tracked or plan.follower is None:
            return
        if isinstance(out, Tensor) and not plan.inplace:
            given = [*args, *(item for value in args if isinstance(value, (list, tuple)) for item in value)]
            if any(isinstance(value, Tensor) and address(value) == address(out) for value in given):
                return  # a view
        plan.follower(self.book, Call(func, plan.name, plan.inplace, args, kwargs, out, before))

    def _plan(self, func: Any) -> _Plan:
        space, name = func._schema.name.split("::")
        inplace = name.endswith("_") and not name.endswith("__")
        bare = name[:-1] if inplace else name
        composite = bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _IS_COMPOSITE))
        seed = self._seed(space, name)
        follower: Follower | None
        if space in _QUIET_SPACES or func.is_view:
            follower = None
        elif space != "aten":
            follower = _unknown
        elif bare == "_local_scalar_dense":
            follower = _scalar
        else:
            follower = follow.FOLLOWERS.get(bare, _unknown)
        if func._overloadname in ("out", "Tensor_out", "dim_IntList_out") or "out" in func._overloadname:
            follower = follower and _into(follower)
        return _Plan(bare, inplace, composite, seed, follower, bare in follow.BEFORE)

    def _seed(self, space: str, name: str) -> Callable[[tuple[Any, ...], Any], bool] | None:
        seeds = self.seeds
        if space != "aten":
            full = f"{space}::{name}"
            return None if space in _QUIET_SPACES else lambda args, out: seeds.custom(full, args, out)
        if name in _NLL:
            return lambda args, out: seeds.nll_loss(name, args, out)
        if name in _NLL_BACKWARD:
            return lambda args, out: seeds.nll_loss_backward(name, args)
        if name in ("_log_softmax", "_softmax"):
            return lambda args, out: seeds.softmax(name, args, out)
        if name == "gather":
            return lambda args, out: seeds.gather(args, out)
        if name == "index":
            return lambda args, out: seeds.index(args, out)
        if name == "scatter_add":
            return lambda args, out: seeds.scatter(name, args)
        if name == "index_put":
            return lambda args, out: seeds.index_put(name, args)
        return None


class _again:
    """The mode, while a composite operation is taken apart."""

    def __init__(self, mode: Recorder) -> None:
        self._mode = mode

    def __enter__(self) -> None:
        TorchDispatchMode.__enter__(self._mode)  # type: ignore[no-untyped-call]

    def __exit__(self, *exc: Any) -> None:
        TorchDispatchMode.__exit__(self._mode, *exc)  # type: ignore[no-untyped-call]


def _scalar(book: Book, call: Call) -> None:
    marks = book.shadows.marked(call.args[0]) if call.args[0].is_floating_point() else None
    if marks is not None:
        book.report(marks.reshape(-1), floats(call.args[0]).reshape(-1), float(call.out))


def _unknown(book: Book, call: Call) -> None:
    given = [*call.args, *(item for value in call.args if isinstance(value, (list, tuple)) for item in value)]
    marked = [
        t for t in given if isinstance(t, Tensor) and t.is_floating_point() and book.shadows.marked(t) is not None
    ]
    outs = call.out if isinstance(call.out, (list, tuple)) else (call.out,)
    if marked and any(isinstance(item, Tensor) and item.is_floating_point() for item in outs):
        book.miss(call.name)
    if call.inplace and isinstance(call.args[0], Tensor):
        book.shadows.clear(call.args[0])


def _into(follower: Follower) -> Follower:
    """An overload with `out=`: the target first loses what it had."""

    def wrapped(book: Book, call: Call) -> None:
        call.kwargs = {key: value for key, value in call.kwargs.items() if key != "out"}
        follower(book, call)

    return wrapped
