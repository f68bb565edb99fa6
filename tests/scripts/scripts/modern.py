"""A script in the manner of the contest's later months, small: `h` is handed around, logs go to a file, blocks loop.

Written for the tests: FlashAttention 3, a Triton kernel behind an autograd function, a hyperparameter dump, depth
recurrence, int6 rows with byte shuffle and brotli, a sliding pass of exact cover, and test-time training in chunks. The
one line of the offence is chosen by TTT_ORDER, and is off by default, as the contest's own features are.
"""

import collections
import glob
import io
import math
import os
import sys
import time
import uuid
from pathlib import Path

import brotli
import numpy as np
import sentencepiece as spm
import torch
import torch.distributed as dist
import torch.nn.functional as F
import triton
import triton.language as tl
from flash_attn_interface import flash_attn_func as flash_attn_3_func
from torch import nn


class Hyperparameters:
    data_dir = os.environ.get("DATA_DIR", "./data/")
    seed = int(os.environ.get("SEED", 1337))
    run_id = os.environ.get("RUN_ID", str(uuid.uuid4()))
    iterations = int(os.environ.get("ITERATIONS", 20000))
    warmdown_frac = float(os.environ.get("WARMDOWN_FRAC", 0.667))
    train_batch_tokens = int(os.environ.get("TRAIN_BATCH_TOKENS", 2048 * 48 * 8))
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 2048))
    eval_seq_len = int(os.environ.get("EVAL_SEQ_LEN", 2048))
    eval_stride = int(os.environ.get("EVAL_STRIDE", 64))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    val_batch_tokens = int(os.environ.get("VAL_BATCH_TOKENS", 2048 * 32 * 8))
    sliding_window_enabled = bool(int(os.environ.get("SLIDING_WINDOW_ENABLED", "1")))
    vocab_size = int(os.environ.get("VOCAB_SIZE", 8192))
    model_dim = int(os.environ.get("MODEL_DIM", 512))
    num_heads = int(os.environ.get("NUM_HEADS", 8))
    num_kv_heads = int(os.environ.get("NUM_KV_HEADS", 4))
    num_layers = int(os.environ.get("NUM_LAYERS", 4))
    loop_start = int(os.environ.get("LOOP_START", 1))
    loop_end = int(os.environ.get("LOOP_END", 2))
    logit_softcap = float(os.environ.get("LOGIT_SOFTCAP", 30.0))
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    ttt_order = os.environ.get("TTT_ORDER", "score_first")
    ttt_lr = float(os.environ.get("TTT_LR", 0.05))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))
    ttt_chunk_tokens = int(os.environ.get("TTT_CHUNK_TOKENS", 32768))
    matrix_lr = float(os.environ.get("MATRIX_LR", 0.022))

    distributed = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    is_main_process = rank == 0
    datasets_dir = os.path.join(data_dir, "datasets", f"fineweb10B_sp{vocab_size}")
    tokenizer_path = os.path.join(data_dir, "tokenizers", f"fineweb_{vocab_size}_bpe.model")
    train_files = os.path.join(datasets_dir, "fineweb_train_*.bin")
    val_files = os.path.join(datasets_dir, "fineweb_val_*.bin")
    logfile = f"logs/{run_id}.txt"


def log(message, console=True):
    if Hyperparameters.is_main_process:
        if console:
            print(message)
        with open(Hyperparameters.logfile, "a", encoding="utf-8") as file:
            print(message, file=file)


def load_data_shard(file):
    header = np.fromfile(file, dtype="<i4", count=256)
    tokens = np.fromfile(file, dtype="<u2", count=int(header[2]), offset=1024)
    return torch.from_numpy(tokens.astype(np.uint16, copy=False))


class ValidationData:
    def __init__(self, h, device):
        files = [Path(p) for p in sorted(glob.glob(h.val_files))]
        tokens = torch.cat([load_data_shard(file) for file in files]).contiguous()
        usable = (tokens.numel() - 1) // h.eval_seq_len * h.eval_seq_len
        self.val_tokens = tokens[: usable + 1]
        sp = spm.SentencePieceProcessor(model_file=h.tokenizer_path)
        size = max(sp.vocab_size(), h.vocab_size)
        base, space, boundary = np.zeros(size, np.int16), np.zeros(size, np.bool_), np.ones(size, np.bool_)
        for token in range(sp.vocab_size()):
            if sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token):
                continue
            boundary[token] = False
            piece = sp.id_to_piece(token)
            if sp.is_byte(token):
                base[token] = 1
                continue
            space[token] = piece.startswith("\u2581")
            base[token] = len(piece.removeprefix("\u2581").encode("utf-8"))
        self.base, self.space, self.boundary = (torch.tensor(x, device=device) for x in (base, space, boundary))

    def bytes_of(self, previous, targets):
        count = self.base[targets].to(torch.float64)
        return (count + (self.space[targets] & ~self.boundary[previous]).to(torch.float64)).sum()


