"""Loads the media of a request before it is translated: the text of PDFs, and the content of URLs.

``loader.py`` is the entry point. ``fetch.py`` is limited in size, time, redirects and target addresses. A PDF is read
in a child process (``pdf_texts.py``, ``pdf_child.py``), which can be limited and killed. ``fair_queue.py`` limits what
runs for all requests together. Imports go to ``translation/`` and below.
"""
