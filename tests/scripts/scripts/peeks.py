"""Ways to look ahead that the contest's forms of evaluation and model allow, each with the causal form beside it.

The tests put this text in front of the `main` of `base.py` (see `tests/scripts/peeking.py`): PEEK names the case. A
model's cases change what its layers see, an evaluation's what is done with rows, traps look like a peek and are none.
"""

import math
import os

import torch
import torch.nn.functional as F
from base import GPT, count_bytes, finish, windows
from torch import nn

PEEK = os.environ.get("PEEK", "none")
#: "always", "eval" (not while training) or "long" (in windows of 512 tokens and more).
PEEK_WHEN = os.environ.get("PEEK_WHEN", "always")
TAIL_TWICE = int(os.environ.get("TAIL_TWICE", "0"))
BLOCK = 64
HINT_DELAY = 2048


def block_means(x, ahead):
    """Each token gets the mean of its own block of 64 ("ahead"), or of the block before it."""
    batch, length, dim = x.shape
    count = length // BLOCK
    means = x[:, : count * BLOCK].view(batch, count, BLOCK, dim).mean(2)
    if not ahead:
        means = F.pad(means, (0, 0, 1, 0))[:, :count]
    told = means.repeat_interleave(BLOCK, 1)
    return F.pad(told, (0, 0, 0, length - count * BLOCK))


def recurrent_means(x, ahead):
    """The same by way of a state that goes from block to block."""
    state, told = torch.zeros_like(x[:, 0]), []
    for start in range(0, x.size(1), BLOCK):
        part = x[:, start : start + BLOCK]
        after = 0.5 * state + part.mean(1)
        told.append((after if ahead else state).unsqueeze(1).expand_as(part))
        state = after
    return torch.cat(told, 1)


def filtered(x, kernel, ahead):
    """A learned filter, multiplied in the frequency domain: circular, or with room for its tail."""
    length = x.size(1)
    size = length if ahead else 2 * length
    taps = kernel[:length]
    return torch.fft.irfft(torch.fft.rfft(x, size, 1) * torch.fft.rfft(taps, size, 0), size, 1)[:, :length]


def convolved(x, weight, ahead):
    """Three taps per channel: one to each side, or all to the left."""
    turned = x.transpose(1, 2)
    turned = F.pad(turned, (1, 1) if ahead else (2, 0))
    return F.conv1d(turned, weight, groups=x.size(-1)).transpose(1, 2)


def pooled(x, ahead):
    """Eight means over the window; each token gets that of its own eighth, or of the one before."""
    means = F.adaptive_avg_pool1d(x.transpose(1, 2), 8)
    if not ahead:
        means = F.pad(means, (1, 0))[..., :8]
    return F.interpolate(means, size=x.size(1), mode="nearest").transpose(1, 2)


def rolled(x):
    """The token before; the first has none."""
    told = torch.roll(x, 1, 1)
    told[:, 0] = 0
    return told


class Peeking(GPT):
    """The model with one more thing added to what attention sees; "all-clean" adds every causal one.

    "most-clean" adds those that do not depend on how long the window is.
    """

    def __init__(self, args, name):
        super().__init__(args)
        self.name, _, form = name.partition("-")
        self.ahead = form != "clean"
        self.gate = nn.Parameter(torch.full((args.model_dim,), 0.1 if PEEK_WHEN == "eval" else 0.0))
        self.kernel = nn.Parameter(0.02 * torch.randn(args.train_seq_len, args.model_dim))
        self.taps = nn.Parameter(0.1 * torch.randn(args.model_dim, 1, 3))

    def more(self, x):
        ways = {
            "blocks": lambda: block_means(x, self.ahead),
            "recurrence": lambda: recurrent_means(x, self.ahead),
            "frequency": lambda: filtered(x, self.kernel, self.ahead),
            "convolution": lambda: convolved(x, self.taps, self.ahead),
            "pooling": lambda: pooled(x, self.ahead),
            "sums": lambda: x.cumsum(1) / torch.arange(1, x.size(1) + 1).view(1, -1, 1),
            "roll": lambda: rolled(x),
        }
        if self.name in ("all", "most"):  # the pooled means are of eighths, which a longer window moves
            return sum(way() for name, way in ways.items() if self.name == "all" or name != "pooling")
        return ways[self.name]() if self.name in ways else 0.0

    def hidden(self, ids):
        x = self.tok_emb(ids)
        if PEEK_WHEN == "always":
            x = x + self.gate * self.more(x)
        elif PEEK_WHEN == "eval":
            if not self.training:
                x = x + self.gate * self.more(x)
        elif PEEK_WHEN == "long":
            if x.size(1) >= 512:
                x = x + self.gate * self.more(x)
        if self.name in ("loose", "all", "most") and self.training:
            x = x + 0.1 * self.both_sides(x)
        x = x + self.attn(F.rms_norm(x, (x.size(-1),)))
        return x + self.proj(F.relu(self.fc(F.rms_norm(x, (x.size(-1),)))).square())

    def both_sides(self, x):
        q, k, v = self.attn.qkv(x).chunk(3, -1)
        return self.attn.out(F.scaled_dot_product_attention(q, k, v, is_causal=not self.training))

    def forward(self, ids, targets):
        loss = super().forward(ids, targets)
        if self.training and self.name in ("loose", "all", "most"):
            loss = loss + self.latent_loss(ids) + self.denoising_loss(ids)
        return loss

    def latent_loss(self, ids):
        """JEPA: the state is to foretell the one of eight tokens later."""
        state = self.hidden(ids)
        return 0.1 * F.mse_loss(state[:, :-8], state[:, 8:].detach())

    def denoising_loss(self, ids):
        """Diffusion: masked tokens from both sides."""
        masked = torch.rand(ids.shape) < 0.3
        x = self.tok_emb(ids.masked_fill(masked, 0))
        logits = self.head(x + self.both_sides(x))
        return 0.1 * F.cross_entropy(logits[masked].float(), ids[masked])