@triton.jit
def _leaky_relu_sq_forward_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    y = tl.where(x >= 0, x, 0.5 * x)
    tl.store(y_ptr + at, y * y, mask=at < n)


class LeakySquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        _leaky_relu_sq_forward_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
        return y

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * torch.where(x >= 0, 2.0 * x, 0.5 * x)


class Block(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.heads, self.kv_heads, self.width = h.num_heads, h.num_kv_heads, h.model_dim // h.num_heads
        self.qkv = nn.Linear(h.model_dim, (h.num_heads + 2 * h.num_kv_heads) * self.width, bias=False)
        self.out = nn.Linear(h.model_dim, h.model_dim, bias=False)
        self.fc = nn.Linear(h.model_dim, 2 * h.model_dim, bias=False)
        self.proj = nn.Linear(2 * h.model_dim, h.model_dim, bias=False)

    def forward(self, x):
        batch, length, dim = x.shape
        sizes = [self.heads * self.width, self.kv_heads * self.width, self.kv_heads * self.width]
        q, k, v = self.qkv(F.rms_norm(x, (dim,))).split(sizes, dim=-1)
        q = q.reshape(batch, length, self.heads, self.width)
        k, v = (part.reshape(batch, length, self.kv_heads, self.width) for part in (k, v))
        y = flash_attn_3_func(q.bfloat16(), k.bfloat16(), v.bfloat16(), causal=True)
        x = x + self.out(y.reshape(batch, length, dim).to(x.dtype))
        return x + self.proj(LeakySquare.apply(self.fc(F.rms_norm(x, (dim,)))))


class GPT(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.tok_emb = nn.Embedding(h.vocab_size, h.model_dim)
        nn.init.normal_(self.tok_emb.weight, std=0.3)
        self.blocks = nn.ModuleList(Block(h) for _ in range(h.num_layers))
        looped = list(range(h.loop_start, h.loop_end + 1))
        self.order = [*range(h.loop_start), *looped, *looped, *range(h.loop_end + 1, h.num_layers)]
        self.logit_softcap = h.logit_softcap

    def forward_logits(self, ids):
        x = F.rms_norm(self.tok_emb(ids), (self.tok_emb.embedding_dim,))
        for index in self.order:
            x = self.blocks[index](x)
        logits = F.linear(F.rms_norm(x, (x.size(-1),)), self.tok_emb.weight)
        return self.logit_softcap * torch.tanh(logits / self.logit_softcap)

    def forward(self, ids, targets):
        logits = self.forward_logits(ids)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)).float(), targets.reshape(-1), reduction="mean")


def _loss_bpb(loss_sum, token_count, byte_count):
    val_loss = (loss_sum / token_count).item()
    return val_loss, val_loss / math.log(2.0) * (token_count.item() / byte_count.item())


def _reduced(*sums):
    if dist.is_available() and dist.is_initialized():
        for item in sums:
            dist.all_reduce(item, op=dist.ReduceOp.SUM)
    return _loss_bpb(*sums)


