"""A chat request -> a Messages request; ``request.py`` is the list of the steps, in order.

``unsupported.py`` refuses what has no equal. What the answer has to look like is kept in ``reply/options.py``.
"""
