"""Unmodified contest scripts: opened, run at a tiny size in a box, watched, and judged like any other submission."""
