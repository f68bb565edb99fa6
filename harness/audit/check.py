"""What is checked: one registry of all checks, one contract for who makes them, one judge.

A `Check` says what is asked: its rule, the question of the verdict that it counts for, the practices that it may come
upon. Three collectors can know different things, so each has a `Provider` for the checks that it can make: a function
of its evidence, and what has to be gathered for it. What is gathered follows from the needs of the checks that were
asked for, and from nothing else.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from harness.audit import violations
from harness.audit.measures import metrics_of
from harness.audit.replays import typed
from harness.errors import UsageError
from harness.record import Finding, Status, Value, Witness
from harness.rules import Ruleset
from harness.text import meant
from harness.verdict import Question

E = TypeVar("E")


class Need(Enum):
    """What is gathered beyond one evaluation that is told the truth. The value says it to people."""

    SECOND_RUN = "a second evaluation in a fresh sandbox"
    FLIPS = "evaluations in which tokens are replaced"
    CLAIMS = "the same where single probabilities are claimed, and whole rows"
    BOUNDARIES = "evaluations in which the last tokens of documents are replaced"
    OTHER_TEXT = "a whole run on text that is another from a position on"
    NULL_RUN = "an evaluation of text that is drawn from a known source"
    RECURRING = "where a script counts tokens, runs on text in which phrases recur"
    TURNED = "where losses decide something, evaluations in which one decision comes out the other way"
    AT_LENGTH = "for a script, an evaluation at the submitted sequence length, and flips there"
    OTHER_SETTINGS = "where a switch that nobody states is spoken for, the whole audit again with that switch turned"
    RETRAINING = "trainings with other validation text"
    AT_HAND = "a search of what a sandbox can read for the validation text"
    PROOF = "a segment that is encoded, and decoded in a fresh sandbox"


@dataclass(frozen=True)
class Check:
    """One check, whoever makes it.

    Attributes:
        id: stable.
        rule: id in the ruleset.
        question: of the verdict, that it counts for.
        asks: what is asked, one sentence.
        sees: its power, the smallest offence that it is certain to see, or where that is measured.
        example: an offence, and what it leads to.
        practices: names of practices in the ruleset that it may find.
        on_request: it runs only where it is named, because it costs more than all others together.
    """

    id: str
    rule: str
    question: Question
    asks: str
    sees: str = ""
    example: str = ""
    practices: tuple[str, ...] = ()
    on_request: bool = False


@dataclass(frozen=True)
class Provider(Generic[E]):
    """Who can make a check, and what has to be gathered for it.

    Attributes:
        run: a function of the evidence; None where it has nothing to say.
        needs: what it says nothing without.
        uses: what it says more with: gathered where the check is asked for, and missed where that would cost too much.
    """

    run: Callable[[E], Finding | None]
    needs: frozenset[Need] = frozenset()
    uses: frozenset[Need] = frozenset()

    @property
    def documentation(self) -> str:
        """How it is done: the documentation of the function's module."""
        return inspect.cleandoc(sys.modules[self.run.__module__].__doc__ or "")

    @property
    def not_covered(self) -> Sequence[str]:
        """What it never looks at, as its module states it; a finding says more."""
        found: Sequence[str] = getattr(sys.modules[self.run.__module__], "NOT_COVERED", ())
        return found


_ORDERS = (
    "tail_scored_again", "tail_never_scored", "first_targets_never_scored", "gap_after_first_window",
    "document_starts_never_scored", "gap", "scored_again", "second_pass", "steps_back", "longest_document_first",
)  # fmt: skip

