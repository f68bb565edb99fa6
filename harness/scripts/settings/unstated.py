"""Switches that nobody states although the folder speaks of what they guard: which world was submitted is a question.

A README describes SLOT, the log's header shows its learning rate, the switch is off by default, and no log, command,
README or `--env` names it. Run as the source stands, SLOT never runs. A switch is asked about where

* its value comes from the default alone, and that is off (or another word);
* it guards code that the counted pass comes through, or would (`guarded`);
* something speaks for its other value: words of README, submission.json or the folder's name, with a number or in a
  title; a setting of the same technique that a log shows; a line in a log that only guarded code prints; an evaluation
  that took many times longer in the logs than the sliding pass beside it, where nothing in its label says why.

It is not asked about where the folder answers: a sentence says that the technique is not used, NAME=VALUE stands
somewhere with the default's value, or the logs lack the lines that guarded code would print.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.papers.collect import Case
from harness.papers.logs import Metric, bare
from harness.scripts.opening import Script
from harness.scripts.settings.claimed import Claim
from harness.scripts.settings.guarded import Guarded, Guards, said
from harness.scripts.settings.reads import Read, is_place, same
from harness.scripts.settings.submitted import Settings, trees_of
from harness.scripts.settings.words import Statement, of_metadata, statements, topic_of
from harness.scripts.trace import lines

#: Words of names that say nothing of what a setting is about.
_GENERIC = frozenset(
    "enabled enable use using do run with on is has flag mode opt option final full apply active activate epochs epoch"
    " steps step order lr rate alpha beta gamma".split()
)
#: Words of function names likewise.
_CALLS = _GENERIC | frozenset(
    "eval evaluate val validate sliding window windows compute build make get set load step forward loss bpb score"
    " model train init the and of".split()
)
#: Techniques that a function's name may say.
_TECHNIQUE = re.compile(r"slot|ttt|n_?gram|ppm|cache|mixer|tilt|hedge|etlb|knn|two_?pass|lora|rescore|prequant")
#: Numbers that are no switch, although 0 may turn something off.
_AMOUNT = re.compile(
    r"(?:^|_)(?:alpha|lr|min|max|size|stride|tokens|blocks|layers|seconds?|ms|len|frac|decay|rank|temp|weight|step|limit"
    r"|batch(?:es)?|warmup|chunks?|docs?|norm|scale|bias|shift|floor|cap|threshold|ratio|every|seqs)$",
    re.I,
)
#: A logged evaluation that takes so many times as long as the sliding pass beside it is no sliding pass.
_FAR_LONGER = 3.0
_STRIDE = re.compile(r"stride[:= ]?(\d+)|_s(\d+)\b")
_MOST = 4


@dataclass(frozen=True)
class Unstated:
    """A switch that nobody states, and what speaks for its other value.

    Attributes:
        name: of the setting.
        default: what it is by default; None where it is not set.
        other: the value that something speaks for.
        read_at: "file:line" of the default.
        guards: "file:line" of the first test that asks for it.
        test: that test.
        evidence: what speaks for the other value, as quotations.
    """

    name: str
    default: str | None
    other: str
    read_at: str
    guards: str
    test: str
    evidence: tuple[str, ...]

    @property
    def told(self) -> str:
        """In one line."""
        now = f"{self.name}={self.default}" if self.default is not None else f"{self.name} unset"
        return f"{now} by default alone ({self.read_at}); guards {self.guards} `{self.test}`"


def unstated(script: Script, settings: Settings, case: Case | None, claim: Claim) -> tuple[Unstated, ...]:
    """The switches of a folder whose value is a question; none of a bare file, beside which nothing speaks.

    Args:
        script: as it was opened.
        settings: those that were submitted, or asked for: what is overridden is no question.
        case: its papers.
        claim: where the logs show the claimed score.
    """
    if case is None:
        return ()
    guards = Guards(trees_of(script), {name: one.value for name, one in settings.values.items()})
    papers = _Papers(script, settings, case, claim)
    reads = {read.attribute: read for read in reversed(settings.reads) if read.attribute}
    found = []
    for read in settings.reads:
        if settings.values[read.name].origin != "default" or is_place(read.name):
            continue
        for value in _others(read, guards):
            guarded = guards.of(read, value, reads)
            if guarded is None or not guarded.scores:
                continue
            other, evidence = papers.speak(read, value, guarded, guards)
            if evidence:
                file = guarded.file or script.entry
                default = f"{read.file or script.entry}:{read.line}"
                found.append(Unstated(read.name, settings.values[read.name].value, other, default,
                                      f"{file}:{guarded.line}", guarded.test, tuple(evidence[:_MOST])))  # fmt: skip
                break
    return tuple(found)


def _others(read: Read, guards: Guards) -> list[str]:
    """The values that would turn a setting on, where it is off by default; of a word, the words it is compared with."""
    if read.cast == "bool":
        return [read.yes] if read.default is None or same(read.default, read.no) or read.default in ("", "0") else []
    if read.cast in ("int", "float"):
        return ["1"] if read.default is None or same(read.default, "0") else []
    words = [word for word in dict.fromkeys(guards.compared(read)) if _TECHNIQUE.search(word.lower())]
    plain = "_".join(sorted(topic_of(read.name, _GENERIC)))
    unset = ["1"] if read.default in (None, "", "0") and _TECHNIQUE.fullmatch(plain) else []
    return [word for word in [*words, *unset] if word != read.default]


class _Papers:
    """What a folder says beside its code."""

    def __init__(self, script: Script, settings: Settings, case: Case, claim: Claim) -> None:
        self._settings, self._case = settings, case
        logs = [name for name in script.logs if name in claim.logs] or list(script.logs)
        self._logs = {name: [bare(line).strip() for line in script.text(name).splitlines()] for name in logs}
        self._said: list[Statement] = [Statement(script.name, 0, script.name.replace("_", " "), title=True)]
        for name in script.readmes:
            if "/" not in name:
                self._said += statements(script.text(name), name)
        if script.metadata_file:
            self._said += of_metadata(script.claims, script.metadata_file, script.text(script.metadata_file))

    def speak(self, read: Read, other: str, guarded: Guarded, guards: Guards) -> tuple[str, list[str]]:
        """What speaks for a switch's other value, and that value; nothing does where the folder answers."""
        shown: list[str] = []
        if (patterns := said(guards, guarded)) and any(self._logs.values()):
            found = list(self._printed(patterns))
            if not found:
                return other, []
            shown = [quoted for quoted, _ in found[:2]]
            other = next((value for _, value in found if value), other)
        if read.cast in ("int", "float") and (read.cast == "float" or _AMOUNT.search(read.name)):
            return other, shown if other != "1" else []
        named = list(self._named(read, other))
        if None in named and not shown:
            return other, []
        words = self._words(_topics(read, other, guarded), guarded)
        return other, [*shown, *(one for one in named if one), *words, *self._longer(guarded)]

    def _printed(self, patterns: list[re.Pattern[str]]) -> Iterator[tuple[str, str | None]]:
        """Lines of the logs that only guarded code prints, and the value of the switch that they show."""
        for name, text in self._logs.items():
            for number, line in enumerate(text, 1):
                if match := next((match for one in patterns if (match := one.match(line))), None):
                    yield f'{name}:{number} "{line[:100]}"', match.groupdict().get("value")

    def _named(self, read: Read, other: str) -> Iterator[str | None]:
        """Statements NAME=VALUE of the other value; None for one of the default's."""
        pattern = re.compile(rf"(?<![\w$]){re.escape(read.name)}`?\s*(?:=|:|\|)\s*[`\"']?([\w.+-]+)")
        number = read.cast in ("int", "float")
        for one in self._said:
            for value in pattern.findall(one.text):
                if same(value, read.default) or (read.cast == "bool" and same(value, read.no)):
                    yield None
                elif (same(value, other) or (number and value[:1].isdigit())) and not one.elsewhere:
                    yield str(one)

    def _words(self, topics: Iterable[frozenset[str]], guarded: Guarded) -> list[str]:
        """What words and a log's settings say of a switch's topics; nothing where a sentence denies one of them."""
        found: list[str] = []
        for topic in topics:
            told = {"title": [], "body": [], "no": []}  # type: dict[str, list[Statement]]
            for one in self._said:
                if how := one.says(topic):
                    told[how].append(one)
            if told["no"] and not told["title"]:
                return []
            found += [str(one) for one in (*told["title"][:2], *told["body"][:3])]
            found += self._headers(topic, guarded)
        return list(dict.fromkeys(found))

    def _headers(self, topic: frozenset[str], guarded: Guarded) -> Iterator[str]:
        """Settings of the same technique that a log shows."""
        used = guarded.names
        for read in self._settings.reads:
            setting = self._settings.values[read.name]
            mine = topic <= frozenset(re.findall(r"[a-z]+", read.name.lower()))
            if setting.origin == "log" and mine and (read.attribute in used or read.name in used):
                yield f'{setting.file}:{setting.line} "{read.attribute or read.name}: {setting.value}"'

    def _longer(self, guarded: Guarded) -> Iterator[str]:
        """The counted evaluation and a sliding pass beside it, where it took many times as long without saying why."""
        if not guarded.repeats:
            return
        for one in self._case.headline.carried:
            counted = one.metric
            timed = next((m for m in one.run.metrics if m.kind == counted.kind and m.seconds), None)
            if timed is None or lines.name_of(counted.label) not in (None, "sliding window", "after quantization"):
                continue
            for other in one.run.metrics:
                if other.kind == counted.kind or not other.seconds or lines.name_of(other.label) != "sliding window":
                    continue
                ratio = (timed.seconds or 0.0) * _stride(timed, other) / other.seconds
                if ratio >= _FAR_LONGER:
                    place = timed.bpb.quote
                    yield (
                        f'{place.file}:{place.line} "{timed.label}" took {timed.seconds:.0f} s, {ratio:.1f} times as'
                        f' long as "{other.label}" ({other.seconds:.0f} s, line {other.bpb.quote.line})'
                    )
                    return


def _stride(one: Metric, other: Metric) -> float:
    """What the first one's time is to be multiplied by for the other's stride; 1 where neither says its own."""
    found = [_STRIDE.search(f"{metric.label} {metric.bpb.quote.text}") for metric in (one, other)]
    if None in found:
        return 1.0 if found == [None, None] else 0.0
    strides = [float(match[1] or match[2]) for match in found if match]
    return strides[0] / strides[1] if all(strides) else 0.0


def _topics(read: Read, other: str, guarded: Guarded) -> Iterator[frozenset[str]]:
    """What a switch is about: by its name, by the word it would be set to, by the functions that it alone calls."""
    by_name = topic_of(other if read.cast == "text" and not other.isdigit() else read.name, _GENERIC)
    if by_name:
        yield by_name
    for node in guarded.nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and _TECHNIQUE.search(node.name.lower()):
            topic = topic_of(re.sub(r"([a-z])([A-Z])", r"\1_\2", node.name), _CALLS)
            if topic and topic != by_name:
                yield topic


def worlds(found: Iterable[Unstated]) -> Mapping[str, str]:
    """{name: the other value} of all of them: the world that the folder speaks of."""
    return {one.name: one.other for one in found}
