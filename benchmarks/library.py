"""`python benchmarks/library.py`: what the library costs beside a forward pass, and how small a leak it sees.

* A GPT of 51 million parameters (8 layers of width 512, a vocabulary of 50,304) at 1,024 tokens: the CPU seconds of
  `assert_causal` over those of one forward pass of one sequence by the same model, where it is causal and where its
  mask is off by one. One thread; CPU seconds, so that what else the machine does weighs little.
* A small GPT to which a share of the next token's embedding is added: the smallest share at which every seed is caught,
  and what the leak is worth there, by how much it moves rows in float64. In float32, in bfloat16 as a module (which is
  settled in float64) and in bfloat16 as a function (which cannot be).
* What `import harness` adds to `import torch`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import kept, measure
from harness import assert_causal

LARGE = {"vocab": 50_304, "width": 512, "layers": 8, "heads": 8, "length": 1024}
QUICK = {"vocab": 512, "width": 64, "layers": 2, "heads": 2, "length": 128}
SMALL = {"vocab": 512, "width": 64, "layers": 2, "heads": 2, "length": 128}
SEEDS = 10


class GPT(nn.Module):
    """A GPT; a share `leak` of each next token's embedding is added to the last hidden state."""

    def __init__(self, shape: dict[str, int], seed: int = 0, ahead: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        width, self.heads, self.ahead, self.leak = shape["width"], shape["heads"], ahead, 0.0
        self.embed, self.place = nn.Embedding(shape["vocab"], width), nn.Embedding(shape["length"], width)
        nn.init.normal_(self.embed.weight, std=0.3)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width), "up": nn.Linear(width, 4 * width),
                "down": nn.Linear(4 * width, width), "one": nn.LayerNorm(width), "two": nn.LayerNorm(width),
            })
            for _ in range(shape["layers"])
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of int64 tokens [B, T]."""
        b, t = tokens.shape
        emb = self.embed(tokens)
        x = emb + self.place(torch.arange(t))
        mask = torch.ones(t, t, dtype=torch.bool).tril(self.ahead) if self.ahead else None
        for block in self.blocks:
            q, k, v = block["qkv"](block["one"](x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            x = x + block["out"](y.transpose(1, 2).reshape(b, t, -1))
            x = x + block["down"](functional.gelu(block["up"](block["two"](x))))
        if self.leak:
            x = x + self.leak * functional.pad(emb, (0, 0, 0, 1))[:, 1:]
        made: Tensor = self.norm(x) @ self.embed.weight.T
        return made


def cost(shape: dict[str, int], rounds: int, report: kept.Report) -> None:
    """One forward pass, and the audit of a causal and of a leaking model."""
    group = f"{sum(p.numel() for p in GPT(shape).parameters()) / 1e6:.0f} million parameters, T = {shape['length']:,}"
    forwards: dict[str, list[float]] = {"causal": [], "mask off by one": []}
    walls: dict[str, list[float]] = {"causal": [], "mask off by one": []}
    counts: dict[str, list[float]] = {"causal": [], "mask off by one": []}
    models = {"causal": GPT(shape).eval(), "mask off by one": GPT(shape, ahead=1).eval()}
    tokens = torch.randint(0, shape["vocab"], (1, shape["length"]))
    with torch.no_grad():
        for model in models.values():
            model(tokens)
    for seed in range(rounds):
        for name, model in models.items():
            with torch.no_grad():  # of this model: an explicit mask makes a pass dearer
                began = time.process_time()
                for _ in range(3):
                    model(tokens)
                forwards[name].append((time.process_time() - began) / 3)
            began = time.process_time()
            try:
                made = assert_causal(model, shape["vocab"], length=shape["length"], seed=seed)
                assert name == "causal"
            except AssertionError as error:
                assert name != "causal", error
                made = error.report  # type: ignore[attr-defined]
            walls[name].append(time.process_time() - began)
            counts[name].append(made.calls)
            if seed == 0:
                report.add(group, f"{name}: sequences of full length", "", made.sequences, goal=16, better="less")
    for name in models:
        report.add(group, f"{name}: one forward pass, batch 1", "CPU s", forwards[name])
        report.add(group, f"{name}: forward passes", "", counts[name], goal=16, better="less")
        report.add(
            group, f"{name}: assert_causal over one pass", "x", measure.ratios(walls[name], forwards[name]), goal=16,
            better="less",
        )  # fmt: skip


def seen(shape: dict[str, int], dtype: torch.dtype, wrapped: bool, share: float, seed: int) -> bool:
    """Whether a leak of this share is caught."""
    model = GPT(shape, seed).eval().to(dtype)
    model.leak = share
    try:
        assert_causal((lambda x: model(x)) if wrapped else model, shape["vocab"], length=shape["length"], seed=seed)
    except AssertionError as error:
        return type(error).__name__ == "Leak"
    return False


def worth(shape: dict[str, int], share: float, seed: int) -> float:
    """By how many nats such a leak moves the loss of a token, on average, in float64."""
    model = GPT(shape, seed).eval().double()
    tokens = torch.randint(0, shape["vocab"], (1, shape["length"]), generator=torch.Generator().manual_seed(seed))
    losses = []
    with torch.no_grad():
        for leak in (0.0, share):
            model.leak = leak
            losses.append(functional.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:], reduction="none"))
    return float((losses[1] - losses[0]).abs().mean())


def power(shape: dict[str, int], seeds: int, report: kept.Report) -> None:
    """The smallest share that every seed is caught at, a factor of two at a time, and its worth."""
    kinds: tuple[tuple[str, torch.dtype, bool], ...] = (
        ("float32", torch.float32, False),
        ("bfloat16, module", torch.bfloat16, False),
        ("bfloat16, function", torch.bfloat16, True),
    )
    for name, dtype, wrapped in kinds:
        share, smallest = 1.0, None
        while share > 1e-9 and all(seen(shape, dtype, wrapped, share, seed) for seed in range(seeds)):
            smallest, share = share, share / 2
        if smallest is None:
            report.omit(f"{name}: a whole embedding of the next token was not caught at every seed")
            continue
        values = [worth(shape, smallest, seed) for seed in range(seeds)]
        report.add("smallest leak caught at every seed", name, "nats/token", values,
                   note=f"share of the embedding: {smallest:.3g}, {seeds} seeds")  # fmt: skip


def imports(rounds: int, report: kept.Report) -> None:
    """`import torch`, and after it `import harness`, in a process of its own each time."""
    line = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); import harness; "
        "print(b - a, time.perf_counter() - b)"
    )
    walls: list[tuple[float, float]] = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", line], capture_output=True, text=True, check=True, env=measure.environment(1),
            cwd=kept.ROOT,
        )  # fmt: skip
        first, second = map(float, done.stdout.split())
        walls.append((first, second))
    report.add("imports", "import torch", "s", [first for first, _ in walls])
    report.add("imports", "import harness, after it", "s", [second for _, second in walls])
    report.add(
        "imports", "what that adds", "x", [second / first for first, second in walls], goal=0.1, better="less"
    )  # fmt: skip


def main() -> None:
    """See the module."""
    args: Any = kept.parser(__doc__, rounds=3).parse_args()
    torch.set_num_threads(1)
    report = kept.Report("library")
    imports(3 if args.quick else 2 * args.rounds + 1, report)
    power(SMALL, 2 if args.quick else SEEDS, report)
    cost(QUICK if args.quick else LARGE, args.rounds, report)
    report.save(args)


if __name__ == "__main__":
    main()
