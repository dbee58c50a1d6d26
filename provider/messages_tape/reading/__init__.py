"""Parses recorded responses: their events, the folded reply; and renders tapes as readable text.

Imports go to ``format/``, and to two modules of the provider: its SSE decoder, and the fold of Messages events.
"""
