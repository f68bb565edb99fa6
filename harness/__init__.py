"""The referee: trains, scores and audits submissions to language-model compression contests."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import HarnessError as HarnessError
    from harness.library.models import assert_causal as assert_causal
    from harness.library.models import audit_model as audit_model
    from harness.library.report import Report as Report
    from harness.library.scorers import Scorer as Scorer
    from harness.library.scorers import audit_scorer as audit_scorer
    from harness.record import Finding as Finding
    from harness.record import Record as Record
    from harness.record import Status as Status

__version__ = "0.1.0"

__all__ = [
    "Finding", "HarnessError", "Record", "Report", "Scorer", "Status", "__version__", "assert_causal", "audit_model",
    "audit_scorer",
]  # fmt: skip

#: Where a name is, if not among the records.
_HOMES = {
    "HarnessError": "harness.errors",
    "Report": "harness.library.report",
    "Scorer": "harness.library.scorers",
    "assert_causal": "harness.library.models",
    "audit_model": "harness.library.models",
    "audit_scorer": "harness.library.scorers",
}


def __getattr__(name: str) -> Any:
    """A name of `__all__`, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "harness.record")), name)
