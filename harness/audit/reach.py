"""What the checks say of validation text that a box could read: shared by artifact-independence and isolation."""

from __future__ import annotations

from harness.corpus.at_hand import AtHand, Held
from harness.corpus.passages import RUN
from harness.record import Value, Witness

#: Up to this share, text at hand is said but decides nothing: known by heart, it saves 0.0035 nats a token where
#: tokens cost 3.5, less than the 0.005 that a record has to be better by. Licences and maxims recur everywhere.
TRACE = 0.001

#: From this share on, a submission's own files hold the validation text; below it they may quote what others quote.
HELD = 0.01

NOT_COVERED = [
    "validation text in compressed, encrypted or encoded form, and programs and libraries, which are not searched",
    f"passages of fewer than {RUN} letters and digits (about 13 words), and paraphrases",
]


def metrics(at: AtHand | None) -> dict[str, Value]:
    """Shares found, None where nobody looked."""
    return {
        "readable_share": at.share if at else None,
        "readable_documents": at.documents if at else None,
        "own_share": at.own_share if at else None,
    }


def power(at: AtHand | None) -> dict[str, Value]:
    """What would have been seen."""
    if at is None:
        return {}
    return {
        "shortest_passage": RUN,
        "looked_for": at.looked_for,
    }


def none_at_hand(at: AtHand | None) -> bool:
    """Whether files were searched and not one holds a passage."""
    return at is not None and at.scanned_files > 0 and not at.share and not at.own_share


def doubt(at: AtHand | None) -> str:
    """Why validation text may have been read from the machine, in words; "" where no more than a trace is there."""
    if at is None or not at.scanned_files:
        return "the files that a sandbox can read were not searched for validation text"
    if at.share > TRACE:
        return (
            f"{at.share:.1%} of the validation text lies in files that every box can read:"
            f" {_names(at.files)}; whether they were read is not known"
        )
    return ""


def own_doubt(at: AtHand | None) -> str:
    """The same of a submission's own files, where they hold more than a trace."""
    if at is None or at.own_share <= TRACE:
        return ""
    return f"the submission's own files hold {at.own_share:.2%} of the validation text: {_names(at.own_files)}"


def held(at: AtHand | None) -> Witness | None:
    """The witness that a submission's own files hold the validation text; None where they do not."""
    if at is None or at.own_share < HELD:
        return None
    worst = at.own_files[0]
    return Witness(
        kind="text",
        summary=f"{worst.path} holds {worst.share:.1%} of the validation text, such as: {worst.passage}",
        data={
            "files": [[one.path, round(one.share, 6)] for one in at.own_files],
            "file": worst.path,
            "document": worst.document,
            "passage": worst.passage,
            "size": worst.size,
        },
    )


def _names(files: tuple[Held, ...]) -> str:
    names = ", ".join(one.path for one in files[:3])
    return names + (" and others" if len(files) > 3 else "")
