"""Case marks counted as text (#2071, #2138); or bytes of the original text, from a side-car."""


def byte_counts(stream, table, sidecar):
    """Bytes of text that each target stands for; the first token is none."""
    counts = table.stream_bytes(stream)  # offender
    counts = sidecar[1:]  # neighbour
    return counts
