"""Backend response -> Message, unary (``response.py``) or as stream events (``stream.py``).

Both use the same tables, so the events of a stream add up to the Message. Facts about the request come only from
``options.py``.
"""
