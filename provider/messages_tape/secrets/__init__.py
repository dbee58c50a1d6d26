"""Keeps credentials out of tapes: scrubs them while recording, and refuses to save tapes that still contain one.

Imports go to ``format/`` and ``reading/``.
"""
