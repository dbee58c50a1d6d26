"""Matches requests to recorded exchanges, records new exchanges, and explains mismatches.

Uses neither the network nor files.

This folder imports only from folders listed before it: ``format/``, ``reading/`` and ``secrets/``.
"""