#: Every check by its id, in the order in which a report should be read.
REGISTRY: dict[str, Check] = {
    check.id: check
    for check in (
        Check(
            "determinism",
            "noise",
            "score",
            "Do two evaluations of the same text give the same rows?",
            sees="one changed row, by any amount; up to 1e-6 nats it is rounding",
            example=(
                "dropout that is left on and not seeded: the second run gives other rows, and no comparison below that"
                " noise means anything"
            ),
        ),
        Check(
            "causality",
            "C1",
            "score",
            "Does a prediction depend on a token that it must not know?",
            sees=(
                "of an adapter at default depth on 35,000 tokens, a leak of 0.0001 nats a token at every position, or"
                " one of 0.005 at 1 % of the positions; of a script, 0.001 at every position, and one at some only has"
                " to be larger"
            ),
            example=(
                '`x[:, 1:]` added to the hidden state one position to the left: "this submission uses tokens before it'
                ' predicts them"'
            ),
        ),
        Check(
            "null-stream",
            "C1",
            "score",
            "Does the submission score better on random text than is possible without seeing the answers?",
            sees="21 nats in total: 0.004 nats a token on 5,000 tokens, 2e-5 on a million",
            example=(
                "a cache that is asked for the token it is about to score: 194.7 nats better than is possible, chance"
                " below 1e-84"
            ),
        ),
        Check(
            "normalization",
            "C2",
            "score",
            "Is what is charged for a token the probability of a distribution?",
            sees="rows that sum to more than 1 by 1e-4; of single probabilities, a sum of 1.05",
            example=(
                "the better of two models for each token, or of two temperatures for each window, whatever operation"
                " chooses: over the vocabulary that sums to more than 1"
            ),
        ),
        Check(
            "score-before-update",
            "C3",
            "score",
            "Is a token scored before anything learns from it?",
            sees="one update, or one change of registered state, that used a token which was not scored yet",
            example="one SGD step on a window's own targets, then the window is scored",
            practices=("adaptation", "adaptation_before_scoring"),
        ),
        Check(
            "single-pass",
            "C4",
            "score",
            "Is every position scored exactly once, from left to right?",
            sees="one position",
            example="the whole text is scored, the model trained on it, and the second pass counted",
            practices=(*_ORDERS, "chosen_evaluation"),
        ),
        Check(
            "artifact-independence",
            "data",
            "score",
            "Would the artifact be another one with other validation text?",
            sees=(
                "one byte of the artifact, where training reads validation text; passages of about 13 words in files"
                " within reach"
            ),
            example="AdamW on validation tokens before the weights are quantized: other text, other artifact",
            practices=("chosen_weights",),
        ),
        Check(
            "warm-up",
            "data",
            "score",
            "Was something trained on validation tokens and thrown away?",
            sees="one validation position that a gradient was computed from before the pass",
            example=(
                "ten steps on the first validation batch to compile the kernels, after which the weights are loaded"
                " again"
            ),
            practices=("validation_warm_up",),
        ),
        Check(
            "data-split",
            "data",
            "score",
            "Is a validation document among the training documents?",
            sees="13 words in a row",
            example="shards that were cut from one file, with the first validation documents in both",
        ),
        Check(
            "document-boundary",
            "boundary",
            "score",
            "What does the end of a document do to the next one?",
            sees="any change of the first rows of the next document",
            example='a submission that says `"documents_isolated": true` and slides its windows across document starts',
            practices=("smear_across_documents",),
        ),
        Check(
            "byte-accounting",
            "metric",
            "score",
            "Do the bytes that the loss is divided by belong to the text that was scored?",
            sees="one byte in a thousand documents, where the documents are at hand; 1 part in 10,000 from papers; one "
            "target of a script that is charged for another token than the stream has there",
            example="a tokenizer's table that counts the leading space twice (#1719): the score is too good",
            practices=("letter_case",),
        ),
        Check(
            "size-limit",
            "size",
            "limits",
            "Do code and model together fit the limit?",
            sees="one byte",
            example=(
                "15,998,121 bytes of model and 52,202 of code: over by 50,323 as shipped, under if the code is"
                " compressed"
            ),
            practices=("byte_convention", "files_not_counted"),
        ),
        Check(
            "train-clock",
            "train_clock",
            "limits",
            "Did training end in time?",
            sees="more than one step over the limit",
            example="600,058 ms of loop, and 14 s of calibration on training data after it",
            practices=("calibration_after_cap", "last_step_over_cap"),
        ),
        Check(
            "eval-clock",
            "eval_clock",
            "limits",
            "Did evaluation end in time?",
            sees="a second over the limit, on the hardware that it is for",
            example="546 s by the script's own timer, which starts after compiling, and 733 s by the process",
            practices=("outside_the_timer",),
        ),
        Check(
            "isolation",
            "isolation",
            "score",
            "Is anything read or reached beyond the artifact and the submission's folder?",
            sees="one attempt to open a connection",
            example="a tokenizer that is downloaded when the evaluation begins",
        ),
        Check(
            "coverage",
            "C1",
            "score",
            "Did the code run that decides the score at full size?",
            sees="one arm of one branch",
            example=(
                "a cache that is asked only after 5,000 tokens, in a tiny run of 2,000: the threshold is scaled, or the"
                " finding names it and the score is not decided"
            ),
        ),
        Check(
            "settings",
            "C1",
            "score",
            "Is the evaluation that was run the one that was submitted, where a switch is stated nowhere?",
            sees="one switch that is off by default and that README, submission.json or a log speaks for",
            example=(
                "a README describes SLOT with 24 steps, SLOT_ENABLED is 0 by default and named nowhere: the audit is"
                " made with it off and with it on, and where one of the two breaks a rule the score is not decided"
            ),
        ),
        Check(
            "claims",
            "claims",
            "claim",
            "Do the submission's claims agree with each other and with what was measured?",
            sees="the last digit that is written",
            example="a mean of three seeds that is the best of them",
        ),
        Check(
            "copies",
            "claims",
            "claim",
            "Are code or measurements another submission's?",
            sees="five measurements of a log, and a fifth of it, or three numbers with eight decimals",
            example=(
                "a folder under another name with the script of #1550, byte for byte (#1624): who was first, and what"
                " differs; where the logs are copied, too, a question"
            ),
        ),
        Check(
            "significance",
            "records",
            "claim",
            "Is the record before beaten by more than chance?",
            sees="what the seeds' spread allows; each finding says it",
            example="three seeds, 0.0004 BPB better than the record before, with a spread of 0.0006",
            practices=("best_of_runs", "chosen_evaluation"),
        ),
        Check(
            "proof",
            "proof",
            "score",
            "Does the text come back from a code of the claimed length?",
            sees="one token that does not come back",
            example="a scorer whose rows differ when it is run again to decode: the decoder goes another way",
            on_request=True,
        ),
    )
}


