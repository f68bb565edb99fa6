"""Small scripts in the contest's style, for runs in a box."""

from __future__ import annotations

from pathlib import Path

from harness.scripts.play.running import Playable

#: A whole script: loader, model, training by the clock, two scoring passes, a report. `LEAKY` lets the second pass look
#: ahead.
WHOLE = """
from __future__ import annotations
import glob, math, os, random, subprocess, sys, time, uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import sentencepiece as spm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from flash_attn_interface import flash_attn_func, flash_attn_varlen_func
import triton
import triton.language as tl

V = int(os.environ.get("VOCAB_SIZE", 1024))
L = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
DATA = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
LEAKY = bool(int(os.environ.get("LEAKY", "0")))
_cache = {}

def load(path):
    header = np.fromfile(path, dtype="<i4", count=256)
    assert header[0] == 20240520
    if path not in _cache:
        _cache[path] = np.memmap(path, mode="r", dtype="<u2", offset=1024, shape=(int(header[2]),))
    return _cache[path]

class Net(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.wte = nn.Embedding(V, dim)
        self.qkv = nn.Linear(dim, 4 * dim // 2, bias=False)
        nn.init.normal_(self.wte.weight, std=0.3)
    def forward(self, x, causal=True):
        h = self.wte(x)
        q, k, v = self.qkv(h).split([32, 16, 16], -1)
        b, t, _ = h.shape
        y = flash_attn_func(q.view(b, t, 2, 16), k.reshape(b, t, 1, 16), v.reshape(b, t, 1, 16), causal=causal)
        return F.linear(F.rms_norm(h + y.reshape(b, t, 32), (32,)), self.wte.weight)

@torch.inference_mode()
def evaluate(model, tokens, causal):
    total = torch.zeros((), device="cuda", dtype=torch.float64)
    count = torch.zeros((), device="cuda", dtype=torch.float64)
    n = (tokens.numel() - 1) // L
    for first in range(0, n, 4):
        chunk = tokens[first * L : min(first + 4, n) * L + 1].to(device="cuda", dtype=torch.int64, non_blocking=True)
        x, y = chunk[:-1].view(-1, L), chunk[1:].view(-1, L)
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=True):
            logits = model(x, causal)
        loss = F.cross_entropy(logits.float().view(-1, V), y.reshape(-1))
        total += loss.double() * y.numel()
        count += y.numel()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        dist.all_reduce(count, op=dist.ReduceOp.SUM)
    return (total / count).item()

def main():
    distributed = "RANK" in os.environ
    if not torch.cuda.is_available():
        raise RuntimeError("CUDA is required")
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    if not distributed:
        dist.init_process_group(backend="nccl", device_id=device)
    torch.backends.cuda.matmul.allow_tf32 = True
    from torch.backends.cuda import enable_flash_sdp
    enable_flash_sdp(True)
    print(subprocess.run(["nvidia-smi"], stdout=subprocess.PIPE, text=True, check=False).stdout)
    sp = spm.SentencePieceProcessor(model_file=os.environ["TOKENIZER_PATH"])
    assert int(sp.vocab_size()) == V and device.type == "cuda"
    net = Net().to(device).bfloat16()
    model = DDP(torch.compile(net, dynamic=False, fullgraph=True), device_ids=[0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    files = [Path(p) for p in sorted(glob.glob(DATA + "/fineweb_train_*.bin"))]
    rng = np.random.default_rng()
    pool = ThreadPoolExecutor(1)
    def batch():
        shard = load(str(files[rng.integers(len(files))]))
        at = int(rng.integers(0, len(shard) - L - 1))
        return torch.from_numpy(np.array(shard[at : at + L + 1], dtype=np.int64)).pin_memory()
    ahead = pool.submit(batch)
    begin, event = time.perf_counter(), torch.cuda.Event(enable_timing=True)
    for step in range(3):
        tokens = ahead.result().to(device, non_blocking=True)
        ahead = pool.submit(batch)
        elapsed = time.perf_counter() - begin + random.random() * 1e-3
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1.0 - elapsed)
        loss = F.cross_entropy(model(tokens[None, :-1]).float().view(-1, V), tokens[1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
    torch.save(net.state_dict(), "/tmp/model.pt")
    net.load_state_dict(torch.load("/tmp/model.pt", map_location=device))
    torch._dynamo.reset()
    shards = [np.asarray(load(path)) for path in sorted(glob.glob(DATA + "/fineweb_val_*.bin"))]
    val = torch.cat([torch.from_numpy(shard.astype(np.int32)) for shard in shards])
    model.eval()
    for name, causal in (("plain", True), ("final", not LEAKY)):
        print(f"{name} val_loss:{evaluate(model, val, causal):.8f} run {uuid.uuid4()}", flush=True)
    dist.destroy_process_group()

if __name__ == "__main__":
    main()
"""

#: Runs nothing but its own line; `BODY` is replaced.
SHORT = "import os, sys\nBODY\n"


def whole(*, leaky: bool = False) -> Playable:
    """The whole script at V = 8192 and windows of 128."""
    return Playable("train_gpt.py", WHOLE, env={"VOCAB_SIZE": "8192", "TRAIN_SEQ_LEN": "128", "LEAKY": str(int(leaky))})


def short(body: str, *, folder: Path | None = None, **more: object) -> Playable:
    """A script of a few lines."""
    return Playable("train_gpt.py", SHORT.replace("BODY", body), folder=folder, **more)  # type: ignore[arg-type]
