"""The referee: trains, scores and audits submissions to language-model compression contests."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.errors import HarnessError as HarnessError
    from harness.record import Finding as Finding
    from harness.record import Record as Record
    from harness.record import Status as Status

__version__ = "0.1.0"

__all__ = ["Finding", "HarnessError", "Record", "Status", "__version__"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("harness.errors" if name == "HarnessError" else "harness.record"), name)