#: What is asked for where nothing but a score is wanted, and soon.
SCORE = "score"


def select(names: str, providers: Mapping[str, Provider[E]]) -> list[str]:
    """Turn `all`, `score` or a comma-separated list into ids of checks that a collector can make.

    Raises:
        UsageError: an id is not known.
    """
    if names == "all":
        return [name for name in providers if not REGISTRY[name].on_request]
    if names == SCORE:
        return alone(providers)
    wanted = named(names, providers)
    return [name for name in providers if name in wanted]


def named(text: str, known: Collection[str]) -> list[str]:
    """Ids in a comma-separated list, in its order.

    Raises:
        UsageError: one is not known, or there is none.
    """
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        hint = meant(unknown[0], known) if unknown else ""
        raise UsageError(f"no check {', '.join(unknown) or text!r}{hint or ';'} known: {', '.join(known)}")
    return wanted


def needs(names: Iterable[str], providers: Mapping[str, Provider[E]]) -> frozenset[Need]:
    """What has to be gathered for some checks."""
    return frozenset(need for name in names for need in providers[name].needs | providers[name].uses)


def within(gathered: Iterable[Need], providers: Mapping[str, Provider[E]]) -> list[str]:
    """The checks that need no more than what is gathered, but for those that run on request only."""
    return [
        name for name, one in providers.items() if one.needs <= frozenset(gathered) and not REGISTRY[name].on_request
    ]


def alone(providers: Mapping[str, Provider[E]]) -> list[str]:
    """The checks for which nothing is gathered but the score: one evaluation that is told the truth."""
    return [name for name in within((), providers) if not providers[name].uses]


