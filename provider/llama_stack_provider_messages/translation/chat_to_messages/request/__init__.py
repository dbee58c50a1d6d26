"""Chat request -> Messages request; ``request.py`` lists the steps in order.

Each step is a module: the tools (``tools.py``, ``schemas.py``), the messages (``messages.py`` reads them,
``content.py`` translates their parts, ``history.py`` orders the turns), ``thinking.py`` and ``settings.py``.
``unsupported.py`` rejects or drops fields without an equivalent. Options for the reply are in ``reply/response.py``.
"""
