"""A byte piece, <0xC3>, counted as its six characters (#1734); or as one byte."""

SPACE = "\u2581"


def tables(sp):
    """Bytes of each piece but for its leading space, whether it has one, and whether it is no text."""
    base, space, boundary = [], [], []
    for token in range(sp.vocab_size()):
        piece = sp.id_to_piece(token)
        control = sp.is_control(token) or sp.is_unknown(token) or sp.is_unused(token)
        size = len(piece.removeprefix(SPACE).encode())
        base.append(0 if control else size)  # offender
        base.append(0 if control else 1 if sp.is_byte(token) else size)  # neighbour
        space.append(piece.startswith(SPACE) and not control)
        boundary.append(control)
    return base, space, boundary


def count(tables, target, previous):
    base, space, boundary = tables
    return base[target] + (space[target] and not boundary[previous])
