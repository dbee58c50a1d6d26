"""Blocks of the history: which role may hold each type, and the text or parts they become."""

from typing import get_args

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.base import OpenModel, Unknown, type_tags
from llama_stack_api_messages.models.blocks import InputBlock, ResponseBlock
from llama_stack_api_messages.models.content import ToolResultItem
from llama_stack_api_messages.models.content_server import ServerToolError
from llama_stack_provider_messages.translation.messages_to_chat import (
    Profile,
    TranslationContext,
    profile_for,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.request import content
from support.streams import request

TEXT_A, TEXT_B = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x", "a": 1}}


def tags(union):
    members = [member for member in get_args(get_args(union.__value__)[0]) if not issubclass(member, Unknown)]
    return {tag for member in members for tag in type_tags(member)}


def translated(*turns, profile=None, **fields):
    asked = request(messages=[{"role": role, "content": said} for role, said in turns], **fields)
    return translate_request(asked, TranslationContext(profile or Profile()))


def answered(*blocks):
    """Return the text of an assistant message with these blocks, and the paths of the dropped ones."""
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in "fg"]
    done = translated(("user", "x"), ("assistant", [*blocks]), ("user", "y"), tools=tools)
    said = [turn["content"] for turn in done.fields["messages"] if turn["role"] == "assistant"]
    return "".join(said), [entry.path for entry in done.dropped]


def server_result(kind, outcome):
    return {"type": f"{kind}_tool_result", "tool_use_id": "s", "content": outcome}


# --- every type has one place ---

HANDLED = {
    "assistant": {"text", "thinking", "tool_use"},
    "user": {"tool_result", "mcp_tool_result"},
}


def test_every_block_is_in_exactly_one_table_for_assistant_messages():
    """Handled by turns.py, rendered as text, ignored, dropped with a reason, or rejected with a remedy."""
    tables = [
        HANDLED["assistant"],
        set(content.ASSISTANT_BLOCKS),
        content.IGNORED_BLOCKS - {"connector_text"},
        set(content.ASSISTANT_LOSSES),
        set(content.ASSISTANT_REFUSALS),
    ]
    assert set.union(*map(set, tables)) == tags(InputBlock)
    assert sum(map(len, tables)) == len(tags(InputBlock))


def test_every_block_of_a_response_is_accepted_in_the_history():
    assert not tags(ResponseBlock) & content.ASSISTANT_REFUSALS.keys()


def test_every_block_is_in_exactly_one_table_for_user_messages():
    tables = [HANDLED["user"], set(content.USER_BLOCKS), set(content.USER_REFUSALS)]
    assert set.union(*map(set, tables)) == tags(InputBlock)
    assert sum(map(len, tables)) == len(tags(InputBlock))


def models(annotation):
    """Return the models an annotation names, however deeply they are wrapped."""
    inner = getattr(annotation, "__value__", annotation)
    if isinstance(inner, type) and issubclass(inner, OpenModel):
        return {inner}
    return {model for part in get_args(inner) for model in models(part)}


def test_every_result_of_a_server_tool_has_a_renderer():
    members = get_args(get_args(InputBlock.__value__)[0])
    blocks = [block for block in members if content.SERVER_BLOCKS.keys() & set(type_tags(block))]
    results = {
        model
        for block in blocks
        if "content" in block.model_fields
        for model in models(block.model_fields["content"].annotation)
    }
    told = {tag for model in results if not issubclass(model, Unknown | ServerToolError) for tag in type_tags(model)}
    assert told - {"text", "web_search_result"} == content.OUTCOMES.keys()


def test_every_item_of_a_tool_result_has_a_handler():
    assert content.RESULT_BLOCKS.keys() - {""} == tags(ToolResultItem)


def test_system_messages_accept_text_and_tool_changes():
    assert content.SYSTEM_BLOCKS.keys() == {"text", "tool_addition", "tool_removal"}


@pytest.mark.parametrize(
    ("role", "block", "remedy"),
    [
        ("user", SEARCH, "move it to an assistant message"),
        ("user", {"type": "tool_reference", "tool_name": "f"}, "move it into the content of a tool_result"),
        ("user", {"type": "container_upload", "file_id": "f"}, "this server has no containers"),
        ("user", {"type": "brand_new"}, "remove the block"),
        ("assistant", {"type": "tool_result", "tool_use_id": "a"}, "move it to the user message after the call"),
        ("system", {"type": "tool_result", "tool_use_id": "a"}, "move it to the user message after the call"),
        ("system", {"type": "image", "source": {"type": "url", "url": "u"}}, "remove the block"),
    ],
)
def test_a_refusal_names_the_remedy(role, block, remedy):
    with pytest.raises(InvalidRequestError) as caught:
        translated(("user", "x"), (role, [block]))
    expected = f"messages.1.content.0: blocks of type '{block['type']}' are not supported here; {remedy}"
    assert caught.value.message.startswith(expected)


