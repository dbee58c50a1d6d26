"""Opens and saves tape files; safe for several processes that record at the same time.

Imports go to ``core/`` and below.
"""
