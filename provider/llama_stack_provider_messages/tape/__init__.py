"""The record and replay harness under its earlier name: all public names of ``messages_tape``."""

from messages_tape import *  # noqa: F403 - a re-export
from messages_tape import __all__ as __all__
