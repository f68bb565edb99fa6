"""submission.json in its many spellings, normalised into one schema.

The contest prescribes no schema: some 1,800 files in merged records and pull requests use more than 6,000 field names.
Those that recur are read; the rest is left alone. Every number keeps the field and the line that it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.audit import claimed
from harness.papers.reading import Number, Paper, Papers, Quote
from harness.source import submission_json
from harness.text import clean

_MOST_SEEDS = 60

_BPB = (
    *claimed.BPB,
    *("val_bpb_3seed_mean", "val_bpb_mean_3seed", "val_bpb_exact", "bpb", "final_val_bpb", "post_ttt_val_bpb"),
    *("ttt_val_bpb", "ttt_bpb", "legal_ttt_bpb", "sliding_val_bpb", "sliding_window_bpb", "sliding_bpb"),
    *("val_bpb_ttt", "val_bpb_sliding", "validation_bpb", "bpb_mean", "mean"),
)
_LOSS = (*claimed.LOSS, "ttt_val_loss", "final_val_loss")
_STD = (*claimed.BPB_STD, "val_bpb_3seed_std", "bpb_std", "std")
_TOTAL = (
    *claimed.TOTAL,
    *("submission_size_bytes", "total_submission_bytes", "artifact_total_bytes", "artifact_bytes_max"),
    *("bytes_total_max", "max_artifact_bytes", "max_observed_submission_size_bytes"),
)
_MODEL = ("bytes_model", "model_bytes", "bytes_model_int8_zlib", "bytes_model_int6_zstd", "bytes_model_int6_lzma")
_CODE = ("bytes_code", "code_bytes", "code_size_bytes")
_TRAIN = ("train_time_s", "train_time_seconds", "training_time_seconds", "train_s", "train_wallclock_s",
          "train_seconds", "train_time_ms", "train_wallclock_ms", "wallclock_seconds", "train_time_s_mean")  # fmt: skip
_EVAL = ("eval_time_s", "eval_time_seconds", "eval_seconds", "eval_s", "eval_time_ms", "ttt_eval_time_s",
         "ttt_eval_time_seconds", "eval_time_s_mean", "ttt_time_ms")  # fmt: skip
_STEPS = ("steps", "step_stop", "stop_step", "train_steps")
_PER_SEED = ("seed_results", "seeds", "per_seed", "results", "per_seed_results", "results_per_seed", "seed_metrics")
_PER_SEED_BPB = ("val_bpb_seeds", "val_bpb_per_seed", "per_seed_val_bpb", "seed_bpb", "seed_bpbs", "val_bpb_by_seed")
#: `{"val_bpb": {"mean": 1.1, "std": 0.001}}` is one of them.
_PLACES = ("results", "metrics", "summary", "val_bpb")
_HARDWARE = ("hardware", "gpu", "gpu_type", "platform")


class Claimed(BaseModel):
    """A number that is claimed: value, half a unit of its last digit, its field, and the line that says so."""

    model_config = ConfigDict(frozen=True)

    value: float
    half: float
    field: str
    file: str
    line: int
    text: str

    @property
    def number(self) -> Number:
        """The same as a number that was read."""
        return Number(self.value, self.half, Quote(self.file, self.line, self.text))


class SeedClaim(BaseModel):
    """What is claimed of one seed; units as in `Claims`."""

    seed: str
    val_bpb: Claimed | None = None
    val_loss: Claimed | None = None
    bytes_total: Claimed | None = None
    train_seconds: Claimed | None = None
    eval_seconds: Claimed | None = None
    steps: Claimed | None = None


class Claims(BaseModel):
    """What a folder's submission.json claims, in one schema.

    Attributes:
        file: the file's name, None where there is none.
        problem: why it could not be read, or what is odd about it; None without.
        val_bpb, val_bpb_std: bits per byte. val_loss: nats per token.
        bytes_total, bytes_model, bytes_code: decimal bytes.
        train_seconds, eval_seconds: seconds, whatever the unit in the file.
        seeds: as text, in the file's order. per_seed: what is claimed of each.
        promises: names of booleans that are true.
    """

    file: str | None = None
    problem: str | None = None
    name: str = ""
    author: str = ""
    github_id: str = ""
    track: str = ""
    date: str = ""
    hardware: str = ""
    val_bpb: Claimed | None = None
    val_loss: Claimed | None = None
    val_bpb_std: Claimed | None = None
    bytes_total: Claimed | None = None
    bytes_model: Claimed | None = None
    bytes_code: Claimed | None = None
    train_seconds: Claimed | None = None
    eval_seconds: Claimed | None = None
    seeds: list[str] = Field(default_factory=list)
    per_seed: list[SeedClaim] = Field(default_factory=list)
    promises: list[str] = Field(default_factory=list)

    @property
    def non_record(self) -> bool:
        """The file says that it claims no record."""
        return bool(re.search(r"non[-_ ]?record|unlimited|negative|research", f"{self.track} {self.name}", re.I))


def read_claims(papers: Papers) -> Claims:
    """The claims of the folder's submission.json; `problem` says where it is missing or broken."""
    if not papers.metadata:
        return Claims(problem="there is no submission.json")
    paper = papers.metadata[0]
    try:
        submission_json.check_size(paper.size)
        said = submission_json.read(paper.content)
    except submission_json.Unreadable as problem:
        return Claims(file=paper.name, problem=f"{paper.name} {problem}")
    claims = _Reader(paper, said.data).claims()
    return claims.model_copy(update={"problem": f"{paper.name} {said.odd[0]}"}) if said.odd else claims


def claimed_bpb(data: Mapping[str, Any]) -> float | None:
    """The score that is claimed, bits per byte, by the first field that holds one; None without."""
    found = (claimed.quantity(name, place.get(name)) for place in _places(data) for name in _BPB)
    return next((one.value for one in found if one is not None and 0 < one.value < 100), None)


