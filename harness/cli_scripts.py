"""What `harness audit` and `harness replay` do with unmodified scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from harness import audit, rules
from harness.errors import UsageError
from harness.folder import safe_name
from harness.progress import Progress
from harness.record import Record
from harness.report import terminal
from harness.sandbox.box import Sandbox
from harness.scripts import judging
from harness.scripts.auditing import ScriptOptions, audit_script
from harness.scripts.opening import is_script
from harness.scripts.replaying import replay_script

__all__ = ["audit_scripts", "is_script", "overrides", "replay_script_record"]


def overrides(texts: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE texts as a mapping.

    Raises:
        UsageError: one is not of this form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--env {text}: write it as NAME=VALUE, such as --env TTT_ENABLED=1")
        found[name] = value
    return found


def audit_scripts(
    paths: Sequence[Path],
    out: Path | None,
    *,
    env: Sequence[str],
    explain: bool,
    ranks: int,
    checks: str,
    ruleset: str,
    strict: bool,
    fail_on: str | None,
    timeout: float | None,
    memory: float,
    sandbox: Sandbox,
    quiet: bool,
    as_json: bool,
    several: bool,
) -> list[Record]:
    """Audit scripts one after another, print each result, and return the records.

    Args:
        paths: record folders, pull requests' folders or files.
        out: where results go; runs/NAME/audit by default.
        env: KEY=VALUE texts, settings to audit instead of the submitted ones.
        explain: print the source lines behind each FAIL.
        ranks: processes that play the script together.
        checks: "all" or ids, comma-separated.
        ruleset: name or file.
        strict: UNRULED counts as a violation.
        fail_on: "incomplete": papers that show too little are exit code 3.
        timeout: seconds for one run of the script.
        memory: of one run, GB.
        sandbox: level of the box.
        quiet: no progress.
        as_json: print nothing but JSON on stdout.
        several: more than one thing is audited, so `out` gets a folder for each.
    """
    options = ScriptOptions(
        ruleset=rules.load(ruleset),
        env=overrides(env),
        sandbox=sandbox,
        strict=strict,
        fail_on_incomplete=fail_on == "incomplete",
        timeout=timeout,
        memory_bytes=int(min(memory, 3.0) * (1 << 30)),
        checks=_selected(checks),
        ranks=ranks,
    )
    records = []
    console = Console(stderr=as_json)
    for path in paths:
        name = safe_name(path.resolve().stem if path.is_file() else path.resolve().name)
        target = (out / name if several else out) if out else Path("runs") / name / "audit"
        with Progress(quiet=quiet) as progress:
            audited = audit_script(path, options, target, progress)
        records.append(audited.record)
        if as_json:
            continue
        terminal.summary(audited.record, console, report=target / "report.html")
        if explain:
            console.print()
            for line in audited.explanations or ("nothing failed; there is nothing to explain",):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    return records


def replay_script_record(
    record: Record, finding: str, path: Path, *, ruleset: str, sandbox: Sandbox, quiet: bool
) -> None:
    """Audit the script again as recorded; exit code 0 when the finding's witness is seen again."""
    options = ScriptOptions(ruleset=rules.load(ruleset), sandbox=sandbox)
    with Progress(quiet=quiet) as progress:
        reproduced, why = replay_script(record, finding, path, options, progress)
    click.echo(f"{'reproduced' if reproduced else 'NOT reproduced'}: {why}")
    raise SystemExit(0 if reproduced else 3)


def as_json_text(records: Sequence[Record]) -> str:
    """One record as an object, several as a list."""
    bodies = [record.model_dump(mode="json", by_alias=True) for record in records]
    return json.dumps(bodies[0] if len(bodies) == 1 else bodies, indent=2, allow_nan=False)


def _selected(checks: str) -> tuple[str, ...] | None:
    """Ids of checks; those that scripts have and adapters have not are known too."""
    if checks == "all":
        return None
    wanted = tuple(name.strip() for name in checks.split(",") if name.strip())
    known = {*audit.CHECKS, *judging.CHECKS}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(f"no check {', '.join(unknown) or checks!r}; known: {', '.join(sorted(known))}")
    return wanted
