"""Splits: which images train, which choose, which are tested. Knows ids and groups; never an image, never a
score.
"""
