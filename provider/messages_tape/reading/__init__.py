"""Parses recorded responses: their events, the folded reply; and renders tapes as readable text.

Imports go to ``format/``, and to the ``fold`` of Messages events in the translation.
"""
