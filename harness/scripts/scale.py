"""A script's settings at a tiny size: sizes and counts shrink, the geometry that leaks live in does not.

Only what the script reads is set. Layer counts stay, because features name layers by number. Windows keep overlapping
as much as the cost allows, a batch keeps covering as many window lengths as it did, and chunk ends keep falling on (or
off) the stride.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.scripts.opening import Script
from harness.scripts.settings.reads import is_launch, is_place, literal
from harness.scripts.settings.submitted import Settings
from harness.scripts.trace.branches import defaults, entries
from harness.source.unwrap import parse

#: Vocabulary of a run where the script lets it be chosen: room for two disjoint streams of unique tokens.
VOCABULARY = 5120
#: Smallest vocabulary that is raised to it; below are byte models.
_SMALLEST = 1000
#: Names of a vocabulary's size beside VOCAB_SIZE, and the smallest number that is one.
_VOCABULARIES = ("VOCAB_SIZE", "VOCAB", "N_VOCAB", "NUM_TOKENS", "VOCABULARY_SIZE", "BYTE_VOCAB_SIZE", "BYTE_VOCAB")
_FEWEST = 128
_PARAMETERS = {"batch_seqs", "batch_size", "stride", "chunk_tokens", "chunk_size", "seq_len", "steps", "slot_steps"}
#: Parameters that are made small as these settings are.
_AS_SETTINGS = {"chunk_tokens": "CHUNK_TOKENS", "chunk_size": "CHUNK_TOKENS"}
_SCORING = re.compile(r"eval|slid|slot|ttt|score|calib|ppm|ngram", re.I)
_ROLES = {
    "DATA_PATH": "dataset", "DATA_DIR": "data_root", "TOKENIZER_PATH": "tokenizer", "RUN_ID": "run",
    "ARTIFACT_DIR": "output", "TRAIN_FILES": "train_glob", "VAL_FILES": "val_glob", "OUT_DIR": "output",
    "OUTPUT_DIR": "output", "DATASETS_DIR": "datasets", "VAL_BYTES_FILES": "bytes_glob", "LOG_DIR": "output",
    "DATA_PATH_BASE": "data_root", "DATA_ROOT": "data_root",
}  # fmt: skip
#: Validation tokens of a tiny run, the most windows of a sliding pass, and the shortest training sequence.
TOKENS = 2048
_WINDOWS = 96
_LENGTH = 256
_DIM = 64
#: A stage of a schedule of sequence lengths: LENGTH@UNTIL.
_SCHEDULED = re.compile(r"\b(\d+)@")
#: Exports of the contest's text, by folder and by tokenizer.
_EXPORTS = (re.compile(r"fineweb10B_sp(\d{3,5})(?!\d)"), re.compile(r"fineweb_(\d{3,5})_bpe"))
#: Tokens of the real validation set, for settings that count them.
REAL_TOKENS = 40_540_160

# Batches that the source writes as a number of sequences: no setting makes them smaller, shorter sequences do.
#: `ttt_batch = 16`, and nothing else on the line.
_WRITTEN = re.compile(r"^[ \t]*+(\w++)[ \t]*+=[ \t]*+(\d{1,3})[ \t]*+(?:#.*)?$", re.M)
_MOST_NAMES = 100  # such names that are looked up; each is looked for in the whole source
_PRODUCT = r"\b{0}\s*\*\s*(?:\w+\.)*\w*seq_len\b|\bseq_len\s*\*\s*{0}\b"
#: A call that asks for dozens of sequences, a number that no setting changes.
_WRITES = re.compile(r"\bnum_seqs\s*=\s*\d{2,}\s*,\s*seq_len\s*=\s*args\.")
_SHORTEST = 32
#: `train_batch_tokens // 4`: batches that some part of the script makes of a share of the training batch.
_CONFIG = re.compile(r"(Config|Configuration|Args|Arguments|Params|Parameters|HParams|Settings|Namespace)$", re.I)
_CONFIGURED = re.compile(r"Config|Args|Params|Arguments|Settings|dict\(|^\w+\s*=\s*\{|def (?:main|train|run)\b", re.M)
#: A sequence's length and a model's width by other names.
_LENGTHS = ("CONTEXT_LENGTH", "CONTEXT_LEN", "CTX_LEN", "SEQUENCE_LENGTH", "MAX_LEN")
_WIDTHS = ("MODEL_DIM", "D_MODEL", "N_EMBD", "HIDDEN_SIZE")
_SHARES = re.compile(r"\b(?:train_)?batch_tokens\s*//\s*(\d{1,2})\b")


@dataclass(frozen=True)
class Change:
    """A setting that is audited at another value than was submitted; `real` is None where the default is computed."""

    name: str
    real: str | None
    tiny: str
    why: str


@dataclass(frozen=True)
class Fixed:
    """A size that is written into the source: its name there, its value, its line."""

    name: str
    value: str
    line: int

    @property
    def key(self) -> str:
        """As `harness.scripts.trace.branches.settle` names it: the line, and the constant's or parameter's own name."""
        return f"{self.line}:{self.name.partition('(')[2].rstrip(')') or self.name}"


@dataclass(frozen=True)
class Tiny:
    """How to run a script for an audit.

    Attributes:
        env: everything to set: what was submitted and differs from the default, and the tiny values. Data paths, run
            names and ranks are not in it.
        stages: for each process of the run, what it sets on top of `env`.
        argv: command line arguments of the script.
        changed: what differs from what was submitted.
        fixed: sizes that cannot be set.
        vocab_size: what the run will use.
        shards: size of the vocabulary that the folder's shards are in, where that is more than the model's; else 0.
        train_length: tokens in a training sequence at this size.
        eval_length: tokens in a window at this size; likewise stride (0 where the script has none).
        paths: {name: (role, default)} of the variables that say where things lie; the role is "" where it is not known.
        lengths: (at this size, as submitted) of training sequences, windows and strides.
        constants: {"12:NAME": value}: constants at a line of the source, made small as settings are.
    """

    env: dict[str, str]
    stages: tuple[dict[str, str], ...]
    argv: tuple[str, ...]
    changed: tuple[Change, ...]
    fixed: tuple[Fixed, ...]
    vocab_size: int
    train_length: int
    eval_length: int
    stride: int
    paths: dict[str, tuple[str, str | None]]
    lengths: tuple[tuple[int, int], ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    shards: int = 0

    @property
    def unscaled(self) -> tuple[str, ...]:
        """`fixed` as short texts: "batch_seqs = 32 (line 812)"."""
        return tuple(f"{item.name} = {item.value} (line {item.line})" for item in self.fixed)


@dataclass(frozen=True)
class Geometry:
    """Lengths as submitted and at the tiny size, in tokens.

    Attributes:
        factor: what all sequence lengths are divided by: a power of two.
        train_real: training sequence; train_tiny at the tiny size.
        eval_real: evaluation window; eval_tiny at the tiny size.
        stride_real: 0 where there is none; stride_tiny at the tiny size.
        dims: whether the model's width can be set.
        width: of the model as submitted; 0 where that is not known.
        heads: (query heads, key-value heads) as submitted.
        ranks: {name of a LoRA rank: its value}.
        scheduled: tiny lengths of a schedule of training sequences.
        share: the most that the source divides a training batch by.
        endless: whether the source takes 0 seconds of training for "no limit".
    """

    factor: int
    train_real: int
    train_tiny: int
    eval_real: int
    eval_tiny: int
    stride_real: int
    stride_tiny: int
    dims: bool
    width: int
    heads: tuple[int, int]
    ranks: dict[str, int]
    scheduled: tuple[int, ...] = ()
    share: int = 1
    endless: bool = True

    @classmethod
    def of(cls, settings: Settings, source: str = "") -> Geometry:
        """The geometry of a script's submitted settings; what is a constant of the source stays."""

        def number(*names: str) -> int:
            for name in names:
                text = _known(settings, name, written)
                try:
                    if text is not None and float(text) > 0:
                        return int(float(text))
                except ValueError:
                    continue
            return 0

        written = {name.upper(): value for name, value, _ in _written(source)}
        lengths = ("TRAIN_SEQ_LEN", "SEQ_LEN", "MAX_SEQ_LEN", *_LENGTHS)
        train = number(*lengths) or 1024
        window = number("EVAL_SEQ_LEN") or train
        settable = any(_known(settings, name, written) for name in lengths)
        factor = 1
        shortest = _shortest(source, TOKENS, _LENGTH)
        while settable and train / (2 * factor) >= shortest:
            factor *= 2
        window_factor = factor if "EVAL_SEQ_LEN" in settings.values or not number("EVAL_SEQ_LEN") else 1
        stride = number("EVAL_STRIDE", "SLIDING_EVAL_STRIDE", "SLIDING_STRIDE", "STRIDE")
        tiny = _stride(stride, window, window // window_factor, window_factor)
        ranks = {name: int(setting.value) for name, setting in settings.values.items()
                 if name.endswith("LORA_RANK") and setting.value and setting.value.isdigit()}  # fmt: skip
        return cls(
            factor, train, train // factor, window, window // window_factor, stride, tiny,
            any(_known(settings, name, written) is not None for name in _WIDTHS), number(*_WIDTHS),
            (number("NUM_HEADS"), number("NUM_KV_HEADS")), ranks,
            tuple(_shorter(int(one), factor) for one in _SCHEDULED.findall(settings.get("TRAIN_SEQ_SCHEDULE") or "")),
            _share(source), _endless(source),
        )  # fmt: skip

    def of_head(self, real: float) -> float:
        """Dimensions of a head, of which the tiny model's has fewer: the same share, an even number."""
        heads = self.heads[0]
        if not (self.dims and heads and self.width):
            return min(real, 16)
        return max(2.0, real * (_DIM // min(heads, 4)) // (self.width // heads) // 2 * 2)

    @property
    def lengths(self) -> tuple[tuple[int, int], ...]:
        """(at the tiny size, as submitted) of training sequences, windows and strides."""
        pairs = (self.train_tiny, self.train_real), (self.eval_tiny, self.eval_real)
        return (*pairs, *([(self.stride_tiny, self.stride_real)] if self.stride_real else []))

    @property
    def batch(self) -> Callable[[float], float]:
        """Windows of a batch: it covers as many window lengths as before, and there are several batches."""

        def scaled(real: float) -> float:
            if not self.stride_real:
                return min(real, 8)
            covered = real * self.stride_real / self.eval_real
            return min(real, max(4, min(32, round(covered * self.eval_tiny / self.stride_tiny))))

        return scaled


def _stride(real: int, length: int, tiny_length: int, factor: int) -> int:
    """The stride at the tiny size: the same share of the window, unless that gives too many windows.

    Windows that overlap still do: scripts skip a sliding pass whose stride is the window.
    """
    if not real:
        return 0
    stride = max(1, round(real / factor))
    widest = tiny_length // 2 if real < length else tiny_length
    while TOKENS / stride > _WINDOWS and stride * 2 <= widest:
        stride *= 2
    if length % real == 0:
        while tiny_length % stride:
            stride += 1
    return min(stride, tiny_length) if real <= length else stride


def _constant(settings: Settings, name: str) -> tuple[str, int] | None:
    """A constant of the source by the name that a setting would have."""
    known = settings.constants or {}
    return known.get(name.lower()) or known.get(name)


def _known(settings: Settings, name: str, written: Mapping[str, str]) -> str | None:
    """What a size is, under the name that a setting would have: set, a flag, a constant or written into the source."""
    if (text := settings.get(name)) is not None:
        return text
    flags = (setting.value for flag, setting in settings.values.items() if flag != name and _plain(flag) == name)
    if (text := next(flags, None)) is not None:
        return text
    constant = _constant(settings, name)
    return constant[0] if constant else written.get(name)


def _written(source: str) -> list[tuple[str, str, int]]:
    """(name, value, line) of numbers that a script writes into its configuration.

    Keyword arguments of calls of `dict` or of what is called a config, entries of dictionaries at module level, and
    assignments in its main function.
    """
    tree = parse(source)
    found: list[tuple[str, str, int]] = []
    if tree is None or not _CONFIGURED.search(source):
        return found
    top = {id(part) for item in tree.body if isinstance(item, (ast.Assign, ast.AnnAssign)) and item.value is not None
           for part in (item.value, *ast.iter_child_nodes(item.value))}  # fmt: skip

    def add(name: str, value: ast.expr) -> None:
        number = literal(value)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            found.append((name, str(number), value.lineno))

    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if (isinstance(node, ast.Dict) and id(node) in top) or name == "dict" or _CONFIG.search(name):
            for entry, value in entries(node):
                add(entry, value)
        elif isinstance(node, ast.FunctionDef) and node.name in ("main", "train", "run"):
            for item in node.body:
                if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                    add(item.targets[0].id, item.value)
    return found


def _share(source: str) -> int:
    """The most that a script divides its training batch by, a number that the source writes; 1 where it does not."""
    return max([1, *(int(found) for found in _SHARES.findall(source))])


def _endless(source: str) -> bool:
    """Whether a script asks if its limit on training time is 0; one that does not takes 0 for "stop at once".

    The limit is followed through names that are assigned from it.
    """
    tree = parse(source)
    if tree is None:
        return True

    def name(node: ast.AST) -> str:
        text = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        return text.upper()

    def mentions(node: ast.AST) -> bool:
        return any(
            name(item) in limits or (isinstance(item, ast.Constant) and item.value in limits) for item in ast.walk(node)
        )

    nodes = list(ast.walk(tree))
    words = {name(node) for node in nodes}
    words |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    limits = {word for word in words if _CLOCK.matches(word)}
    assigned = [(targets, node.value) for node in nodes
                if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None
                for targets in [node.targets if isinstance(node, ast.Assign) else [node.target]]]  # fmt: skip
    known = -1
    while known != len(limits):
        known = len(limits)
        limits |= {name(target) for targets, value in assigned if mentions(value) for target in targets} - {""}
    tests: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, ast.Compare) and any(literal(side) == 0 for side in (node.left, *node.comparators)):
            if mentions(node):
                return True
        elif isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            tests.append(node.test)
        elif isinstance(node, ast.BoolOp):
            tests += node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            tests.append(node.operand)
    return any(name(test) in limits for test in tests)


def _shortest(source: str, tokens: int, usual: int) -> int:
    """The shortest sequence that a tiny run may have: `usual`, or less where a batch would be most of the stream.

    What one batch teaches the next is invisible where there is no next: there have to be about four. A script that
    writes its own calibration text, token by token, gets shorter sequences too: that text is as many sequences of that
    length as the source says.

    Args:
        source: of the script.
        tokens: of the tiny stream.
        usual: a sequence otherwise.
    """
    written = [(name, int(count)) for name, count in _WRITTEN.findall(source) if "batch" in name or "seqs" in name]
    wanted = list(dict.fromkeys(name for name, _ in written))[:_MOST_NAMES]
    multiplied = {name for name in wanted if re.search(_PRODUCT.format(re.escape(name)), source)}
    counts = [count for name, count in written if name in multiplied]
    most = max(counts, default=1)
    if "multinomial(" in source and _WRITES.search(source):
        usual //= 2
    return usual if most * usual * 2 <= tokens else max(_SHORTEST, min(usual, tokens // (4 * most)))


@dataclass(frozen=True)
class Rule:
    """What happens to the settings whose name matches.

    Attributes:
        pattern: for the whole name.
        how: from the submitted number and the geometry to the tiny one; None leaves it.
        why: for the report.
        default: whether a setting without a known value gets `how(0, geometry)`.
        zero: whether 0 (off, or "as the other") is scaled too.
    """

    pattern: str
    how: Callable[[float, Geometry], float | None]
    why: str
    default: bool = False
    zero: bool = False

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def matches(self, name: str) -> bool:
        """Whether the rule is about this name."""
        return self._compiled.fullmatch(name) is not None

    def apply(self, name: str, value: str | None, cast: str, geometry: Geometry) -> str | None:
        """The tiny value as text; None where the setting stays."""
        if name == "TRAIN_SEQ_SCHEDULE" and value:
            return _SCHEDULED.sub(lambda found: f"{_shorter(int(found[1]), geometry.factor)}@", value)
        if name == "TTT_LORA_ALPHA" and value and geometry.ranks.get("TTT_LORA_RANK"):
            rank = geometry.ranks["TTT_LORA_RANK"]
            return f"{float(value) * min(4, rank) / rank:g}"
        try:
            real = float(value) if value is not None else None
        except ValueError:
            return None
        if real is None and not self.default:
            return None
        if real is not None and real <= 0 and not self.zero:
            return None
        scaled = self.how(real or 0.0, geometry)
        if scaled is None or (real is not None and scaled == real):
            return None
        whole = cast in ("int", "bool") or (cast == "text" and (value is None or "." not in value))
        return str(int(scaled)) if whole else f"{float(scaled):g}"


def _to(number: float) -> Callable[[float, Geometry], float | None]:
    return lambda real, geometry: number


_LOAD = "as many tokens to a bucket as at full size: collisions are where hashed counts leak"


def _load_bits(buckets: float) -> int:
    """Bits of a table that the tiny stream fills as the real one fills `buckets`."""
    return max(6, min(16, round(math.log2(max(2.0, buckets) * TOKENS / REAL_TOKENS))))


def _most(number: float) -> Callable[[float, Geometry], float | None]:
    return lambda real, geometry: min(real, number)


def _shorter(real: int, factor: int) -> int:
    return max(16, real // factor)


def _length(real: float, geometry: Geometry) -> float:
    return _shorter(int(real), geometry.factor)


def _batch_tokens(real: float, geometry: Geometry) -> float:
    """A sequence for each of eight micro-batches; scripts with a schedule want every length of it to divide those.

    Where the source makes batches of a share of it (for calibration), that share holds them too.
    """
    whole = math.lcm(geometry.train_tiny, *geometry.scheduled)
    return 8 * geometry.share * (whole if whole <= 4 * geometry.train_tiny else geometry.train_tiny)


def _sequences(real: float, geometry: Geometry) -> float:
    """A batch as a number of sequences, or of tokens where there are more than a batch has sequences."""
    return min(real, 8) if real <= 2048 else min(real, _batch_tokens(real, geometry))


def _window(real: float, geometry: Geometry) -> float:
    return max(16, real * geometry.eval_tiny // geometry.eval_real)


def _strided(real: float, geometry: Geometry) -> float | None:
    if geometry.stride_real and real == geometry.stride_real:
        return geometry.stride_tiny
    if not geometry.eval_real:
        return None
    return _stride(int(real), geometry.eval_real, geometry.eval_tiny, max(1, geometry.eval_real // geometry.eval_tiny))


def _heads(real: float, geometry: Geometry) -> float | None:
    return min(real, 4) if geometry.dims else None


def _kv_heads(real: float, geometry: Geometry) -> float | None:
    if not geometry.dims:
        return None
    heads = geometry.heads[0] or 8
    return max(1, round(min(heads, 4) * real / heads)) if real <= heads else None


def _val_batch(real: float, geometry: Geometry) -> float:
    return min(real or 1e9, 32 * max(_LENGTH, geometry.eval_tiny))


def _doc_chunk(real: float, geometry: Geometry) -> float:
    """Chunks that were no longer than the window stay so: scripts refuse others."""
    if real < 1024:
        return min(real, 32)
    return min(4 * _LENGTH, geometry.eval_tiny) if real <= geometry.eval_real else 4 * _LENGTH


def _untimed(real: float, geometry: Geometry) -> float:
    """No limit on training time: 0, or a thousand times the limit where 0 would end training before it begins."""
    return 0 if geometry.endless else 1000 * real


_TIME = "no run of this size takes that long"
_COUNT = "fewer repetitions of the same thing"
_SIZE = "a small model"
_SHORT = "all sequence lengths are divided by the same number"
_BATCHES = "a batch covers as many window lengths as before, and there are several batches"
_CHUNK = "several chunks in the short stream; a multiple of the window as before"
_REACTS = "an almost untrained model must still react to what it reads"

_CLOCK = Rule("MAX_WALLCLOCK_(SECONDS|MS)|TRAIN_SECONDS", _untimed, "the run ends by its steps, not by a clock",
              zero=True)  # fmt: skip

#: The first that matches counts.
RULES: tuple[Rule, ...] = (
    Rule("ITERATIONS|TOTAL_ITERATIONS|NUM_ITERATIONS|MAX_STEPS|TRAIN_STEPS|NUM_ITERS", _to(3), _COUNT, default=True),
    Rule("WARMUP_STEPS|(LR|RECUR|BATCH|EMA|SEQ_CHANGE|ECHO|QUILT)_WARMUP_STEPS", _to(0), _COUNT, default=True),
    Rule("STEPS|NUM_STEPS|N_STEPS|TOTAL_STEPS|MAX_ITERS", _most(3), _COUNT),
    Rule("COMPILE_SHAPE_WARMUP(_ITERS)?", _to(0), "nothing is compiled"),
    Rule("WARMDOWN_ITERS|WARMDOWN_STEPS|COOLDOWN_ITERS", _to(3), "the schedule covers the short run"),
    Rule("MUON_MOMENTUM_WARMUP_STEPS", _most(3), "the schedule covers the short run"),
    Rule(r"\w*_START_STEP|\w*_START_ITER", _most(1), "what starts late in training starts"),
    Rule("SWA_EVERY|EMA_EVERY|EMA_UPDATE_EVERY", _most(1), "what happens now and then in training happens"),
    Rule("VAL_LOSS_EVERY|VAL_EVERY|CHECKPOINT_EVERY|SAVE_EVERY|CHURN_LOG_EVERY|AUTO_SAVE_SECONDS", _to(0),
         "the passes at the end are what is audited", default=True),
    Rule("TRAIN_LOG_EVERY|LOG_EVERY", _to(1), _COUNT),
    _CLOCK,
    Rule(r"\w*RESERVE_(SECONDS|MS)", _to(0), _TIME),
    Rule("MODEL_DIM|D_MODEL|N_EMBD", _to(_DIM), _SIZE, default=True),
    Rule("HIDDEN_SIZE", _to(_DIM), _SIZE),
    Rule("INTERMEDIATE|INTERMEDIATE_SIZE|FFN_DIM|D_FF|MLP_DIM", _most(2 * _DIM), _SIZE),
    Rule("(TRAIN_|DEVICE_|MICRO_|PER_DEVICE_)?BATCH(_SIZE)?", _sequences, "several batches in the short stream"),
    Rule("EMBEDDING_DIM", lambda real, geometry: min(real, _DIM), _SIZE),
    Rule("(EMBED|FACTOR|BIGRAM|BIGRAM_HASH|BIGRAM_EMBED|TRIGRAM|VE|LATENT_KV)_DIM", _most(32), _SIZE),
    Rule("MLP_HIDDEN", _most(2 * _DIM), _SIZE),
    Rule("NUM_HEADS|N_HEAD", _heads, _SIZE),
    Rule("NUM_KV_HEADS|N_KV_HEAD", _kv_heads, _SIZE),
    Rule("ROPE_DIMS", lambda real, geometry: geometry.of_head(real), "the same share of a head"),
    Rule("BITNET_GROUP_SIZE|XNOR_GROUP_SIZE|HADAMARD_BLOCK_SIZE", _most(_DIM), _SIZE),
    Rule("(BIGRAM|TRIGRAM)_(VOCAB_SIZE|BUCKETS|HASH_BUCKETS)", _most(512), _SIZE),
    Rule("TTT_EMBED_BUCKETS|TTT_HASH_BUCKETS|HASH_EMBED(DING)?_(BUCKETS|SIZE)", _most(1024), _SIZE),
    Rule("TTT_LORA_RANK|TTT_SHORT_LORA_RANK|TTT_LM_RANK", _most(4), _SIZE),
    Rule("TTT_LORA_ALPHA", lambda real, geometry: None, "the same multiple of the rank"),
    Rule("TRAIN_BATCH_TOKENS|BATCH_TOKENS", _batch_tokens, _SIZE, default=True),
    Rule("BATCH_TOKENS_START", _most(2048), _SIZE),
    Rule("VAL_BATCH_SIZE|VAL_BATCH_TOKENS", _val_batch, _SIZE, default=True),
    Rule("TRAIN_SEQ_LEN|SEQ_LEN|MAX_SEQ_LEN|ROPE_TRAIN_SEQ_LEN|SEQ_LEN_START|YARN_MAX_LEN", _length, _SHORT),
    Rule("CONTEXT_LENGTH|CONTEXT_LEN|CTX_LEN|SEQUENCE_LENGTH|MAX_LEN", _length, _SHORT),
    Rule("TRAIN_SEQ_SCHEDULE", lambda real, geometry: None, _SHORT),
    Rule("EVAL_SEQ_LEN|TTT_EVAL_SEQ_LEN|TTT_SEQ_LEN|GPTQ_CALIB_SEQ_LEN|REGIME_WINDOW|EVAL_OVERLAP", _window, _SHORT),
    Rule(r"TTT_(MIN_DOC_LEN|SHORT_DOC_LEN|TRAIN_MIN_DOC_LEN|TRAIN_MAX_DOC_LEN)", _window, _SHORT),
    Rule(r"(EVAL|SLIDING|SLIDING_EVAL|SLOT|TTT|SW|SLIDING_WINDOW)_STRIDE|STRIDE", _strided,
         "the same share of the window, or as small as a short run allows"),
    Rule(r"(SLOT|TTT|GPTQ)_FOCAL_TOKENS",
         lambda real, geometry: real * geometry.stride_tiny // geometry.stride_real if geometry.stride_real else None,
         "as many strides as before"),
    Rule(r"EVAL_BATCH_SEQS|SW_EVAL_BATCH|SLOT_BATCH_SEQS|SLIDING_BATCH_SIZE|SLIDING_BATCH_SEQS|EVAL_BATCH_SIZE"
         r"|SLIDING_WINDOW_BATCH_SEQS|ONLINE_NGRAM_BATCH_SEQS",
         lambda real, geometry: geometry.batch(real), _BATCHES),
    Rule("TTT_CHUNK_TOKENS|CHUNK_TOKENS|PRE_QUANT_TTT_CHUNK|PREQUANT_TTT_CHUNK_TOKENS|TTT_PREQUANT_CHUNK_TOKENS",
         lambda real, geometry: min(real, 2 * _LENGTH), _CHUNK),
    Rule(r"NGRAM_(EVAL_)?CHUNK_TOKENS", lambda real, geometry: min(real, 2 * _LENGTH), _CHUNK),
    Rule("NGRAM_CHUNK_SIZE", _most(_LENGTH), _CHUNK),
    Rule("GLOBAL_TTT_CHUNK_TOKENS", lambda real, geometry: min(real, geometry.eval_tiny), _CHUNK),
    Rule("GLOBAL_TTT_BATCH_SEQS", _most(1), "several steps in the short stream"),
    Rule("TTT_CHUNK_SIZE|TTT_SHORT_CHUNK_SIZE", _doc_chunk, "several chunks in a document"),
    Rule("TTT_BATCH_SEQS|TTT_BATCH", _most(2), "several steps in a chunk"),
    Rule("TTT_BATCH_SIZE", _most(4), "several batches of documents"),
    Rule(r"(PREQUANT_TTT|PRE_QUANT_TTT|DTTT|TTT_PREQUANT|TTT_ADAMW)_BATCH_SEQS", _most(4), "several steps in an epoch"),
    Rule("PHASED_TTT_PREFIX_DOCS", _most(8), "several phases in the short stream"),
    Rule("TTT_TRAIN_SLICE_SEQS", _most(4), _COUNT),
    Rule(r"(\w+_)?EPOCHS", _most(2), _COUNT),
    Rule("(SLOT|ETLB)_STEPS|(SLOT|TTT)_LBFGS_MAX_ITER|LBFGS_SLOT_ITERS|V20_P[12]_ITER", _most(4), _COUNT),
    Rule("TEMP_CAL_STEPS|EGGROLL_STEPS|DISTILL_STEPS|MULTI_EXIT_MIX_STEPS|JEPA_STEPS", _most(4), _COUNT),
    Rule(r"(GPTQ|AR)_CALIB(RATION)?_(BATCHES|SEQS|SAMPLES)|GPTQ_NUM_SEQS|GPTQ_BATCH_SIZE", _most(2), _COUNT),
    Rule("GPTQ_GEN_LEN|AR_CALIB_LEN|GPTQ_CALIB_LEN", _most(_DIM), _COUNT),
    Rule(r"(NGRAM|PHRASE|TRAIN_ORACLE)(_EVAL|_NUM)?_BUCKETS", lambda real, geometry: 2 ** _load_bits(real), _LOAD),
    Rule(r"\w+_TABLE_BITS", lambda real, geometry: _load_bits(2**real), _LOAD),
    Rule(r"(NGRAM|MIXER)_MIN_TOKENS", _most(100), "the same share of the stream, about"),
    Rule(r"PPM_(DEBUG_)?SUBSET_TOKENS|VAL_TOKENS_LIMIT", lambda real, geometry: max(64, real * TOKENS // REAL_TOKENS),
         "the same share of the stream"),
    Rule("TRAIN_ORACLE_PREFILL_CHUNK", _most(1 << 14), _SIZE),
    Rule("TIED_EMBED_INIT_STD", lambda real, geometry: max(real, 0.3), _REACTS),
    Rule("MATRIX_LR", lambda real, geometry: max(real, 0.1), _REACTS),
)  # fmt: skip


def tiny(settings: Settings, script: Script, *, mismatched: bool = True) -> Tiny:
    """The settings for an audit of `script` on two cores.

    Overrides are kept as they are: what was asked for is not scaled. Nor is the vocabulary of a model that the folder
    puts on shards of a larger one.

    Args:
        settings: as submitted.
        script: what reads them.
        mismatched: whether shards of a larger vocabulary than the model's are to be kept; a script that cannot read
            them has others.
    """
    reads = {read.name: read for read in settings.reads}
    geometry = Geometry.of(settings, script.source)
    env = dict(settings.submitted)
    argv = [*settings.stages[0].argv]
    changed: list[Change] = []
    for name, read in reads.items():
        setting = settings.values[name]
        if is_place(name) or setting.origin == "override":
            if setting.origin == "override" and setting.value is not None:
                _set(name, setting.value, read.flag, env, argv)
            continue
        rule = _rule(name, read.flag)
        wanted = rule.apply(name, setting.value, read.cast, geometry) if rule else None
        if rule is None or wanted is None or wanted == setting.value:
            continue
        _set(name, wanted, read.flag, env, argv)
        changed.append(Change(name, setting.value, wanted, rule.why))
    fixed = _fixed(settings, script)
    constants = _shrunk(fixed, geometry, changed)
    vocab = _vocabulary(settings)
    shards = _shards(settings, script) if mismatched else 0
    if shards and (smaller := _submitted(settings)) and smaller < shards:
        vocab = smaller
    else:
        shards = 0
    if vocab is None:
        real = settings.get("VOCAB_SIZE")
        vocab = VOCABULARY
        env["VOCAB_SIZE"] = str(VOCABULARY)
        if real != str(VOCABULARY):
            changed.append(Change("VOCAB_SIZE", real, str(VOCABULARY), "every position gets a token of its own"))
    stages = tuple(
        {name: _staged(name, value, reads[name].cast, geometry) for name, value in stage.env.items() if name in reads}
        for stage in settings.stages
    )
    paths = {name: (_role(name), reads[name].default) for name in reads if is_place(name) and not is_launch(name)}
    stay = tuple(one for one in fixed if one.key not in constants)
    return Tiny(env, stages, tuple(argv), tuple(changed), stay, vocab,
                geometry.train_tiny, geometry.eval_tiny, geometry.stride_tiny, paths, geometry.lengths,
                constants, shards)  # fmt: skip


def _plain(name: str) -> str:
    """A flag as the variable that it would be: "--slot-lr" is SLOT_LR."""
    return name.lstrip("-").replace("-", "_").upper() if name.startswith("-") else name


def _rule(name: str, flag: bool) -> Rule | None:
    plain = _plain(name) if flag else name
    return next((rule for rule in RULES if rule.matches(plain)), None)


def _set(name: str, value: str, flag: bool, env: dict[str, str], argv: list[str]) -> None:
    if not flag:
        env[name] = value
    elif name in argv[:-1]:
        argv[argv.index(name) + 1] = value
    else:
        argv[:] = [word for word in argv if not word.startswith(name + "=")] + [name, value]


def _staged(name: str, value: str, cast: str, geometry: Geometry) -> str:
    rule = _rule(name, False)
    return (rule.apply(name, value, cast, geometry) if rule else None) or value


def _vocabulary(settings: Settings) -> int | None:
    """The vocabulary that the run must use, or None where it can be chosen."""
    setting = settings.values.get("VOCAB_SIZE")
    if setting is None:
        values = [item.value for name, item in settings.values.items() if _plain(name) in _VOCABULARIES]
        values += [text for name, (text, _) in (settings.constants or {}).items() if name.upper() in _VOCABULARIES]
        numbers = [int(float(text)) for text in values if text and text.replace(".", "", 1).isdigit()]
        return next((number for number in numbers if number >= _FEWEST), 1024)
    if setting.value is None or not setting.value.isdigit():
        return None
    chosen = setting.origin == "override" or int(setting.value) < _SMALLEST
    return int(setting.value) if chosen else None


def _submitted(settings: Settings) -> int | None:
    """The vocabulary of the model as submitted; None where nobody says."""
    constants = settings.constants or {}
    said = settings.get("VOCAB_SIZE") or next(
        (constants[name][0] for name in ("vocab_size", "VOCAB_SIZE") if name in constants), None
    )
    return int(said) if said is not None and said.isdigit() else None


def _shards(settings: Settings, script: Script) -> int:
    """The vocabulary that the folder's shards are in, by the names of the contest's exports; 0 where none is named.

    Where the data lie is said by settings; what is written into the source counts where it names one export alone.
    """
    places = [settings.get(name) or "" for name in settings.values if is_place(name)]
    for pattern in _EXPORTS:
        for said in (places, [script.source]):
            found = {int(size) for text in said for size in pattern.findall(text)}
            if found:
                return max(found) if said is places or len(found) == 1 else 0
    return 0


def _role(name: str) -> str:
    if name in _ROLES:
        return _ROLES[name]
    if "TOKENIZER" in name and "META" not in name:  # tables made from a tokenizer; scripts make them themselves
        return "tokenizer"
    if name.startswith("DATA") or name.endswith(("DATA_PATH", "DATA_DIR")):
        return "dataset"
    return ""


def _fixed(settings: Settings, script: Script) -> list[Fixed]:
    """Sizes in the source that a rule would shrink if they could be set, and the batch sizes of its functions."""
    set_by_env = {read.attribute for read in settings.reads}
    found: dict[tuple[str, int], Fixed] = {}
    for name, (value, line) in (settings.constants or {}).items():
        rule = _rule(name.upper(), False)
        if name not in set_by_env and rule and _number(value) and _number(value) != 0:
            found[name, line] = Fixed(name, value, line)
    for name, value, line in _written(script.source):
        if name not in set_by_env and _rule(name.upper(), False) and _number(value):
            found.setdefault((name, line), Fixed(name, value, line))
    tree = parse(script.source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and _SCORING.search(node.name):
            for name, default in defaults(node).items():
                size = literal(default) if default is not None and name in _PARAMETERS else None
                if isinstance(size, int) and size > 1:
                    found[f"{node.name}({name})", node.lineno] = Fixed(f"{node.name}({name})", str(size), node.lineno)
    return list(found.values())


def _shrunk(fixed: list[Fixed], geometry: Geometry, changed: list[Change]) -> dict[str, float]:
    """{key: value} of the constants that a rule makes small; noted in `changed`, too."""
    found: dict[str, float] = {}
    for one in fixed:
        name = one.name.partition("(")[2].rstrip(")")
        rule = _rule((_AS_SETTINGS.get(name, "") if name else one.name).upper(), False)
        whole = "." not in one.value and "e" not in one.value.lower()
        wanted = rule.apply(one.name, one.value, "int" if whole else "float", geometry) if rule else None
        if rule is not None and wanted is not None and wanted != one.value:
            found[one.key] = int(wanted) if whole else float(wanted)
            changed.append(Change(f"{one.name} (line {one.line} of the source)", one.value, wanted, rule.why))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
