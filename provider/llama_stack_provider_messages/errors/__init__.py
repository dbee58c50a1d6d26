"""Translates any failure into a ``MessagesError`` without secrets.

``exceptions.py`` translates the exceptions of inference providers, ``response.py`` an upstream's HTTP error response,
``body.py`` the error in its body (with ``overflow.py`` for the many wordings of a prompt that is too long), and
``redaction.py`` removes keys and addresses from texts. Callers catch the failures and decide about retries. Imports go
from here to ``stack/`` and to the API package only.
"""