# --- calls and results of server tools, as text ---


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (SEARCH, '[called web_search with {"query": "x", "a": 1}]'),
        (
            {"type": "mcp_tool_use", "id": "m", "name": "find", "server_name": "docs", "input": None},
            "[called docs.find with {}]",
        ),
        (
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": [TEXT_A, TEXT_B]},
            "[result of the MCP tool]\na\nb",
        ),
        (
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": "no", "is_error": True},
            "[result of the MCP tool]\nError: no",
        ),
        ({"type": "mcp_tool_result", "tool_use_id": "m"}, "[result of the MCP tool]\n(nothing)"),
        (
            server_result("web_search", {"type": "web_search_tool_result_error", "error_code": "unavailable"}),
            "[result of web_search]\nError: unavailable",
        ),
        (
            server_result(
                "web_search",
                [
                    {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "", "page_age": "1 d"},
                    {"type": "web_search_result", "url": "v", "title": "s", "encrypted_content": ""},
                ],
            ),
            "[result of web_search]\n- t <u> (1 d)\n- s <v>",
        ),
        (server_result("web_search", []), "[result of web_search]\n(nothing)"),
        (
            server_result(
                "web_fetch",
                {
                    "type": "web_fetch_result",
                    "url": "u",
                    "content": {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "page"},
                    },
                },
            ),
            "[result of web_fetch]\n<u>\n<document>\npage\n</document>",
        ),
        (
            server_result(
                "code_execution",
                {"type": "code_execution_result", "stdout": "7\n", "stderr": "", "return_code": 0, "content": []},
            ),
            "[result of code_execution]\n7",
        ),
        (
            server_result(
                "bash_code_execution",
                {
                    "type": "bash_code_execution_result",
                    "stdout": "",
                    "stderr": "oh\n",
                    "return_code": 2,
                    "content": [{"type": "bash_code_execution_output", "file_id": "f1"}],
                },
            ),
            "[result of bash_code_execution]\nstderr:\noh\nreturn code: 2\nfiles: f1",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {
                    "type": "text_editor_code_execution_view_result",
                    "file_type": "text",
                    "content": "x",
                    "start_line": 3,
                    "num_lines": 2,
                    "total_lines": 9,
                },
            ),
            "[result of text_editor_code_execution]\nlines 3 to 4 of 9:\nx",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {
                    "type": "text_editor_code_execution_view_result",
                    "file_type": "text",
                    "content": "x",
                    "start_line": 3,
                    "num_lines": 2,
                },
            ),
            "[result of text_editor_code_execution]\nlines 3 to 4:\nx",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {"type": "text_editor_code_execution_view_result", "file_type": "text", "content": "x"},
            ),
            "[result of text_editor_code_execution]\nx",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {"type": "text_editor_code_execution_create_result", "is_file_update": False},
            ),
            "[result of text_editor_code_execution]\nthe file was created",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {"type": "text_editor_code_execution_create_result", "is_file_update": True},
            ),
            "[result of text_editor_code_execution]\nthe file was updated",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {"type": "text_editor_code_execution_str_replace_result", "lines": ["-a", "+b"]},
            ),
            "[result of text_editor_code_execution]\nthe file was changed\n-a\n+b",
        ),
        (
            server_result(
                "text_editor_code_execution",
                {
                    "type": "text_editor_code_execution_tool_result_error",
                    "error_code": "file_not_found",
                    "error_message": "no /x",
                },
            ),
            "[result of text_editor_code_execution]\nError: file_not_found: no /x",
        ),
        (
            server_result(
                "tool_search",
                {
                    "type": "tool_search_tool_search_result",
                    "tool_references": [{"type": "tool_reference", "tool_name": name} for name in "fg"],
                },
            ),
            "[result of tool_search]\nfound: f, g",
        ),
        (
            server_result("tool_search", {"type": "tool_search_tool_search_result", "tool_references": []}),
            "[result of tool_search]\nfound: no tools",
        ),
        (
            server_result("advisor", {"type": "advisor_result", "text": "wait"}),
            "[result of advisor]\nwait",
        ),
        ({"type": "container_upload", "file_id": "f"}, "[placed file f in the container]"),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            "<document>\nd\n</document>",
        ),
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [TEXT_A]},
            '<search_result source="s" title="t">\na\n</search_result>',
        ),
    ],
)
def test_server_tool_calls_and_results_become_text(block, text):
    """Also a result without its call; its content is kept."""
    assert answered(block, TEXT_A) == (f"{text}\n\na", [])


