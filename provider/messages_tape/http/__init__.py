"""The two HTTP adapters: a transport for httpx and httpx2, and a server that replaces the upstream.

Both use the same sessions and tape files. Imports go to ``files/`` and below.
"""
