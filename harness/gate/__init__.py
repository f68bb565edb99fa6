"""The gate: what a pull request changed, and what that must pass. Rules and code come from the base, never the head."""
