"""Backends: features and limits of the known ones, retry rules for rejected requests, and counting tokens.

A backend begins with a row in ``presets.py``, which also lists every other place with facts of one backend. This room
imports neither ``request/`` nor ``reply/``, which both import from it.
"""
