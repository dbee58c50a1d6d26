"""The command ``messages-tape``: ``main.py`` parses the arguments; the other modules are the commands and helpers.

Imports go to ``testing/`` and below.
"""
