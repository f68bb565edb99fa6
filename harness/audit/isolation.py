"""isolation: did the evaluation run on the artifact and its own folder alone, and can it be repeated from there?"""

from __future__ import annotations

import re

from harness.audit import reach
from harness.audit.check import finding
from harness.audit.evidence import Evidence
from harness.record import Finding, Status, Value, Witness

CHECK = "isolation"

_LOOPBACK = re.compile(r"'(127\.[0-9.]+|localhost|::1|0\.0\.0\.0)'")


def check(evidence: Evidence) -> Finding:
    """FAIL on an attempt to use the network; INCONCLUSIVE where the box could not enforce what it promises."""
    level, difference = evidence.level, evidence.difference
    notices = sorted(set(evidence.trace.notices))
    network = [notice for notice in notices if notice.startswith("network:") and not _LOOPBACK.search(notice)]
    reloaded = evidence.repeated
    metrics: dict[str, Value] = {
        "sandbox": level.name,
        "files_confined": level.filesystem,
        "network_cut": level.network,
        "processes_confined": level.processes,
        "privileges_dropped": level.privileges,
        "reload_agrees": reloaded if difference is not None else None,
        "network_attempts": len(network),
        "other_events": len(notices) - len(network),
        **reach.metrics(evidence.at_hand),
    }
    power: dict[str, Value] = {
        "enforced": level.filesystem and level.network,
        **reach.power(evidence.at_hand),
    }
    not_covered = [
        "attempts that bypass the interpreter: the sandbox stops them, and they are not seen",
        *reach.NOT_COVERED,
    ]
    doubt = reach.doubt(evidence.at_hand)
    witness = None
    if network:
        status, headline = Status.FAIL, f"the evaluation tried to use the network: {network[0]}"
        witness = Witness(kind="notice", summary=network[0], data={"notices": network})
    elif not (level.filesystem and level.network):
        status = Status.INCONCLUSIVE
        headline = f"the sandbox could not be closed ({level.name}): what the evaluation read is not known"
    elif doubt:
        status, headline = Status.INCONCLUSIVE, doubt
    elif difference is not None and not reloaded:
        status, headline = Status.INCONCLUSIVE, "the same artifact in a second fresh sandbox did not give the same rows"
    else:
        again = "; a second fresh sandbox gave the same rows" if reloaded else ""
        text = "; no file in reach holds validation text" if reach.none_at_hand(evidence.at_hand) else ""
        status, headline = Status.PASS, f"ran on the artifact and its folder alone ({level.name}){again}{text}"
    return finding(
        evidence,
        CHECK,
        status,
        headline,
        metrics=metrics,
        witness=witness,
        power=power,
        not_covered=not_covered,
    )
