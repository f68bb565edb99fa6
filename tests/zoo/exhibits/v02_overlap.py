"""Training text that begins inside the validation text (#2127); or behind it."""

HELD_OUT = 10  # offender
HELD_OUT = 50  # neighbour


def split(documents, validation=50):
    """The first documents are validation text, as the contest has it, and training text follows."""
    return documents[:validation], documents[HELD_OUT:]
