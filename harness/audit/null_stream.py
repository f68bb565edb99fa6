"""null-stream: nobody beats the entropy. A saving of 21 nats in total on text drawn from a known source is illegal."""

from __future__ import annotations

import math
from typing import Any

from harness.audit.evidence import Evidence, finding, not_run
from harness.record import Finding, Status, Value, Witness
from harness.referee.null import CERTAIN

CHECK = "null-stream"

#: A record's margin, nats per token: a source that cannot show a leak of this size, and could be better, shows nothing.
MARGIN = 0.005

#: Nats per token by which text of the own model may be harder than the real text is to the submission, whatever it
#: loses on it. Where it is less than a quarter as hard, the training has told of another model than it sealed.
HARDER = 0.5

#: Nats per token that a submission loses on such text, at the least, where another model than its own drew it.
FOREIGN = 0.05


def check(evidence: Evidence) -> Finding:
    """FAIL when the scorer saved more than a legal one can; the finding states what it would have seen."""
    null = evidence.null
    if null is None:
        return not_run(evidence, CHECK, "no null stream was played")
    saved = null.saving
    per_token = saved.nats / saved.tokens
    metrics: dict[str, Value] = {
        "saving": saved.nats,
        "source": null.source,
        "tokens_drawn": saved.tokens,
        "entropy": null.entropy,
        "saving_per_token": per_token,
        "log10_e": saved.nats / math.log(10),
        "false_alarm": saved.false_alarm,
        "tokens_without_row": saved.unscored,
    }
    bound = f"1e-{max(0, math.floor(saved.nats / math.log(10)))}"
    power: dict[str, Value] = {
        "smallest_leak": saved.visible,
        "tokens_drawn": saved.tokens,
        "false_alarm_bound": math.exp(-CERTAIN),
    }
    not_covered = [
        "leaks that save less than the submission loses against the source",
        "what the artifact knows of the real validation text: the null stream is other text",
        "a submission that tells drawn text from real text by its content, and behaves on it (what flips are for)",
    ]
    loss = evidence.trace.nll[evidence.trace.order >= 0]
    if len(loss) and null.entropy < float(loss.mean()) / 2:
        not_covered.append(
            f"text as hard as the real one: the source has {null.entropy:.2f} nats per token, the real text costs "
            f"{float(loss.mean()):.2f}"
        )
    if saved.nats >= CERTAIN:
        witness = Witness(
            kind="null",
            summary=(
                f"on {saved.tokens:,} tokens drawn from {null.source} the submission saves {saved.nats:,.1f} nats "
                f"against the source itself; a legal scorer does so with a probability below {bound}"
            ),
            data={
                "source": null.source,
                "null_source": null.kind,
                "seed": null.seed,
                "tokens": saved.tokens,
                "saving": saved.nats,
            },
        )
        return finding(
            evidence,
            CHECK,
            Status.FAIL,
            f"on random text from {null.source} it scored {saved.nats:,.1f} nats better than is possible without "
            f"seeing the answers ({saved.tokens:,} tokens; chance below {bound})",
            metrics=metrics,
            witness=witness,
            power=power,
            not_covered=[*not_covered, "which of C1 to C4 is broken: the bound covers all of them"],
            figures={"power": power_figure(saved.nats, saved.tokens)},
        )
    real = float(loss.mean()) if len(loss) else 0.0
    # A model that was hardly trained draws harder text than the real one and loses nothing on it; another model does.
    harder = null.entropy > real + HARDER and saved.nats < -FOREIGN * saved.tokens
    weak = not null.own or null.entropy < real / 4 or harder
    if weak and saved.visible > MARGIN:
        return finding(
            evidence,
            CHECK,
            Status.INCONCLUSIVE,
            f"{null.source} is no text to see a leak with ({null.entropy:.2f} nats per token, the real text costs "
            f"{real:.2f}): a leak below {saved.visible:.4f} would not have shown",
            metrics=metrics,
            power=power,
            not_covered=not_covered,
            figures={"power": power_figure(saved.nats, saved.tokens)},
        )
    return finding(
        evidence,
        CHECK,
        Status.PASS,
        f"on random text from {null.source} it scored no better than is possible without seeing the answers: "
        f"{-per_token:.4f} nats per token worse; a leak of {saved.visible:.4f} would have been certain to show"
        if per_token <= 0
        else f"on random text from {null.source} it scored {saved.nats:.1f} nats better in total, short of the "
        f"{CERTAIN:g} that nobody reaches without seeing the answers",
        metrics=metrics,
        power=power,
        not_covered=not_covered,
        figures={"power": power_figure(saved.nats, saved.tokens)},
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
