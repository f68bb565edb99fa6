"""The text of a script, read and never run: wrappers opened, syntax rewritten for this Python."""
