"""Control tensors: small, sensitive parameters that trainer and quantizer treat apart."""

from __future__ import annotations

#: Parts of the names of small, sensitive parameters: trained by AdamW (never Muon) and stored in float32.
CONTROL_PATTERNS = (
    "attn_scale",
    "mlp_scale",
    "resid_mix",
    "q_gain",
    "skip_weight",
    "skip_gate",
    "lane_merge",
    "_smear.",
    "bigram.scale",
    "values.scale",
    "values.layer_scales",
)


def is_control(name: str) -> bool:
    """Whether a parameter's name marks it as a control tensor (see `CONTROL_PATTERNS`)."""
    return any(pattern in name for pattern in CONTROL_PATTERNS)
