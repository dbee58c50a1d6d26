"""Keeps credentials out of tapes: scrubs them while recording, and refuses to save tapes that still contain one.

This folder imports only from folders listed before it: ``format/`` and ``reading/``.
"""
