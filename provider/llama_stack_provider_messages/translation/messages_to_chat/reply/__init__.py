"""Backend response -> Message, unary (``response.py``) or as stream events (``stream.py``).

Both use the same parts, so the events of a stream add up to the Message: text, reasoning, calls, stop reason and usage
each have a module. Facts about the request come only from ``options.py``; this room does not import ``request/``.
"""
