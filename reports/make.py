"""Everything in this folder, made again: a record and a report for each submission, and the leaderboard.

    python reports/make.py [--only NAME] [harness run's options, such as --timeout 3600]
    python reports/make.py --tables
    python reports/make.py --pictures

`harness run` takes up the sealed artifact that an earlier run left in runs/NAME. Records are kept whole, on one line,
in reports/records/NAME.json: `harness report`, `compare` and `board` read them. What docs/submissions.md and the
submissions' own READMEs say was found stands between two comments and is written from these records, at the end or by
`--tables`. docs/report.png and docs/board.png are pictures of the pages here, taken in Chromium by `--pictures`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
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
#: Whose report is shown in docs/report.png: a leak whose interval leaves the measured score out.
PICTURED = "scored_slot"
#: Findings that a submission's README quotes, whatever they say; others where they are no PASS.
QUOTED = ("causality", "null-stream", "score-before-update")


def main() -> int:
    """Run, keep, render; the exit code is 1 when a submission left no record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="this submission alone; repeat it")
    parser.add_argument("--tables", action="store_true", help="write what the documents quote, and run nothing")
    parser.add_argument("--pictures", action="store_true", help="take the pictures in docs/, and run nothing")
    chosen, options = parser.parse_known_args()
    if chosen.tables:
        return quote()
    if chosen.pictures:
        return pictures()
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
    """Write what was found into docs/submissions.md and the submissions' READMEs."""
    records = read_records()
    between(HERE.parent / "docs" / "submissions.md", table(records))
    for name, record in records.items():
        between(HERE.parent / "submissions" / name / "README.md", paragraph(name, record, records))
    return 0


def read_records() -> dict[str, Any]:
    """The records, by the submission's name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("records/*.json"))}


def pictures() -> int:
    """Take the pictures in docs/ of the first screen of a report and of the board."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium on PATH; `make chromium` installs it")
    record, report = HERE / "records" / f"{PICTURED}.json", HERE / f"{PICTURED}.html"
    subprocess.run([*HARNESS, "report", str(record), "--out", str(report)], cwd=HERE.parent, check=True)
    for name, page in (("report", report), ("board", HERE / "index.html")):
        picture = HERE.parent / "docs" / f"{name}.png"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1250"]
        subprocess.run([browser, *words, f"--screenshot={picture}", page.as_uri()], check=True)
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
            f"| [{name}](../submissions/{name}/README.md) | {answer(record)} "
            f"| {record['score']['val_bpb']:.4f} | {estimate} | "
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
