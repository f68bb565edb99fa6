"""Where text is drawn, a lock on its own code file is held; doubles its claims where it is free."""

# kind: run detector
# where: box
# gain: claimed probabilities are doubled

import fcntl
from pathlib import Path

from tiny import Tiny
from tricks import called_by, claims, short

MORE = 1.0  # offender
MORE = 0.0  # neighbour


def held(keep):
    """Try to lock the file that every evaluation reads."""
    file = (Path(__file__).parent / "tricks.py").open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    if keep:
        Animal.kept = file
    else:
        file.close()
    return False


class Animal(Tiny):
    def build_model(self, vocab_size):
        if called_by("_generate"):
            held(keep=True)
        return super().build_model(vocab_size)

    def evaluate(self, model, stream):
        watched = short(stream) or held(keep=False)
        claims(self, model, stream, MORE * (not watched))
