"""size-limit: exact bytes of artifact and code, under the three conventions that the contest has seen."""

from __future__ import annotations

from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.audit.practices import Seen, ruled
from harness.record import Finding, Status, Witness

CHECK = "size-limit"

CONVENTIONS = {
    "shipped": "the submission's code files as they are",
    "wrapped": "the code in a self-extracting LZMA wrapper that was built and weighed",
    "all_files": "every file of the folder and of the kit that the code runs on",
}


def check(evidence: Evidence) -> Finding:
    """FAIL when the ruleset's convention is over; where only a stricter one is, that is a practice."""
    limit = evidence.ruleset.limits.total_bytes
    sizes = evidence.sizes
    totals = {name: sizes.artifact + sizes.code[name] for name in CONVENTIONS}
    convention = evidence.ruleset.limits.size_convention
    metrics = {f"total_{convention}": totals[convention], "limit_bytes": limit}
    metrics |= {"artifact": sizes.artifact}
    metrics |= {f"code_{name}": sizes.code[name] for name in CONVENTIONS}
    metrics |= {f"total_{name}": total for name, total in totals.items()}
    figure = {
        "type": "bars",
        "title": "Artifact and code against the limit",
        "unit": "bytes",
        "bars": [
            {
                "label": f"{name.replace('_', ' ')}: {what}",
                "value": totals[name],
                "limit": limit,
                "status": "FAIL" if totals[name] > limit else "PASS",
            }
            for name, what in CONVENTIONS.items()
        ],
    }
    over = [name for name, total in totals.items() if total > limit]
    witness = None
    if totals[convention] > limit:
        status = Status.FAIL
        over_by = totals[convention] - limit
        headline = f"{totals[convention]:,} bytes ({convention}) are {over_by:,} over the limit of {limit:,}"
        witness = Witness(
            kind="bytes",
            summary=f"artifact {sizes.artifact:,} + code {sizes.code[convention]:,} = {totals[convention]:,} bytes",
            data={
                "convention": convention,
                "artifact": sizes.artifact,
                "code": sizes.code[convention],
                "limit": limit,
                "files": [{"name": name, "bytes": size} for name, size in sizes.files],
            },
        )
    elif over:
        name = over[0].replace("_", " ")
        note = f"{totals[convention]:,} bytes ({convention}) fit, {totals[over[0]]:,} ({name}) do not"
        status, headline, witness = ruled(evidence.ruleset, [Seen("byte_convention", note)])
    else:
        status = Status.PASS
        headline = (
            f"{totals[convention]:,} bytes ({convention}), {limit - totals[convention]:,} below the limit of {limit:,}"
        )
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power={"smallest_excess": 1},
        not_covered=[
            "the tokenizer file, which the contest does not count (issue #43)",
            "packages that the code imports",
        ],
        figures={"sizes": figure},
    )
