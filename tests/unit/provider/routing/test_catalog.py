"""The names of models: which model a requested name means, and what the list of models shows."""

from types import SimpleNamespace

import pytest

from llama_stack_api_messages.errors import InvalidRequestError, NotFoundError
from llama_stack_api_messages.models.catalog import ModelQuery
from llama_stack_provider_messages.routing import catalog as module
from llama_stack_provider_messages.routing.catalog import Aliases, Catalog, NamedTarget
from llama_stack_provider_messages.routing.limits import TokenLimits
from llama_stack_provider_messages.stack import ModelTypeError, Target

TABLE = {"up/x": "up/exact", "claude-haiku-*": "up/tiny", "claude-*": "up/big", "small": "up/tiny"}
FIVE = ["m/a", "m/b", "m/c", "m/d", "m/e"]


def model(model_id, provider="here", **metadata):
    """Return a language model as the platform lists it; without a provider, one of another stack."""
    provider_id, _, name = model_id.partition("/")
    return Target(model_id, provider_id, "remote::vllm", name, provider=provider, metadata=metadata)


class ScriptedPlatform:
    """Lists some models, unordered, and serves others that it does not list.

    Args:
        listed: Ids the caller may use.
        unlisted: Ids of served models that are not listed.
        embeddings: Ids of models that are not language models.
        foreign: Ids of models in the store whose provider the stack does not have.
        forbidden: Ids of models that the caller may not use.
    """

    def __init__(self, listed=(), unlisted=(), embeddings=(), foreign=(), forbidden=()):
        self.listed = list(reversed(listed))
        self.served = {*listed, *unlisted}
        self.embeddings = embeddings
        self.foreign = foreign
        self.forbidden = forbidden
        self.located = []

    def is_served(self, name):
        return "/" in name and name in {*self.served, *self.forbidden}

    async def served_models(self):
        return [model(model_id) for model_id in self.listed]

    async def models_named(self, name):
        stored = [model(model_id) for model_id in self.listed] + [model(one, None) for one in self.foreign]
        return [target for target in stored if name in (target.model_id, target.resource_id)]

    async def locate(self, model_id):
        self.located.append(model_id)
        if model_id in self.embeddings:
            raise ModelTypeError(model_id, "embedding", "llm")
        return model(model_id) if model_id in self.served else None


class ScriptedLimits:
    """Knows the limits of these models; remembers for which it was asked."""

    def __init__(self, **known):
        self.known = known
        self.asked = []

    async def of(self, targets):
        self.asked += [target.model_id for target in targets]
        return {target.model_id: self.known.get(target.resource_id, TokenLimits()) for target in targets}


def catalog(platform, aliases=None, default=None, limits=None):
    return Catalog(platform, Aliases(aliases or {}, default), limits or ScriptedLimits())


async def ids(platform, aliases=None, default=None, **query):
    page = await catalog(platform, aliases, default).page(ModelQuery(**query))
    return [entry.id for entry in page.data]


SERVED = ["up/x", "up/y", "up/exact", "up/tiny", "up/big", "up/claude-opus-5", "up/big/one", "b/y", "b/z"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("small", "up/tiny; reason=alias"),
        ("up/x", "up/exact; reason=alias"),
        ("up/y", "up/y; reason=exact"),
        ("claude-haiku-4-5", "up/tiny; reason=pattern"),
        ("claude-opus-5", "up/big; reason=pattern"),
        ("z", "b/z; reason=bare"),
        ("big/one", "up/big/one; reason=bare"),
        ("y", "up/tiny; reason=default"),
        ("gpt", "up/tiny; reason=default"),
        ("other/y", "up/tiny; reason=default"),
    ],
)
async def test_the_first_rule_that_applies_selects_the_model(name, header):
    """Exact alias, served model, first matching pattern, bare name that one provider serves, default."""
    found = await catalog(ScriptedPlatform(SERVED), TABLE, "up/tiny").resolve(name)
    assert found.header == header


async def test_brackets_in_a_pattern_are_literal():
    """They are part of names such as ``claude-opus-5[1m]``."""
    aliases = Aliases({"claude-*[1m]": "up/big"})
    assert aliases.matching("claude-opus-5[1m]") == "up/big"
    assert aliases.matching("claude-opus-m") is None


@pytest.mark.parametrize("name", ["x", "tiny", "up/none"])
async def test_without_a_default_an_unknown_name_is_a_404(name):
    """It names the served models."""
    with pytest.raises(NotFoundError, match=f"^model: {name} is not served here. Served: m/e"):
        await catalog(ScriptedPlatform(FIVE)).resolve(name)


