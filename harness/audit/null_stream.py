"""null-stream: nobody beats the entropy. A saving of 21 nats in total on text drawn from a known source is illegal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.audit.check import Ruled, finding, not_run
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Value, Witness
from harness.referee.null import CERTAIN, Saving

CHECK = "null-stream"

#: A record's margin, nats per token: a source that cannot show a leak of this size, and could be better, shows nothing.
MARGIN = 0.005

#: Nats per token by which text of the own model may be harder than the real text is to the submission, whatever it
#: loses on it. Where it is less than a quarter as hard, the training has told of another model than it sealed.
HARDER = 0.5

#: Nats per token that a submission loses on such text, at the least, where another model than its own drew it.
FOREIGN = 0.05


@dataclass(frozen=True)
class Played:
    """What a scorer made of text that was drawn from a source of known entropy, whoever played it.

    Attributes:
        source: what the text was drawn from, in words.
        saving: what it was charged less than the source itself; below 0 nats where it was charged more.
        data: what a replay needs, for the witness.
    """

    source: str
    saving: Saving
    data: Mapping[str, object]


def check(evidence: Evidence) -> Finding:
    """One stream that the harness drew and the referee scored."""
    null = evidence.null
    if null is None:
        return not_run(evidence, CHECK, "no text was drawn for it: it was not asked for")
    saved = null.saving
    loss = evidence.trace.nll[evidence.trace.order >= 0]
    real = float(loss.mean()) if len(loss) else 0.0
    not_covered = [
        "leaks that save less than the submission loses against the source",
        "what the artifact knows of the real validation text: the null stream is other text",
        (
            "a submission that tells drawn text from real text by its content, and behaves on it (what the tests with"
            " other text are for)"
        ),
    ]
    if len(loss) and null.entropy < real / 2:
        not_covered.append(
            f"text as hard as the real one: the source has {null.entropy:.2f} nats per token, the real text costs "
            f"{real:.2f}"
        )
    data = {"source": null.source, "null_source": null.kind, "seed": null.seed, "tokens": saved.tokens,
            "saving": saved.nats}  # fmt: skip
    # A model that was hardly trained draws harder text than the real one and loses nothing on it; another model does.
    harder = null.entropy > real + HARDER and saved.nats < -FOREIGN * saved.tokens
    weak = ""
    if (not null.own or null.entropy < real / 4 or harder) and saved.visible > MARGIN:
        weak = (
            f"{null.source} is no text to see a leak with ({null.entropy:.2f} nats per token, the real text costs "
            f"{real:.2f}): a leak below {saved.visible:.4f} would not have shown"
        )
    metrics = {"entropy": null.entropy, "false_alarm": saved.false_alarm, "tokens_without_row": saved.unscored}
    return judge(evidence, [Played(null.source, saved, data)], metrics, not_covered, weak)


def judge(
    evidence: Ruled, played: Sequence[Played], metrics: Mapping[str, Value], not_covered: Sequence[str], weak: str = ""
) -> Finding:
    """FAIL when a scorer saved more than a legal one can; the finding states what it would have seen.

    Args:
        evidence: knows the rules.
        played: every stream, at least one; the largest saving decides.
        metrics: of the collector, by id.
        not_covered: of the collector.
        weak: why nothing follows where nothing was saved, in one sentence.
    """
    worst = max(played, key=lambda one: one.saving.nats)
    nats, tokens = worst.saving.nats, worst.saving.tokens
    visible = min(one.saving.visible for one in played)
    per_token = nats / max(tokens, 1)
    chance = f"1e-{max(0, math.floor(nats / math.log(10)))}"
    witness, not_covered = None, list(not_covered)
    if nats >= CERTAIN:
        status = Status.FAIL
        headline = (
            f"on random text from {worst.source} it scored {nats:,.1f} nats better than is possible without "
            f"seeing the answers ({tokens:,} tokens; chance below {chance})"
        )
        summary = (
            f"on {tokens:,} tokens drawn from {worst.source} it is charged {nats:,.1f} nats less than "
            f"the source itself; a legal scorer is with a probability below {chance}"
        )
        witness = Witness(kind="null", summary=summary, data=dict(worst.data))
        not_covered.append("which of C1 to C4 is broken: the bound covers all of them")
    elif weak:
        status, headline = Status.INCONCLUSIVE, weak
    elif per_token <= 0:
        status = Status.PASS
        headline = (
            f"on random text from {worst.source} it scored no better than is possible without seeing the answers: "
            f"{-per_token:.4f} nats per token worse; a leak of {visible:.4f} would have been certain to show"
        )
    else:
        status = Status.PASS
        headline = (
            f"on random text from {worst.source} it scored {nats:.1f} nats better in total, short of the "
            f"{CERTAIN:g} that is out of reach without seeing the answers"
        )
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics={
            "saving": nats,
            "source": worst.source,
            "tokens_drawn": tokens,
            "saving_per_token": per_token,
            "log10_e": nats / math.log(10),
            **metrics,
        },
        witness=witness,
        power={
            "smallest_leak": visible,
            "streams_played": len(played),
            "false_alarm_bound": math.exp(-CERTAIN),
        },
        not_covered=not_covered,
        figures={"power": power_figure(nats, tokens)},
    )


def power_figure(saved: float, tokens: int) -> dict[str, Any]:
    """What a further leak would have saved, beside what no legal scorer saves.

    Args:
        saved: nats that the scorer saved on the drawn text; below 0 where it lost.
        tokens: tokens drawn. A leak of g nats per token adds g times as many nats.
    """
    gap = max(CERTAIN - saved, CERTAIN) / max(tokens, 1)
    leaks = [float(f"{2 * gap * step / 20:.6g}") for step in range(21)]
    return {
        "type": "line",
        "title": "What a further leak would have saved on the null stream",
        "x_label": "leak, nats per token",
        "y_label": "saving, nats",
        "series": [
            {"label": "this submission", "x": leaks, "y": [round(saved + leak * tokens, 3) for leak in leaks]},
            {"label": "never legal", "x": [leaks[0], leaks[-1]], "y": [CERTAIN, CERTAIN]},
        ],
    }
