"""What the list of models shows: the models of the platform, and the names the configuration gives them."""

from collections.abc import Mapping, Sequence

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery
from llama_stack_provider_messages.stack import ModelTypeError, Platform, check_allowed

_LONGEST_NAME = 500
"""No id has more characters, and an error repeats no more."""


class Catalog:
    """The names a caller may send as the model of a message.

    Args:
        platform: The stack's models; it knows who is asking.
        aliases: Other names, none of them a pattern, to model ids.
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
        """Return the names, each with the id of the model that answers; an alias hides a model of the same name."""
        served = set(await self._platform.served_models())
        own = {name: name for name in served if name not in self._aliases}
        return own | {
            name: model_id
            for name, model_id in self._aliases.items()
            if model_id in served or await self._may_use(model_id)
        }

    async def _may_use(self, model_id: str) -> bool:
        """Return whether a model that is not listed answers the caller: providers take names they do not list."""
        try:
            if target := await self._platform.locate(model_id):
                check_allowed(target)
        except (ModelTypeError, ValueError):
            return False
        return target is not None


def model_info(name: str, model_id: str) -> ModelInfo:
    """Return what is known of a name: its id is the name asked for, as in a message that it answers.

    Args:
        name: As clients send it.
        model_id: Of the model that answers.
    """
    return ModelInfo(id=name, display_name=name if name == model_id else f"{name} ({model_id})")


def _window(names: Sequence[str], query: ModelQuery) -> tuple[Sequence[str], bool]:
    """Return the names of a page, and whether more follow in the direction asked for."""
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
