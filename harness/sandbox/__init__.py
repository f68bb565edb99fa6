"""The box that a submission runs in, and the wire between it and the referee."""
