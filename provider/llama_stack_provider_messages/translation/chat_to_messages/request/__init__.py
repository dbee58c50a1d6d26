"""Chat request -> Messages request; ``request.py`` lists the steps in order.

``unsupported.py`` rejects fields without an equivalent. Options for the reply are in ``reply/options.py``.
"""
