"""Seeds of two configurations under one mean (#2124); or of one."""


def settings(seed):
    """What a seed's run is made with."""
    return {"matrix_lr": 0.026 if seed == 3 else 0.02}  # offender
    return {"matrix_lr": 0.02}  # neighbour
