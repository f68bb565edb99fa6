"""Submissions with a submission.py: train, seal, score, and collect the evidence that the checks judge.

`collect.run` is the way through: data, training, sealing, evaluations, checks, record.
"""
