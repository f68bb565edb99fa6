"""The grammar of the contest's logs: one expression per kind of line, anchored at the line's start.

Two generations of scripts print two grammars (`step:K/M val_loss:F val_bpb:F train_time:Tms` until March,
`K/M val_loss: F val_bpb: F` from April on), and the pull requests a few hundred dialects of them. Logs embed the
script's own source, f-strings included; an expression that wants a digit right after the label does not match those.
"""

from __future__ import annotations

import re

#: What launchers and loggers put in front of a line: rank tags, timestamps, levels.
PREFIX = re.compile(
    r"^\s*(?:(?:\[(?:default|rank|gpu|train|modal|\d)[^\]]{0,40}\]:?"
    r"|\d{4}-\d\d-\d\d[T ][0-9:.,]{5,15}Z?(?:\s*-\s*INFO\s*-)?"
    r"|\[\d{4}-\d\d-\d\d[T ][^\]]{5,20}\]|\[\d\d:\d\d:\d\d\]|\d{10}(?:\.\d+)?(?=\s)|(?:rank|Rank) ?\d+:)\s*)+"
)
_NUM = r"[+-]?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+"

#: The same for numbers that may be grouped by commas.
_BYTES = r"\d[\d,]*"

METRIC = re.compile(
    rf"^(?P<label>[A-Za-z][\w .()+/@*=-]{{0,70}}?)?[:, ]{{0,20}}+(?:stride:\d+ )?(?:mode:\w+ )?"
    rf"(?:val_loss|vl)[:=] ?(?P<loss>{_NUM}),? (?:val_)?bpb[:=] ?(?P<bpb>{_NUM})(?P<rest>.*)$"
)
#: A score without a loss beside it; byte mixers print the bytes that they coded.
SCORE = re.compile(
    rf"^\[?(?P<label>[A-Za-z][\w.()+/-]*(?: [\w.()+/-]+){{0,3}}?)\]?[: ](?:.*[ =])??"
    rf"(?:val_bpb|cond_mix_bpb|mix_bpb|mix|bpb|BPB)[:=]\s*(?P<bpb>{_NUM})(?P<rest>.*)$"
)
#: Words of lines that report on the way, not at the end.
UNDERWAY = re.compile(
    r"chunk|running|run_bpb|progress|\bstep|rank|epoch|search|batch|\d/\d|window\b.{0,100}%|train_|delta|evolve|snapshot|"
    r"checkpoint|phase=|Pass |\braw model|best_|limit|target|baseline",
    re.I,
)
CODED = re.compile(r"\bbytes=(?P<bytes>\d{4,})\b")
#: A validation during training, in either grammar: its label is a step, and it is no result.
STEP = re.compile(
    rf"^(?P<label>(?:(?:step|s)[:= ] ?)?\d+/\d+)\s+(?:val_loss|vl): ?(?P<loss>{_NUM}) "
    rf"(?:val_)?bpb: ?(?P<bpb>{_NUM})(?P<rest>.*)$"
)
PROGRESS = re.compile(r"^(?:step[:= ] ?)?(?P<step>\d+)/\d+ .*train_time: ?(?P<time>\d+(?:\.\d+)?)(?P<unit>ms|m|s)\b")
STOP = re.compile(rf"^stopping_early: ?wallclock_cap train_time: ?(?P<ms>{_NUM})ms step: ?(?P<step>\d+)/(?P<of>\d+)")
SEED = re.compile(r"^\s*seed: ?(?P<value>\d+)\s*$")
WORLD = re.compile(r"^\s*world_size: ?(?P<value>\d+)\b")
VAL_TOKENS = re.compile(r"^(?:val_loader:.*\btokens:|val_tokens: ?|Validation tokens: )(?P<value>\d[\d,]*)\b")
TRAIN_SHARDS = re.compile(r"^(?:train_loader:.*\btrain_shards:|train_shards: ?)(?P<value>\d+)\b")
#: Headers that only the beginning of a run prints.
BEGINS = re.compile(r"^(?:Hyperparameters:\s*$|val_bpb:enabled tokenizer_kind=)")
SETTING = re.compile(r"^  (?P<name>[a-z][a-z0-9_]{1,40}): (?P<value>.{0,200})$")

MODEL = re.compile(rf"^Serialized model (?P<format>[\w+.-]+): (?P<bytes>{_BYTES}) bytes")
CODE = re.compile(rf"^Code size(?P<kind> \((?:un)?compressed\))?: (?P<bytes>{_BYTES})(?: bytes)?")
TOTAL = re.compile(
    rf"^(?:Total (?:\w+ )?submission(?: size)?(?P<format> [\w+.-]+)?|Artifact(?: size)?): (?P<bytes>{_BYTES}) bytes"
)

EVAL_TOTAL = re.compile(rf"^total_eval_time: ?(?P<s>{_NUM})s")
EVAL_TIME = re.compile(rf"\beval_time: ?(?P<value>{_NUM})(?P<unit>ms|s)\b")
WARMUP = re.compile(rf"^ttt_lora:compile warmup done \((?P<s>{_NUM})s\)")
OUTSIDE = re.compile(rf"^ngram_tilt:precompute_outside_timer_done elapsed=(?P<s>{_NUM})s")
HESSIANS = re.compile(rf"^GPTQ:collected \d+ Hessians.* in (?P<s>{_NUM})s")
CALIBRATES = re.compile(r"^gptq:(?:calibrating|collecting hessians).*(?:train(?:ing)? data)", re.I)
GENERATED = re.compile(rf"^gptq: ?generated \d+ sequences in (?P<s>{_NUM})s")
#: Adaptation before quantization that is counted in epochs; in every script that prints it, on the validation tokens.
PRE_QUANT = re.compile(
    r"^(?:ttt_adamw|dttt|prequant_ttt|ppttt|preq_ttt|pre_?quant_?ttt)[:_ ]?(?:epoch|start|done|e\d)[ :=]"
)


def bare(line: str) -> str:
    """A log line without what the launcher put in front of it; leading blanks stay where nothing else was."""
    match = PREFIX.match(line)
    return line[match.end() :] if match and match.end() < len(line) else line


def integer(text: str) -> int:
    """Digits that may be grouped by commas."""
    return int(text.replace(",", "")[:30])


def half_unit(written: str) -> float:
    """Half a unit of the last digit that is written."""
    mantissa, _, exponent = written.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (min(int(exponent or 0), 30) - decimals)
