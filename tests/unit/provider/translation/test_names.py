"""Names of tools and ids of calls on their way to a backend and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.messages_to_chat import Profile, TranslationContext, translate_request
from llama_stack_provider_messages.translation.names import ClientName, backend_id, backend_name, client_id, fitting_id
from support.streams import call, delta_chunk, message_of, request

LEGAL = re.compile(r"[a-zA-Z0-9_-]+")
LONG = "a" * 60 + "_one_more"
FORMS = {"any": r"(?s).*", "short": r"(?s).{0,40}", "nine": r"[a-zA-Z0-9]{9}"}


def translated(profile=None, **fields):
    return translate_request(request(**fields), TranslationContext(profile or Profile()))


def tool(name, **fields):
    return {"name": name, "input_schema": {"type": "object"}} | fields


# --- names ---


@pytest.mark.parametrize("name", ["f", "get-weather_2", "a" * 64])
def test_a_name_that_every_backend_accepts_is_unchanged(name):
    assert backend_name(name) == name


@given(st.text(max_size=200))
def test_any_other_name_gets_a_legal_one_of_at_most_64_characters(name):
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", backend_name(name))
    assert backend_name(name) == backend_name(name)


def test_names_with_the_same_prefix_stay_distinct():
    assert backend_name(LONG) != backend_name(LONG + "x")
    assert backend_name("a.b") != backend_name("a:b")
    assert backend_name(LONG).startswith("a" * 51)


def test_a_member_of_a_toolset_is_named_after_both():
    assert backend_name("left_click", "computer") == "computer__left_click"


@pytest.mark.parametrize(
    ("reference", "name"),
    [("f", "f"), ("computer.wait", "computer__wait"), ("computer", "computer"), ("other.x", backend_name("other.x"))],
)
def test_a_member_may_be_written_with_a_dot(reference, name):
    assert backend_name(reference) == name


def test_a_long_name_is_the_same_everywhere_and_comes_back():
    use = {"type": "tool_use", "id": "a", "name": LONG, "input": {}}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use]}]
    asked = {"tools": [tool(LONG)], "tool_choice": {"type": "tool", "name": LONG}, "messages": turns}
    done = translated(**asked)
    alias = backend_name(LONG)
    assert done.fields["tools"][0]["function"]["name"] == alias
    assert done.fields["tool_choice"]["function"]["name"] == alias
    assert done.fields["messages"][1]["tool_calls"][0]["function"]["name"] == alias
    assert done.options.names == {alias: ClientName(LONG)}
    chunks = [delta_chunk(tool_calls=[call(0, "b", alias, "{}")]), delta_chunk("tool_calls")]
    assert message_of(chunks, done.options)["content"][0]["name"] == LONG


def test_a_tool_whose_name_is_the_alias_of_another_is_rejected():
    """Calls of one would reach the other in silence."""
    with pytest.raises(Exception, match=r"^tools\.1: .* would have the same name") as caught:
        translated(tools=[tool(LONG), tool(backend_name(LONG))])
    assert caught.value.status_code == 400


# --- ids ---


@pytest.mark.parametrize("call_id", ["call_1", "toolu_01A-b", "x" * 200, ""])
def test_a_legal_id_stays(call_id):
    assert client_id(call_id) == call_id
    assert backend_id(call_id) == call_id


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_an_id_of_a_backend_is_legal_for_the_client_and_comes_back_whole(upstream_id):
    known = client_id(upstream_id)
    assert LEGAL.fullmatch(known)
    assert backend_id(known) == upstream_id


@pytest.mark.parametrize(
    "upstream_id", ["functions.f:0", "call.1", "toolu_up_Zm9v", "call_1__thought__a+b/c=" + "A" * 5000]
)
def test_odd_ids_of_real_backends_come_back_whole(upstream_id):
    """Kimi (exo 2281), LiteLLM's thought signatures (tau2-bench 559: 4572 characters), our own form from elsewhere."""
    assert backend_id(client_id(upstream_id)) == upstream_id


def test_an_id_that_is_too_long_becomes_a_hash():
    known = client_id("x" * 100_000)
    assert LEGAL.fullmatch(known)
    assert len(known) == 38
    assert backend_id(known) == known == client_id("x" * 100_000)


def test_an_id_that_is_not_valid_unicode_is_empty():
    assert client_id("\ud800") == ""


