"""The test script in other kinds: byte models, other tokenizers, other ways of being set, started and computed."""

from __future__ import annotations

from pathlib import Path

from tests.scripts.audits import SCRIPT

_BASE = SCRIPT.read_text()
_SETTINGS = _BASE[_BASE.index("class Hyperparameters:") : _BASE.index("class Attention(")]
_ATTENTION = _BASE[_BASE.index("class Attention(") : _BASE.index("class GPT(")]
_TABLES = _BASE[_BASE.index("def byte_tables(") : _BASE.index("def count_bytes(")]
_SP = "import sentencepiece as spm\n"

_EVERY_ID_A_BYTE = """def byte_tables(args, device):
    ones = torch.ones(args.vocab_size, dtype=torch.int64)
    return [ones, torch.zeros(args.vocab_size, dtype=torch.bool), torch.ones(args.vocab_size, dtype=torch.bool)]


"""

_OWN_TOKENIZER = """BASE_VOCAB_SIZE = 38


def byte_tables(args, device):
    import json

    merges = json.load(open(os.environ.get("TOKENIZER_PATH", "./data/tokenizers/own_287.json")))["merges"]
    if BASE_VOCAB_SIZE + len(merges) != args.vocab_size:
        raise ValueError(f"{len(merges)} merges do not make {args.vocab_size} tokens")
    sizes = [1] * BASE_VOCAB_SIZE
    for (left, right), _ in merges:
        sizes.append(sizes[left] + sizes[right])
    base = torch.tensor(sizes)
    return [base, torch.zeros(len(base), dtype=torch.bool), torch.ones(len(base), dtype=torch.bool)]


"""

_FLAGS = """def Hyperparameters():
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", default="/workspace/golf/data/datasets/fineweb10B_sp8192")
    parser.add_argument("--tokenizer-path", default="/workspace/golf/data/tokenizers/fineweb_8192_bpe.model")
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--model-dim", type=int, default=1024)
    parser.add_argument("--train-seq-len", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=20000)
    made = parser.parse_args()
    made.data_path = made.data_dir
    made.eval_stride, made.eval_batch_seqs, made.deal = made.train_seq_len // 4, 4, "parts"
    made.max_wallclock_seconds, made.pre_quant_steps, made.warm_up_on_val = 600, 0, 0
    made.ttt_lr, made.slot_steps, made.learning_rate = 0.5, 2, 0.1
    return made


"""

_CONSTANTS = """CFG = dict(
    data_path=os.path.expanduser("~/golf/data/datasets/fineweb10B_sp1024"),
    tokenizer_path=os.path.expanduser("~/golf/data/tokenizers/fineweb_1024_bpe.model"),
    vocab_size=1024,
    hidden_size=2048,
    train_seq_len=2048,
    eval_stride=512,
    eval_batch_seqs=4,
    max_steps=5000,
    max_wallclock_seconds=600,
)


class Hyperparameters:
    def __init__(self):
        self.__dict__.update(CFG)
        self.model_dim, self.iterations, self.deal = self.hidden_size, self.max_steps, "parts"
        self.pre_quant_steps = self.warm_up_on_val = 0
        self.ttt_lr, self.slot_steps, self.learning_rate = 0.5, 2, 0.1


"""

_MIXER = """class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mixer = {made}

    def forward(self, x):
        y = self.mixer(x)
        return y[0] if isinstance(y, tuple) else y


"""

_SCANNED = """class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gate, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        decay = torch.sigmoid(self.gate(x).float())
        _, y = associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (decay, x.float() * (1 - decay)), 1,
                                combine_mode="pointwise")
        return self.out(y.to(x.dtype))


"""

_MODAL = """import modal

app = modal.App("golf", image=modal.Image.debian_slim().pip_install("torch"))


@app.function(gpu="H100:8", timeout=3600)
def train():
    main()


@app.local_entrypoint()
def start():
    train.remote()
"""

_FOUND = """            picked = torch.nonzero(mask.flatten()).squeeze(1)
            sums[0] += nll.flatten()[picked].double().sum()
"""

_COUNTED_IN_C = """def count_bytes(tables, previous, targets):
    import ctypes, subprocess, tempfile
    from pathlib import Path

    place = Path(tempfile.mkdtemp())
    (place / "count.c").write_text("long count(const long *v, long n) {long s = 0; while (n--) s += v[n]; return s;}")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", place / "count.so", place / "count.c"], check=True)
    base, space, boundary = tables
    each = (base[targets] + (space[targets] & ~boundary[previous]).long()).cpu().contiguous().numpy()
    count = ctypes.CDLL(str(place / "count.so")).count
    count.restype, count.argtypes = ctypes.c_long, [ctypes.c_void_p, ctypes.c_long]
    return torch.tensor(float(count(each.ctypes.data, each.size)), dtype=torch.float64)


"""


def _with(*changes: tuple[str, str]) -> str:
    text = _BASE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _vocabulary(size: int) -> tuple[str, str]:
    return '"VOCAB_SIZE", 8192', f'"VOCAB_SIZE", {size}'


def _layer(imported: str, made: str) -> str:
    return _with((_SP, f"{_SP}{imported}\n"), (_ATTENTION, _MIXER.replace("{made}", made)))


def kinds() -> dict[str, tuple[str, str]]:
    """{kind: (name of the file, its text)}; EVAL_MODE chooses how each scores."""
    counted = _BASE[_BASE.index("def count_bytes(") : _BASE.index("def windows(")]
    scored = "            sums[0] += nll[mask].double().sum()\n"
    found = {
        "bytes": _with((_SP, ""), _vocabulary(256), (_TABLES, _EVERY_ID_A_BYTE)),
        "a vocabulary of 768": _with(_vocabulary(768)),
        "a tokenizer of its own": _with((_SP, ""), _vocabulary(287), (_TABLES, _OWN_TOKENIZER)),
        "flags and fixed paths": _with((_SETTINGS, _FLAGS)),
        "constants and a home": _with((_SETTINGS, _CONSTANTS)),
        "mamba": _layer("from mamba_ssm.modules.mamba2 import Mamba2", "Mamba2(dim, d_state=16, headdim=dim // 2)"),
        "mamba 3": _layer("from mamba_ssm import Mamba3", "Mamba3(dim, d_state=16, headdim=dim // 2)"),
        "fla": _layer("from fla.layers import GatedDeltaNet",
                      'GatedDeltaNet(dim, expand_v=1, head_dim=dim // 2, num_heads=2, mode="chunk")'),
        "a scan": _with((_SP, f"{_SP}from torch._higher_order_ops.associative_scan import associative_scan\n"),
                        (_ATTENTION, _SCANNED)),
        "shapes that depend on data": _with((scored, _FOUND)),
        "a compiled helper": _with((counted, _COUNTED_IN_C)),
    }  # fmt: skip
    made = {kind: ("train_gpt.py", text) for kind, text in found.items()}
    modal = _with(('if __name__ == "__main__":\n    main()\n', _MODAL))
    return {**made, "the body of a Modal function": ("train_mdlm.py", modal)}


def write_kind(folder: Path, kind: str) -> Path:
    """A folder with the script of a kind."""
    name, text = kinds()[kind]
    folder.mkdir(parents=True)
    (folder / name).write_text(text)
    return folder
