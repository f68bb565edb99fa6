"""Dated rulesets: what is checked against, as data. The engine does not change when the rules do."""

from __future__ import annotations

import datetime
import hashlib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.rules import rulings
from harness.rules.rulings import Ruling, Submitted
from harness.text import meant

DEFAULT = "2026-04-28"

#: Rules that the checks cite; a ruleset has them all, and may have more.
CITED = (
    "noise",
    "C1",
    "C2",
    "C3",
    "C4",
    "metric",
    "size",
    "train_clock",
    "eval_clock",
    "isolation",
    "data",
    "boundary",
    "claims",
    "records",
    "proof",
)

#: Practices that a check may come upon; a ruleset says of each how it is taken.
PRACTICES = (
    "tail_scored_again",
    "tail_never_scored",
    "first_targets_never_scored",
    "gap_after_first_window",
    "document_starts_never_scored",
    "gap",
    "scored_again",
    "second_pass",
    "steps_back",
    "longest_document_first",
    "adaptation",
    "adaptation_before_scoring",
    "validation_warm_up",
    "calibration_after_cap",
    "outside_the_timer",
    "last_step_over_cap",
    "letter_case",
    "byte_convention",
    "files_not_counted",
    "chosen_weights",
    "chosen_evaluation",
    "smear_across_documents",
    "best_of_runs",
)

Unit = Literal["token", "byte"]

#: "tolerated": accepted records do it, so a finding names it and the verdict does not change. "unruled": no ruling.
Taken = Literal["forbidden", "tolerated", "unruled"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Table):
    """One rule: its text in our own words, where it comes from, and what helps."""

    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    source: str = Field(min_length=1)
    remedy: str = Field(min_length=1)


class Limits(_Table):
    """Numbers: bytes (decimal), seconds, and the hardware that the seconds are for."""

    total_bytes: int = Field(gt=0)
    train_seconds: float = Field(gt=0, allow_inf_nan=False)
    eval_seconds: float = Field(gt=0, allow_inf_nan=False)
    hardware: str
    size_convention: str = Field(pattern="^(shipped|wrapped|all_files)$")


class Practice(_Table):
    """One way of doing things that evidence can establish, and how the rules take it.

    Attributes:
        title: for people.
        rule: id of the rule that it would break.
        ruling: how it is taken.
        text: what a finding says of the ruling, one sentence.
        source: where the ruling is, or the case that shows that there is none.
    """

    title: str = Field(min_length=1)
    rule: str = Field(min_length=1)
    ruling: Taken
    text: str = Field(min_length=1)
    source: str = Field(min_length=1)


class Bar(_Table):
    """What a record has to show: an improvement of more than `margin_nats` per `margin_unit`, at p < `p_value`.

    Where `target_nats` is given there is no record to beat: the mean loss, nats per token, has to be at most that.
    """

    title: str = Field(min_length=1)
    margin_nats: float = Field(ge=0, allow_inf_nan=False)
    margin_unit: Unit
    target_nats: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    p_value: float = Field(gt=0, lt=1, allow_inf_nan=False)
    source: str = Field(min_length=1)


class Significance(_Table):
    """How a record is told from luck: the bars by name, the one that decides, and how many seeds are wanted."""

    decides: str
    test: Literal["welch"]
    min_seeds: int = Field(ge=2)
    max_seeds: int = Field(ge=2)
    source: str = Field(min_length=1)
    bar: dict[str, Bar] = Field(min_length=1)

    @property
    def deciding(self) -> Bar:
        """The bar that decides."""
        return self.bar[self.decides]


