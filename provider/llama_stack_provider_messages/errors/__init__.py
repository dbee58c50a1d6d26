"""Any failure -> a ``MessagesError`` without secrets.

``exceptions.py`` reads what inference providers raise, ``response.py`` an upstream's HTTP response, ``body.py`` the
error in its body (with ``overflow.py`` for the many ways to say that a prompt is too long), and ``redaction.py`` takes
keys and addresses out of texts. Where a failure is caught, and what is tried instead, is decided elsewhere. Imports go
from here to ``stack/`` and to the API package only.
"""
