"""Everything in this folder, made again: a record and a report for each submission, and the leaderboard.

    python reports/make.py [--only NAME] [harness run's options, such as --timeout 3600]

`harness run` takes up the sealed artifact that an earlier run left in runs/NAME. Records are kept whole, on one line,
in reports/records/NAME.json: `harness report`, `compare` and `board` read them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HARNESS = (sys.executable, "-m", "harness")

#: Verdicts of `harness run`: 0 pass, 1 violated, 3 incomplete evidence. Anything else left no record.
VERDICTS = (0, 1, 3)


def main() -> int:
    """Run, keep, render; the exit code is 1 when a submission left no record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="this submission alone; repeat it")
    chosen, options = parser.parse_known_args()
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


if __name__ == "__main__":
    raise SystemExit(main())
