"""Which served model answers a requested name.

Clients insist on names of their own (``claude-sonnet-4-5``), the platform knows only ``provider_id/model``.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase


class Aliases:
    """The alias table of a configuration.

    Args:
        table: Names and patterns (``*``, ``?``) to model ids, in order.
        default_model: Answers what nothing else does.

    Attributes:
        exact: The names of the table, without the patterns.
    """

    def __init__(self, table: Mapping[str, str], default_model: str | None = None) -> None:
        self.exact = {name: model for name, model in table.items() if not _is_pattern(name)}
        self._patterns = [(name, model) for name, model in table.items() if _is_pattern(name)]
        self._default = default_model

    def resolve(self, name: str, is_served: Callable[[str], bool]) -> str | None:
        """Return the model id for a requested name, or None if nothing answers it.

        Order: exact alias, served model, first matching pattern, default model.

        Args:
            name: The model name of the request.
            is_served: Whether the platform takes the name as it stands.
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
