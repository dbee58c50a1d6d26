"""Every `type` that the protocol lists belongs to a model."""

import inspect

import pytest

from llama_stack_api_messages import models
from llama_stack_api_messages.models import OpenModel, Unknown
from llama_stack_api_messages.models.base import type_tags

TYPES = """
custom bash_20250124 code_execution_20250522 code_execution_20250825 code_execution_20260120 code_execution_20260521
browser_toolset_20260801 memory_20250818 computer_toolset_20260801 text_editor_20250124 text_editor_20250429
text_editor_20250728 web_search_20250305 web_fetch_20250910 web_search_20260209 web_fetch_20260209 web_fetch_20260309
web_search_20260318 web_fetch_20260318 tool_search_tool_bm25_20251119 tool_search_tool_bm25
tool_search_tool_regex_20251119 tool_search_tool_regex
bash_20241022 computer_20241022 computer_20250124 text_editor_20241022 computer_20251124 advisor_20260301 mcp_toolset
text ephemeral char_location page_location content_block_location web_search_result_location search_result_location
image base64 url file document content search_result thinking redacted_thinking tool_use direct tool_result
tool_reference browser_state tab_opened download_started download_completed download_failed server_tool_use
web_search_tool_result web_search_tool_result_error web_search_result web_fetch_tool_result
web_fetch_tool_result_error web_fetch_result code_execution_tool_result code_execution_tool_result_error
code_execution_result code_execution_output encrypted_code_execution_result bash_code_execution_tool_result
bash_code_execution_tool_result_error bash_code_execution_result bash_code_execution_output
text_editor_code_execution_tool_result text_editor_code_execution_tool_result_error
text_editor_code_execution_view_result text_editor_code_execution_create_result
text_editor_code_execution_str_replace_result tool_search_tool_result tool_search_tool_result_error
tool_search_tool_search_result container_upload
advisor_tool_result advisor_tool_result_error advisor_result advisor_redacted_result mcp_tool_use mcp_tool_result
compaction tool_addition mcp_tool_reference mcp_toolset_reference tool_definition all none only except tool_removal
mcp_tool_listing fallback refusal
message_start message_delta message_stop content_block_start content_block_delta text_delta input_json_delta
citations_delta thinking_delta signature_delta content_block_stop compaction_delta ping error
message advisor_message fallback_message redeemed not_applied
"""


@pytest.mark.parametrize("literal", TYPES.split())
def test_a_type_of_the_protocol_is_known(literal):
    """It belongs to a model, not to a fallback."""
    classes = [item for item in vars(models).values() if inspect.isclass(item) and issubclass(item, OpenModel)]
    owners = [item for item in classes if "type" in item.model_fields and literal in type_tags(item)]
    assert owners
    assert not any(issubclass(item, Unknown) for item in owners)
