"""Keeps credentials out of tapes: what is taken out while recording, and what may not be saved.

Imports go to ``format/`` and ``reading/``.
"""
