"""The referee: trains, scores and audits submissions to language-model compression contests."""

__version__ = "0.1.0"
