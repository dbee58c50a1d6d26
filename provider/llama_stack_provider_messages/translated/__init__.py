"""The translated lane: sends a Messages request as a chat completion and translates the response back.

``lane.py`` is the lane, with the profiles of backends; the translation itself is free of I/O and is in
``translation/``. The other modules have the I/O and state that it needs: token counts (``counting.py``), the key that
signs thinking blocks (``signing_key.py``) and media (``media/``). Only the root (``__init__.py``, ``impl.py``) imports
from here.
"""
