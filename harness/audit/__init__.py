"""The checks: `checks` lists them, one module each; what decides, decides from evidence that collectors gather."""
