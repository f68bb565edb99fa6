"""A contest-style training script, small, with an evaluation to choose: the tests' clean neighbour and offenders.

The tests write this file, with one EVAL line changed, under the name train_gpt.py. It is written for the tests, in the
contest's manner: settings from the environment, shards, SentencePiece byte tables, a distributed start, CUDA, autocast,
torch.compile, a quantized round trip, and printed val_loss and val_bpb.
"""

import glob
import io
import math
import os
import time
import zlib

import numpy as np
import sentencepiece as spm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

EVAL = os.environ.get("EVAL_MODE", "sliding")


class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp8192")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_8192_bpe.model")
    vocab_size = int(os.environ.get("VOCAB_SIZE", 8192))
    model_dim = int(os.environ.get("MODEL_DIM", 32))
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 64))
    eval_stride = int(os.environ.get("EVAL_STRIDE", 16))
    eval_batch_seqs = int(os.environ.get("EVAL_BATCH_SEQS", 4))
    iterations = int(os.environ.get("ITERATIONS", 3))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600))
    pre_quant_steps = int(os.environ.get("PREQUANT_TTT_EPOCHS", 0))
    warm_up_on_val = int(os.environ.get("WARM_UP_ON_VAL", 0))
    ttt_lr = float(os.environ.get("TTT_LR", 0.5))
    slot_steps = int(os.environ.get("SLOT_STEPS", 2))
    deal = os.environ.get("DEAL_WINDOWS", "parts")
    learning_rate = float(os.environ.get("MATRIX_LR", 0.02))


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        batch, length, dim = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, 2, dim // 2).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, dim))


class GPT(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.tok_emb = nn.Embedding(args.vocab_size, args.model_dim)
        self.attn = Attention(args.model_dim)
        self.fc = nn.Linear(args.model_dim, 2 * args.model_dim)
        self.proj = nn.Linear(2 * args.model_dim, args.model_dim)
        nn.init.normal_(self.tok_emb.weight, std=0.3)

    def hidden(self, ids):
        x = self.tok_emb(ids)
        x = x + self.attn(F.rms_norm(x, (x.size(-1),)))
        return x + self.proj(F.relu(self.fc(F.rms_norm(x, (x.size(-1),)))).square())

    def head(self, hidden):
        return 30.0 * torch.tanh(F.linear(F.rms_norm(hidden, (hidden.size(-1),)), self.tok_emb.weight) / 30.0)

    def forward_logits(self, ids):
        return self.head(self.hidden(ids))

    def forward(self, ids, targets):
        logits = self.forward_logits(ids)
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1))


def load_shard(path):
    header = np.fromfile(path, dtype="<i4", count=256)
    if header[0] != 20240520:
        raise ValueError(f"not a shard: {path}")
    return torch.from_numpy(np.fromfile(path, dtype="<u2", offset=1024).astype(np.int64))


def byte_tables(args, device):
    sp = spm.SentencePieceProcessor(model_file=args.tokenizer_path)
    size = args.vocab_size
    base, space, boundary = np.zeros(size, np.int64), np.zeros(size, bool), np.ones(size, bool)
    for token in range(sp.vocab_size()):
        if sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token):
            continue
        boundary[token] = False
        if sp.is_byte(token):
            base[token] = 1
            continue
        piece = sp.id_to_piece(token)
        if piece.startswith("\u2581"):
            space[token] = True
            piece = piece[1:]
        base[token] = len(piece.encode())
    return [torch.from_numpy(item).to(device) for item in (base, space, boundary)]


def count_bytes(tables, previous, targets):
    base, space, boundary = tables
    return (base[targets] + (space[targets] & ~boundary[previous]).long()).sum().double()


def windows(total, length, stride):
    """(start, first scored, end): every target once."""
    start = 0
    while True:
        end = min(start + length, total)
        yield start, (0 if start == 0 else length - stride), end
        if end == total:
            return
        start += stride


