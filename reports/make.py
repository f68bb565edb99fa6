"""Everything in this folder, made again: a record and a report for each submission, and the leaderboard.

    python reports/make.py [--only NAME] [harness run's options, such as --timeout 3600]
    python reports/make.py --tables

`harness run` takes up the sealed artifact that an earlier run left in runs/NAME. Records are kept whole, on one line,
in reports/records/NAME.json: `harness report`, `compare` and `board` read them. What README.md and the submissions' own
READMEs say was found stands between two comments and is written from these records, at the end or by `--tables`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HARNESS = (sys.executable, "-m", "harness")

#: Verdicts of `harness run`: 0 pass, 1 violated, 3 incomplete evidence. Anything else left no record.
VERDICTS = (0, 1, 3)

#: Around what is written from the records.
BEGIN, END = "<!-- found: written by reports/make.py from reports/records -->", "<!-- end of what was found -->"
#: Findings that a submission's README quotes, whatever they say; others where they are no PASS.
QUOTED = ("causality", "null-stream", "score-before-update")


def main() -> int:
    """Run, keep, render; the exit code is 1 when a submission left no record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="this submission alone; repeat it")
    parser.add_argument("--tables", action="store_true", help="write what the READMEs quote, and run nothing")
    chosen, options = parser.parse_known_args()
    if chosen.tables:
        return quote()
    folders = sorted(path.parent for path in (HERE.parent / "submissions").glob("*/submission.py"))
    missing = []
    for folder in folders:
        if chosen.only and folder.name not in chosen.only:
            continue
        run = Path("runs") / folder.name
        command = [*HARNESS, "run", f"submissions/{folder.name}", "--out", str(run), *options]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode in VERDICTS:
            keep(HERE.parent / run / "record.json", folder.name)
        else:
            missing.append(folder.name)
    subprocess.run([*HARNESS, "board", "reports/records", "--out", "reports/index.html"], cwd=HERE.parent, check=True)
    quote()
    if missing:
        print(f"no record of: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def keep(record: Path, name: str) -> None:
    """Keep a record as reports/records/NAME.json and its report as reports/NAME.html."""
    kept = HERE / "records" / f"{name}.json"
    kept.parent.mkdir(exist_ok=True)
    body = json.loads(record.read_text(encoding="utf-8"))
    kept.write_text(
        json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    subprocess.run([*HARNESS, "report", str(kept), "--out", str(HERE / f"{name}.html")], cwd=HERE.parent, check=True)


def quote() -> int:
    """Write what was found into README.md and the submissions' READMEs."""
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("records/*.json"))}
    between(HERE.parent / "README.md", table(records))
    for name, record in records.items():
        between(HERE.parent / "submissions" / name / "README.md", paragraph(name, record, records))
    return 0


def between(path: Path, text: str) -> None:
    """Replace what stands between the two comments."""
    old = path.read_text(encoding="utf-8")
    new, count = re.subn(
        f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", lambda found: f"{BEGIN}\n{text}\n{END}", old, flags=re.S
    )
    if count != 1:
        raise SystemExit(f"{path}: the two comments around what was found have to stand in it once")
    path.write_text(new, encoding="utf-8")


def table(records: dict[str, Any]) -> str:
    """A row for each submission."""
    rows = [
        "| submission | score | BPB | honest estimate | what decided it |",
        "|---|---|---|---|---|",
    ]
    for name, record in records.items():
        findings = {finding["id"]: finding for finding in record["findings"]}
        worst = next(
            (one for status in ("FAIL", "UNRULED", "INCONCLUSIVE") for one in findings.values()
             if (one["status"], one["question"]) == (status, "score")),
            findings["causality"],
        )  # fmt: skip
        honest = record["score"]["honest_bpb"]
        estimate = f"{honest['estimate']:.4f}" if honest else ""
        rows.append(
            f"| [{name}](submissions/{name}) | {answer(record)} | {record['score']['val_bpb']:.4f} | {estimate} | "
            f"{worst['id']}: {worst['headline'].split('; ')[0].split('. ')[0]} |"
        )
    return "\n".join(rows)


def answer(record: dict[str, Any]) -> str:
    """What the record says of the score."""
    said: str = record["answers"]["score"]["answer"]
    return said


def paragraph(name: str, record: dict[str, Any], records: dict[str, Any]) -> str:
    """What was found in one submission."""
    score, honest = record["score"], record["score"]["honest_bpb"]
    where = f"{record['scale']} scale, `{record['data']['name']}` data, seed {record['seeds'][0]}, two CPU cores"
    text = f"Found by the harness ({where}): the score is **{answer(record)}**, {score['val_bpb']:.4f} BPB"
    if honest:
        low, high = honest["low"], honest["high"]
        text += f", about {honest['estimate']:.4f} with the future hidden (95 % interval {low:.4f} to {high:.4f})"
    if name != "baseline":
        text += f"; the [baseline](../baseline) has {records['baseline']['score']['val_bpb']:.4f}"
    lines = [f"{text}.", ""]
    for finding in record["findings"]:
        open_ = finding["status"] not in ("PASS", "NOT_APPLICABLE")
        if finding["id"] in QUOTED or (open_ and finding["question"] == "score"):
            lines.append(f"* {finding['id']} {finding['status']}: {finding['headline']}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
