"""Replay: do again, from the sealed artifact and in fresh boxes, just what a finding's witness says, and compare."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness import audit
from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.training import Sealed
from harness.corpus.dataset import Dataset
from harness.errors import UsageError
from harness.folder import Folder
from harness.progress import Progress
from harness.record import Finding, Record
from harness.referee.source import ALTERNATIVE, Probe


@dataclass(frozen=True)
class Replay:
    """What a replay showed: the finding as recorded, the finding now, and whether the witness came out the same."""

    recorded: Finding
    now: Finding
    reproduced: bool
    why: str


def replay(
    record: Record,
    artifact: Path,
    finding_id: str,
    folder: Folder,
    dataset: Dataset,
    options: Options,
    progress: Progress,
) -> Replay:
    """Reproduce one finding's witness.

    Args:
        record: the record that holds the finding.
        artifact: the sealed artifact of that run.
        finding_id: the check's id.
        folder: the submission as it is now; its sha256 must be the recorded one.
        dataset: the data as it is now; likewise.
        options: ruleset, sandbox and limits; the check and the scale come from the record.
        progress: told what happens.

    Raises:
        UsageError: no such finding, it has no witness, or something is not what the record is about.
    """
    recorded = next((f for f in record.findings if f.id == finding_id), None)
    if recorded is None:
        known = ", ".join(f.id for f in record.findings)
        raise UsageError(f"the record has no finding {finding_id!r}; it has {known}")
    if recorded.witness is None:
        raise UsageError(f"{finding_id} is {recorded.status} and has no witness; there is nothing to replay")
    sealed = _unchanged(record, artifact, folder, dataset)
    options = dataclasses.replace(
        options,
        checks=[finding_id],
        scale=record.scale,
        ranks=int(str(record.environment.get("ranks", 1))),
        device="cuda" if record.environment.get("device") == "cuda" else "cpu",
    )
    if record.audit:
        options = dataclasses.replace(options, audit_seed=record.audit.seed, depth=record.audit.depth)
    data = recorded.witness.data
    probes: list[Probe] | None = []
    if recorded.witness.kind in ("suffix", "swap"):
        probes = [
            Probe(
                recorded.witness.kind,  # type: ignore[arg-type]  # narrowed by the line above
                int(data["position"]),
                token=int(data["new_token"]),
                shift=int(data["shift"]),
                token_class=str(data.get("token_class", "")),
                split=bool(data.get("split", True)),
                others=tuple((int(position), int(token)) for position, token in data.get("others", ())),
            )
        ]
    elif recorded.witness.kind == "kraft":
        probes = [
            Probe("swap", int(data["position"]), token=int(token), token_class=ALTERNATIVE) for token in data["tokens"]
        ]
    elif recorded.witness.kind in ("whole row", "draws"):
        probes = None  # places and tokens follow from the audit's nonce
    elif recorded.witness.kind == "null":
        options = dataclasses.replace(options, null_source=data.get("null_source", "model"))
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as scratch:
        evidence = gather(folder, dataset, sealed, record.seeds[0], Path(scratch), options, progress, probes=probes)
        (now,) = audit.judge(evidence, [finding_id])
    same = now.witness is not None and now.witness.data == data and now.status == recorded.status
    if same:
        why = f"{recorded.witness.summary}: seen again, to the last digit"
    elif now.witness is not None and now.status == recorded.status:
        why = f"the same offence, with other numbers: {now.witness.summary}"
    else:
        why = f"not seen again: {now.headline}"
    return Replay(recorded, now, same, why)


def _unchanged(record: Record, artifact: Path, folder: Folder, dataset: Dataset) -> Sealed:
    if record.artifact is None or not artifact.is_file():
        raise UsageError(f"no sealed artifact at {artifact}; a replay starts from the artifact that was judged")
    content = artifact.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != record.artifact.sha256:
        raise UsageError(f"{artifact} is not the artifact that the record is about (sha256 {sha256[:12]}…)")
    if folder.sha256 != record.submission.sha256:
        raise UsageError(
            f"{folder.path} has changed since the record was made; give the judged version with --submission"
        )
    if dataset.sha256 != record.data.sha256:
        raise UsageError(f"the data is not what the record was made on ({record.data.name}); choose it with --data")
    return Sealed(artifact.resolve(), sha256, len(content))
