"""Replay: do again, from the sealed artifact and in fresh boxes, just what a finding's witness says, and compare."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path

from harness.adapters.collect import gather
from harness.adapters.options import Options
from harness.adapters.training import Sealed
from harness.audit.checks import judge
from harness.audit.evidence import PreviousRecord
from harness.audit.replays import Again, Replay, outcome, unchanged, wanted
from harness.corpus.dataset import Dataset
from harness.environment import need_run
from harness.errors import UsageError
from harness.folder import Folder
from harness.progress import Progress
from harness.record import ALLOWED, Record, Witness
from harness.referee.source import ALTERNATIVE, Probe


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
        options: ruleset and sandbox; the check, the scale, the nonce and the limits come from the record.
        progress: told what happens.

    Raises:
        UsageError: no such finding, it has no witness, or something is not what the record is about.
    """
    need_run()
    recorded, witness, again = wanted(record, finding_id)
    sealed = _unchanged(record, artifact, folder, dataset)
    options = _as_recorded(record, witness, finding_id, options)
    with tempfile.TemporaryDirectory(prefix="harness-replay-") as scratch:
        evidence = gather(
            folder,
            dataset,
            sealed,
            record.seeds[0],
            Path(scratch),
            options,
            progress,
            probes=_probes(finding_id, witness, again),
        )
        (now,) = judge(evidence, [finding_id])
    return outcome(recorded, now)


def _as_recorded(record: Record, witness: Witness, finding_id: str, options: Options) -> Options:
    """The options of the recorded run, for one check."""
    limits = record.environment.get(ALLOWED)
    limits = limits if isinstance(limits, dict) else {}
    before = record.score.per_seed if record.score else []
    options = dataclasses.replace(
        options,
        checks=[finding_id],
        scale=record.scale,
        ranks=int(str(record.environment.get("ranks", 1))),
        device="cuda" if record.environment.get("device") == "cuda" else "cpu",
        timeout=float(limits["seconds"]) if "seconds" in limits else options.timeout,
        memory_bytes=int(limits.get("memory_bytes", options.memory_bytes)),
        earlier=tuple(score for score in before if score.seed != record.seeds[0]),
    )
    if record.audit:
        options = dataclasses.replace(options, audit_seed=record.audit.seed, depth=record.audit.depth)
    data = witness.data
    if witness.kind == "null":
        options = dataclasses.replace(options, null_source=data.get("null_source", "model"))
    elif witness.kind == "seeds" and record.score:
        # That the record to beat is of the same text was judged then; the witness says what it scored.
        name, values = str(data["previous"]["name"]), [float(value) for value in data["previous"]["val_bpb"]]
        previous = PreviousRecord(name, values, record.score.tokens, record.score.bytes, record.scale)
        options = dataclasses.replace(options, previous=previous)
    return options


def _probes(finding_id: str, witness: Witness, again: Again) -> list[Probe] | None:
    """The flips that a witness says; None for those that follow from the audit's nonce.

    What the rules forbid about updates is said where flips moved nothing, so it takes all of them to say it again.
    """
    data = witness.data
    if again is Again.FLIP:
        return [
            Probe(
                "swap" if witness.kind == "swap" else "suffix",
                int(data["position"]),
                token=int(data["new_token"]),
                shift=int(data["shift"]),
                token_class=str(data.get("token_class", "")),
                split=bool(data.get("split", True)),
                others=tuple((int(position), int(token)) for position, token in data.get("others", ())),
            )
        ]
    if again is Again.TOKENS:
        return [
            Probe("swap", int(data["position"]), token=int(token), token_class=ALTERNATIVE) for token in data["tokens"]
        ]
    ruled = again is Again.RULED and finding_id in ("score-before-update", "document-boundary")
    return None if again is Again.DRAWN or ruled else []


def _unchanged(record: Record, artifact: Path, folder: Folder, dataset: Dataset) -> Sealed:
    if record.artifact is None or not artifact.is_file():
        raise UsageError(f"no sealed artifact at {artifact}; a replay starts from the artifact that was judged")
    content = artifact.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != record.artifact.sha256:
        raise UsageError(
            f"{artifact} is not the artifact that the record is about: sha256 {record.artifact.sha256} in the record, "
            f"{sha256} there"
        )
    unchanged(str(folder.path), record.submission.sha256, folder.sha256, "give the judged version with --submission")
    unchanged(f"the data ({record.data.name})", record.data.sha256, dataset.sha256, "choose the judged with --data")
    return Sealed(artifact.resolve(), sha256, len(content), given=record.artifact.given)
