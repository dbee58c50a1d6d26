"""The command ``messages-tape``: ``main.py`` reads the arguments, each other module is a command or what they share.

Imports go to ``testing/`` and below.
"""
