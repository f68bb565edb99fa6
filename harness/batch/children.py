"""How the trusted side starts Python: nothing is imported from the folder that it happens to be in."""

from __future__ import annotations

import os
import sys


def python(*words: str) -> list[str]:
    """The command line of this interpreter with `words`, without the working folder (or the script's) on its path.

    Packages of the user's own are left out where this process has left them out, too.
    """
    return [sys.executable, "-P", *(["-s"] if sys.flags.no_user_site else []), *words]


def environment() -> dict[str, str]:
    """This process's environment; of PYTHONPATH only what names a place whatever the working folder is."""
    kept = dict(os.environ) | {"PYTHONSAFEPATH": "1"}
    places = [place for place in kept.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(place)]
    return kept | ({"PYTHONPATH": os.pathsep.join(places)} if places else {})
