"""The profile of a target: built-in, with the overrides of the configuration and the changes learned from errors."""

from collections.abc import Mapping
from typing import Any

from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.translation.messages_to_chat import Profile, profile_for
from llama_stack_provider_messages.upstream.state import BoundedDict


class Profiles:
    """Resolves profiles and caches them, with the changes learned from a model's error responses.

    Args:
        overrides: Profile fields from the configuration, by provider type, provider id or model id. The more specific
            entry wins.
    """

    def __init__(self, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self._overrides = overrides
        self._known: BoundedDict[str, Profile] = BoundedDict()

    def of(self, target: Target) -> Profile:
        """Return the profile of a target."""
        if target.model_id not in self._known:
            self._known[target.model_id] = self._make(target)
        return self._known[target.model_id]

    def learn(self, target: Target, changes: Mapping[str, Any]) -> None:
        """Change fields of a model's profile, as learned from an error response."""
        self._known[target.model_id] = self.of(target).but(**changes)

    def _make(self, target: Target) -> Profile:
        changes: dict[str, Any] = {}
        for name in (target.provider_type, target.provider_id, target.model_id):
            changes |= self._overrides.get(name, {})
        return profile_for(target.provider_type, target.resource_id, changes)