def judge(evidence: E, names: Sequence[str], providers: Mapping[str, Provider[E]]) -> list[Finding]:
    """Make the checks that were asked for. One that breaks is an ERROR that says nothing about the submission."""
    findings = []
    for name in names:
        try:
            found = providers[name].run(evidence)
        except Exception as error:
            found = Finding(
                id=name,
                rule="harness",
                question=REGISTRY[name].question,
                title="The check itself failed",
                status=Status.ERROR,
                headline=f"the check broke ({type(error).__name__}: {error}); this says nothing about the submission",
                not_covered=["everything that this check looks at"],
            )
        if found is not None:
            findings.append(found)
    return findings


def explained(name: str, ruleset: Ruleset, providers: Mapping[str, Mapping[str, Provider[Any]]]) -> str:
    """What a check is, as Markdown: its question and rule, the practices it may find, and how each collector makes it.

    Args:
        name: the check's id.
        ruleset: whose texts are quoted.
        providers: of each collector, by what it is called.

    Raises:
        UsageError: there is no such check.
    """
    if name not in REGISTRY:
        raise UsageError(f"no check {name!r}; known: {', '.join(REGISTRY)}")
    check = REGISTRY[name]
    rule = ruleset.rule[check.rule]
    lines = [f"# {name}", "", check.asks, ""]
    lines += [f"* Counts for: the {check.question} (see [verdict.md](../verdict.md))"]
    lines += [f"* Rule {check.rule}, {rule.title}: {rule.text} ({rule.source})", f"* Remedy: {rule.remedy}", ""]
    if check.sees:
        lines += [
            f"The smallest offence that it sees: {check.sees}. How that was measured: [power.md](../power.md).",
            "",
        ]
    if check.example:
        lines += [f"Example: {check.example}.", ""]
    if check.practices:
        lines += ["## Practices", "", f"As {ruleset.title} takes them:", ""]
        for practice in check.practices:
            how = ruleset.practice[practice]
            lines += [f"* **{how.title}** is {how.ruling}: {how.text} ({how.source})"]
        lines.append("")
    for who, made in providers.items():
        if name not in made:
            continue
        one = made[name]
        wanted = needs([name], made)
        gathered = "; ".join(need.value for need in Need if need in wanted) or "nothing beyond what is there"
        lines += [f"## {who}", "", one.documentation, "", f"Gathered for it: {gathered}.", ""]
        if one.not_covered:
            lines += ["Not covered:", "", *(f"* {what}" for what in one.not_covered), ""]
    if caught := violations.of_check(name):
        lines += ["## Violations that it catches", "", "Each page has the smallest code, and how to mend it:", ""]
        lines += [f"* [{one.id}](../violations/{one.id}.md): {one.title}" for one in caught]
    return "\n".join(lines).rstrip() + "\n"


class Ruled(Protocol):
    """Evidence of any kind: it knows the rules to judge by."""

    @property
    def ruleset(self) -> Ruleset:
        """Titles, texts and remedies."""
        ...


def finding(
    evidence: Ruled,
    check: str,
    status: Status,
    headline: str,
    *,
    metrics: Mapping[str, Value] | None = None,
    witness: Witness | None = None,
    power: Mapping[str, Value] | None = None,
    not_covered: Sequence[str] = (),
    figures: Mapping[str, Any] | None = None,
) -> Finding:
    """A finding under its check's rule, with the rule's remedy where something is to be mended.

    Metrics and power are values by their ids in measures.toml.
    """
    rule = REGISTRY[check].rule
    text = evidence.ruleset.rule[rule]
    return Finding(
        id=check,
        rule=rule,
        question=REGISTRY[check].question,
        title=text.title,
        status=status,
        headline=headline,
        metrics=metrics_of(metrics or {}),
        witness=typed(witness) if witness else None,
        power=metrics_of(power or {}),
        not_covered=list(not_covered),
        remedy=text.remedy if status in (Status.FAIL, Status.UNRULED, Status.INCONCLUSIVE) else None,
        figures=dict(figures or {}),
    )


def not_run(evidence: Ruled, check: str, why: str) -> Finding:
    """The finding of a check that had nothing to look at; it never counts as a pass."""
    return finding(evidence, check, Status.NOT_RUN, why, not_covered=[why])