class Ruleset(_Table):
    """A whole ruleset: limits, rules by id, practices by name, and the rulings that decide what it leaves open.

    Attributes:
        rulings_until: shipped rulings made after this day do not count; None where all do.
        sha256: over `texts`, one after the other.
        texts: the TOML that it was read from: its own, and before that the one that it extends, if it extends one.
        ruling: rulings by id, those of one's own after the shipped ones.
        ruling_texts: the TOML that they were read from: the shipped file first.
        own_rulings: ids of those of one's own.
        submitted: when the submission was made, as far as it was said; `judging` adds what its folder says.
        counting: ids of the rulings that count for the submission; None until `judging` has looked.
    """

    name: str = Field(min_length=1)
    title: str = Field(min_length=1)
    limits: Limits
    significance: Significance
    rule: dict[str, Rule]
    practice: dict[str, Practice]
    rulings_until: datetime.date | None = None
    sha256: str = ""
    texts: tuple[str, ...] = ()
    ruling: dict[str, Ruling] = Field(default_factory=dict)
    ruling_texts: tuple[str, ...] = ()
    own_rulings: frozenset[str] = frozenset()
    submitted: Submitted = Submitted()
    counting: tuple[str, ...] | None = None

    def taking(self, ruling: Taken, *practices: str) -> Ruleset:
        """The same rules with another ruling on some practices."""
        other = {name: self.practice[name].model_copy(update={"ruling": ruling}) for name in practices}
        return self.model_copy(update={"practice": {**self.practice, **other}})

    @property
    def rulings_sha256(self) -> str:
        """What names the rulings: sha256 over their texts."""
        return rulings.digest(self.ruling_texts)

    @property
    def waivers(self) -> list[Ruling]:
        """The waivers that count for the submission."""
        return [self.ruling[key] for key in self.counting or () if self.ruling[key].outcome == "waived"]

    def judging(self, claimed: str = "", folder: str = "") -> Ruleset:
        """The rules for one submission: practices as the rulings that count for it leave them.

        A ruling on a practice decides where the ruleset says "unruled" (one of one's own, whatever it says), for
        submissions of its days; of several the latest, and one's own last. Where nobody knows the day of the submission
        it decides nothing, and the practice's text says so. A waiver lets the pull request that it names have the
        practice, whatever else is said of it.

        Args:
            claimed: the date in submission.json.
            folder: the folder's name, which holds a date as a rule.
        """
        if self.counting is not None:
            return self
        submitted = self.submitted.or_by(claimed, folder)
        practices, deciding, about = dict(self.practice), dict[str, str](), list[str]()
        for key, one in sorted(self.ruling.items(), key=lambda item: (item[0] in self.own_rulings, item[1].date)):
            later = self.rulings_until is not None and one.date > self.rulings_until and key not in self.own_rulings
            if one.retracted is not None or later:
                continue
            if one.pull is not None:
                about += [key] if one.pull == submitted.pull else []
                continue
            assert one.practice is not None
            if self.practice[one.practice].ruling != "unruled" and key not in self.own_rulings:
                continue
            if submitted.date is not None and one.covers(submitted.date):
                practices[one.practice] = self._taken(one, {"forbidden": "forbidden"}.get(one.outcome, "tolerated"))
                deciding[one.practice] = key
            elif submitted.date is None:
                text = f"{self.practice[one.practice].text} When this was submitted is not known; {one.cited}"
                practices[one.practice] = self.practice[one.practice].model_copy(update={"text": text})
        for key in about:
            if (practice := self.ruling[key].practice) is not None:
                practices[practice] = self._taken(self.ruling[key], "tolerated")
                deciding.pop(practice, None)
        counting = (*deciding.values(), *about)
        return self.model_copy(update={"practice": practices, "submitted": submitted, "counting": counting})

    def _taken(self, one: Ruling, how: str) -> Practice:
        assert one.practice is not None
        known = self.practice[one.practice]
        return known.model_copy(update={"ruling": how, "text": one.cited, "source": f"{one.by}, {one.link}"})

    def of(self, submitted: Submitted) -> Ruleset:
        """The same rules for a submission of which somebody says when it was made, or as which pull request."""
        return self.model_copy(update={"submitted": submitted})


def load(name: str = DEFAULT, own_rulings: Sequence[Path] = ()) -> Ruleset:
    """Read a ruleset that ships with the harness, by name, or a TOML file, by path; and rulings.

    A ruleset with `extends = "NAME"` has what that shipped one has, but for the fields that it gives itself.

    Args:
        name: of the ruleset.
        own_rulings: files of rulings of one's own, beside the shipped ones.

    Raises:
        UsageError: no such ruleset, or a file does not fit the schema, or lacks a rule that a check cites or a
            practice that one may come upon.
    """
    own, data = _read(name)
    base = data.get("extends")
    if base is not None and base not in available():
        raise UsageError(f"ruleset {name}: extends: {base!r} is none of {', '.join(available())}")
    texts = (own,) if base is None else (_read(base)[0], own)
    return parse(texts, name, (rulings.shipped(), *map(_rulings_of, own_rulings)))


