"""The trusted side of an evaluation: it owns the tokens, the arithmetic and the trace."""
