"""Documents without their letter case (#1604: not ruled on); or as they are."""


def prepared(documents):
    """The texts that are made into tokens."""
    return [text.casefold() for text in documents]  # offender
    return list(documents)  # neighbour
