"""Model names: finds the model of a requested name, and lists the names that clients may send.

Clients send fixed names (``claude-sonnet-4-5``) or the backend's own (``qwen3-4b``), while the platform knows only
``provider_id/model``. Five rules connect the two; the first that applies decides:

    alias      the configuration has an alias of exactly this name
    exact      it is ``provider_id/model`` of a provider of this stack
    pattern    it matches an alias pattern; the first one in the configuration counts
    bare       exactly one provider serves a model of this name
    default    the configuration has a ``default_model``, which answers every other name

What the operator wrote wins over what is concluded from the models that happen to be served: a pattern ``claude-*`` for
a local model holds although another provider lists ``claude-sonnet-5``, and a new model of some backend never takes
requests away from a pattern. The default is last, because it is the only rule that answers under another name. So each
reply names model and rule in the header ``x-messages-model``, and a name that only the default answers is logged once.

The platform's access rules hold: to a caller who may not use a model, the model does not exist, neither in the list nor
as a candidate for a bare name, and no error reveals what an alias stands for. The platform's store is shared by all
stacks of a user: models of providers that this stack does not have are not listed, and the default does not answer for
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote

from llama_stack_api_messages.errors import InvalidRequestError, NotFoundError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery
from llama_stack_provider_messages.stack import ModelTypeError, Platform, Target, check_allowed, get_logger
from llama_stack_provider_messages.upstream.state import BoundedDict

from .limits import ModelLimits, TokenLimits

logger = get_logger(__name__)

type NameRule = Literal["alias", "exact", "pattern", "bare", "default"]

_MAX_LISTED_MODELS = 20
"""Limit of model names listed in a 404; more would hide the advice at its end."""
_MAX_NAME_CHARACTERS = 500
"""Limit of a model name; logs and backends get the name unchanged, and errors repeat it."""
_HEADER_CHARACTERS = "/:@+,=~!$&'()*[]| "
"""Characters of a model id that are not percent-encoded in a header, beside letters, digits and ``_ . -``."""


class Aliases:
    """The alias table of a configuration.

    Args:
        table: Names and patterns (``*``, ``?``) to model ids, in order.
        default_model: The model for names that match nothing else.

    Attributes:
        exact: The names of the table, without the patterns.
        default: The model for names that match nothing else, or None.
    """

    def __init__(self, table: Mapping[str, str], default_model: str | None = None) -> None:
        self.exact = {name: model for name, model in table.items() if not set("*?") & set(name)}
        self.default = default_model
        self._patterns = {name: model for name, model in table.items() if name not in self.exact}

    def matching(self, name: str) -> str | None:
        """Return the model id of the first pattern that matches a name, or None."""
        for pattern, model in self._patterns.items():
            if fnmatchcase(name, pattern.replace("[", "[[]")):  # as in `claude-opus-5[1m]`
                return model
        return None


@dataclass(frozen=True, slots=True)
class NamedTarget:
    """The model of a requested name, and the rule that selected it."""

    target: Target
    rule: NameRule

    @property
    def header(self) -> str:
        """Return the value of ``MODEL_HEADER``."""
        return f"{quote(self.target.model_id, safe=_HEADER_CHARACTERS)}; reason={self.rule}"


class Catalog:
    """The models of the stack, under the names that a caller may send.

    Args:
        platform: The stack's models, as far as the current caller may use them.
        aliases: The configured aliases.
        limits: The token limits of models.
    """

    def __init__(self, platform: Platform, aliases: Aliases, limits: ModelLimits) -> None:
        self._platform = platform
        self._aliases = aliases
        self._limits = limits
        self._defaulted: BoundedDict[str, bool] = BoundedDict()

    async def resolve(self, name: str) -> NamedTarget:
        """Return the model for a requested name; log a name that only the default model answers, once.

        Raises:
            NotFoundError: No model has this name, or the caller may not use it.
            InvalidRequestError: The name is that of an embedding model, or its provider does not allow the model.
        """
        found = await self._locate(name)
        if not _is_allowed(found.target):
            text = f"model: {name[:_MAX_NAME_CHARACTERS]} is not among the models that its provider allows"
            raise InvalidRequestError(f"{text}. {await self._advice()}")
        if found.rule == "default" and name not in self._defaulted:
            self._defaulted[name] = True
            logger.warning("unknown model name, answered by default_model", requested=name, model=found.target.model_id)
        return found

    async def entry(self, name: str) -> ModelInfo:
        """Return the list entry of one name.

        Raises:
            NotFoundError: No model has this name, or the caller may not use it.
        """
        target = (await self._locate(name)).target
        if not _is_allowed(target):
            raise await self._not_found(name)
        stored = await self._platform.models_named(target.model_id)  # with its metadata
        (target,) = [one for one in stored if one.model_id == target.model_id] or [target]
        return _model_info(name, target, await self._limits.of([target]))

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
        limits = await self._limits.of([models[name] for name in names])
        return ModelList(
            data=[_model_info(name, models[name], limits) for name in names],
            has_more=has_more,
            first_id=names[0] if names else None,
            last_id=names[-1] if names else None,
        )

    async def _names(self) -> dict[str, Target]:
        """Return all names with their models; an alias hides a model of the same name."""
        served = {target.model_id: target for target in await self._platform.served_models()}
        configured = dict(self._aliases.exact)
        if self._aliases.default:
            configured.setdefault(self._aliases.default, self._aliases.default)
        names = {name: target for name, target in served.items() if name not in configured}
        for name, model_id in configured.items():
            if target := served.get(model_id) or await self._unlisted(model_id):
                names[name] = target
        return names

    async def _unlisted(self, model_id: str) -> Target | None:
        """Return a model that the platform does not list, if the caller may use it: providers accept such names."""
        try:
            target = await self._platform.locate(model_id)
        except ModelTypeError:
            return None
        return target if target and _is_allowed(target) else None

    async def _locate(self, name: str) -> NamedTarget:
        if len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            raise await self._not_found(name)
        model_id, rule = await self._select(name)
        try:
            target = await self._platform.locate(model_id)
        except ModelTypeError:
            raise InvalidRequestError(f"model: {name} is not a language model") from None
        if target:
            return NamedTarget(target, rule)
        if model_id != name:  # log only: the caller may not be allowed to know
            logger.warning("model not available to the caller", requested=name, stands_for=model_id)
        raise await self._not_found(name, "neither is default_model" if rule == "default" else "")

    async def _select(self, name: str) -> tuple[str, NameRule]:
        """Return the model id for a name by the first rule that applies; see the module docstring."""
        if name in self._aliases.exact:
            return self._aliases.exact[name], "alias"
        if self._platform.is_served(name):
            return name, "exact"
        if model_id := self._aliases.matching(name):
            return model_id, "pattern"
        named = await self._platform.models_named(name)
        if any(target.model_id == name and target.provider is None for target in named):
            raise await self._not_found(name, "it is a model of a provider that this stack does not have")
        candidates = sorted(target.model_id for target in named if target.provider and _is_allowed(target))
        if len(candidates) == 1:
            return candidates[0], "bare"
        if self._aliases.default:
            return self._aliases.default, "default"
        if candidates:
            raise await self._not_found(name, f"several providers serve it; send one of {', '.join(candidates)}")
        raise await self._not_found(name)

    async def _not_found(self, name: str, why: str = "") -> NotFoundError:
        text = f"model: {name[:_MAX_NAME_CHARACTERS]} is not served here{why and f': {why}'}"
        return NotFoundError(f"{text}. {await self._advice()}")

    async def _advice(self) -> str:
        served = [target.model_id for target in await self._platform.served_models()]
        listed = ", ".join(served[:_MAX_LISTED_MODELS]) + (", ..." if len(served) > _MAX_LISTED_MODELS else "")
        other_way = "" if self._aliases.default else " or set default_model"
        remedy = f"To accept this name, add it to aliases{other_way} in the server's configuration"
        return f"Served: {listed or 'nothing'}. {remedy}"


def _is_allowed(target: Target) -> bool:
    """Return whether the provider allows the model; its own error lists all allowed models."""
    try:
        check_allowed(target)
    except ValueError:
        return False
    return True


def _model_info(name: str, target: Target, limits: Mapping[str, TokenLimits]) -> ModelInfo:
    """Return the list entry of a name; its id is the requested name, as in the ``model`` of a response.

    Args:
        name: The name that clients send.
        target: The model it resolves to.
        limits: The token limits by model id.
    """
    display_name = name if name == target.model_id else f"{name} ({target.model_id})"
    known = limits.get(target.model_id, TokenLimits())
    return ModelInfo(id=name, display_name=display_name, max_input_tokens=known.window, max_tokens=known.output)


def _position(names: list[str], field: str, name: str) -> int:
    if name in names:
        return names.index(name)
    raise InvalidRequestError(
        f"{field}: {name[:_MAX_NAME_CHARACTERS]} is not in the list of models; restart pagination without it"
    )
