"""Which profile a target has: the table's, with what the configuration overrides."""

from collections.abc import Mapping
from typing import Any

from .stack import Target
from .translation.messages_to_chat import Profile, profile_for


class Profiles:
    """Finds the profile of a target and remembers it.

    Args:
        overrides: Of the configuration: fields of a profile by provider type, provider id or model id. What is said of
            the smaller group wins.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self._overrides = overrides
        self._known: dict[str, Profile] = {}

    def of(self, target: Target) -> Profile:
        """Return the profile of a target."""
        if target.model_id not in self._known:
            self._known[target.model_id] = self._make(target)
        return self._known[target.model_id]

    def _make(self, target: Target) -> Profile:
        changes: dict[str, Any] = {}
        for name in (target.provider_type, target.provider_id, target.model_id):
            changes |= self._overrides.get(name, {})
        return profile_for(target.provider_type, target.resource_id, changes)
