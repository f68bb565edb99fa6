"""The evaluation stops before the text does (#1835, #2109); or goes on to its last token."""

MOST = 2_000


def targets(tokens):
    """Positions that are scored."""
    return range(1, min(tokens, MOST))  # offender
    return range(1, tokens)  # neighbour
