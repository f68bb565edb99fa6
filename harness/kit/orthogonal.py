"""The nearest semi-orthogonal matrix, nearly: quintic iterations that push all singular values towards 1.

Newton-Schulz as in the contest's baseline (Keller Jordan, 2024), and Polar Express (arXiv:2505.16932, #1344), which
iterates with the best quintic for what each iteration is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Quintic = tuple[float, float, float]

#: Coefficients that drive singular values to roughly [0.7, 1.2] in five iterations.
NEWTON_SCHULZ: Sequence[Quintic] = ((3.4445, -4.775, 2.0315),)

#: Per iteration the odd quintic that is nearest to 1 on the interval in which the one before it leaves the singular
#: values, [0.001, 1] at first, with a margin of 2 % for rounding: Polar Express for five iterations, as used by #1344.
POLAR_EXPRESS: Sequence[Quintic] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)

#: From so many rows on a CPU leaves out of X X^T and its square, which are symmetric, most of what they hold twice.
_LARGE = 256
_BLOCK = 128


def orthogonalize(
    matrices: Tensor,
    steps: int = 5,
    coefficients: Sequence[Quintic] = NEWTON_SCHULZ,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Push all singular values of each matrix towards 1 by a quintic iteration: X <- aX + (bA + cA^2)X, A = XX^T.

    Args:
        matrices: float [..., rows, columns]; a stack is one batched computation.
        steps: iterations.
        coefficients: (a, b, c) of each iteration; the last one also serves the iterations beyond.
        dtype: what it is computed in.

    Returns:
        float [..., rows, columns] of the matrices' dtype.
    """
    x: Tensor = matrices.to(dtype)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if x.is_cuda or x.size(-2) < _LARGE:
        x = _iterated(x.reshape(-1, *x.shape[-2:]), steps, coefficients).view(x.shape)
    else:
        flat = x.reshape(-1, *x.shape[-2:])
        x = torch.stack([_iterated_large(one, steps, coefficients) for one in flat]).view(x.shape)
    return (x.mT if tall else x).to(matrices.dtype)


def _iterated(x: Tensor, steps: int, coefficients: Sequence[Quintic]) -> Tensor:
    """All iterations of a stack of wide matrices, float [n, rows, columns]."""
    for step in range(steps):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterated_large(x: Tensor, steps: int, coefficients: Sequence[Quintic]) -> Tensor:
    """All iterations of one wide matrix, float [rows, columns]: at 512 x 512 in four fifths of the time."""
    for step in range(steps):
        a, b, c = coefficients[min(step, len(coefficients) - 1)]
        gram = _symmetric(x, x.T, x.new_zeros(()).expand(len(x), len(x)), 0.0, 1.0)
        x = torch.addmm(x, _symmetric(gram, gram, gram, b, c), x, beta=a)
    return x


def _symmetric(left: Tensor, right: Tensor, plus: Tensor, beta: float, alpha: float) -> Tensor:
    """`beta * plus + alpha * left @ right` where that is symmetric, [n, n]; computed on and below diagonal blocks."""
    out = left.new_empty(len(left), len(left))
    for start in range(0, len(left), _BLOCK):
        stop = start + _BLOCK
        column = out[start:, start:stop]
        torch.addmm(plus[start:, start:stop], left[start:], right[:, start:stop], beta=beta, alpha=alpha, out=column)
        out[start:stop, stop:] = column[_BLOCK:].T
    return out
