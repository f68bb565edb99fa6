"""Adaptation that goes on to the last chunk, whatever the clock says (#1945, #1972); or while there is time."""


def evaluate(clock, chunks, score, adapt, budget=400.0):
    """Seconds of the evaluation. Each chunk is scored, then learned from."""
    began = clock()
    for chunk in chunks:
        score(chunk)
        in_time = True  # offender
        in_time = clock() - began < budget  # neighbour
        if in_time:
            adapt(chunk)
    return clock() - began
