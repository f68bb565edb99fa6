"""A gate's result as Markdown, for a job summary and for a comment. Standard library only.

The result may have been forged by a pull request, so every text in it is shown as code: GitHub makes no link, mention,
image, HTML or reference to an issue of what stands between backticks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
#: What is said of submissions by their verdict: of one, of several.
_SAID = {
    "FAIL": ("breaks a rule", "break a rule"),
    "ERROR": (
        "could not be judged because the harness or its environment failed, which says nothing about it",
        "could not be judged because the harness or its environment failed, which says nothing about them",
    ),
    "BROKEN": ("is broken: it cannot be judged as it is", "are broken: they cannot be judged as they are"),
    "INCONCLUSIVE": (
        "is not decided by what was run, or its papers say too little, which is no accusation",
        "are not decided by what was run, or their papers say too little, which is no accusation",
    ),
    "NOT_RUN": ("was not run", "were not run"),
    "UNRULED": ("does what no ruling covers", "do what no ruling covers"),
    "PASS": ("passes", "pass"),
    "NOT_APPLICABLE": ("claims nothing that could be judged", "claim nothing that could be judged"),
}
#: Answers that a rule is violated by, as one would say them.
_VIOLATED = {
    "INVALID": "its score is **INVALID**",
    "OVER": "it is **OVER** the limits",
    "CONTRADICTED": "its claim is **CONTRADICTED**",
}
_ASIDE = {"papers": " (papers only: nothing was run)", "quick": " (quick tier: causality was not run)", "full": ""}
_BAD = ("FAIL", "BROKEN", "ERROR")
_WORST = ("FAIL", "ERROR", "BROKEN", "INCONCLUSIVE", "NOT_RUN", "UNRULED", "PASS", "NOT_APPLICABLE")
_SHOWN = 12  # findings of one submission
_TOLD = 5  # submissions that something is wrong with, each in a paragraph above the table


@dataclass(frozen=True)
class Links:
    """Addresses that whoever renders vouches for; none of them comes from a result.

    Attributes:
        records: of the archive of records and reports.
        jobs: of the run's jobs by name.
    """

    records: str | None = None
    jobs: Mapping[str, str] = field(default_factory=dict)

    def job(self, part: str) -> tuple[str, str] | None:
        """Name and address of the job that a part of the gate is; of the only one, where there is one."""
        if not part:
            return next(iter(self.jobs.items())) if len(self.jobs) == 1 else None
        return next((one for one in self.jobs.items() if one[0].split(" ")[-1] == part), None)


def code(text: object, limit: int = 200) -> str:
    """Any text as inline code on one line that no table, list or HTML around it is broken by.

    Backticks become apostrophes and bars broken bars, because within code neither can be escaped everywhere.
    """
    shown = plain(text, limit).replace("`", "'").replace("|", "¦").strip()
    return f"`{shown}`" if shown else "–"


def render(result: Mapping[str, Any], *, limit: int = SUMMARY_LIMIT, links: Links | None = None) -> str:
    """The summary of a gate.json that fits its schema; at most `limit` bytes of UTF-8.

    What is wrong, in words, with the lines that show it; one table, worst first; then, folded, what was found in each
    submission. What does not fit is left out from the end, and said to be.
    """
    ordered = _sorted(result["submissions"])
    head = _head(result, ordered, links or Links())
    tail = _tail(result)
    room = limit - len((head + tail).encode()) - 400
    rows, room = _fitting([_row(one) + "\n" for one in ordered], room)
    table = "| verdict | score | limits | claim | submission | BPB | what decided |\n" + "|---" * 7 + "|\n"
    table = table + "".join(rows) + "\n" if rows else ""
    blocks, room = _fitting([_details(one) for one in ordered], room)
    left = len(ordered) - min(len(rows), len(blocks))
    more = f"\n{left} more submissions do not fit here; gate.json and the records have them.\n" if left else ""
    return head + table + tail + "".join(blocks) + more


def _fitting(texts: Sequence[str], room: int) -> tuple[list[str], int]:
    """The first of some texts, as far as there is room for them, and the bytes that are left."""
    kept = []
    for text in texts:
        if len(text.encode()) > room:
            break
        room -= len(text.encode())
        kept.append(text)
    return kept, room


def _head(result: Mapping[str, Any], ordered: Sequence[Mapping[str, Any]], links: Links) -> str:
    lines = [_title(result), "", _opening(result, ordered), ""]
    for flag in result["flags"]:
        lines.append(f"- {'**blocks:** ' if flag['blocks'] else ''}{code(flag['text'], 1200)}")
    if result["flags"]:
        lines.append("")
    wrong = [one for one in ordered if one["verdict"] in _BAD]
    for one in wrong[:_TOLD]:
        lines += [*_told(one, links), ""]
    if len(wrong) > _TOLD:
        lines += [f"Of {len(wrong) - _TOLD} more the table says what is wrong.", ""]
    if result["complete"]:
        reason = "" if wrong else f", because {code(result['reason'], 400)}"
        lines += [f"Conclusion: **{result['conclusion']}**{reason}.", ""]
    return "\n".join([*lines, ""])


def _title(result: Mapping[str, Any]) -> str:
    verdict = result["verdict"]
    word = f"{_SIGNS[verdict]} {verdict}" if verdict else ""
    aside = _ASIDE[result["tier"]] if result["submissions"] else ""
    if not result["complete"]:
        return f"### Gate: not finished{f', so far {word}' if word else ''}{aside}"
    return f"### Gate: {word}{aside}" if word else "### Gate: no submission to judge"


def _opening(result: Mapping[str, Any], ordered: Sequence[Mapping[str, Any]]) -> str:
    """What there is to say of the whole pull request, in a sentence or a few."""
    counts = {verdict: sum(one["verdict"] == verdict for one in ordered) for verdict in _WORST}
    told = [_counted(verdict, count, len(ordered)) for verdict, count in counts.items() if count]
    if not result["complete"]:
        why = code(result["unfinished"], 1200) if result["unfinished"] else "it was stopped from outside"
        waiting = next((one for one in result["submissions"] if one["verdict"] is None), None)
        where = f" {_where(waiting, sum(counts.values()), len(ordered))}" if waiting else ""
        found = f" Until then: {'; '.join(told)}." if told else ""
        return f"**The gate did not come to its end:** {why}.{where}{found} This is no pass."
    if any(flag["blocks"] for flag in result["flags"]):
        told.insert(0, "this pull request has to be split, as it changes what judges it and submissions at once")
    if not told:
        return "This pull request changes no folder that the gate judges."
    sentence = f"{'; '.join(told)}."
    fine = " Nothing here stops this pull request." if result["exit_code"] == 0 else ""
    return sentence[:1].upper() + sentence[1:] + fine


def _where(waiting: Mapping[str, Any], judged: int, count: int) -> str:
    """How far a gate came that did not come to its end."""
    done = f" ({waiting['stages'][-1]['name']} done)" if waiting["stages"] else ""
    were = "was" if judged == 1 else "were"
    return f"{judged} of {count} submissions {were} judged; the next is {code(waiting['path'], 160)}{done}."


def _counted(verdict: str, count: int, of: int) -> str:
    one, several = _SAID[verdict]
    if of == 1:
        return f"the submission {one}"
    if count == of:
        return f"all {of} submissions {several}"
    return f"{count} of {of} submissions {one if count == 1 else several}"


def _told(one: Mapping[str, Any], links: Links) -> list[str]:
    """What is wrong with a submission, the lines that show it, and where to read on."""
    said = [(_VIOLATED[reply["answer"]], reply["sentence"]) for reply in one["answers"] if reply["answer"] in _VIOLATED]
    told = "; ".join(f"{word}, because {code(sentence, 600)}" for word, sentence in said)
    lines = [f"{code(one['path'], 160)}: {told or code(one['headline'], 600)}.", ""]
    stages = one["stages"]
    shown = [place for item in (stages[-1]["findings"] if stages else []) if item["status"] == "FAIL"
             for place in item["places"]]  # fmt: skip
    unique = [place for index, place in enumerate(shown) if place not in shown[:index]]
    lines += [f"> {_place(place)}  " for place in unique[:_SHOWN]]
    if unique:
        lines.append("")
    return [*lines, _reading(one, links)]


def _place(place: Mapping[str, Any]) -> str:
    """A line of a file, as one quotes it."""
    text = f": {code(place['text'], 250)}" if place["text"] else ""
    return f"{code(place['file'], 240)}, line {place['line']}{text}"


def _reading(one: Mapping[str, Any], links: Links) -> str:
    """Where the report and the log of a submission are."""
    record = next((stage["record"] for stage in reversed(one["stages"]) if stage["record"]), None)
    report = code(record.rpartition("/")[0] + "/report.html", 240) if record else ""
    place = f"[the records of this run]({links.records})" if links.records else "the records"
    told = [f"the report is {report} in {place}"] if report else []
    if (job := links.job(one["part"])) is not None:
        told.append(f"the log is that of [the job]({job[1]}) {code(job[0], 100)}")
    text = "; ".join(told) or "there is no report of it"
    return text[:1].upper() + text[1:] + "."


def _tail(result: Mapping[str, Any]) -> str:
    revisions, harness, lines = result["revisions"], result["harness"], []
    if result["tier"] != "full" and result["not_run"]:
        left_out = ", ".join(code(name, 40) for name in result["not_run"])
        lines += [f"Not looked at: {left_out}. Nobody is cleared of those.", ""]
    commit = f" at {code(harness['commit'][:12])}" if harness["commit"] else ""
    lines += [
        f"Head {code(revisions['head'][:12])} against {code(revisions['merge_base'][:12])};"
        f" harness {code(harness['version'], 40)}{commit}, rules {code(result['ruleset']['name'], 60)}.",
        "",
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
    quoted = [f"- {code(item['id'], 60)}: {_place(place)}" for item in found[:_SHOWN] for place in item["places"]]
    if quoted:
        lines += ["", *quoted]
    return "\n".join([*lines, "", "</details>", ""])


def _sorted(submissions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first, and by path."""
    return sorted(submissions, key=lambda one: (_WORST.index(one["verdict"] or "NOT_RUN"), one["path"]))


def _html(text: object) -> str:
    """Text inside an HTML element of a comment, where Markdown is not read but mentions are: only letters are kept."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_./ ") else "?" for c in plain(text, 160))