def _rulings_of(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the rulings {path}: {getattr(error, 'strerror', None) or error}") from None
    rulings.parse((text,), str(path), PRACTICES)  # an error names the file that it is in
    return text


def parse(texts: Sequence[str], name: str, ruling_texts: Sequence[str] = (), *, recorded: bool = False) -> Ruleset:
    """A ruleset from its text, or from the text of the one that it extends and its own; and rulings from theirs.

    Args:
        texts: TOML, as `Ruleset.texts` has it.
        name: what an error calls it.
        ruling_texts: TOML, as `Ruleset.ruling_texts` has it.
        recorded: a record holds the texts: a practice that nobody knew of when it was written is unruled by them.

    Raises:
        UsageError: as of `load`.
    """
    *under, data = (_parsed(text, name) for text in texts)
    base = data.pop("extends", None)
    if (base is not None) != bool(under) or len(under) > 1:
        raise UsageError(f"ruleset {name}: {len(texts)} texts, where extends is {base!r}")
    for below in under:
        if "extends" in below:
            raise UsageError(f"ruleset {name}: extends: {base!r} extends another itself")
        data = _over(below, data)
    for field in ("sha256", "texts", "ruling", "ruling_texts", "own_rulings", "submitted", "counting"):
        if field in data:
            raise UsageError(f"ruleset {name}: {field}: no such field; the harness makes it")
    try:
        ruleset = Ruleset.model_validate({**data, "sha256": digest(texts), "texts": tuple(texts)})
    except ValidationError as error:
        raise UsageError(f"ruleset {name}: {_plain(error.errors()[0])}") from None
    if missing := [rule for rule in CITED if rule not in ruleset.rule]:
        raise UsageError(f"ruleset {name}: rule.{missing[0]}: missing; the checks cite {', '.join(CITED)}")
    if recorded:
        ruleset = ruleset.model_copy(update={"practice": {**_unknown_then(ruleset), **ruleset.practice}})
    if missing := [practice for practice in PRACTICES if practice not in ruleset.practice]:
        raise UsageError(f"ruleset {name}: practice.{missing[0]}: missing; checks may find {', '.join(PRACTICES)}")
    for practice, how in ruleset.practice.items():
        if practice not in PRACTICES:
            raise UsageError(f"ruleset {name}: practice.{practice}: unknown; there are {', '.join(PRACTICES)}")
        if how.rule not in ruleset.rule:
            raise UsageError(f"ruleset {name}: practice.{practice}.rule: no rule {how.rule!r}")
    wanted = ruleset.significance
    if wanted.decides not in wanted.bar:
        raise UsageError(
            f"ruleset {name}: significance.decides: no bar {wanted.decides!r}; there are {', '.join(wanted.bar)}"
        )
    if wanted.min_seeds > wanted.max_seeds:
        raise UsageError(
            f"ruleset {name}: significance.min_seeds: {wanted.min_seeds} are more than max_seeds, {wanted.max_seeds}"
        )
    found = rulings.parse(ruling_texts, rulings.FILE, PRACTICES)
    ours = rulings.parse(ruling_texts[1:], rulings.FILE, PRACTICES)
    return ruleset.model_copy(
        update={"ruling": found, "ruling_texts": tuple(ruling_texts), "own_rulings": frozenset(ours)}
    )


def _unknown_then(ruleset: Ruleset) -> dict[str, Practice]:
    """What the default ruleset knows and this one does not, as unruled."""
    known = _parsed(_read(DEFAULT)[0], DEFAULT)["practice"]
    return {
        name: Practice.model_validate({**known[name], "ruling": "unruled"})
        for name in PRACTICES
        if name not in ruleset.practice and name in known
    }


def digest(texts: Sequence[str]) -> str:
    """What names the rules in a record: sha256 over their texts."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def _read(name: str) -> tuple[str, dict[str, Any]]:
    known = available()
    shipped = resources.files(__name__) / f"{name}.toml"
    try:
        content = (shipped if name in known else Path(name)).read_bytes()
    except (OSError, ValueError):
        hint = meant(name, known) or ";"
        raise UsageError(
            f"no ruleset {name!r}{hint} the harness ships {', '.join(known)}, or give a .toml file"
        ) from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"ruleset {name} is not TOML: {error}") from None
    return text, _parsed(text, name)


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"ruleset {name} is not TOML: {error}") from None


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables merged, field by field; what is above counts."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def available() -> list[str]:
    """Names of the rulesets that ship with the harness: by date, oldest first, then the others."""
    names = (path.name for path in resources.files(__name__).iterdir() if path.name != rulings.FILE)
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def _plain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = {"missing": "missing", "extra_forbidden": "no such field"}.get(problem["type"])
    if message is None:
        message = f"{problem['msg']}, got {str(problem['input'])[:60]!r}"
    return f"{where}: {message}"
