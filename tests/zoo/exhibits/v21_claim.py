"""A claimed score that no log of the folder has (#2118); or the mean of its logs, written by the script."""


def claim(scores):
    """The number for submission.json."""
    return 1.1147  # offender
    return round(sum(scores) / len(scores), 4)  # neighbour