@pytest.mark.parametrize(
    ("default", "advice"),
    [
        (None, r"is not served here\. Served: up/a\. To accept this name, add it to aliases or set default_model in"),
        ("up/none", r"is not served here: neither is default_model\. Served: up/a\. To .* to aliases in the server"),
    ],
)
async def test_the_advice_names_default_model_only_if_there_is_none(default, advice):
    """One that is not served either is named as the reason."""
    with pytest.raises(NotFoundError, match=advice):
        await catalog(ScriptedPlatform(["up/a"]), default=default).resolve("x")


async def test_an_ambiguous_bare_name_is_a_404_that_names_the_candidates():
    """Without a default: any choice could be the wrong one."""
    with pytest.raises(NotFoundError, match=r"model: y is not served here: .* send one of b/y, up/y\. "):
        await catalog(ScriptedPlatform(SERVED)).resolve("y")


@pytest.mark.parametrize("name", ["embed", "hidden"])
async def test_a_bare_name_of_a_model_that_cannot_be_used_is_unknown(name):
    """One that is not a language model, and one that the caller may not use, which no error reveals."""
    platform = ScriptedPlatform(["up/a"], embeddings=["up/embed"], forbidden=["up/hidden"])
    with pytest.raises(NotFoundError) as caught:
        await catalog(platform).resolve(name)
    assert f"up/{name}" not in caught.value.message
    assert (await catalog(platform, default="up/a").resolve(name)).rule == "default"


async def test_a_model_that_the_caller_may_not_use_does_not_make_a_name_ambiguous():
    """The caller sees one model of that name."""
    platform = ScriptedPlatform(["up/a"], forbidden=["b/a"])
    assert (await catalog(platform).resolve("a")).header == "up/a; reason=bare"


async def test_a_model_of_another_stack_is_a_404_also_with_a_default():
    """The platform's store has it; this stack does not have its provider."""
    platform = ScriptedPlatform(["up/a"], foreign=["gone/a", "gone/b"])
    with pytest.raises(NotFoundError, match=r"^model: gone/b is not served here: .* Served: up/a. "):
        await catalog(platform, default="up/a").resolve("gone/b")


async def test_a_model_of_another_stack_does_not_change_what_other_names_mean():
    """It is no candidate for a bare name, and a pattern of the operator wins over it."""
    platform = ScriptedPlatform(["up/a", "up/c"], foreign=["gone/a", "gone/b"])
    names = catalog(platform, {"gone/b*": "up/c"}, "up/c")
    found = {name: (await names.resolve(name)).header for name in ("a", "b", "gone/b")}
    assert found == {
        "a": "up/a; reason=bare",
        "b": "up/c; reason=default",
        "gone/b": "up/c; reason=pattern",
    }
    assert await ids(platform) == ["up/a", "up/c"]


async def test_a_name_that_only_the_default_answers_is_logged_once(monkeypatch):
    """With the model that answers; names of other rules are not logged."""
    lines = []
    monkeypatch.setattr(module, "logger", SimpleNamespace(warning=lambda text, **values: lines.append(values)))
    names = catalog(ScriptedPlatform(["up/a"]), {"claude-*": "up/a"}, "up/a")
    for name in ("gpt", "gpt", "claude-x", "a", "up/a", "o1", "gpt"):
        await names.resolve(name)
    assert lines == [{"requested": "gpt", "model": "up/a"}, {"requested": "o1", "model": "up/a"}]


@pytest.mark.parametrize(
    ("model_id", "encoded"),
    [
        ("up/org/m-1.5:8b[1m]", "up/org/m-1.5:8b[1m]"),
        ("up/a;b%c", "up/a%3Bb%25c"),
        ("up/\u6a21\u578b\n", "up/%E6%A8%A1%E5%9E%8B%0A"),
    ],
)
def test_the_header_has_every_model_id_in_ascii(model_id, encoded):
    """Characters that would end the value or that HTTP cannot carry are percent-encoded."""
    assert NamedTarget(model(model_id), "alias").header == f"{encoded}; reason=alias"


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


async def test_the_default_model_is_listed():
    """Also if its provider lists no models, but not if the caller may not use it."""
    assert await ids(ScriptedPlatform(["up/a"], unlisted=["up/lora"]), default="up/lora") == ["up/a", "up/lora"]
    assert await ids(ScriptedPlatform(["up/a"], forbidden=["up/b"]), default="up/b") == ["up/a"]
    assert await ids(ScriptedPlatform(["up/a"]), {"up/a": "gone/x"}, "up/a") == []