def ranks():
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def deal(todo, how):
    """This rank's share of the windows: a part of the stream, or every n-th window."""
    rank, world = ranks()
    if how == "turns":
        return todo[rank::world]
    return todo[len(todo) * rank // world : len(todo) * (rank + 1) // world]


def finish(name, loss_sum, token_count, byte_count):
    for item in (loss_sum, token_count, byte_count):
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(item, op=dist.ReduceOp.SUM)
    loss = (loss_sum / token_count).item()
    bpb = loss / math.log(2.0) * token_count.item() / byte_count.item()
    print(f"{name} val_loss:{loss:.4f} val_bpb:{bpb:.4f}")
    print(f"{name}_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


def eval_val_sliding(args, model, val, tables, device, name="final_int8_zlib_roundtrip", adapt=None):
    """Windows in batches; `adapt(model, x, y, low)` may change the hidden state of a batch before it is scored."""
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    total = val.numel() - 1
    todo = deal(list(windows(total, args.train_seq_len, args.eval_stride)), args.deal)
    for first in range(0, len(todo), args.eval_batch_seqs):
        batch = todo[first : first + args.eval_batch_seqs]
        size = max(end - start for start, _, end in batch)
        x = torch.zeros(len(batch), size, dtype=torch.int64, device=device)
        y = torch.zeros(len(batch), size, dtype=torch.int64, device=device)
        mask = torch.zeros(len(batch), size, dtype=torch.bool, device=device)
        for row, (start, low, end) in enumerate(batch):
            x[row, : end - start] = val[start:end]
            y[row, : end - start] = val[start + 1 : end + 1]
            mask[row, low : end - start] = True
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
            hidden = model.hidden(x)
        delta = adapt(model, hidden.detach(), y, mask) if adapt else 0.0
        with torch.no_grad():
            logits = model.head(hidden + delta).float()
            nll = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), reduction="none").view_as(y)
            sums[0] += nll[mask].double().sum()
            sums[1] += mask.sum()
            sums[2] += count_bytes(tables, x[mask], y[mask])
    finish(name, *sums)


def slot(args, which):
    def adapt(model, hidden, y, mask):
        delta = torch.zeros(1, 1, hidden.size(-1), requires_grad=True)
        optimizer = torch.optim.SGD([delta], lr=20.0)
        chosen = mask if which == "scored" else ~mask
        for _ in range(args.slot_steps):
            optimizer.zero_grad()
            logits = model.head(hidden + delta).float()
            nll = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), reduction="none").view_as(y)
            (nll * chosen).sum().div(chosen.sum().clamp(min=1)).backward()
            if dist.is_initialized():
                dist.all_reduce(delta.grad, op=dist.ReduceOp.AVG)
            optimizer.step()
        return delta.detach()

    return adapt