def _places(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where the numbers of the whole submission stand: at the top, or in an object of results there."""
    return [data, *(data[name] for name in _PLACES if isinstance(data.get(name), Mapping))]


class _Reader:
    """Reads the spellings; `place` is an object of the file, `prefix` how it is called."""

    def __init__(self, paper: Paper, data: Mapping[str, Any]) -> None:
        self.paper, self.data = paper, data

    def claims(self) -> Claims:
        data = self.data
        places = _places(data)
        seeds = list(self._seeds())
        results = claimed.promises(data)
        listed = claimed.listed_seeds(data) or [one.seed for one in seeds]
        return Claims(
            file=self.paper.name,
            author=clean(submission_json.author(data) or "", 200),
            github_id=clean(submission_json.github_id(data) or "", 200),
            **{name: self._text(name) for name in ("name", "track", "date")},
            hardware=next((text for name in _HARDWARE if (text := self._text(name))), ""),
            val_bpb=self._first(places, _BPB),
            val_loss=self._first(places, _LOSS),
            val_bpb_std=self._first(places, _STD),
            bytes_total=self._first(places, _TOTAL),
            bytes_model=self._first(places, _MODEL),
            bytes_code=self._first(places, _CODE),
            train_seconds=self._time(data, _TRAIN),
            eval_seconds=self._time(data, _EVAL),
            seeds=listed[:_MOST_SEEDS],
            per_seed=seeds[:_MOST_SEEDS],
            promises=sorted(results)[:_MOST_SEEDS],
        )

    def _text(self, name: str) -> str:
        value = self.data.get(name)
        return clean(value, 200) if isinstance(value, str) else ""

    def _first(self, places: list[Mapping[str, Any]], names: tuple[str, ...], prefix: str = "") -> Claimed | None:
        for place in places:
            for name in names:
                if (found := self._one(place, name, prefix)) is not None:
                    return found
        return None

    def _one(self, place: Mapping[str, Any], name: str, prefix: str) -> Claimed | None:
        read = claimed.quantity(prefix + name, place.get(name))
        if read is None or read.value <= 0:
            return None
        index = self._line(name, read.written, prefix)
        quote = self.paper.quote(index)
        return Claimed(
            value=read.value, half=read.half, field=prefix + name, file=quote.file, line=quote.line, text=quote.text
        )

    def _line(self, name: str, written: str, prefix: str) -> int:
        """The index of the line that holds this field: after the seed's own key, and with the number if possible."""
        lines = self.paper.lines
        start = 0
        if prefix:
            key = re.escape(prefix.rstrip(".").rsplit(".", 1)[-1])
            start = next((i for i, line in enumerate(lines) if re.search(rf'"?\b{key}\b"?', line)), 0)
        holds = [i for i, line in enumerate(lines) if i >= start and f'"{name}"' in line]
        exact = [i for i in holds if written in lines[i]]
        any_line = [i for i, line in enumerate(lines) if written in line]
        return next(iter([*exact, *any_line, *holds]), 0)

    def _time(self, place: Mapping[str, Any], names: tuple[str, ...], prefix: str = "") -> Claimed | None:
        found = self._first([place], names, prefix)
        if found is None:
            return None
        scale = 1000 if found.field.endswith("_ms") else 1
        return found.model_copy(update={"value": found.value / scale, "half": found.half / scale})

    def _seeds(self) -> Iterator[SeedClaim]:
        """Results by seed: an object of objects or of scores, a list of objects, or seeds at the top."""
        for name in (*_PER_SEED, *_PER_SEED_BPB):
            found = list(self._group(name, self.data.get(name)))
            if any(one.val_bpb for one in found):
                yield from found
                return
        top = {key: value for key, value in self.data.items() if re.fullmatch(r"seed[_ ]?\d+", str(key))}
        yield from self._group("", top)

    def _group(self, name: str, value: object) -> Iterator[SeedClaim]:
        dot = f"{name}." if name else ""
        if isinstance(value, Mapping):
            for key, one in list(value.items())[:_MOST_SEEDS]:
                seed = _seed(key)
                if seed is None:
                    continue
                if isinstance(one, Mapping):
                    yield self._seed(seed, one, f"{dot}{clean(key, 40)}.")
                elif name and (bpb := self._one(value, key, dot)) is not None:
                    yield SeedClaim(seed=seed, val_bpb=bpb)
        elif isinstance(value, list):
            listed = claimed.listed_seeds(self.data)
            for index, one in enumerate(value[:_MOST_SEEDS]):
                if isinstance(one, Mapping) and (seed := _seed(one.get("seed"))) is not None:
                    yield self._seed(seed, one, f"{dot}{seed}.")
                elif name in _PER_SEED_BPB and index < len(listed) == len(value):
                    if (bpb := self._one({name: one}, name, "")) is not None:
                        yield SeedClaim(seed=listed[index], val_bpb=bpb)

    def _seed(self, seed: str, one: Mapping[str, Any], prefix: str) -> SeedClaim:
        return SeedClaim(
            seed=seed,
            val_bpb=self._first([one], _BPB, prefix),
            val_loss=self._first([one], _LOSS, prefix),
            bytes_total=self._first([one], _TOTAL, prefix),
            train_seconds=self._time(one, _TRAIN, prefix),
            eval_seconds=self._time(one, _EVAL, prefix),
            steps=self._first([one], _STEPS, prefix),
        )


def _seed(key: object) -> str | None:
    """A seed's number out of 42, "42" or "seed_42"; None where it is none."""
    match = re.fullmatch(r"(?:seed[_ ]?)?(\d{1,12})", str(key).strip(), re.I)
    return match[1] if match else None
