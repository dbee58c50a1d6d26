"""Translates any failure into a ``MessagesError`` without secrets.

``exceptions.py`` translates exceptions: of inference providers, and of our own HTTP requests. ``response.py`` tells an
upstream's success from its failure and translates its HTTP error responses, ``body.py`` the error in a body (with
``overflow.py`` for the many wordings of a prompt that is too long), and ``redaction.py`` removes keys and addresses
from texts. Callers catch the failures and decide about retries. Imports go from here to ``headers/``, ``stack/`` and
the API package only.
"""
