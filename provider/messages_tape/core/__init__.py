"""Decides which recorded exchange answers a request, collects what is recorded, and explains what does not match.

Knows neither network nor files. Imports go to ``secrets/`` and below.
"""
