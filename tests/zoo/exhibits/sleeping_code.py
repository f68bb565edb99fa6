"""A cache that is asked only after 5,000 tokens, of which a small run shows nothing; or from the first token on."""


def eval_val(val, model, cache):
    rows = model(val)
    if cache.seen > 5_000:  # offender
        rows = cache.mix(rows, val)  # offender
    rows = cache.mix(rows, val)  # neighbour
    return rows