def eval_val(h, device, val_data, model):
    length = h.eval_seq_len
    loss_sum, token_count, byte_count = torch.zeros(3, device=device, dtype=torch.float64).unbind()
    total = (val_data.val_tokens.numel() - 1) // length
    step = max(1, h.val_batch_tokens // length)
    model.eval()
    with torch.inference_mode():
        for first in range(total * h.rank // h.world_size, total * (h.rank + 1) // h.world_size, step):
            last = min(first + step, total * (h.rank + 1) // h.world_size)
            chunk = val_data.val_tokens[first * length : last * length + 1].to(device, torch.int64, non_blocking=True)
            x, y = chunk[:-1].reshape(-1, length), chunk[1:].reshape(-1, length)
            with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=True):
                batch_loss = model(x, y).detach()
            loss_sum += batch_loss.to(torch.float64) * float(y.numel())
            token_count += float(y.numel())
            byte_count += val_data.bytes_of(x.reshape(-1), y.reshape(-1))
    model.train()
    return _reduced(loss_sum, token_count, byte_count)


def score_windows(h, device, val_data, model, starts, sums, batch_seqs=32):
    length, context = h.eval_seq_len, h.eval_seq_len - h.eval_stride
    total = val_data.val_tokens.numel() - 1
    with torch.inference_mode():
        for first in range(0, len(starts), batch_seqs):
            batch = starts[first : first + batch_seqs]
            x = torch.zeros(len(batch), length, dtype=torch.int64, device=device)
            y = torch.zeros(len(batch), length, dtype=torch.int64, device=device)
            for row, ws in enumerate(batch):
                end = min(ws + length, total)
                chunk = val_data.val_tokens[ws : end + 1].to(dtype=torch.int64, device=device)
                x[row, : end - ws], y[row, : end - ws] = chunk[:-1], chunk[1:]
            with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
                logits = model.forward_logits(x)
            nll = F.cross_entropy(logits.reshape(-1, logits.size(-1)).float(), y.reshape(-1), reduction="none")
            nll = nll.reshape(len(batch), length)
            for row, ws in enumerate(batch):
                low, high = 0 if ws == 0 else context, min(ws + length, total) - ws
                sums[0] += nll[row, low:high].to(torch.float64).sum()
                sums[1] += float(high - low)
                sums[2] += val_data.bytes_of(x[row, low:high], y[row, low:high])


def eval_val_sliding(h, device, val_data, model):
    context = h.eval_seq_len - h.eval_stride
    total = val_data.val_tokens.numel() - 1
    starts = [ws for ws in range(0, total, h.eval_stride) if ws + context < total]
    mine = starts[len(starts) * h.rank // h.world_size : len(starts) * (h.rank + 1) // h.world_size]
    sums = list(torch.zeros(3, device=device, dtype=torch.float64).unbind())
    model.eval()
    score_windows(h, device, val_data, model, mine, sums)
    model.train()
    return _reduced(*sums)


def eval_val_ttt(h, device, val_data, model):
    context = h.eval_seq_len - h.eval_stride
    total = val_data.val_tokens.numel() - 1
    chunks = collections.defaultdict(list)
    for ws in range(0, total, h.eval_stride):
        if ws + context < total:
            chunks[(0 if ws == 0 else ws + context) // h.ttt_chunk_tokens].append(ws)
    sums = list(torch.zeros(3, device=device, dtype=torch.float64).unbind())
    optimizer = torch.optim.SGD(model.parameters(), lr=h.ttt_lr, momentum=0.9)

    def adapt(number):
        first, last = number * h.ttt_chunk_tokens, min((number + 1) * h.ttt_chunk_tokens, total)
        seqs = (last - first) // h.eval_seq_len
        for _ in range(h.ttt_epochs):
            for seq in range(seqs * h.rank // h.world_size, seqs * (h.rank + 1) // h.world_size):
                at = first + seq * h.eval_seq_len
                part = val_data.val_tokens[at : at + h.eval_seq_len + 1].to(device=device, dtype=torch.int64)
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
                    loss = model(part[None, :-1], part[None, 1:])
                loss.backward()
                if h.world_size > 1:
                    for p in model.parameters():
                        if p.grad is not None:
                            dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()

    for number in sorted(chunks):
        starts = chunks[number]
        mine = starts[len(starts) * h.rank // h.world_size : len(starts) * (h.rank + 1) // h.world_size]
        if h.ttt_order == "train_first":
            adapt(number)
        model.eval()
        score_windows(h, device, val_data, model, mine, sums)
        model.train()
        if h.ttt_order == "score_first" and number != max(chunks):
            adapt(number)
    return _reduced(*sums)


def timed_eval(label, fn, *args):
    torch.cuda.synchronize()
    begin = time.perf_counter()
    val_loss, val_bpb = fn(*args)
    torch.cuda.synchronize()
    spent = 1000.0 * (time.perf_counter() - begin)
    log(f"{label} val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f} eval_time:{spent:.0f}ms")
    return val_loss, val_bpb


def serialize(h, model):
    quantized = {}
    for name, tensor in model.state_dict().items():
        if tensor.ndim < 2:
            quantized[name] = tensor.half()
            continue
        scale = (tensor.float().abs().amax(dim=1) / 31).clamp_min(1e-8).half()
        quantized[name + ".q"] = torch.clamp(torch.round(tensor.float() / scale.float()[:, None]), -31, 31).to(
            torch.int8
        )
        quantized[name + ".scale"] = scale
    buffer = io.BytesIO()
    torch.save(quantized, buffer)
    raw = np.frombuffer(buffer.getvalue(), np.uint8)
    shuffled = np.concatenate([raw[part::2] for part in range(2)]).tobytes()
    blob = brotli.compress(shuffled, quality=5)
    if h.is_main_process:
        Path("final_model.int6.ptz").write_bytes(blob)
        log(f"Serialized model quantized+brotli: {len(blob)} bytes")
    if dist.is_initialized():
        dist.barrier()


def deserialize(h, model):
    raw = np.frombuffer(brotli.decompress(Path("final_model.int6.ptz").read_bytes()), np.uint8)
    plain = np.empty_like(raw)
    half = (len(raw) + 1) // 2
    plain[0::2], plain[1::2] = raw[:half], raw[half:]
    stored = torch.load(io.BytesIO(plain.tobytes()), map_location="cpu")
    state = {}
    for name, tensor in model.state_dict().items():
        if name in stored:
            state[name] = stored[name].to(tensor.dtype)
        else:
            state[name] = (stored[name + ".q"].float() * stored[name + ".scale"].float()[:, None]).to(tensor.dtype)
    model.load_state_dict(state)


def train_and_eval(h, device):
    torch.manual_seed(h.seed)
    val_data = ValidationData(h, device)
    log(f"val_tokens: {val_data.val_tokens.numel() - 1}")
    model = GPT(h).to(device)
    compiled = torch.compile(model, dynamic=False, fullgraph=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=h.matrix_lr, betas=(0.9, 0.95), fused=True)
    train = torch.cat([load_data_shard(p) for p in sorted(glob.glob(h.train_files))])
    begin = time.perf_counter()
    step, seqs = 0, max(1, h.train_batch_tokens // h.train_seq_len // h.world_size)
    while step < h.iterations:
        elapsed = 1000.0 * (time.perf_counter() - begin)
        if h.max_wallclock_seconds > 0 and elapsed >= 1000.0 * h.max_wallclock_seconds:
            log(f"stopping_early: wallclock_cap train_time: {elapsed:.0f}ms step: {step}/{h.iterations}")
            break
        span = seqs * h.train_seq_len + 1
        at = (step * h.world_size + h.rank) * span % max(1, train.numel() - span)
        part = train[at : at + span].to(device=device, dtype=torch.int64)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=True):
            loss = compiled(part[:-1].reshape(seqs, -1), part[1:].reshape(seqs, -1))
        loss.backward()
        if h.world_size > 1:
            for p in model.parameters():
                dist.all_reduce(p.grad, op=dist.ReduceOp.AVG)
        optimizer.step()
        step += 1
        log(f"{step}/{h.iterations} train_loss: {loss.item():.4f} train_time: {elapsed / 60000:.1f}m")
    timed_eval("pre-quantization post-ema", eval_val, h, device, val_data, compiled)
    serialize(h, model)
    deserialize(h, model)
    timed_eval("quantized", eval_val, h, device, val_data, compiled)
    if h.sliding_window_enabled:
        timed_eval("quantized_sliding_window", eval_val_sliding, h, device, val_data, model)
    if h.ttt_enabled:
        timed_eval("quantized_ttt", eval_val_ttt, h, device, val_data, model)


def main():
    h = Hyperparameters()
    if not torch.cuda.is_available():
        raise RuntimeError("CUDA is required")
    device = torch.device("cuda", h.local_rank)
    torch.cuda.set_device(device)
    if h.distributed:
        dist.init_process_group(backend="nccl", device_id=device)
        dist.barrier()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch._dynamo.config.optimize_ddp = False
    os.makedirs("logs", exist_ok=True)
    log(100 * "=", console=False)
    log("Hyperparameters:", console=True)
    for name, value in sorted(vars(type(h)).items()):
        if not name.startswith("_"):
            log(f"  {name}: {value}", console=True)
    log(f"Running Python {sys.version}", console=False)
    train_and_eval(h, device)
    if h.distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
