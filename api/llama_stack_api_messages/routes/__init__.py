"""The HTTP routes: one file for each group of endpoints, the route class that all share, and the router with its list.

A new endpoint belongs here: a function, and a line in ``create_router`` (see ``route.py``). The implementation of
``Messages`` produces its replies, and ``streaming/`` sends streams. Imports go from here to ``streaming/`` and to the
package's root, never back.
"""

from .router import create_router

__all__ = ["create_router"]
