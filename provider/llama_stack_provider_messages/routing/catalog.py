"""Model names: finds the model of a requested name, and lists the names that clients may send.

Clients send fixed names (``claude-sonnet-4-5``), while the platform knows only ``provider_id/model``. The configured
aliases connect the two, and are listed together with the models of the platform. Its access rules hold: to a caller who
may not use a model, the model does not exist, and no error reveals what an alias stands for.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from llama_stack_api_messages.errors import InvalidRequestError, NotFoundError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery
from llama_stack_provider_messages.stack import ModelTypeError, Platform, Target, check_allowed, get_logger

logger = get_logger(__name__)

_MAX_LISTED_MODELS = 20
"""Limit of model names listed in a 404; more would hide the advice at its end."""
_MAX_NAME_CHARACTERS = 500
"""Limit of a model name; logs and backends get the name unchanged, and errors repeat it."""


class Aliases:
    """The alias table of a configuration.

    Args:
        table: Names and patterns (``*``, ``?``) to model ids, in order.
        default_model: The model for names that match nothing else.

    Attributes:
        exact: The names of the table, without the patterns.
    """

    def __init__(self, table: Mapping[str, str], default_model: str | None = None) -> None:
        self.exact = {name: model for name, model in table.items() if not set("*?") & set(name)}
        self._patterns = {name: model for name, model in table.items() if name not in self.exact}
        self._default = default_model

    def resolve(self, name: str, is_served: Callable[[str], bool]) -> str | None:
        """Return the model id for a requested name; return None if no rule gives one.

        Order: exact alias, served model, first matching pattern, default model.

        Args:
            name: The model name of the request.
            is_served: Returns whether the platform serves a model of this name.
        """
        if name in self.exact:
            return self.exact[name]
        if is_served(name):
            return name
        for pattern, model in self._patterns.items():
            if fnmatchcase(name, pattern.replace("[", "[[]")):  # as in `claude-opus-5[1m]`
                return model
        return self._default


class Catalog:
    """The models of the stack, under the names that a caller may send.

    Args:
        platform: The stack's models, as far as the current caller may use them.
        aliases: The configured aliases.
    """

    def __init__(self, platform: Platform, aliases: Aliases) -> None:
        self._platform = platform
        self._aliases = aliases

    async def target(self, name: str) -> Target:
        """Return the model for a requested name.

        Raises:
            NotFoundError: No model has this name, or the caller may not use it.
            InvalidRequestError: The name is that of an embedding model, or its provider does not allow the model.
        """
        target = await self._locate(name)
        try:
            check_allowed(target)
        except ValueError:  # its message lists all allowed models and reveals the target of an alias
            text = f"model: {name[:_MAX_NAME_CHARACTERS]} is not among the models that its provider allows"
            raise InvalidRequestError(f"{text}. {await self._advice()}") from None
        return target

    async def entry(self, name: str) -> ModelInfo:
        """Return the list entry of one name.

        Raises:
            NotFoundError: No model has this name, or the caller may not use it.
        """
        target = await self._locate(name)
        try:
            check_allowed(target)
        except ValueError:
            raise await self._not_found(name) from None
        return _model_info(name, target.model_id)

    async def page(self, query: ModelQuery) -> ModelList:
        """Return a page of the list, ordered by id.

        Raises:
            InvalidRequestError: ``after_id`` or ``before_id`` is not in the list.
        """
        models = await self._names()
        names = sorted(models)
        if query.before_id is not None:
            end = _position(names, "before_id", query.before_id)
            start = max(0, end - query.limit)
            has_more = start > 0
        else:
            start = 0 if query.after_id is None else _position(names, "after_id", query.after_id) + 1
            end = start + query.limit
            has_more = end < len(names)
        names = names[start:end]
        if query.lifecycle is not None and "active" not in query.lifecycle:
            names, has_more = [], False
        return ModelList(
            data=[_model_info(name, models[name]) for name in names],
            has_more=has_more,
            first_id=names[0] if names else None,
            last_id=names[-1] if names else None,
        )

    async def _names(self) -> dict[str, str]:
        """Return all names with their model ids; an alias hides a model of the same name."""
        served = set(await self._platform.served_models())
        aliases = self._aliases.exact
        return {name: name for name in served if name not in aliases} | {
            name: model_id for name, model_id in aliases.items() if model_id in served or await self._may_use(model_id)
        }

    async def _may_use(self, model_id: str) -> bool:
        """Return whether the caller may use an unlisted model: providers accept names that they do not list."""
        try:
            if target := await self._platform.locate(model_id):
                check_allowed(target)
        except (ModelTypeError, ValueError):
            return False
        return target is not None

    async def _locate(self, name: str) -> Target:
        is_valid = len(name) <= _MAX_NAME_CHARACTERS and name.isprintable()
        model_id = self._aliases.resolve(name, self._platform.is_served) if is_valid else None
        try:
            target = await self._platform.locate(model_id) if model_id else None
        except ModelTypeError:
            raise InvalidRequestError(f"model: {name} is not a language model") from None
        if target:
            return target
        if model_id not in (None, name):  # log only: the caller may not be allowed to know
            logger.warning("model not available to the caller", requested=name, stands_for=model_id)
        raise await self._not_found(name)

    async def _not_found(self, name: str) -> NotFoundError:
        return NotFoundError(f"model: {name[:_MAX_NAME_CHARACTERS]} is not served here. {await self._advice()}")

    async def _advice(self) -> str:
        served = await self._platform.served_models()
        listed = ", ".join(served[:_MAX_LISTED_MODELS]) + (", ..." if len(served) > _MAX_LISTED_MODELS else "")
        remedy = "To accept this name, add it to aliases or set default_model in the server's configuration"
        return f"Served: {listed or 'nothing'}. {remedy}"


def _model_info(name: str, model_id: str) -> ModelInfo:
    """Return the list entry of a name; its id is the requested name, as in the ``model`` of a response.

    Args:
        name: The name that clients send.
        model_id: Id of the model it resolves to.
    """
    return ModelInfo(id=name, display_name=name if name == model_id else f"{name} ({model_id})")


def _position(names: list[str], field: str, name: str) -> int:
    if name in names:
        return names.index(name)
    raise InvalidRequestError(
        f"{field}: {name[:_MAX_NAME_CHARACTERS]} is not in the list of models; restart pagination without it"
    )
