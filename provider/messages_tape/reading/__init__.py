"""Parses recorded responses: their events, the folded reply; and renders tapes as readable text.

This folder imports only from folders listed before it: ``format/``; and two modules of the provider: its SSE decoder,
and the fold of Messages events.
"""
