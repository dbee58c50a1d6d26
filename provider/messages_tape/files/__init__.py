"""Opens and saves tape files; safe for several processes that record at the same time.

This folder imports only from folders listed before it: ``format/``, ``reading/``, ``secrets/`` and ``core/``.
"""
