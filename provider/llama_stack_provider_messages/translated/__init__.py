"""The translated lane: a Messages request as chat completions through the platform's inference, and the answer back.

``backend.py`` is the lane; the translation itself is pure and lives in ``translation/``. Here is what it needs from the
world: the profile of a backend (``profiles.py``), token counts (``counting.py``), the key of the signatures
(``signing_key.py``) and media from addresses (``media/``). Nothing imports from here but ``impl.py``.
"""
