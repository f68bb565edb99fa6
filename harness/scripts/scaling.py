"""The rules by which sizes shrink, by the names that contest scripts use for them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from harness.scripts import tied
from harness.scripts.settings import Settings

#: Validation tokens of a tiny run, the most windows of a sliding pass, and the shortest training sequence.
TOKENS = 2048
_WINDOWS = 96
_LENGTH = 256
_DIM = 64
#: A stage of a schedule of sequence lengths: LENGTH@UNTIL.
_SCHEDULED = re.compile(r"\b(\d+)@")
#: Tokens of the real validation set, for settings that count them.
_REAL_TOKENS = 40_540_160


@dataclass(frozen=True)
class Geometry:
    """Lengths as submitted and at the tiny size, in tokens.

    Attributes:
        factor: what all sequence lengths are divided by: a power of two.
        train_real: training sequence; train_tiny at the tiny size.
        eval_real: evaluation window; eval_tiny at the tiny size.
        stride_real: 0 where there is none; stride_tiny at the tiny size.
        dims: whether the model's width can be set.
        heads: (query heads, key-value heads) as submitted.
        ranks: {name of a LoRA rank: its value}.
        scheduled: tiny lengths of a schedule of training sequences.
        share: the most that the source divides a training batch by.
    """

    factor: int
    train_real: int
    train_tiny: int
    eval_real: int
    eval_tiny: int
    stride_real: int
    stride_tiny: int
    dims: bool
    heads: tuple[int, int]
    ranks: dict[str, int]
    scheduled: tuple[int, ...] = ()
    share: int = 1

    @classmethod
    def of(cls, settings: Settings, source: str = "") -> Geometry:
        """The geometry of a script's submitted settings; what is a constant of the source stays."""

        def number(*names: str) -> int:
            for name in names:
                text = settings.get(name)
                if text is None and (constant := (settings.constants or {}).get(name.lower())):
                    text = constant[0]
                try:
                    if text is not None and float(text) > 0:
                        return int(float(text))
                except ValueError:
                    continue
            return 0

        train = number("TRAIN_SEQ_LEN", "SEQ_LEN", "MAX_SEQ_LEN") or 1024
        window = number("EVAL_SEQ_LEN") or train
        settable = any(settings.get(name) for name in ("TRAIN_SEQ_LEN", "SEQ_LEN", "MAX_SEQ_LEN"))
        factor = 1
        shortest = tied.shortest(source, TOKENS, _LENGTH)
        while settable and train / (2 * factor) >= shortest:
            factor *= 2
        window_factor = factor if "EVAL_SEQ_LEN" in settings.values or not number("EVAL_SEQ_LEN") else 1
        stride = number("EVAL_STRIDE", "SLIDING_EVAL_STRIDE", "SLIDING_STRIDE", "STRIDE")
        tiny = _stride(stride, window, window // window_factor, window_factor)
        ranks = {name: int(setting.value) for name, setting in settings.values.items()
                 if name.endswith("LORA_RANK") and setting.value and setting.value.isdigit()}  # fmt: skip
        return cls(
            factor, train, train // factor, window, window // window_factor, stride, tiny,
            settings.get("MODEL_DIM") is not None, (number("NUM_HEADS"), number("NUM_KV_HEADS")), ranks,
            tuple(_shorter(int(one), factor) for one in _SCHEDULED.findall(settings.get("TRAIN_SEQ_SCHEDULE") or "")),
            tied.share(source),
        )  # fmt: skip

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
    return max(6, min(16, round(math.log2(max(2.0, buckets) * TOKENS / _REAL_TOKENS))))


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


_TIME = "no run of this size takes that long"
_COUNT = "fewer repetitions of the same thing"
_SIZE = "a small model"
_SHORT = "all sequence lengths are divided by the same number"
_BATCHES = "a batch covers as many window lengths as before, and there are several batches"
_CHUNK = "several chunks in the short stream; a multiple of the window as before"
_REACTS = "an almost untrained model must still react to what it reads"

#: The first that matches counts.
RULES: tuple[Rule, ...] = (
    Rule("ITERATIONS|TOTAL_ITERATIONS|NUM_ITERATIONS|MAX_STEPS|TRAIN_STEPS|NUM_ITERS", _to(3), _COUNT, default=True),
    Rule("WARMUP_STEPS|(LR|RECUR|BATCH|EMA|SEQ_CHANGE|ECHO|QUILT)_WARMUP_STEPS", _to(0), _COUNT, default=True),
    Rule("COMPILE_SHAPE_WARMUP(_ITERS)?", _to(0), "nothing is compiled"),
    Rule("WARMDOWN_ITERS|WARMDOWN_STEPS|COOLDOWN_ITERS", _to(3), "the schedule covers the short run"),
    Rule("MUON_MOMENTUM_WARMUP_STEPS", _most(3), "the schedule covers the short run"),
    Rule(r"\w*_START_STEP|\w*_START_ITER", _most(1), "what starts late in training starts"),
    Rule("SWA_EVERY|EMA_EVERY|EMA_UPDATE_EVERY", _most(1), "what happens now and then in training happens"),
    Rule("VAL_LOSS_EVERY|VAL_EVERY|CHECKPOINT_EVERY|SAVE_EVERY|CHURN_LOG_EVERY|AUTO_SAVE_SECONDS", _to(0),
         "the passes at the end are what is audited", default=True),
    Rule("TRAIN_LOG_EVERY|LOG_EVERY", _to(1), _COUNT),
    Rule("MAX_WALLCLOCK_(SECONDS|MS)|TRAIN_SECONDS", _to(0), "the run ends by its steps, not by a clock", zero=True),
    Rule(r"\w*RESERVE_(SECONDS|MS)", _to(0), _TIME),
    Rule("MODEL_DIM|D_MODEL|N_EMBD", _to(_DIM), _SIZE, default=True),
    Rule("EMBEDDING_DIM", lambda real, geometry: min(real, _DIM), _SIZE),
    Rule("(EMBED|FACTOR|BIGRAM|BIGRAM_HASH|BIGRAM_EMBED|TRIGRAM|VE|LATENT_KV)_DIM", _most(32), _SIZE),
    Rule("MLP_HIDDEN", _most(2 * _DIM), _SIZE),
    Rule("NUM_HEADS|N_HEAD", _heads, _SIZE),
    Rule("NUM_KV_HEADS|N_KV_HEAD", _kv_heads, _SIZE),
    Rule("ROPE_DIMS", _most(16), _SIZE),
    Rule("BITNET_GROUP_SIZE|XNOR_GROUP_SIZE|HADAMARD_BLOCK_SIZE", _most(_DIM), _SIZE),
    Rule("(BIGRAM|TRIGRAM)_(VOCAB_SIZE|BUCKETS|HASH_BUCKETS)", _most(512), _SIZE),
    Rule("TTT_EMBED_BUCKETS|TTT_HASH_BUCKETS|HASH_EMBED(DING)?_(BUCKETS|SIZE)", _most(1024), _SIZE),
    Rule("TTT_LORA_RANK|TTT_SHORT_LORA_RANK|TTT_LM_RANK", _most(4), _SIZE),
    Rule("TTT_LORA_ALPHA", lambda real, geometry: None, "the same multiple of the rank"),
    Rule("TRAIN_BATCH_TOKENS|BATCH_TOKENS", _batch_tokens, _SIZE, default=True),
    Rule("BATCH_TOKENS_START", _most(2048), _SIZE),
    Rule("VAL_BATCH_SIZE|VAL_BATCH_TOKENS", _val_batch, _SIZE, default=True),
    Rule("TRAIN_SEQ_LEN|SEQ_LEN|MAX_SEQ_LEN|ROPE_TRAIN_SEQ_LEN|SEQ_LEN_START|YARN_MAX_LEN", _length, _SHORT),
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
    Rule("GLOBAL_TTT_CHUNK_TOKENS", lambda real, geometry: min(real, 2 * geometry.eval_tiny), _CHUNK),
    Rule("GLOBAL_TTT_BATCH_SEQS", _most(1), "several steps in the short stream"),
    Rule("TTT_CHUNK_SIZE|TTT_SHORT_CHUNK_SIZE", _doc_chunk, "several chunks in a document"),
    Rule("TTT_BATCH_SEQS|TTT_BATCH", _most(2), "several steps in a chunk"),
    Rule("TTT_BATCH_SIZE", _most(4), "several batches of documents"),
    Rule(r"(PREQUANT_TTT|PRE_QUANT_TTT|DTTT|TTT_PREQUANT|TTT_ADAMW)_BATCH_SEQS", _most(4), "several steps in an epoch"),
    Rule("PHASED_TTT_PREFIX_DOCS", _most(4), "several phases in the short stream"),
    Rule("TTT_TRAIN_SLICE_SEQS", _most(4), _COUNT),
    Rule(r"(\w+_)?EPOCHS", _most(2), _COUNT),
    Rule("(SLOT|ETLB)_STEPS|(SLOT|TTT)_LBFGS_MAX_ITER|LBFGS_SLOT_ITERS|V20_P[12]_ITER", _most(4), _COUNT),
    Rule("TEMP_CAL_STEPS|EGGROLL_STEPS|DISTILL_STEPS|MULTI_EXIT_MIX_STEPS|JEPA_STEPS", _most(4), _COUNT),
    Rule(r"(GPTQ|AR)_CALIB(RATION)?_(BATCHES|SEQS|SAMPLES)|GPTQ_NUM_SEQS|GPTQ_BATCH_SIZE", _most(2), _COUNT),
    Rule("GPTQ_GEN_LEN|AR_CALIB_LEN|GPTQ_CALIB_LEN", _most(_DIM), _COUNT),
    Rule(r"(NGRAM|PHRASE|TRAIN_ORACLE)(_EVAL|_NUM)?_BUCKETS", lambda real, geometry: 2 ** _load_bits(real), _LOAD),
    Rule(r"\w+_TABLE_BITS", lambda real, geometry: _load_bits(2**real), _LOAD),
    Rule(r"(NGRAM|MIXER)_MIN_TOKENS", _most(100), "the same share of the stream, about"),
    Rule(r"PPM_(DEBUG_)?SUBSET_TOKENS|VAL_TOKENS_LIMIT", lambda real, geometry: max(64, real * TOKENS // _REAL_TOKENS),
         "the same share of the stream"),
    Rule("TRAIN_ORACLE_PREFILL_CHUNK", _most(1 << 14), _SIZE),
    Rule("TIED_EMBED_INIT_STD", lambda real, geometry: max(real, 0.3), _REACTS),
    Rule("MATRIX_LR", lambda real, geometry: max(real, 0.1), _REACTS),
)  # fmt: skip
