"""The two HTTP adapters: a transport for httpx and httpx2, and a server that replaces the upstream.

Both use the same sessions and tape files.

This folder imports only from folders listed before it: ``format/``, ``reading/``, ``secrets/``, ``core/`` and
``files/``.
"""