@pytest.mark.parametrize(
    ("block", "text", "path"),
    [
        (
            server_result(
                "web_search", [{"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "E"}]
            ),
            "[result of web_search]\n- t <u>",
            ".content",
        ),
        (
            server_result(
                "code_execution",
                {
                    "type": "encrypted_code_execution_result",
                    "encrypted_stdout": "E",
                    "stderr": "",
                    "return_code": 0,
                    "content": [],
                },
            ),
            "[result of code_execution]\n(nothing)",
            ".content",
        ),
        (
            server_result("advisor", {"type": "advisor_redacted_result", "encrypted_content": "E"}),
            "[result of advisor]\n(withheld)",
            ".content",
        ),
        (server_result("advisor", {"type": "brand_new"}), "[result of advisor]\n(nothing)", ".content"),
        (server_result("advisor", {"type": "code_execution_result"}), "[result of advisor]\n(nothing)", ".content"),
        ({"type": "brand_new", "x": 1}, "", ""),
        ({"type": "image", "source": {"type": "url", "url": "u"}}, "", ""),
    ],
)
def test_unreadable_blocks_are_dropped_with_a_reason(block, text, path):
    assert answered(block) == (text, [f"messages.1.content.0{path}"])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
        {"type": "mcp_tool_listing", "mcp_server_name": "m", "tools": []},
        {"type": "connector_text", "text": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "compaction", "content": None},
    ],
)
def test_blocks_that_other_models_ignore_leave_no_text(block):
    assert answered(TEXT_A, block, TEXT_B) == ("ab", [])


def test_server_tool_text_keeps_its_position():
    found = server_result("web_search", [])
    text, _ = answered(TEXT_A, SEARCH, found, TEXT_B, {"type": "text", "text": "c"}, {"type": "brand_new"}, TEXT_A)
    called = '[called web_search with {"query": "x", "a": 1}]'
    assert text == f"a\n\n{called}\n\n[result of web_search]\n(nothing)\n\nbc\n\na"


def test_an_mcp_result_in_a_user_message_becomes_user_text():
    block = {"type": "mcp_tool_result", "tool_use_id": "m", "content": "found"}
    chat = translated(("user", [block, TEXT_A])).fields["messages"]
    assert chat == [{"role": "user", "content": "[result of the MCP tool]\nfound\n\na"}]


def test_a_file_in_an_assistant_message_is_replaced_by_a_note():
    """With a backend that takes file parts: assistant messages cannot hold them."""
    block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjc="}}
    turns = [("user", "x"), ("assistant", [block]), ("user", "y")]
    done = translated(*turns, profile=profile_for("remote::openai"))
    assert done.fields["messages"][1]["content"] == "[an image or file that cannot be shown here]"
    assert [entry.path for entry in done.dropped] == ["messages.1.content.0"]


@pytest.mark.parametrize("provider_type", ["remote::openai", "remote::vllm"])
def test_a_response_paused_in_a_server_tool_is_continued(provider_type):
    """``pause_turn``: the client sends it back to be continued; it is not a prefill."""
    done = translated(("user", "x"), ("assistant", [TEXT_A, SEARCH]), profile=profile_for(provider_type))
    assert [turn["role"] for turn in done.fields["messages"]] == ["user", "assistant", "user"]
    assert done.fields["messages"][-1]["content"] == "Continue."
    assert "continue_final_message" not in done.fields


def test_text_after_a_server_tool_is_a_prefill():
    done = translated(("user", "x"), ("assistant", [SEARCH, TEXT_A]), profile=profile_for("remote::vllm"))
    assert done.fields["continue_final_message"] is True


# --- results ---

USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


def result_text(**fields):
    turns = ("user", "x"), ("assistant", [USE]), ("user", [{"type": "tool_result", "tool_use_id": "a"} | fields])
    done = translated(*turns)
    return done.fields["messages"][2]["content"], [entry.path for entry in done.dropped]


def test_an_unknown_part_of_a_result_becomes_a_note_to_the_model():
    """The tool loop continues."""
    text, dropped = result_text(content=[TEXT_A, {"type": "brand_new"}])
    assert text == "a\n[brand_new: this model cannot read it]"
    assert dropped == ["messages.2.content.0.content.1"]


def test_an_error_is_marked_once():
    assert result_text(content="Error: no such file", is_error=True)[0] == "Error: no such file"
    assert result_text(content="no such file", is_error=True)[0] == "Error: no such file"


