"""The commands of ``messages-tape``, a module each; ``cli.py`` reads their arguments."""