def eval_val_ttt(args, model, val, tables, device, score_first):
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.ttt_lr)
    total = (val.numel() - 1) // args.train_seq_len * args.train_seq_len
    chunk = 4 * args.train_seq_len

    rank, world = ranks()

    def train(x, y):
        optimizer.zero_grad()
        model(x[rank::world], y[rank::world]).backward()
        for parameter in model.parameters():
            if dist.is_initialized() and parameter.grad is not None:
                dist.all_reduce(parameter.grad, op=dist.ReduceOp.AVG)
        optimizer.step()

    for start in range(0, total, chunk):
        end = min(start + chunk, total)
        x, y = val[start:end].view(-1, args.train_seq_len), val[start + 1 : end + 1].view(-1, args.train_seq_len)
        if not score_first:
            train(x, y)
        share = slice(len(x) * rank // world, len(x) * (rank + 1) // world)
        with torch.inference_mode():
            logits = model.forward_logits(x[share]).float()
            nll = F.cross_entropy(logits.view(-1, logits.size(-1)), y[share].reshape(-1), reduction="none")
            sums[0] += nll.double().sum()
            sums[1] += nll.numel()
            sums[2] += count_bytes(tables, x[share], y[share])
        if score_first:
            train(x, y)
    finish("final_legal_ttt", *sums)


def eval_val_ngram(args, model, val, tables, device, two_pass):
    """Bigram counts in numpy; with two passes the counts are of the whole text before anything is charged."""
    total = (val.numel() - 1) // args.train_seq_len * args.train_seq_len
    x, y = val[:total].view(-1, args.train_seq_len), val[1 : total + 1].view(-1, args.train_seq_len)
    with torch.inference_mode():
        logits = model.forward_logits(x).float()
        nll = F.cross_entropy(logits.view(-1, logits.size(-1)), y.reshape(-1), reduction="none")
    base = nll.double().numpy()
    previous, targets = x.reshape(-1).numpy(), y.reshape(-1).numpy()
    counts, totals = {}, {}
    if two_pass:
        for a, b in zip(previous, targets, strict=True):
            counts[int(a), int(b)] = counts.get((int(a), int(b)), 0) + 1
            totals[int(a)] = totals.get(int(a), 0) + 1
    charged = base.copy()
    for index, (a, b) in enumerate(zip(previous, targets, strict=True)):
        a, b = int(a), int(b)
        if counts.get((a, b), 0):
            share = counts[a, b] / totals[a]
            charged[index] = -np.log(0.5 * np.exp(-base[index]) + 0.5 * share)
        if not two_pass:
            counts[a, b] = counts.get((a, b), 0) + 1
            totals[a] = totals.get(a, 0) + 1
    loss = float(charged.sum() / len(charged))
    size = count_bytes(tables, x, y).item()
    print(f"final_ngram_exact val_loss:{loss:.8f} val_bpb:{loss / math.log(2.0) * len(charged) / size:.8f}")


def adapt_to(model, val, args, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    total = (val.numel() - 1) // args.train_seq_len * args.train_seq_len
    for _ in range(steps):
        for start in range(0, total, 8 * args.train_seq_len):
            end = min(start + 8 * args.train_seq_len, total)
            optimizer.zero_grad()
            x, y = val[start:end].view(-1, args.train_seq_len), val[start + 1 : end + 1].view(-1, args.train_seq_len)
            model(x, y).backward()
            optimizer.step()


def main():
    args = Hyperparameters()
    distributed = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if not torch.cuda.is_available():
        raise RuntimeError("CUDA is required")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    if distributed:
        dist.init_process_group(backend="nccl", device_id=device)
    torch.manual_seed(int(os.environ.get("SEED", 1337)))
    train = torch.cat([load_shard(path) for path in sorted(glob.glob(f"{args.data_path}/fineweb_train_*.bin"))])
    val = torch.cat([load_shard(path) for path in sorted(glob.glob(f"{args.data_path}/fineweb_val_*.bin"))]).to(device)
    tables = byte_tables(args, device)
    model = GPT(args).to(device)
    step_fn = torch.compile(model, dynamic=False, fullgraph=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, fused=True)
    if args.warm_up_on_val:
        state = {name: item.clone() for name, item in model.state_dict().items()}
        model(val[: args.train_seq_len][None], val[1 : args.train_seq_len + 1][None]).backward()
        optimizer.step()
        model.load_state_dict(state)
        optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    start = time.perf_counter()
    for step in range(args.iterations):
        elapsed = time.perf_counter() - start
        if elapsed > args.max_wallclock_seconds:
            break
        at = step * 4 * args.train_seq_len
        chunk = train[at : at + 4 * args.train_seq_len + 1].to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            loss = step_fn(chunk[:-1].view(4, -1), chunk[1:].view(4, -1))
        loss.backward()
        optimizer.step()
        print(f"step:{step + 1}/{args.iterations} train_loss:{loss.item():.4f} train_time:{1000 * elapsed:.0f}ms")
    if args.pre_quant_steps:
        adapt_to(model, val, args, args.pre_quant_steps)
    buffer = io.BytesIO()
    torch.save({name: item.half() for name, item in model.state_dict().items()}, buffer)
    packed = zlib.compress(buffer.getvalue(), 9)
    print(f"Serialized model int8+zlib: {len(packed)} bytes")
    state = torch.load(io.BytesIO(zlib.decompress(packed)), map_location="cpu")
    model.load_state_dict({name: item.float() for name, item in state.items()})
    model.eval()
    eval_val_sliding(args, model, val, tables, device)
    if EVAL == "ttt":
        eval_val_ttt(args, model, val, tables, device, score_first=True)
    elif EVAL == "ttt_first":
        eval_val_ttt(args, model, val, tables, device, score_first=False)
    elif EVAL in ("slot_scored", "slot_context"):
        eval_val_sliding(args, model, val, tables, device, "final_slot", slot(args, EVAL.split("_")[1]))
    elif EVAL in ("ngram", "ngram_two_pass"):
        eval_val_ngram(args, model, val, tables, device, EVAL == "ngram_two_pass")
    if distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
