"""The two adapters to HTTP: a transport for httpx and httpx2, and a server in the place of an upstream.

Both use the same core and the same files. Imports go to ``files/`` and below.
"""