def test_a_tool_result_for_a_server_call_becomes_user_text():
    turns = ("assistant", [SEARCH]), ("user", [{"type": "tool_result", "tool_use_id": "s", "content": "found"}])
    chat = translated(("user", "x"), *turns).fields["messages"]
    assert chat[-1] == {"role": "user", "content": "[result of tool call s] found"}


def test_a_browser_is_described_in_lines():
    state = {
        "type": "browser_state",
        "tabs": [
            {"tab_id": "1", "title": "News", "url": "https://n", "active": True},
            {"tab_id": "2", "title": "Mail", "url": "https://m"},
        ],
        "state_changes": [
            {"type": "tab_opened", "tab_id": "2"},
            {"type": "download_started", "download_id": "d", "url": "https://f"},
            {"type": "download_completed", "download_id": "d", "url": "https://f", "path": "f.txt", "size_bytes": 0},
            {"type": "download_failed", "download_id": "e", "url": "https://g", "error": "404"},
            {"type": "brand_new"},
        ],
    }
    text, dropped = result_text(content=[state])
    assert text.split("\n") == [
        "[browser]",
        "tab 1 (active): News <https://n>",
        "tab 2: Mail <https://m>",
        "tab opened 2",
        "download started d <https://f>",
        "download completed d <https://f> to f.txt (0 bytes)",
        "download failed e <https://g>: 404",
        "brand new",
    ]
    assert dropped == []


# --- system messages ---

LATER = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user", "content": "c"}]


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        ("system", [("system", "s"), ("user", "a"), ("system", "b"), ("user", "c")]),
        ("user", [("system", "s"), ("user", "a\n\n<system-reminder>\nb\n</system-reminder>\n\nc")]),
        ("first", [("system", "s\n\nb"), ("user", "a\n\nc")]),
    ],
)
def test_later_system_messages_go_where_the_template_accepts_them(inline, expected):
    """Roles alternate if the template accepts only a leading system message."""
    done = translate_request(request(system="s", messages=LATER), TranslationContext(Profile(inline_system=inline)))
    assert [(turn["role"], turn["content"]) for turn in done.fields["messages"]] == expected


def test_instructions_become_the_system_prompt_where_there_is_none():
    done = translate_request(request(messages=LATER), TranslationContext(Profile(inline_system="first")))
    assert done.fields["messages"][0] == {"role": "system", "content": "b"}


def test_a_system_message_after_the_last_response_does_not_make_it_a_prefill():
    """The model must respond to the instruction, not continue its last message."""
    turns = [("user", "x"), ("assistant", "a"), ("system", "s")]
    done = translated(*turns, profile=Profile(inline_system="first", prefill="reject"))
    assert [(turn["role"], turn["content"]) for turn in done.fields["messages"]] == [
        ("user", "x"),
        ("assistant", "a"),
        ("user", "<system-reminder>\ns\n</system-reminder>"),
    ]


def test_assistant_messages_separated_by_a_moved_system_message_are_merged():
    turns = [("user", "x"), ("assistant", "a"), ("system", "s"), ("assistant", [USE])]
    chat = translated(*turns, profile=Profile(inline_system="first")).fields["messages"]
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "tool"]
    assert (chat[2]["content"], len(chat[2]["tool_calls"])) == ("a", 1)


def test_a_reminder_follows_the_results():
    turns = (
        ("user", "x"),
        ("assistant", [USE]),
        ("system", "s"),
        ("user", [{"type": "tool_result", "tool_use_id": "a"}]),
    )
    chat = translated(*turns, profile=Profile(inline_system="user")).fields["messages"]
    assert [turn["role"] for turn in chat] == ["user", "assistant", "tool", "user"]


REFERENCE = {"type": "tool_reference", "name": "f"}


@pytest.mark.parametrize(
    "message",
    [
        {"output_config": {"effort": "high"}},
        {"content": [{"type": "tool_addition", "tool": REFERENCE}, {"type": "tool_removal", "tool": REFERENCE}]},
    ],
)
def test_a_system_message_without_text_leaves_none(message):
    turns = [{"role": "user", "content": "a"}, {"role": "system"} | message, {"role": "user", "content": "b"}]
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    assert translate_request(request(messages=turns, tools=tools), TranslationContext(Profile())).fields[
        "messages"
    ] == [{"role": "user", "content": "a\n\nb"}]


def test_only_system_messages_are_cleared_by_the_next_user_message():
    turns = [{"role": "user", "content": "a", "clear_at": "next_user_message"}, {"role": "user", "content": "b"}]
    assert (
        translate_request(request(messages=turns), TranslationContext(Profile())).fields["messages"][0]["content"]
        == "a\n\nb"
    )
