"""Calibration on training text after the cap (#1028, #1934); or inside it, in time that was kept for it (#1950)."""

RESERVE = 0.5  # offender
RESERVE = 12.0  # neighbour


def train(clock, step, calibrate, cap=600.0):
    """Steps until the cap, less what is kept for calibration."""
    began = clock()
    while clock() - began < cap - RESERVE:
        step()
    stopped = clock()
    calibrate()
    return stopped - began, clock() - began
