"""The checks for unmodified scripts. One module each; every one is a function of a `ScriptEvidence`."""
