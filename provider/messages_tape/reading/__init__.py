"""Parses recorded bodies and streams: their events, the folded message, and readable text.

Imports go to ``format/``, and to the ``fold`` of Messages events in the translation.
"""
