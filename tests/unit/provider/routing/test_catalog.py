"""The names of models: which model a requested name means, and what the list of models shows."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.catalog import ModelQuery
from llama_stack_provider_messages.routing.catalog import Aliases, Catalog
from llama_stack_provider_messages.stack import ModelTypeError, Target

TABLE = {"local/x": "up/exact", "claude-haiku-*": "local/tiny", "claude-*": "up/big", "*": "up/any"}


def served(name):
    return name.startswith("local/")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("local/x", "up/exact"),
        ("local/y", "local/y"),
        ("claude-haiku-4-5", "local/tiny"),
        ("claude-opus-5", "up/big"),
        ("gpt", "up/any"),
    ],
)
def test_exact_then_served_then_pattern(name, model):
    """An exact alias wins over a served model, which wins over the first pattern that matches."""
    assert Aliases(TABLE).resolve(name, served) == model


def test_brackets_in_a_pattern_are_literal():
    """They are part of names such as ``claude-opus-5[1m]``."""
    aliases = Aliases({"claude-*[1m]": "up/big"})
    assert aliases.resolve("claude-opus-5[1m]", served) == "up/big"
    assert aliases.resolve("claude-opus-m", served) is None


def test_an_unknown_name_resolves_to_the_default_model():
    """Only a name that matches nothing else does."""
    assert Aliases({}, "local/tiny").resolve("x", served) == "local/tiny"


def test_without_a_default_an_unknown_name_resolves_to_none():
    """The caller answers 404."""
    assert Aliases({}).resolve("x", served) is None


FIVE = ["m/a", "m/b", "m/c", "m/d", "m/e"]


class ScriptedPlatform:
    """Lists some models, unordered, and serves others that it does not list.

    Args:
        listed: Ids the caller may use.
        unlisted: Ids of served models that are not listed.
        embeddings: Ids of models that are not language models.
    """

    def __init__(self, listed=(), unlisted=(), embeddings=()):
        self.listed = list(reversed(listed))
        self.served = {*listed, *unlisted}
        self.embeddings = embeddings
        self.located = []

    def is_served(self, name):
        return name in self.served

    async def served_models(self):
        return self.listed

    async def locate(self, model_id):
        self.located.append(model_id)
        if model_id in self.embeddings:
            raise ModelTypeError(model_id, "embedding", "llm")
        return Target(model_id, "m", "remote::vllm", "x") if model_id in self.served else None


async def ids(platform, aliases=None, **query):
    page = await Catalog(platform, Aliases(aliases or {})).page(ModelQuery(**query))
    return [model.id for model in page.data]


async def test_models_and_aliases_are_listed_together_by_id():
    """A client sees every name it may send."""
    platform = ScriptedPlatform(["up/b", "up/a"])
    assert await ids(platform, {"up/aa": "up/b", "claude-x": "up/a"}) == ["claude-x", "up/a", "up/aa", "up/b"]
    assert platform.located == []


async def test_an_alias_of_a_model_that_does_not_exist_is_not_listed():
    """A model that the caller may not use looks the same."""
    assert await ids(ScriptedPlatform(["up/a"]), {"gone": "up/b", "here": "up/a"}) == ["here", "up/a"]


async def test_an_alias_of_an_unlisted_model_is_listed():
    """Providers accept names that they do not list, and the configuration names this one."""
    assert await ids(ScriptedPlatform(["up/a"], unlisted=["up/lora"]), {"x": "up/lora"}) == ["up/a", "x"]


async def test_an_alias_of_an_embedding_model_is_not_listed():
    """It cannot answer messages."""
    assert await ids(ScriptedPlatform(["up/a"], embeddings=["up/embed"]), {"x": "up/embed"}) == ["up/a"]


@pytest.mark.parametrize(("target", "want"), [("up/b", ["up/a", "up/b"]), ("gone/x", ["up/b"])])
async def test_an_alias_hides_a_model_of_the_same_name(target, want):
    """The alias takes precedence; if its model does not exist, the name is not listed."""
    assert await ids(ScriptedPlatform(["up/a", "up/b"]), {"up/a": target}) == want


async def test_without_models_the_page_is_empty():
    """It has no ids to continue from."""
    page = await Catalog(ScriptedPlatform(), Aliases({})).page(ModelQuery())
    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)


@pytest.mark.parametrize(
    ("query", "want", "more"),
    [
        ({}, FIVE, False),
        ({"limit": 5}, FIVE, False),
        ({"limit": 4}, FIVE[:4], True),
        ({"limit": 2, "after_id": "m/b"}, ["m/c", "m/d"], True),
        ({"limit": 3, "after_id": "m/b"}, ["m/c", "m/d", "m/e"], False),
        ({"limit": 2, "after_id": "m/e"}, [], False),
        ({"limit": 2, "before_id": "m/d"}, ["m/b", "m/c"], True),
        ({"limit": 3, "before_id": "m/d"}, ["m/a", "m/b", "m/c"], False),
        ({"limit": 9, "before_id": "m/c"}, ["m/a", "m/b"], False),
        ({"limit": 2, "before_id": "m/a"}, [], False),
    ],
)
async def test_a_page_is_adjacent_to_its_cursor(query, want, more):
    """After ``after_id`` or before ``before_id``, in the order of the list; ``has_more`` is about that direction."""
    page = await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(**query))
    assert [model.id for model in page.data] == want
    assert page.has_more is more
    assert (page.first_id, page.last_id) == ((want[0], want[-1]) if want else (None, None))


@pytest.mark.parametrize("limit", range(1, 8))
@pytest.mark.parametrize(("cursor", "edge"), [("after_id", "last_id"), ("before_id", "first_id")])
async def test_pagination_lists_each_model_once(limit, cursor, edge):
    """In both directions, with any limit."""
    catalog, seen, at = Catalog(ScriptedPlatform(FIVE), Aliases({"z": "m/a"})), [], {}
    if cursor == "before_id":
        seen, at = ["z"], {"before_id": "z"}
    for _ in range(7):
        page = await catalog.page(ModelQuery(limit=limit, **at))
        names = [model.id for model in page.data]
        seen = seen + names if cursor == "after_id" else names + seen
        at = {cursor: getattr(page, edge)}
        if not page.has_more:
            break
    assert seen == [*FIVE, "z"]


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
@pytest.mark.parametrize("name", ["gone", "", "M/A", "claude-*"])
async def test_an_unknown_cursor_is_rejected(cursor, name):
    """A page that started elsewhere would repeat or omit models."""
    with pytest.raises(InvalidRequestError, match=rf"^{cursor}: {name.replace('*', '.')} is not in the list"):
        await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(**{cursor: name}))


async def test_the_error_of_a_very_long_cursor_is_short():
    """It repeats the beginning only."""
    with pytest.raises(InvalidRequestError) as caught:
        await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(after_id="x" * 100_000))
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("stages", "want"),
    [(["active"], FIVE), (["retired", "active"], FIVE), (["retired"], []), (["deprecated", "retired"], []), ([], [])],
)
async def test_every_model_is_active(stages, want):
    """A query for other stages gets an empty page, without ``has_more``."""
    page = await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(limit=10, lifecycle=stages))
    assert [model.id for model in page.data] == want
    small = await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(limit=2, lifecycle=stages))
    assert small.has_more is bool(want)


async def test_an_entry_shows_the_name_with_its_model():
    """The id is the requested name; the display name shows which model an alias stands for."""
    catalog = Catalog(ScriptedPlatform(["up/a"]), Aliases({"claude-x": "up/a"}))
    alias, own = await catalog.entry("claude-x"), await catalog.entry("up/a")
    assert (alias.id, alias.display_name) == ("claude-x", "claude-x (up/a)")
    assert (own.id, own.display_name) == ("up/a", "up/a")
