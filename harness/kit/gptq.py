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
    return Gptq(weight, hessian, damping=damping, block=block, act_order=act_order).round(scale, limit)


class Gptq:
    """A matrix made ready to be rounded onto several grids: what does not depend on the grid is done once.

    Args:
        weight: float [R, C].
        hessian: see `gptq`; so are the others.
        damping: see there.
        block: see there.
        act_order: see there.

    Raises:
        ValueError: see there.
    """

    def __init__(
        self, weight: Tensor, hessian: Tensor, *, damping: float = 0.01, block: int = 128, act_order: bool = True
    ) -> None:
        rows, columns = weight.shape
        if hessian.shape != (columns, columns):
            raise ValueError(_misfit(weight, f"got {tuple(hessian.shape)}"))
        work, hessian = weight.double().clone(), hessian.double().clone()
        diagonal = hessian.diagonal()
        dead = diagonal == 0
        work[:, dead] = 0
        typical = diagonal[~dead].mean() if not bool(dead.all()) else torch.ones((), dtype=torch.float64)
        diagonal[dead] = typical
        diagonal += damping * typical
        order = torch.argsort(diagonal, descending=True, stable=True) if act_order else torch.arange(columns)
        self._order, self._block = order, block
        self._factor = _inverse_factor(hessian[order][:, order])
        self._work = work[:, order]

    def round(self, scale: Tensor, limit: int) -> Tensor:
        """Round onto the grids -limit..limit times `scale`, float [R]: int8 [R, C].

        Raises:
            ValueError: another number of steps than rows.
        """
        rows, columns = self._work.shape
        if scale.shape != (rows,):
            raise ValueError(_misfit(self._work, f"got {tuple(scale.shape)} steps"))
        work, factor, steps = self._work.clone(), self._factor, scale.double()
        out = torch.empty(rows, columns, dtype=torch.int8)
        for start in range(0, columns, self._block):
            stop = min(start + self._block, columns)
            # A block lies on its side, so that a column is contiguous: strided ones take twice the time.
            left = work[:, start:stop].mT.contiguous()
            grid, errors = torch.empty_like(left), torch.empty_like(left)
            for index in range(stop - start):
                row = factor[start + index, start + index : stop]
                rounded = (left[index] / steps).round().clamp(-limit, limit)
                error = (left[index] - rounded * steps) / row[0]
                left[index:] -= row[:, None] * error
                grid[index], errors[index] = rounded, error
            out[:, self._order[start:stop]] = grid.mT.to(torch.int8)
            work[:, stop:] -= errors.mT.contiguous() @ factor[start:stop, stop:]
        return out


def _misfit(weight: Tensor, got: str) -> str:
    rows, columns = weight.shape
    return f"gptq: a weight {(rows, columns)} needs a Hessian {(columns, columns)} and {rows} steps, {got}"


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
