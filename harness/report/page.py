"""What every HTML page shares: templates that escape."""

from __future__ import annotations

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.report.glossary import glossed
from harness.text import bpb, clean, label, number, prose

#: A page that fits a mail.
MAX_BYTES = 300_000


@functools.cache
def environment() -> Environment:
    """The templates of `harness/report/templates`: everything that enters them is escaped, nothing missing passes."""
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(clean=clean, prose=prose, number=number, label=label, bpb=bpb, glossed=glossed)
    return made
