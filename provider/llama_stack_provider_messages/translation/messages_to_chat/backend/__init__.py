"""What kinds of backends take, and what to do when one refuses.

The facts of one backend are: its row in ``presets.py``, its way to count tokens (``tokenizers.py``), the words in which
it refuses (``adapt.py``, and ``errors/overflow.py`` for prompts that are too long). A new backend begins with a row.
"""
