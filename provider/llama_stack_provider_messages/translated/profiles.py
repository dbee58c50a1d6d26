"""The profile of a target: built-in, with the overrides of the configuration and the changes learned from errors."""

from collections.abc import Mapping
from typing import Any

from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.translation.messages_to_chat import Profile, profile_for

_MOST = 1_000
"""Limit of profiles kept: a provider may accept any model name."""


class Profiles:
    """Resolves profiles and caches them, with the changes learned from a model's error responses.

    Args:
        overrides: Profile fields from the configuration, by provider type, provider id or model id. The more specific
            entry wins.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self._overrides = overrides
        self._known: dict[str, Profile] = {}

    def of(self, target: Target) -> Profile:
        """Return the profile of a target."""
        if target.model_id not in self._known:
            self._remember(target, self._make(target))
        return self._known[target.model_id]

    def learn(self, target: Target, changes: Mapping[str, Any]) -> None:
        """Change fields of a model's profile, as learned from an error response."""
        self._remember(target, self.of(target).but(**changes))

    def _remember(self, target: Target, profile: Profile) -> None:
        self._known.pop(target.model_id, None)
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[target.model_id] = profile

    def _make(self, target: Target) -> Profile:
        changes: dict[str, Any] = {}
        for name in (target.provider_type, target.provider_id, target.model_id):
            changes |= self._overrides.get(name, {})
        return profile_for(target.provider_type, target.resource_id, changes)
