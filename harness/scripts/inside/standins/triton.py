"""Triton: a kernel is not run; what it computes is, where its text is known.

`@triton.jit` keeps the kernel's name and a fingerprint of its text. `kernels` holds, for a few kernels that the
contest's scripts share, what they compute, in PyTorch. A kernel of a known name but another text is run the same
way and named in the evidence as assumed; a kernel of an unknown name stops the run.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch

from harness.scripts.inside.standins import kernels
from harness.scripts.inside.standins.uses import Anything, missing, module, used

#: What says how a kernel is launched, not what it computes.
_LAUNCH = {"num_warps", "num_stages", "num_ctas", "maxnreg"}


class Descriptor:
    """A tensor descriptor: the tensor itself, whatever the blocks."""

    def __init__(self, base: Any, *_: Any, **__: Any) -> None:
        self.base = base

    @staticmethod
    def from_tensor(tensor: Any, *_: Any, **__: Any) -> Descriptor:
        """A descriptor of the whole tensor."""
        return Descriptor(tensor)


class Kernel:
    """A jitted function: `kernel[grid](...)` runs its stand-in."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.fn = function
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__doc__ = None
        self._text: str | None = None

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return self.run

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Compute what the kernel computes.

        Raises:
            NoStandIn: nothing is known about a kernel of this name.
        """
        known = kernels.KNOWN.get(self.__name__)
        if known is None:
            missing(f"Triton kernel {self.__name__}", "nobody has written down what it computes")
        if self._text is None:
            self._text = fingerprint(self.fn)
        text = self._text
        sure = "" if text in known.texts else " (unknown text, taken to compute what its name says)"
        used(f"Triton kernel {self.__name__}{sure}")
        names = list(inspect.signature(self.fn).parameters)
        given = dict(zip(names, args, strict=False)) | {k: v for k, v in kwargs.items() if k not in _LAUNCH}
        given = {name: value.base if isinstance(value, Descriptor) else value for name, value in given.items()}
        if not set(known.needs) <= set(given):
            missing(f"Triton kernel {self.__name__}", f"its arguments are {', '.join(names)}")
        known.compute({**known.texts.get(text, {}), **given})

    def __call__(self, *_: Any, **__: Any) -> None:
        """Outside a kernel a jitted function has no meaning here."""
        missing(f"Triton function {self.__name__}", "called outside a kernel")


def fingerprint(function: Callable[..., Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a function's text, comments, layout and decorators aside."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return ""
    if isinstance(tree, ast.FunctionDef):
        tree.decorator_list = []
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def _jit(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    return Kernel(function) if function is not None else Kernel


def _decorator(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda kernel: kernel


def _language(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything()


def install() -> None:
    """Make `triton` importable."""
    made = module(
        "triton",
        __version__="3.4.0",
        jit=_jit,
        autotune=_decorator,
        heuristics=_decorator,
        Config=lambda *_, **__: None,
        cdiv=lambda a, b: -(-a // b),
        next_power_of_2=lambda n: 1 << max(0, n - 1).bit_length(),
        set_allocator=lambda *_: None,
    )
    language = module("triton.language", constexpr=lambda value=None: value)
    library: Any = torch.library
    library.wrap_triton = lambda kernel: kernel
    language.__getattr__ = _language  # type: ignore[method-assign]
    for name in ("triton.language.extra", "triton.language.extra.cuda", "triton.language.extra.libdevice"):
        module(name).__getattr__ = _language  # type: ignore[method-assign]
    module("triton.tools")
    module("triton.tools.tensor_descriptor", TensorDescriptor=Descriptor)
    module("triton.runtime", driver=Anything())
    module("triton.testing", do_bench=lambda *_, **__: missing("triton.testing.do_bench", "there is no card to time"))
    made.language = language  # type: ignore[attr-defined]
