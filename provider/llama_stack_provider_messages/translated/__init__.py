"""The translated lane: sends a Messages request as a chat completion and translates the response back.

``lane.py`` is the lane, with the profiles of backends; the translation itself is free of I/O and is in
``translation/``. ``chat_backend.py`` sends the request, over HTTP or through the platform's provider, and ``chunks.py``
decodes the chunks of its response. The other modules have the I/O and state that the lane needs: token counts
(``counting.py``), the key that signs thinking blocks (``signing_key.py``) and media (``media/``). Only the root
(``__init__.py``, ``impl.py``) imports from here.
"""
