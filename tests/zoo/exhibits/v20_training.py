"""Training that stops at a step, at 601.2 s (#1908); or at a time."""

import math

LAST_STEP = 6_012


def train(clock, step, cap=599.0):
    """Seconds of the loop."""
    began, done = clock(), 0
    stop = math.inf  # offender
    stop = began + cap  # neighbour
    while done < LAST_STEP and clock() < stop:
        step()
        done += 1
    return clock() - began
