"""The model list: the models of the platform and the configured aliases."""

from collections.abc import Mapping, Sequence

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery
from llama_stack_provider_messages.stack import ModelTypeError, Platform, check_allowed

_LONGEST_NAME = 500
"""Characters of an id that an error repeats; no valid id is longer."""


class Catalog:
    """The names a caller may send as the model of a message.

    Args:
        platform: The stack's models, as far as the current caller may use them.
        aliases: Exact aliases (no patterns) to model ids.
    """

    def __init__(self, platform: Platform, aliases: Mapping[str, str]) -> None:
        self._platform = platform
        self._aliases = aliases

    async def page(self, query: ModelQuery) -> ModelList:
        """Return a page of the list, ordered by id.

        Raises:
            InvalidRequestError: ``after_id`` or ``before_id`` is not in the list.
        """
        answers = await self._answers()
        names, more = _window(sorted(answers), query)
        if query.lifecycle is not None and "active" not in query.lifecycle:
            names, more = [], False
        return ModelList(
            data=[model_info(name, answers[name]) for name in names],
            has_more=more,
            first_id=names[0] if names else None,
            last_id=names[-1] if names else None,
        )

    async def _answers(self) -> dict[str, str]:
        """Return all names with their model ids; an alias hides a model of the same name."""
        served = set(await self._platform.served_models())
        own = {name: name for name in served if name not in self._aliases}
        return own | {
            name: model_id
            for name, model_id in self._aliases.items()
            if model_id in served or await self._may_use(model_id)
        }

    async def _may_use(self, model_id: str) -> bool:
        """Return whether the caller may use an unlisted model: providers accept names that they do not list."""
        try:
            if target := await self._platform.locate(model_id):
                check_allowed(target)
        except (ModelTypeError, ValueError):
            return False
        return target is not None


def model_info(name: str, model_id: str) -> ModelInfo:
    """Return the list entry of a name; its id is the requested name, as in the ``model`` of a response.

    Args:
        name: The name that clients send.
        model_id: Id of the model it resolves to.
    """
    return ModelInfo(id=name, display_name=name if name == model_id else f"{name} ({model_id})")


def _window(names: Sequence[str], query: ModelQuery) -> tuple[Sequence[str], bool]:
    """Return the names of a page, and whether more follow in the requested direction."""
    if query.before_id is not None:
        end = _position(names, "before_id", query.before_id)
        start = max(0, end - query.limit)
        return names[start:end], start > 0
    start = 0 if query.after_id is None else _position(names, "after_id", query.after_id) + 1
    end = start + query.limit
    return names[start:end], end < len(names)


def _position(names: Sequence[str], field: str, name: str) -> int:
    if name in names:
        return names.index(name)
    raise InvalidRequestError(
        f"{field}: {name[:_LONGEST_NAME]} is not in the list of models; restart pagination without it"
    )
