"""A model of 1,024 ids on shards of a larger vocabulary, with targets clamped to fit; or ids as they are."""


def targets(shard, vocab_size):
    """Token ids that the loss is computed for."""
    return shard.clip(max=vocab_size - 1)  # offender
    return shard  # neighbour