@pytest.mark.parametrize(
    "foreign", ["toolu_up_", "toolu_up_x", "toolu_up_____", "toolu_up_Zm9v", "toolu_up_\u00e9", "a.b:c"]
)
def test_an_id_that_only_looks_wrapped_passes(foreign):
    assert backend_id(foreign) == foreign


@given(st.text(max_size=80), st.sampled_from(sorted(FORMS)))
def test_an_id_has_the_form_the_backend_accepts(call_id, form):
    assert re.fullmatch(FORMS[form], backend_id(call_id, form))


def test_an_id_that_fits_stays():
    assert backend_id("a" * 40, "short") == "a" * 40
    assert backend_id("functions.Read:0", "short") == "functions.Read:0"
    assert backend_id("abcDEF123", "nine") == "abcDEF123"


def use(call_id):
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}}


def result(call_id):
    return {"type": "tool_result", "tool_use_id": call_id, "content": call_id}


def rounds(*groups):
    """Return a conversation in which each group of ids is called, and then answered in reverse."""
    turns = [{"role": "user", "content": "x"}]
    for group in groups:
        turns.append({"role": "assistant", "content": [use(call_id) for call_id in group]})
        turns.append({"role": "user", "content": [result(call_id) for call_id in reversed(group)]})
    return turns


def sent_ids(form, *groups):
    """Return the ids of all calls, after a check that each result follows its call and has its text."""
    chat = translated(Profile(call_ids=form), messages=rounds(*groups)).fields["messages"][1:]
    ids = []
    for group in groups:
        calls = [entry["id"] for entry in chat.pop(0)["tool_calls"]]
        for call_id, sent in zip(group, calls, strict=True):
            message = chat.pop(0)
            assert (message["tool_call_id"], message["content"]) == (sent, call_id)
        ids += calls
    return ids


@pytest.mark.parametrize("form", sorted(FORMS))
def test_call_and_result_agree_in_every_form(form):
    ids = sent_ids(form, ["functions.f:0", "x" * 41, "toolu_1", client_id("call.1")], ["abcDEF123"])
    assert all(re.fullmatch(FORMS[form], call_id) for call_id in ids)
    assert len(set(ids)) == 5


def test_mistral_gets_every_id_once_in_a_conversation():
    """Backends that count from 0 in every answer repeat their ids."""
    ids = sent_ids("nine", ["call_0"], ["call_0"], ["call_0"])
    assert len(set(ids)) == 3
    assert ids[:2] == sent_ids("nine", ["call_0"], ["call_0"])
    assert sent_ids("any", ["call_0"], ["call_0"]) == ["call_0", "call_0"]


def test_doubles_of_one_turn_keep_the_form():
    ids = sent_ids("short", ["a" * 40, "a" * 40])
    assert ids == ["a" * 40, fitting_id("a" * 40 + "_2", "short")]


def test_a_call_without_id_gets_one_that_fits():
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use("")]}]
    ids = [
        translated(Profile(call_ids=form), messages=turns).fields["messages"][1]["tool_calls"][0]["id"]
        for form in ("any", "short", "nine")
    ]
    assert ids[0] == ids[1] == "call_messages_1_content_0"
    assert re.fullmatch(FORMS["nine"], ids[2])


def test_images_of_a_result_are_marked_with_the_backends_id():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAA"}}
    known = client_id("functions.f:0")
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use(known)]}]
    turns += [{"role": "user", "content": [result(known) | {"content": [image]}]}]
    chat = translated(messages=turns).fields["messages"]
    assert chat[2]["content"] == "[image 1 of tool result functions.f:0: see next message]"
    assert chat[3]["content"][0]["text"] == "[image 1 of tool result functions.f:0]"


def test_an_id_of_an_earlier_turn_is_not_reused():
    """Claude Code takes the second result of an id for the first's."""
    asked = request(messages=rounds(["call_0"], [client_id("functions.f:0")]))
    calls = [call(0, "call_0", "f", "{}"), call(1, "functions.f:0", "f", "{}"), call(2, "functions.f:1", "f", "{}")]
    content = message_of([delta_chunk(tool_calls=calls), delta_chunk("tool_calls")], asked)["content"]
    assert [block["id"] for block in content] == ["toolu_02", "toolu_03", client_id("functions.f:1")]
