"""A gate's result as Markdown, for a job summary and for a comment. Standard library only.

The result may have been forged by a pull request, so every text in it is shown as code: GitHub makes no link, mention,
image, HTML or reference to an issue of what stands between backticks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.text import bpb, finite, plain

#: Characters that GitHub takes in a comment (65,536), less what is put around the summary.
COMMENT_LIMIT = 60_000
#: Bytes that GitHub takes in a job summary, less some room.
SUMMARY_LIMIT = 1_000_000

_SIGNS = {
    "FAIL": "❌",
    "ERROR": "⚠️",
    "BROKEN": "🚫",
    "INCONCLUSIVE": "❔",
    "NOT_RUN": "➖",
    "UNRULED": "⚖️",
    "PASS": "✅",
    "NOT_APPLICABLE": "➖",
}
_SENTENCES = {
    0: "Nothing here stops this pull request.",
    1: "A rule is violated, or the pull request has to be split.",
    2: "A submission is broken: it cannot be judged as it is.",
    3: "What was run does not decide it, or the papers say too little; this is no accusation.",
    4: "The harness or its environment failed; this says nothing about the submission.",
}
_WORST = ("FAIL", "ERROR", "BROKEN", "INCONCLUSIVE", "NOT_RUN", "UNRULED", "PASS", "NOT_APPLICABLE")
_SHOWN = 12  # findings of one submission


def code(text: object, limit: int = 200) -> str:
    """Any text as inline code on one line that no table, list or HTML around it is broken by.

    Backticks become apostrophes and bars broken bars, because within code neither can be escaped everywhere.
    """
    shown = plain(text, limit).replace("`", "'").replace("|", "¦").strip()
    return f"`{shown}`" if shown else "–"


def render(result: Mapping[str, Any], *, limit: int = SUMMARY_LIMIT) -> str:
    """The summary of a gate.json that fits its schema; at most `limit` bytes of UTF-8.

    One table, worst first; then, folded, what was found in each submission. What does not fit is left out from the end,
    and said to be.
    """
    head = _head(result)
    blocks = [_details(one) for one in _sorted(result["submissions"])]
    kept: list[str] = []
    room = limit - len(head.encode()) - 200
    for index, block in enumerate(blocks):
        room -= len(block.encode())
        if room < 0:
            kept.append(
                f"\n{len(blocks) - index} more submissions do not fit here; gate.json and the records have them.\n"
            )
            break
        kept.append(block)
    return head + "".join(kept)


def _head(result: Mapping[str, Any]) -> str:
    revisions, harness = result["revisions"], result["harness"]
    verdict = result["verdict"]
    lines = [f"### Gate: {_SIGNS[verdict]} {verdict}" if verdict else "### Gate: no submission to judge", ""]
    if not result["complete"]:
        lines += ["**The gate did not come to its end; what follows is what it had found until then.**", ""]
    else:
        lines += [_SENTENCES.get(result["exit_code"], "") if result["submissions"] or result["exit_code"] else
                  "This pull request changes no folder that the gate judges.", ""]  # fmt: skip
        lines += [f"Conclusion: **{result['conclusion']}**, {code(result['reason'], 400)}.", ""]
    for flag in result["flags"]:
        lines.append(f"- {'**blocks:** ' if flag['blocks'] else ''}{code(flag['text'], 1200)}")
    if result["flags"]:
        lines.append("")
    if result["submissions"]:
        lines += ["| verdict | score | limits | claim | submission | BPB | what decided |", "|---" * 7 + "|"]
        lines += [_row(one) for one in _sorted(result["submissions"])]
        lines.append("")
    if result["tier"] == "quick" and result["not_run"]:
        left_out = ", ".join(code(name, 40) for name in result["not_run"])
        lines += [f"The quick tier does not look at {left_out}: it clears nobody of those.", ""]
    commit = f" at {code(harness['commit'][:12])}" if harness["commit"] else ""
    lines += [
        f"Head {code(revisions['head'][:12])} against {code(revisions['merge_base'][:12])};"
        f" harness {code(harness['version'], 40)}{commit}, rules {code(result['ruleset']['name'], 60)}.",
        "",
    ]
    return "\n".join(lines)


def _row(one: Mapping[str, Any]) -> str:
    verdict = one["verdict"]
    word = f"{_SIGNS[verdict]} {verdict}" if verdict else "not finished"
    measured = finite(one["val_bpb"])
    score = bpb(measured) if measured is not None else ""
    found = {reply["question"]: reply["answer"] for reply in one["answers"]}
    answers = " | ".join(found.get(question, "–") for question in ("score", "limits", "claim"))
    return f"| {word} | {answers} | {code(one['path'], 160)} | {score} | {code(one['headline'], 240)} |"


def _details(one: Mapping[str, Any]) -> str:
    lines = ["<details><summary>" + _html(one["path"]) + "</summary>", ""]
    if one["before"]:
        lines += [f"Renamed from {code(one['before'])}.", ""]
    for reply in one["answers"]:
        lines.append(f"- {reply['question']}: **{reply['answer']}**, {code(reply['sentence'], 600)}")
    for stage in one["stages"]:
        taken = {"run": "", "resumed": " (from this gate's interrupted run)", "cache": " (from a cache)"}
        lines.append(f"- {stage['name']}: {stage['verdict']}{taken[stage['source']]}, {code(stage['headline'], 400)}")
    found = one["stages"][-1]["findings"] if one["stages"] else []  # later stages repeat what earlier ones found
    if found:
        lines += ["", "| status | check | |", "|---|---|---|"]
        lines += [f"| {item['status']} | {code(item['id'], 60)} | {code(item['headline'], 400)} |"
                  for item in found[:_SHOWN]]  # fmt: skip
    if len(found) > _SHOWN:
        lines += ["", f"and {len(found) - _SHOWN} more in the record"]
    return "\n".join([*lines, "", "</details>", ""])


def _sorted(submissions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first, and by path."""
    return sorted(submissions, key=lambda one: (_WORST.index(one["verdict"] or "NOT_RUN"), one["path"]))


def _html(text: object) -> str:
    """Text inside an HTML element of a comment, where Markdown is not read but mentions are: only letters are kept."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_./ ") else "?" for c in plain(text, 160))
