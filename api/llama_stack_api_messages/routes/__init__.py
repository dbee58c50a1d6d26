"""The HTTP routes: one file for each group of endpoints, and the route class that all of them share.

A new endpoint belongs here. The implementation of ``Messages`` produces its replies, and ``streaming/`` sends streams.
Imports go from here to ``streaming/`` and to the package's root, never back.
"""

from .router import create_router

__all__ = ["create_router"]
