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


def test_brackets_in_a_pattern_are_brackets():
    """Names such as ``claude-opus-5[1m]`` are meant as they are."""
    aliases = Aliases({"claude-*[1m]": "up/big"})
    assert aliases.resolve("claude-opus-5[1m]", served) == "up/big"
    assert aliases.resolve("claude-opus-m", served) is None


def test_the_default_answers_what_nothing_else_does():
    """An unknown name goes to the default model."""
    assert Aliases({}, "local/tiny").resolve("x", served) == "local/tiny"


def test_without_a_default_an_unknown_name_is_nobody():
    """There is no answer then."""
    assert Aliases({}).resolve("x", served) is None


FIVE = ["m/a", "m/b", "m/c", "m/d", "m/e"]


class ScriptedPlatform:
    """Lists some models, in no order, and takes others that it does not list.

    Args:
        listed: Ids the caller may use.
        taken: Ids that work all the same.
        wrong: Ids of models that are no language models.
    """

    def __init__(self, listed=(), taken=(), wrong=()):
        self.listed = list(reversed(listed))
        self.taken = {*listed, *taken}
        self.wrong = wrong
        self.located = []

    def is_served(self, name):
        return name in self.taken

    async def served_models(self):
        return self.listed

    async def locate(self, model_id):
        self.located.append(model_id)
        if model_id in self.wrong:
            raise ModelTypeError(model_id, "embedding", "llm")
        return Target(model_id, "m", "remote::vllm", "x") if model_id in self.taken else None


async def ids(platform, aliases=None, **query):
    page = await Catalog(platform, Aliases(aliases or {})).page(ModelQuery(**query))
    return [model.id for model in page.data]


async def test_models_and_aliases_are_listed_together_by_id():
    """A client sees every name it may send."""
    platform = ScriptedPlatform(["up/b", "up/a"])
    assert await ids(platform, {"up/aa": "up/b", "claude-x": "up/a"}) == ["claude-x", "up/a", "up/aa", "up/b"]
    assert platform.located == []


async def test_an_alias_of_a_model_that_is_not_there_is_not_listed():
    """Neither is one the caller may not use, which looks the same from here."""
    assert await ids(ScriptedPlatform(["up/a"]), {"gone": "up/b", "here": "up/a"}) == ["here", "up/a"]


async def test_an_alias_of_a_model_that_answers_without_being_listed_is_listed():
    """Providers take names they do not list; the configuration says that this one is meant."""
    assert await ids(ScriptedPlatform(["up/a"], taken=["up/lora"]), {"x": "up/lora"}) == ["up/a", "x"]


async def test_an_alias_of_another_kind_of_model_is_not_listed():
    """Embeddings have no messages."""
    assert await ids(ScriptedPlatform(["up/a"], wrong=["up/embed"]), {"x": "up/embed"}) == ["up/a"]


@pytest.mark.parametrize(("target", "want"), [("up/b", ["up/a", "up/b"]), ("gone/x", ["up/b"])])
async def test_an_alias_hides_a_model_of_the_same_name(target, want):
    """The alias is what answers; if it leads nowhere the name does not either."""
    assert await ids(ScriptedPlatform(["up/a", "up/b"]), {"up/a": target}) == want


async def test_nothing_to_list_is_an_empty_page():
    """There are no ids to go on from."""
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
async def test_a_page_lies_next_to_its_cursor(query, want, more):
    """Behind the one or in front of the other, always in the order of the list; more means in that direction."""
    page = await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(**query))
    assert [model.id for model in page.data] == want
    assert page.has_more is more
    assert (page.first_id, page.last_id) == ((want[0], want[-1]) if want else (None, None))


@pytest.mark.parametrize("limit", range(1, 8))
@pytest.mark.parametrize(("cursor", "edge"), [("after_id", "last_id"), ("before_id", "first_id")])
async def test_going_from_page_to_page_shows_each_model_once(limit, cursor, edge):
    """From the front as from the end, with any limit."""
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
async def test_an_unknown_cursor_is_named(cursor, name):
    """A page that began anywhere else would show models twice or not at all."""
    with pytest.raises(InvalidRequestError, match=rf"^{cursor}: {name.replace('*', '.')} is not in the list"):
        await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(**{cursor: name}))


async def test_an_endless_cursor_is_not_repeated():
    """The error stays short."""
    with pytest.raises(InvalidRequestError) as caught:
        await Catalog(ScriptedPlatform(FIVE), Aliases({})).page(ModelQuery(after_id="x" * 100_000))
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("stages", "want"),
    [(["active"], FIVE), (["retired", "active"], FIVE), (["retired"], []), (["deprecated", "retired"], []), ([], [])],
)
async def test_every_model_is_active(stages, want):
    """Whoever asks for other stages only gets none, and is not told to go on."""
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
