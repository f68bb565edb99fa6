"""What a few Triton kernels of the contest's scripts compute, as formulas on whole tensors.

Each is written from the kernel's own semantics: inputs read, outputs written, types of the intermediate results.
Losses are read from rows of log-probabilities, so that the recorder sees them as it sees PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Given = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """A kernel whose meaning is known.

    Attributes:
        compute: writes the outputs, given the arguments by name.
        needs: names of arguments that `compute` uses.
        texts: fingerprints of the texts whose meaning this was checked to be (see `triton.fingerprint`), and the
            constants that a text spells out.
    """

    compute: Callable[[Given], None]
    needs: tuple[str, ...]
    texts: Mapping[str, Mapping[str, float]]


@torch.no_grad()
def _matmul_square(given: Given) -> None:
    """Write c = a @ b.T; forward also aux = leaky(c)^2; backward c *= the derivative of that at aux."""
    a, b, c, aux = (given[name] for name in ("a_desc", "b_desc", "c_desc", "aux_desc"))
    product = (a.float() @ b.float().T).to(c.dtype)
    if given["FORWARD"]:
        c.copy_(product)
        leaky = torch.where(product > 0, product, given.get("FWD_SLOPE", 0.5) * product)
        aux.copy_(leaky * leaky)
    else:
        c.copy_(product * torch.where(aux > 0, 2.0 * aux, given.get("BWD_SLOPE", 0.5) * aux))


@torch.no_grad()
def _matmul_square_forward(given: Given) -> None:
    """Of p = a @ b.T: c gets the derivative of leaky(p)^2, aux the value."""
    a, b, c, aux = (given[name] for name in ("a_desc", "b_desc", "c_desc", "aux_desc"))
    product = (a.float() @ b.float().T).to(c.dtype)
    slope = torch.where(product > 0, 2.0 * product, 0.5 * product)
    c.copy_(slope)
    aux.copy_(0.5 * slope * product)


@torch.no_grad()
def _square(given: Given) -> None:
    """Write y = leaky(x)^2 with slope 1/2, element by element."""
    x = given["x_ptr"].float()
    leaky = torch.where(x >= 0, x, 0.5 * x)
    given["y_ptr"].copy_((leaky * leaky).view_as(given["y_ptr"]))


@torch.no_grad()
def _square_gradient(given: Given) -> None:
    """Multiply a gradient by the derivative of leaky(x)^2."""
    x, gradient = given["x_ptr"].float(), given["grad_out_ptr"].float()
    part = torch.where(x >= 0, 2.0 * x, 0.5 * x)
    given["grad_in_ptr"].copy_((gradient * part.view_as(gradient)).view_as(given["grad_in_ptr"]))


def _losses(rows: Tensor, targets: Tensor) -> Tensor:
    """NLL float32 [n] of targets [n] under logits [n, V]."""
    return -torch.log_softmax(rows, -1).gather(1, targets.long()[:, None]).squeeze(1)


def _gradient(rows: Tensor, targets: Tensor) -> Tensor:
    """Gradient of the NLL by the logits: softmax minus one-hot, [n, V]."""
    part = torch.softmax(rows, -1)
    part[torch.arange(len(part)), targets.long()] -= 1.0
    return part


def _sigmoid_cap(logits: Tensor, cap: float) -> Tensor:
    """2 C sigmoid(2 x / C): the soft cap C tanh(x / C), plus C."""
    return 2.0 * cap * torch.sigmoid(logits.float() * (2.0 / cap))


@torch.no_grad()
def _sigmoid_loss(given: Given) -> None:
    """Loss and log-sum-exp of softly capped logits, by row."""
    rows = _sigmoid_cap(given["logits_ptr"], float(given["softcap"]))
    given["lse_ptr"].copy_(torch.logsumexp(rows, -1))
    given["losses_ptr"].copy_(_losses(rows, given["targets_ptr"]))


@torch.no_grad()
def _sigmoid_loss_gradient(given: Given) -> None:
    """Gradient of the loss above by the logits, times the gradient that arrives."""
    logits, cap, out = given["logits_ptr"], float(given["softcap"]), given["grad_logits_ptr"]
    gate = torch.sigmoid(logits.float() * (2.0 / cap))
    part = _gradient(2.0 * cap * gate, given["targets_ptr"]) * (4.0 * gate * (1.0 - gate))
    out.copy_((given["grad_losses_ptr"].float()[:, None] * part).to(out.dtype))


@torch.no_grad()
def _tanh_loss(given: Given) -> None:
    """Loss of tanh-capped logits, by row; the argument of tanh is held within 15."""
    rows = given["softcap"] * torch.tanh((given["logits_ptr"].float() * given["inv_softcap"]).clamp(-15.0, 15.0))
    given["losses_ptr"].copy_(_losses(rows, given["targets_ptr"]))


@torch.no_grad()
def _tanh_loss_gradient(given: Given) -> None:
    """Gradient of the loss above by the logits, times the gradient that arrives."""
    tanh = torch.tanh((given["logits_ptr"].float() * given["inv_softcap"]).clamp(-15.0, 15.0))
    part = _gradient(given["softcap"] * tanh, given["targets_ptr"]) * (1.0 - tanh * tanh)
    given["grad_logits_ptr"].copy_(given["grad_out_ptr"].float()[:, None] * part)


@torch.no_grad()
def _two_readings(given: Given) -> None:
    """Log-probabilities of two tokens a row: the target, and a hint."""
    logs = torch.log_softmax(given["logits_ptr"].float().view(int(given["BT"]), int(given["V"])), -1)
    for ids, out in (("target_ids_ptr", "log_p_y_out_ptr"), ("hint_ids_ptr", "log_q_h_out_ptr")):
        given[out].copy_(logs.gather(1, given[ids].reshape(-1, 1).long()).view_as(given[out]))


_MATMUL = ("a_desc", "b_desc", "c_desc", "aux_desc")
_PLAIN: Mapping[str, float] = {}

KNOWN: dict[str, Known] = {
    "linear_leaky_relu_square_kernel": Known(
        _matmul_square,
        (*_MATMUL, "FORWARD"),
        {
            "12fc895b5b506725": {"FWD_SLOPE": 0.5, "BWD_SLOPE": 0.5},
            "ab1e3ae5581700c7": {"FWD_SLOPE": 0.3, "BWD_SLOPE": 0.18},
            "e4cdbc1753c48104": _PLAIN,  # its slopes are arguments
        },
    ),
    "_fused_leaky_relu_sq_kernel": Known(_matmul_square_forward, _MATMUL, {"c9946833ac70a16e": _PLAIN}),
    "_leaky_relu_sq_forward_kernel": Known(_square, ("x_ptr", "y_ptr"), {"3b2928b7ea729187": _PLAIN}),
    "_leaky_relu_sq_backward_kernel": Known(
        _square_gradient, ("x_ptr", "grad_out_ptr", "grad_in_ptr"), {"bb119df70974ab25": _PLAIN}
    ),
    "_softcapped_ce_fwd_kernel": Known(
        _sigmoid_loss,
        ("logits_ptr", "losses_ptr", "lse_ptr", "targets_ptr", "softcap"),
        {"12d1e9e59151b59e": _PLAIN},
    ),
    "_softcapped_ce_bwd_kernel": Known(
        _sigmoid_loss_gradient,
        ("grad_logits_ptr", "grad_losses_ptr", "logits_ptr", "targets_ptr", "softcap"),
        {"c825d48e4e8a55ef": _PLAIN},
    ),
    "_fused_softcap_ce_fwd_kernel": Known(
        _tanh_loss, ("logits_ptr", "targets_ptr", "losses_ptr", "softcap", "inv_softcap"), {"ea20e7571d1f18e0": _PLAIN}
    ),
    "_fused_softcap_ce_bwd_kernel": Known(
        _tanh_loss_gradient,
        ("logits_ptr", "targets_ptr", "grad_out_ptr", "grad_logits_ptr", "softcap", "inv_softcap"),
        {"787b9b84ccd58b2b": _PLAIN},
    ),
    "fused_log_softmax_dual_gather_kernel": Known(
        _two_readings,
        ("logits_ptr", "target_ids_ptr", "hint_ids_ptr", "log_p_y_out_ptr", "log_q_h_out_ptr", "BT", "V"),
        {"222c8a686f0430fe": _PLAIN, "24a3f5e0dbc966d3": _PLAIN, "b7fd868e2ea49528": _PLAIN},
    ),
}
