"""The record and replay harness under its earlier names: all public names of ``messages_tape``."""

from messages_tape import *  # noqa: F403 - a re-export
from messages_tape import TapeSelection as Deck
from messages_tape import __all__ as _names

__all__ = [*_names, "Deck"]  # noqa: PLE0604 - names of another module
