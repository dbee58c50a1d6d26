"""The translated lane: sends a Messages request as a chat completion and translates the response back.

``backend.py`` is the lane; the translation itself is free of I/O and is in ``translation/``. The other modules have the
I/O and state that it needs: the profile of a backend (``profiles.py``), token counts (``counting.py``), the signing key
(``signing_key.py``) and media from URLs (``media/``). Only ``impl.py`` imports from here.
"""
