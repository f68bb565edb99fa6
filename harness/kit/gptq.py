"""GPTQ: rounding column by column, each column's error paid for by the columns that are still to come.

Frantar et al., arXiv:2210.17323, as the contest uses it (#535, #1019, #1060, #1394). For a layer y = W x with
H = E[x x^T], rounding column q of W costs least in E|y - y'|^2 when the columns after q move by

    -(w_q - quant(w_q)) / [H_F^-1]_qq * (H_F^-1)_q,F

F being the columns not yet rounded. Row q of the upper Cholesky factor U of H^-1 = U^T U is (H_F^-1)_q,F up to the
factor sqrt([H_F^-1]_qq), so one factorization serves all columns. Everything is done in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gptq(
    weight: Tensor,
    hessian: Tensor,
    scale: Tensor,
    limit: int,
    *,
    damping: float = 0.01,
    block: int = 128,
    act_order: bool = True,
) -> Tensor:
    """Round a matrix onto given grids.

    Args:
        weight: float [R, C].
        hessian: float [C, C], mean of x x^T over the layer's inputs; any positive factor gives the same result.
        scale: float [R], the grid steps.
        limit: the grid is -limit..limit.
        damping: this fraction of the mean of H's diagonal is added to the diagonal.
        block: columns whose updates of the rest are applied together.
        act_order: go by falling diagonal of H rather than from left to right.

    Returns:
        int8 [R, C]. Columns whose input was always 0 become 0.

    Raises:
        ValueError: shapes do not fit, or H (damped) is not positive definite or not finite.
    """
    rows, columns = weight.shape
    if hessian.shape != (columns, columns) or scale.shape != (rows,):
        raise ValueError(
            f"gptq: a weight {tuple(weight.shape)} needs a Hessian {(columns, columns)} and {rows} steps, "
            f"got {tuple(hessian.shape)} and {tuple(scale.shape)}"
        )
    work, hessian, steps = weight.double().clone(), hessian.double().clone(), scale.double()
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    work[:, dead] = 0
    typical = diagonal[~dead].mean() if not bool(dead.all()) else torch.ones((), dtype=torch.float64)
    diagonal[dead] = typical
    diagonal += damping * typical
    order = torch.argsort(diagonal, descending=True, stable=True) if act_order else torch.arange(columns)
    factor = _inverse_factor(hessian[order][:, order])
    work = work[:, order]
    grid = torch.zeros(rows, columns, dtype=torch.float64)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        errors = torch.empty(rows, stop - start, dtype=torch.float64)
        for column in range(start, stop):
            rounded = (work[:, column] / steps).round().clamp(-limit, limit)
            error = (work[:, column] - rounded * steps) / factor[column, column]
            work[:, column:stop] -= error[:, None] * factor[column, column:stop]
            grid[:, column], errors[:, column - start] = rounded, error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    out = torch.empty(rows, columns, dtype=torch.int8)
    out[:, order] = grid.to(torch.int8)
    return out


def _inverse_factor(hessian: Tensor) -> Tensor:
    """U, upper triangular with a positive diagonal, H^-1 = U^T U: float64 [C, C] to float64 [C, C]."""
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    except RuntimeError:  # what torch's LinAlgError is
        factor = hessian * float("nan")
    if not bool(factor.isfinite().all()):
        raise ValueError(
            "gptq: the Hessian is not positive definite or not finite; raise damping, or calibrate on more"
        )
    return factor
