"""A run of a script in a box, on data that the harness made."""
