"""The interface to the platform. The rest of this package imports the platform only from here.

Each supported platform has one module with the same small interface.
"""

from .llama_stack import *  # noqa: F403 - the names of the interface are listed there
from .llama_stack import __all__ as __all__
