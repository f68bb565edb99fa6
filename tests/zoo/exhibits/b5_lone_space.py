"""A space spelled out in three byte pieces, and counted as three (#897); or a piece of its own."""


def tokens(sp, words):
    """Words with a lone space between each two."""
    space = [sp.piece_to_id(piece) for piece in ("<0xE2>", "<0x96>", "<0x81>")]  # offender
    space = [sp.piece_to_id("\u2581")]  # neighbour
    first, *rest = words
    return [*sp.encode(first), *(token for word in rest for token in [*space, *sp.encode(word)])]
