"""What was seen of every attack, kept as data and rendered as docs/attacks.md."""

from __future__ import annotations

import json
from typing import Any

from harness.record import Status
from tests.attacks.suite import HERE, WORTH, Attack, Played

FILE = HERE / "observed.json"
PAGE = HERE.parent.parent / "docs" / "attacks.md"

INTRO = f"""# Attacks

Submissions that want a better score than their model earns, by people who have read this code. Each is one small file
in `tests/attacks/cases/`, and each has an honest twin: the same code without the gain, which must not be accused.
Both go through the whole pipeline at a tiny size, all checks on. An attack **succeeds** when nobody objects (the
verdict is PASS or UNRULED, exit code 0) although its score is more than {WORTH:g} nats per token below its twin's.

A gain says that the attack works where it is not seen, not that it was believed: the verdict decides that. An attack
that finds no door open gains nothing; it stays in the list for the day when one opens.

*Rare* attacks mean to leak at few positions, fewer than any bounded number of flips is sure to meet. What they are held
to is the share of positions that a check says it sees; their own share is in the table.

## Adding one

Write `tests/attacks/cases/NAME.py` in the style of the others: the first line says what it does, the lines
`# kind:`, `# where:` (`suite`, or `box` where it acts on its box and needs one of its own) and `# gain:` follow, and
`# rare: SHARE` where it leaks at few positions. Lines that end in `# offender` or `# neighbour` make the two sides.
`tricks.py` (what attacks share), `public.py` (what everybody knows of the text) and the zoo's `tiny.py` lie beside
it. Then:

    python -m tests.attacks --only NAME            # play it, print what became of it
    python -m tests.attacks --only NAME --write    # keep that, and write this page
"""


def load() -> dict[str, dict[str, Any]]:
    """What was kept: by attack, then by seed; and under "sha256" of which code."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def save(kept: dict[str, dict[str, Any]]) -> None:
    """Keep it."""
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def entry(attack: Attack, played: dict[int, Played]) -> dict[str, Any]:
    """An attack as it is kept."""
    return {"sha256": attack.sha256, "seeds": {str(seed): result.as_kept() for seed, result in played.items()}}


def results(kept: dict[str, dict[str, Any]], attack: Attack) -> list[Played]:
    """An attack's results, seed by seed; none where it has changed since, or has not been played."""
    entry = kept.get(attack.name, {})
    return [Played(**seed) for seed in entry["seeds"].values()] if entry.get("sha256") == attack.sha256 else []


def rate(rows: list[tuple[Attack, list[Played]]]) -> str:
    """The attack success rate in words."""
    plain = [played for attack, played in rows if attack.rare is None and played]
    rare = [played for attack, played in rows if attack.rare is not None and played]
    missing = sum(not played for _, played in rows)
    won = sum(any(result.success for result in played) for played in plain)
    tries = sum(len(played) for played in plain)
    runs = sum(result.success for played in plain for result in played)
    said = f"Attack success rate: {won} of {len(plain)} attacks ({runs} of {tries} runs)."
    if rare:
        unseen = sum(result.success for played in rare for result in played)
        said += f" Rare ones: {unseen} of {sum(map(len, rare))} runs of {len(rare)} attacks were not seen."
    accused = sum(bool(result.accused) for _, played in rows for result in played)
    return said + f" Twins accused: {accused}." + (f" Not played as they stand: {missing}." if missing else "")


def caught_by(played: list[Played]) -> str:
    """Checks that were not quiet, and in how many runs."""
    seen: dict[tuple[str, str], int] = {}
    for result in played:
        for check, status in result.caught.items():
            seen[check, status] = seen.get((check, status), 0) + 1
    order = sorted(seen.items(), key=lambda item: (item[0][1] != Status.FAIL, -item[1], item[0]))
    parts = [f"{check} {s}" + (f" ({n} of {len(played)})" if n < len(played) else "") for (check, s), n in order]
    errors = sorted({result.error.replace("|", "/")[:120] for result in played if result.error})
    return ", ".join([*parts, *errors]) or "nothing"


def row(attack: Attack, played: list[Played]) -> tuple[str, ...]:
    """An attack as cells: attack, kind, verdict, gain, share, caught by, twin."""
    kind = attack.kind + (", rare" if attack.rare is not None else "")
    if not played:
        return attack.name, kind, "not played", "–", "–", "–", "–"
    verdicts = sorted({result.verdict for result in played})
    counts = [f"{v} ({n} of {len(played)})" if (n := sum(r.verdict == v for r in played)) < len(played) else v
              for v in verdicts]  # fmt: skip
    won = any(result.success for result in played)
    share = max(result.share for result in played)
    twins = sorted({result.twin + (" **accused**" if result.accused else "") or "–" for result in played})
    return (
        attack.name,
        kind,
        (", ".join(counts)) + (" **success**" if won else ""),
        f"{max(result.gain for result in played):.4f}",
        f"{100 * share:.1f} %",
        caught_by(played),
        ", ".join(twins),
    )


HEAD = ("attack", "kind", "verdict", "gain", "rows", "caught by", "twin")


def render(rows: list[tuple[Attack, list[Played]]]) -> str:
    """The page as Markdown."""
    seeds = max((len(played) for _, played in rows), default=0)
    lines = [INTRO, "## What became of them", "", rate(rows), ""]
    lines.append(
        f"Up to {seeds} seed(s) each. *gain*: the largest, in nats per token below the twin's score. *rows*: the share "
        "of positions whose loss is not the twin's. *caught by*: all that was not quiet about the offender."
    )
    cells = [("attack", "what it does; what it is after", *HEAD[1:]), ("---",) * (len(HEAD) + 1)]
    for attack, played in rows:
        name, *rest = row(attack, played)
        cells.append((f"`{name}`", f"{attack.what} ({attack.gain})".replace("|", "/"), *rest))
    lines += ["", *("| " + " | ".join(line) + " |" for line in cells)]
    return "\n".join(lines) + "\n"
