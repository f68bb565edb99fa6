"""Rotation of a matrix's columns by a block-diagonal Walsh-Hadamard matrix, which spreads outliers (#1400).

R is block-diagonal with blocks H / sqrt(n), H the Sylvester matrix of size n: symmetric, orthogonal, its own inverse.
A layer y = W x stays what it is when W becomes W R and is multiplied by R again on loading; GPTQ sees the Hessian
R H R of the rotated inputs (arXiv:2509.23202). #1400 pads blocks that are no power of two with zeros and cuts the
result, which cannot be undone; here the block always divides the columns.
"""

from __future__ import annotations

from torch import Tensor


def fitting_block(columns: int, block: int) -> int:
    """The largest power of two that is at most `block` and divides `columns`; 1 where nothing can be rotated."""
    return min(columns & -columns, block) if columns else 1


def rotate(matrix: Tensor, block: int) -> Tensor:
    """Multiply by R from the right, by the fast Walsh-Hadamard transform.

    Args:
        matrix: float [..., C].
        block: a power of two that divides C.

    Returns:
        float [..., C], the same dtype; `rotate(rotate(m, b), b)` is m up to rounding.

    Raises:
        ValueError: `block` is no power of two, or does not divide C.
    """
    columns = matrix.size(-1)
    if block < 1 or block & (block - 1) or columns % block:
        raise ValueError(f"hadamard: a block of {block} is no power of two that divides {columns} columns")
    out = matrix.reshape(-1, block)
    width = 1
    while width < block:
        pairs = out.view(-1, block // (2 * width), 2, width)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        out = out.new_empty(pairs.shape)
        out[:, :, 0], out[:, :, 1] = first + second, first - second
        out = out.view(-1, block)
        width *= 2
    rotated: Tensor = (out / float(block) ** 0.5).view(matrix.shape)
    return rotated


def rotate_hessian(hessian: Tensor, block: int) -> Tensor:
    """R H R for the Hessian, float [C, C], of a layer whose weight is rotated."""
    return rotate(rotate(hessian, block).mT, block).mT