async def test_a_page_has_the_limits_of_its_models_only():
    """An alias has those of its model, each is looked up once a page, and unknown ones are null."""
    limits = ScriptedLimits(a=TokenLimits(4096, 1024), b=TokenLimits(8192))
    page = await catalog(ScriptedPlatform(FIVE), {"aa": "m/b"}, limits=limits).page(ModelQuery(limit=4))
    found = [(entry.id, entry.max_input_tokens, entry.max_tokens) for entry in page.data]
    assert found == [("aa", 8192, None), ("m/a", 4096, 1024), ("m/b", 8192, None), ("m/c", None, None)]
    assert limits.asked == ["m/b", "m/a", "m/b", "m/c"]


async def test_an_entry_has_the_limits_of_its_model():
    """By any name."""
    names = catalog(ScriptedPlatform(FIVE), {"aa": "m/a"}, limits=ScriptedLimits(a=TokenLimits(4096, 1024)))
    for name in ("aa", "a", "m/a"):
        entry = await names.entry(name)
        assert (entry.id, entry.max_input_tokens, entry.max_tokens) == (name, 4096, 1024)


async def test_an_alias_of_an_embedding_model_is_not_listed():
    """It cannot answer messages."""
    assert await ids(ScriptedPlatform(["up/a"], embeddings=["up/embed"]), {"x": "up/embed"}) == ["up/a"]


@pytest.mark.parametrize(("target", "want"), [("up/b", ["up/a", "up/b"]), ("gone/x", ["up/b"])])
async def test_an_alias_hides_a_model_of_the_same_name(target, want):
    """The alias takes precedence; if its model does not exist, the name is not listed."""
    assert await ids(ScriptedPlatform(["up/a", "up/b"]), {"up/a": target}) == want


async def test_without_models_the_page_is_empty():
    """It has no ids to continue from."""
    page = await catalog(ScriptedPlatform()).page(ModelQuery())
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
    page = await catalog(ScriptedPlatform(FIVE)).page(ModelQuery(**query))
    assert [entry.id for entry in page.data] == want
    assert page.has_more is more
    assert (page.first_id, page.last_id) == ((want[0], want[-1]) if want else (None, None))


@pytest.mark.parametrize("limit", range(1, 8))
@pytest.mark.parametrize(("cursor", "edge"), [("after_id", "last_id"), ("before_id", "first_id")])
async def test_pagination_lists_each_model_once(limit, cursor, edge):
    """In both directions, with any limit."""
    names, seen, at = catalog(ScriptedPlatform(FIVE), {"z": "m/a"}), [], {}
    if cursor == "before_id":
        seen, at = ["z"], {"before_id": "z"}
    for _ in range(7):
        page = await names.page(ModelQuery(limit=limit, **at))
        found = [entry.id for entry in page.data]
        seen = seen + found if cursor == "after_id" else found + seen
        at = {cursor: getattr(page, edge)}
        if not page.has_more:
            break
    assert seen == [*FIVE, "z"]


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
@pytest.mark.parametrize("name", ["gone", "", "M/A", "claude-*"])
async def test_an_unknown_cursor_is_rejected(cursor, name):
    """A page that started elsewhere would repeat or omit models."""
    with pytest.raises(InvalidRequestError, match=rf"^{cursor}: {name.replace('*', '.')} is not in the list"):
        await catalog(ScriptedPlatform(FIVE)).page(ModelQuery(**{cursor: name}))


async def test_the_error_of_a_very_long_cursor_is_short():
    """It repeats the beginning only."""
    with pytest.raises(InvalidRequestError) as caught:
        await catalog(ScriptedPlatform(FIVE)).page(ModelQuery(after_id="x" * 100_000))
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("stages", "want"),
    [(["active"], FIVE), (["retired", "active"], FIVE), (["retired"], []), (["deprecated", "retired"], []), ([], [])],
)
async def test_every_model_is_active(stages, want):
    """A query for other stages gets an empty page, without ``has_more``."""
    page = await catalog(ScriptedPlatform(FIVE)).page(ModelQuery(limit=10, lifecycle=stages))
    assert [entry.id for entry in page.data] == want
    small = await catalog(ScriptedPlatform(FIVE)).page(ModelQuery(limit=2, lifecycle=stages))
    assert small.has_more is bool(want)


async def test_an_entry_shows_the_name_with_its_model():
    """The id is the requested name; the display name shows which model an alias stands for."""
    names = catalog(ScriptedPlatform(["up/a"]), {"claude-x": "up/a"})
    alias, own = await names.entry("claude-x"), await names.entry("up/a")
    assert (alias.id, alias.display_name) == ("claude-x", "claude-x (up/a)")
    assert (own.id, own.display_name) == ("up/a", "up/a")
