"""For people who own the model and trust their own process: the flips and the bound of the harness, without the box.

`harness.assert_causal`, `audit_model`, `audit_scorer` and `Scorer` are what is meant to be used; docs/library.md has
examples. `models.py` plays modules, `scorers.py` whole evaluations, `flips.py` what both share; what is compared with
what, and what follows, is the referee's and the checks' own code.
"""
