"""The model's formulas once more, in float64, head by head and position by position, with every switch written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.kit.config import ModelConfig
from harness.kit.model import GPT


def norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float64).eps).sqrt()


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def logits(model: GPT, ids: list[int]) -> Tensor:
    """Logits float64 [L, V] of one sequence."""
    cfg = model.cfg
    weights = {name: value.detach().double() for name, value in model.named_parameters()}
    x0 = embedded(cfg, weights, ids)
    x = trunk(cfg, weights, ids, x0)
    z = norm(x) @ weights["embedding.weight" if cfg.tied else "lm_head.weight"].T
    return cfg.softcap * torch.tanh(z / cfg.softcap)


def embedded(cfg: ModelConfig, weights: dict[str, Tensor], ids: list[int]) -> Tensor:
    rows = []
    for t, token in enumerate(ids):
        row = weights["embedding.weight"][token]
        if cfg.bigram_buckets:
            last = cfg.bigram_buckets - 1
            bucket = last if t == 0 else ((36313 * token) ^ (27191 * ids[t - 1])) % last
            hashed = weights["bigram.table.weight"][bucket]
            if cfg.bigram_dim != cfg.dim:
                hashed = weights["bigram.proj.weight"] @ hashed
            row = row + weights["bigram.scale"] * hashed
        rows.append(row)
    if cfg.smear == "token":
        raw, n = list(rows), cfg.smear_width
        for t in range(1, len(ids)):
            if ids[t] != cfg.smear_bos:
                gate = weights["token_smear.strength"] * sigmoid(weights["token_smear.weight"] @ raw[t][:n])
                rows[t] = raw[t] + gate * raw[t - 1]
    rows = [norm(row) for row in rows]
    if cfg.smear == "channel":
        plain, gate = list(rows), sigmoid(weights["channel_smear.gate"])
        for t in range(len(ids)):
            if cfg.smear_bos is None or ids[t] != cfg.smear_bos:
                rows[t] = (1 - gate) * plain[t] + gate * (plain[t - 1] if t else 0)
    return torch.stack(rows)


def turned(cfg: ModelConfig, vector: Tensor, position: int, length: int) -> Tensor:
    n = cfg.rope_dims or cfg.dim // cfg.heads
    base = cfg.rope_base
    if cfg.rope_train_length and length > cfg.rope_train_length:
        base = base * (length / cfg.rope_train_length) ** (n / (n - 2))
    out = vector.clone()
    for i in range(n // 2):
        angle = position * base ** (-2 * i / n)
        a, b = vector[i], vector[i + n // 2]
        out[i] = a * math.cos(angle) + b * math.sin(angle)
        out[i + n // 2] = b * math.cos(angle) - a * math.sin(angle)
    return out


def attention(cfg: ModelConfig, own: dict[str, Tensor], x: Tensor, extra: Tensor | None, layer: int) -> Tensor:
    width, shared, length = cfg.dim // cfg.heads, cfg.heads // cfg.kv_heads, len(x)
    q, k, v = (x @ own[f"attn.{name}.weight"].T for name in ("query", "key", "value"))
    if extra is not None:
        v = v + extra
    rows = []
    for t in range(length):
        heads = []
        for h in range(cfg.heads):
            mine, group = slice(h * width, (h + 1) * width), slice(h // shared * width, (h // shared + 1) * width)
            query = turned(cfg, norm(q[t, mine]), t, length) * own["attn.q_gain"][h]
            keys = torch.stack([turned(cfg, norm(k[s, group]), s, length) for s in range(t + 1)])
            y = ((keys @ query) / math.sqrt(width)).softmax(0) @ v[: t + 1, group]
            if layer >= cfg.layers - cfg.xsa_last:
                value = v[t, group]
                y = y - (y @ value) / (value @ value) * value
            heads.append(y)
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ own["attn.proj.weight"].T


def trunk(cfg: ModelConfig, weights: dict[str, Tensor], ids: list[int], x0: Tensor) -> Tensor:
    order: list[int] = []
    for layer in range(cfg.layers):
        order.append(layer)
        if cfg.recur_layers and layer == max(cfg.recur_layers):
            order += list(cfg.recur_layers) * cfg.recur_times
    first_half, second_half = order[: len(order) // 2], order[len(order) // 2 :]

    def own(layer: int) -> dict[str, Tensor]:
        prefix = f"blocks.{layer}."
        return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}

    def attend(x: Tensor, layer: int) -> Tensor:
        extra = None
        if layer in cfg.ve_layers:
            extra = weights["values.table.weight"][ids]
            if cfg.ve_dim != cfg.kv_heads * cfg.dim // cfg.heads:
                extra = extra @ weights["values.proj.weight"].T
            extra = extra * weights["values.scale"] * weights["values.layer_scales"][cfg.ve_layers.index(layer)]
        return own(layer)["attn_scale"] * attention(cfg, own(layer), scaled(x, layer), extra, layer)

    def mlp(x: Tensor, layer: int) -> Tensor:
        hidden = scaled(x, layer) @ own(layer)["mlp.up.weight"].T
        hidden = torch.where(hidden > 0, hidden**2, cfg.leaky_slope**2 * hidden**2)
        return own(layer)["mlp_scale"] * (hidden @ own(layer)["mlp.proj.weight"].T)

    def scaled(x: Tensor, layer: int) -> Tensor:
        return norm(x) / math.sqrt(layer + 1) if cfg.ln_scale else norm(x)

    def mixed(x: Tensor, layer: int) -> Tensor:
        return own(layer)["resid_mix"][0] * x + own(layer)["resid_mix"][1] * x0

    def block(x: Tensor, layer: int) -> Tensor:
        x = mixed(x, layer)
        if cfg.parallel == "joint" and layer >= cfg.parallel_from:
            return x + attend(x, layer) + mlp(x, layer)
        x = x + attend(x, layer)
        return x + mlp(x, layer)

    x, pushed = x0, []
    for layer in first_half:
        x = block(x, layer)
        pushed.append(x)
    split = False
    for i, layer in enumerate(second_half):
        if not split and pushed and i < len(weights["skip_weights"]):
            skip = weights["skip_weights"][i] * pushed.pop()
            if cfg.skip_gates:
                gate = sigmoid(weights["skip_gates"][i])
                x = gate * x + (1 - gate) * skip
            else:
                x = x + skip
        if cfg.parallel == "lanes" and layer >= cfg.parallel_from and not split:
            split, y = True, x
        if split:
            x = mixed(x, layer)
            x = x + attend(x, layer)
            y = y + mlp(y, layer)
        else:
            x = block(x, layer)
    return weights["lane_merge"] * x + (1 - weights["lane_merge"]) * y if split else x
