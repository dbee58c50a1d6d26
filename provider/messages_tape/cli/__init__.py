"""The command ``messages-tape``: ``main.py`` parses the arguments; the other modules are the commands and helpers.

This folder imports only from folders listed before it: ``format/``, ``reading/``, ``secrets/``, ``core/``, ``files/``,
``http/`` and ``testing/``.
"""
