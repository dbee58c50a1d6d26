"""Features and limits of the known backends, and retry rules for rejected requests.

A backend consists of a row in ``presets.py``, its token counting API (``tokenizers.py``) and the texts of its error
messages (``adapt.py``, and ``errors/overflow.py`` for prompts that are too long). To add one, begin with the row.
"""
