"""The kit's GPT: the contest's baseline, and by switches of `ModelConfig` the parts that its successors added.

In formulas (n is RMSNorm without weight, x0 = n(embedding)):

    block:  x <- m0*x + m1*x0;  x <- x + a*Attention(n(x));  x <- x + b*W2 relu(W1 n(x))^2
    U-net:  blocks of the first half push their output; block i of the second half first adds w_i * (last pushed)
    head:   z = W_out n(x);  logits = c*tanh(z/c)

What the switches change:

    embedding:  x0 = smear(n(embedding + bigram)), or n(smear(embedding + bigram))
    block:      n(x)/sqrt(layer + 1);  values plus a token's embedding;  attention's output without the token's own
                value;  part of the head rotated;  leaky relu;  x + a*Attention(n(x)) + b*MLP(n(x))
    skips:      x <- g*x + (1 - g)*w_i*(last pushed), g = sigmoid(v_i)
    order:      some layers run more than once; the halves are those of the layers as they run
    lanes:      x and y start equal; x <- x + a*Attention(n(x));  y <- y + b*MLP(n(y));  at the end m*x + (1 - m)*y
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.kit.attention import Past, rotary_tables, stretched_base
from harness.kit.block import Block
from harness.kit.config import ModelConfig
from harness.kit.fused import rms_norm
from harness.kit.loss import softcap_cross_entropy
from harness.kit.parts import BigramHash, ChannelSmear, TokenSmear, ValueEmbedding


class GPT(nn.Module):
    """The model. Strictly causal: row p depends on tokens 0..p only, so padding at the end is harmless.

    (With `rope_train_length`, padding changes the rows once it makes the input longer than that; its tokens do not.)
    Initial weights come from torch's global generator: seed it first.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.vocab_size = cfg.vocab_size
        self.embedding = nn.Embedding(cfg.vocab_size, cfg.dim)
        nn.init.normal_(self.embedding.weight, std=cfg.emb_std)
        self.blocks = nn.ModuleList(Block(cfg, layer) for layer in range(cfg.layers))
        skips = len(cfg.order(cfg.recur_skips)) // 2
        self.skip_weights = nn.Parameter(torch.ones(skips, cfg.dim))
        self.lm_head: nn.Linear | None = None
        if not cfg.tied:
            self.lm_head = nn.Linear(cfg.dim, cfg.vocab_size, bias=False)
            nn.init.zeros_(self.lm_head.weight)
        self.skip_gates = nn.Parameter(torch.zeros(skips, cfg.dim)) if cfg.skip_gates else None
        self.lane_merge = nn.Parameter(torch.tensor(0.5)) if cfg.parallel == "lanes" else None
        self.bigram = BigramHash(cfg) if cfg.bigram_buckets else None
        self.channel_smear = ChannelSmear(cfg) if cfg.smear == "channel" else None
        self.token_smear = TokenSmear(cfg) if cfg.smear == "token" else None
        self.values = ValueEmbedding(cfg) if cfg.ve_layers else None
        self.recurring = True
        if cfg.orthogonal_init:
            for name, param in self.blocks.named_parameters():
                if name.rsplit(".", 2)[-2] in ("query", "key", "value", "up"):
                    nn.init.orthogonal_(param)

    @property
    def head_weight(self) -> Tensor:
        """The output matrix, float32 [V, D]: the embedding's own when tied."""
        return self.embedding.weight if self.lm_head is None else self.lm_head.weight

    def progress(self, step: int, fraction: float) -> None:
        """Told by the trainer before each step: whether layers are repeated in training yet.

        Args:
            step: steps done so far.
            fraction: how much of the training is done, by its own measure (steps or clock), in [0, 1].
        """
        self.recurring = step >= self.cfg.recur_from_step and fraction >= self.cfg.recur_from_fraction

    def order(self) -> tuple[int, ...]:
        """The layers in the order in which they run now. In evaluation mode repeated layers always repeat."""
        return self.cfg.order(self.recurring or not self.training)

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """Rotary tables of an input of this length: two float32 [length, 1, rotated / 2]."""
        cfg = self.cfg
        base = stretched_base(cfg.rope_base, cfg.rotated, length, cfg.rope_train_length)
        return rotary_tables(length, cfg.rotated, base, self.embedding.weight.device)

    def embed(self, inputs: Tensor) -> Tensor:
        """The normalised embedding x0, of each token and at most `parts.REACH` before it: [B, L] -> float [B, L, D]."""
        x: Tensor = self.embedding(inputs)
        if self.bigram is not None:
            x = x + self.bigram(inputs)
        if self.token_smear is not None:
            x = self.token_smear(x, inputs)
        x = rms_norm(x)
        if self.channel_smear is not None:
            x = self.channel_smear(x, inputs)
        if self.training and torch.is_autocast_enabled(x.device.type):
            # the residual stream, too, as in the contest: it is most of a step's memory traffic
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return x

    def body(self, inputs: Tensor) -> Tensor:
        """Hidden states before the final norm.

        Args:
            inputs: int64 [B, L], token ids.

        Returns:
            float [B, L, D].
        """
        return self.trunk(self.embed(inputs), inputs, *self.rotary(inputs.size(1)))

    def trunk(self, x0: Tensor, inputs: Tensor, cos: Tensor, sin: Tensor, past: Sequence[Past] | None = None) -> Tensor:
        """All blocks.

        Args:
            x0: float [B, L, D], from `embed`.
            inputs: int64 [B, L], the tokens at those positions.
            cos: rotary table of those positions, from `rotary`; `sin` likewise.
            sin: see cos.
            past: for each entry of `order`, what came before those positions, if anything did.

        Returns:
            float [B, L, D], before the final norm.
        """
        order = self.order()
        half = len(order) // 2
        extra = {} if self.values is None else self.values(inputs)
        x, lane = x0, None
        skips: list[Tensor] = []
        for index, layer in enumerate(order):
            block = cast(Block, self.blocks[layer])
            more = cos, sin, extra.get(layer), None if past is None else past[index]
            if index >= half and lane is None:
                if skips and index - half < len(self.skip_weights):
                    x = self._joined(x, skips.pop(), index - half)
                if self.lane_merge is not None and layer >= self.cfg.parallel_from:
                    lane = x
            if lane is None:
                x = block(x, x0, *more)
            else:
                x, lane = block.lanes((x, lane), x0, *more)
            if index < half:
                skips.append(x)
        if lane is not None and self.lane_merge is not None:
            merge = self.lane_merge.to(x.dtype)
            x = merge * x + (1 - merge) * lane
        return x

    def _joined(self, x: Tensor, skip: Tensor, index: int) -> Tensor:
        skip = self.skip_weights[index].to(x.dtype) * skip
        if self.skip_gates is None:
            return x + skip
        return torch.lerp(skip, x, torch.sigmoid(self.skip_gates[index].to(x.dtype)))

    def hidden(self, inputs: Tensor) -> Tensor:
        """Hidden states after the final norm: int64 [B, L] -> float [B, L, D]."""
        return rms_norm(self.body(inputs))

    def pre_cap_logits(self, hidden: Tensor) -> Tensor:
        """Logits before the soft cap: float [..., D] (after the final norm) -> float32 [..., V]."""
        return F.linear(hidden, self.head_weight).float()

    def softcap(self, logits: Tensor) -> Tensor:
        """Bound logits smoothly to (-c, c): c * tanh(z / c), elementwise."""
        return self.cfg.softcap * torch.tanh(logits / self.cfg.softcap)

    def head(self, hidden: Tensor) -> Tensor:
        """Soft-capped logits: float [..., D] (after the final norm) -> float32 [..., V]."""
        return self.softcap(self.pre_cap_logits(hidden))

    def forward(self, inputs: Tensor) -> Tensor:
        """Soft-capped logits of the next token at every position: int64 [B, L] -> float32 [B, L, V]."""
        return self.head(self.hidden(inputs))

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats.

        Args:
            inputs: int64 [B, L].
            targets: int64 [B, L], the token after each input.

        Returns:
            float32 scalar.
        """
        hidden = self.hidden(inputs).flatten(0, 1)
        if hidden.is_cuda:
            return F.cross_entropy(self.head(hidden), targets.flatten())
        return softcap_cross_entropy(hidden, self.head_weight, targets.flatten(), self.cfg.softcap)
