"""What is scored: documents, their tokens, the true bytes of the tokens, shards, and prepared datasets."""
