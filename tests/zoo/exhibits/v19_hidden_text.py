"""Data in a text file beside the code, which nobody counts (#1412, #1514); or hardly any."""

BESIDE = 200_000  # offender
BESIDE = 100  # neighbour


def ship(folder, table):
    """Write what the script reads beside its weights."""
    (folder / "notes.txt").write_bytes(table[:BESIDE])
