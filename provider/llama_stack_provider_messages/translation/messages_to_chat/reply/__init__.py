"""The answer of a backend -> a Message, whole (``response.py``) or as events (``stream.py``).

Both read the same tables, so that the events of a stream add up to the Message. Nothing here knows the request, but for
what ``options.py`` keeps of it.
"""