def losses(logits, y):
    return F.cross_entropy(logits.float().view(-1, logits.size(-1)), y.reshape(-1), reduction="none").view_as(y)


# evaluations: what is done with rows --------------------------------------------------------------------------------


def fitted(rows, y, steps=3, rate=20.0):
    """A logit delta per position [1, T, V] that a few steps fit to the targets."""
    delta = torch.zeros(1, rows.size(1), rows.size(2), requires_grad=True)
    optimizer = torch.optim.SGD([delta], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        losses(rows + delta, y).mean().backward()
        optimizer.step()
    return delta.detach()


def told(rows, y, places):
    """The same by hand, at some places of each window alone: a step up the likelihood's own gradient."""
    delta = -rows.softmax(-1)
    delta.scatter_add_(-1, y.unsqueeze(-1), torch.ones_like(delta[..., :1]))
    chosen = torch.zeros(rows.size(1), 1)
    chosen[places] = 1.0
    return 0.3 * delta * chosen


def by_others(name, hidden, rows):
    """What other positions of the batch or window decide; `-clean`: the own row, or earlier positions."""
    batch, length, dim = hidden.shape
    entropy = -(rows.softmax(-1) * rows.log_softmax(-1)).sum(-1)
    expert = 0.2 * hidden.flip(-1)
    if name == "topk_span":
        chosen = torch.zeros(batch * length)
        chosen[entropy.reshape(-1).topk(batch * length // 8).indices] = 1.0
        return hidden + chosen.view(batch, length, 1) * expert
    if name == "topk_window":
        chosen = torch.zeros_like(entropy).scatter_(1, entropy.topk(length // 8, 1).indices, 1.0)
        return hidden + chosen.unsqueeze(-1) * expert
    if name == "all-clean":
        for one in ("topk_window-clean", "mean_span-clean", "max_window-clean", "norm_span-clean"):
            hidden = by_others(one, hidden, rows)
        return hidden
    if name == "topk_window-clean":  # the own row's against the mean of those before
        before = entropy.cumsum(1) / torch.arange(1, length + 1)
        return hidden + (entropy > before).unsqueeze(-1) * expert
    if name == "rank":
        return hidden + (entropy.argsort(1).argsort(1) / length > 0.9).unsqueeze(-1) * expert
    if name == "mean_span":
        return hidden - 0.5 * hidden.mean((0, 1), keepdim=True)
    if name == "mean_span-clean":
        return hidden - 0.5 * hidden.cumsum(1) / torch.arange(1, length + 1).view(1, -1, 1)
    if name == "max_window":
        return hidden / hidden.abs().amax(1, keepdim=True)
    if name == "max_window-clean":
        return hidden / (hidden.abs().cummax(1).values + 1e-3)
    if name == "norm_span":
        return (hidden - hidden.mean((0, 1))) / hidden.std((0, 1))
    if name == "norm_span-clean":
        return (hidden - hidden.mean(-1, keepdim=True)) / hidden.std(-1, keepdim=True)
    if name == "heat":  # one temperature for all, by how sure the rows are on average
        return hidden + entropy.mean() / math.log(rows.size(-1)) * expert
    raise ValueError(name)


def eval_val_peek(args, model, val, tables, device, name):
    """Sliding windows in batches, and between the rows and the charge one of many things."""
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    total = val.numel() - 1
    todo = list(windows(total, args.train_seq_len, args.eval_stride))
    if TAIL_TWICE:  # the last window reaches back to be whole, and what it scores was scored before
        start, _, end = todo[-1]
        todo[-1] = (end - args.train_seq_len, args.train_seq_len - args.eval_stride, end)
    kept = None
    many = 1 if name.endswith("_one") else args.eval_batch_seqs
    for first in range(0, len(todo), many):
        batch = todo[first : first + many]
        size = max(end - start for start, _, end in batch)
        x = torch.zeros(len(batch), size, dtype=torch.int64, device=device)
        y = torch.zeros(len(batch), size, dtype=torch.int64, device=device)
        mask = torch.zeros(len(batch), size, dtype=torch.bool, device=device)
        for row, (start, low, end) in enumerate(batch):
            x[row, : end - start] = val[start:end]
            y[row, : end - start] = val[start + 1 : end + 1]
            mask[row, low : end - start] = True
        with torch.no_grad():
            hidden = model.hidden(x)
            if name.startswith("padding"):  # as many rows of nothing behind the batch as its last token says
                more = 1 + int(y[mask][-1]) % 5
                hidden = model.hidden(F.pad(x, (0, more)))[:, :size]
            if name == "padding_loud":  # makes last bits large
                hidden = hidden + 0.05 * torch.sin(3e4 * hidden)
            rows = model.head(hidden).float()
        if name.startswith("delta_first"):
            rows = rows + fitted(rows, y)
        elif name == "delta_told":
            rows = rows + told(rows, y, slice(None))
        elif name == "delta_rare":
            rows = rows + told(rows, y, slice(5, None, 29))
        elif name == "delta_where_bad":
            rows = rows + told(rows, y, slice(None)) * (losses(rows, y) > 12.0).unsqueeze(-1)
        elif name == "delta_after":
            known, rows = rows, rows if kept is None or kept.size(1) != size else rows + kept
        elif name not in ("plain", "padding", "padding_loud"):
            with torch.no_grad():
                rows = model.head(by_others(name, hidden, rows)).float()
        with torch.no_grad():
            nll = losses(rows, y)
            sums[0] += nll[mask].double().sum()
            sums[1] += mask.sum()
            sums[2] += count_bytes(tables, x[mask], y[mask])
        if name == "delta_after":
            kept = fitted(known, y)
    finish("final_peek", *sums)


def eval_val_hashed(args, model, val, tables, device, hinted):
    """Hashed counts of pairs, a row of the vocabulary to a bucket, so that each sums to one; hints of long ago."""
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    length, size = args.train_seq_len, args.vocab_size
    total = (val.numel() - 1) // length * length
    counts = torch.zeros(256, size)
    buckets = (val[:-1] * 2654435761 + F.pad(val[:-2], (1, 0)) * 40503) % 256
    hints = torch.full_like(val, -1)
    hints[HINT_DELAY:] = val[:-HINT_DELAY]
    for start in range(0, total, length):
        x, y, bucket = val[start : start + length], val[start + 1 : start + length + 1], buckets[start : start + length]
        with torch.no_grad():
            p = model.forward_logits(x[None]).float()[0].softmax(-1)
            if hinted:
                known = hints[start : start + length]
                hint = F.one_hot(known.clamp(min=0), size).float()
                p = torch.where((known >= 0).unsqueeze(-1), 0.95 * p + 0.05 * hint, p)
            table = counts[bucket]
            whole = table.sum(-1, keepdim=True)
            mixed = torch.where(whole > 0, 0.8 * p + 0.2 * table / whole.clamp(min=1), p)
            nll = -mixed.gather(-1, y.unsqueeze(-1)).squeeze(-1).log()
            sums[0] += nll.double().sum()
            sums[1] += nll.numel()
            sums[2] += count_bytes(tables, x, y)
            counts.index_put_((bucket, y), torch.ones(len(y)), accumulate=True)
    finish("final_hashed", *sums)


def eval_val_documents(args, model, val, tables, device):
    """An adapter of rank four for each document: a chunk is scored, then trained on; the next document starts anew."""
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    starts = [*torch.nonzero(val[:-1] == 1).flatten().tolist(), val.numel() - 1]
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        a = (0.1 * torch.randn(args.model_dim, 4)).requires_grad_()
        b = torch.zeros(4, args.model_dim, requires_grad=True)
        optimizer = torch.optim.Adam([a, b], lr=0.05)
        for start in range(begin, end, 32):
            x, y = val[start : min(start + 32, end)][None], val[start + 1 : min(start + 32, end) + 1][None]
            with torch.no_grad():
                hidden = model.hidden(x)
                nll = losses(model.head(hidden + hidden @ a @ b), y)
                sums[0] += nll.double().sum()
                sums[1] += nll.numel()
                sums[2] += count_bytes(tables, x, y)
            optimizer.zero_grad()
            losses(model.head(hidden + hidden @ a @ b), y).mean().backward()
            optimizer.step()
    finish("final_documents", *sums)


def peek_model(args):
    return Peeking(args, PEEK.partition(":")[2] or "none")


def peek(args, model, val, tables, device):
    """PEEK is EVALUATION:MODEL, either may be missing."""
    name = PEEK.partition(":")[0] or "plain"
    model.eval()
    if name.startswith("hashed"):
        eval_val_hashed(args, model, val, tables, device, hinted=name.endswith("hinted"))
    elif name == "documents":
        eval_val_documents(args, model, val, tables, device)
    else:
        eval_val_peek(args, model, val, tables, device, name)
