"""Matches requests to recorded exchanges, records new exchanges, and explains mismatches.

Uses neither the network nor files. Imports go to ``secrets/`` and below.
"""
