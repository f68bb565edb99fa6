"""Operators that scripts compile with CUTLASS: the one whose meaning is plain, and a clear stop for the rest."""

from __future__ import annotations

from typing import Any

import torch

from harness.scripts.inside.standins.uses import module, used

_kept: list[torch.library.Library] = []  # a library's operators live as long as it does


def _gemm_mul(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """(a @ b) * c: a matrix product with an element-wise epilogue."""
    used("cutlass_evt::gemm_mul")
    return ((a.float() @ b.float()) * c.float()).to(c.dtype)


def install() -> None:
    """Register the operator and the module that would have been compiled."""
    maker: Any = torch.library.Library
    library: Any = maker("cutlass_evt", "DEF")
    library.define("gemm_mul(Tensor a, Tensor b, Tensor c) -> Tensor")
    library.impl("gemm_mul", _gemm_mul, "CompositeExplicitAutograd")
    _kept.append(library)
    module("cutlass_evt_fusion")
