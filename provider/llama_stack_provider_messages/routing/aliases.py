"""Resolves a requested model name to a served model.

Clients send fixed names (``claude-sonnet-4-5``), while the platform knows only ``provider_id/model``.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase


class Aliases:
    """The alias table of a configuration.

    Args:
        table: Names and patterns (``*``, ``?``) to model ids, in order.
        default_model: The model for names that match nothing else.

    Attributes:
        exact: The names of the table, without the patterns.
    """

    def __init__(self, table: Mapping[str, str], default_model: str | None = None) -> None:
        self.exact = {name: model for name, model in table.items() if not _is_pattern(name)}
        self._patterns = [(name, model) for name, model in table.items() if _is_pattern(name)]
        self._default = default_model

    def resolve(self, name: str, is_served: Callable[[str], bool]) -> str | None:
        """Return the model id for a requested name, or None if there is none.

        Order: exact alias, served model, first matching pattern, default model.

        Args:
            name: The model name of the request.
            is_served: Returns whether the platform serves a model of this name.
        """
        if name in self.exact:
            return self.exact[name]
        if is_served(name):
            return name
        for pattern, model in self._patterns:
            if fnmatchcase(name, pattern.replace("[", "[[]")):
                return model
        return self._default


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name
