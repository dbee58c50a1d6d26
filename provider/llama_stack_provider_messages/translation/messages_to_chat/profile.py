"""Profiles: how a backend differs from the common form of chat completions; presets.py has the known backends."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Features and limits of one kind of backend. The defaults suit an unknown server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="Field that takes `max_tokens`."
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, description="Larger values of `max_tokens` are lowered to this value."
    )
    context_window: int | None = Field(
        default=None,
        ge=1,
        description="Limit of prompt and output tokens together, for backends that reject a larger `max_tokens` "
        "(vLLM): a larger value is lowered to the room that the estimated prompt leaves.",
    )
    stream_usage: bool = Field(
        default=True, description="The backend accepts `stream_options` and reports usage in streams."
    )
    thinking: Literal["effort", "template", "type", "reasoning", "enable_thinking", "messages", "none"] = Field(
        default="none",
        description="How thinking is switched on and off: `effort` with `reasoning_effort`, `template` with "
        "`chat_template_kwargs`, `type` with `thinking: {type}` (DeepSeek, GLM, Kimi), `reasoning` with OpenRouter's "
        "object, `enable_thinking` with a field of that name (Qwen), `messages` as in the Messages API; `none`: it "
        "cannot be switched.",
    )
    efforts: tuple[str, ...] = Field(
        default=(), description="Accepted values of `reasoning_effort`; empty if the backend does not accept the field."
    )
    tools_without_thinking: bool = Field(
        default=False,
        description="The model thinks only in requests without tools; with tools `reasoning_effort` must be `none` "
        "(OpenAI's GPT-5.4 and later).",
    )
    template_efforts: tuple[str, ...] = Field(
        default=(), description="Accepted values of `reasoning_effort` inside `chat_template_kwargs`."
    )
    budget_field: str | None = Field(
        default=None,
        description="Field that takes `budget_tokens`, with dots for nested objects (`reasoning.max_tokens`); unset: "
        "the budget becomes an effort.",
    )
    reasoning_field: Literal["reasoning_content", "reasoning", "reasoning_details"] | None = Field(
        default=None, description="Field of assistant messages that takes earlier reasoning; unset: it is left out."
    )
    reasoning_required: bool = Field(
        default=False,
        description="Assistant messages must have the reasoning field; a blank is sent if the reasoning is lost.",
    )
    inline_thinking: Literal["none", "tagged", "open"] = Field(
        default="none",
        description="Reasoning inside the text of a response: `tagged`: between `<think>` and `</think>` at its "
        "beginning; `open`: from the first character up to `</think>`.",
    )
    images: Literal["parts", "reject", "placeholder"] = Field(
        default="parts",
        description="How images are sent: `parts`: the model sees them; `reject`: a 400 (in tool results a note to the "
        "model); `placeholder`: a note to the model.",
    )
    tool_images: bool = Field(default=False, description="The backend accepts image parts in tool messages.")
    documents: Literal["file", "text", "reject"] = Field(
        default="text",
        description="How PDF documents are sent: as `file` parts, as their `text`, or not: `reject` is a 400 (in tool "
        "results a note to the model).",
    )
    top_k: bool = Field(default=False, description="The backend accepts `top_k`.")
    forced_calls: bool = Field(
        default=True, description="The backend enforces a named `tool_choice`, and `parallel_tool_calls`."
    )
    call_ids: Literal["any", "short", "nine"] = Field(
        default="any",
        description="Accepted ids of tool calls: `any`; `short`: up to 40 characters (OpenAI); `nine`: exactly nine "
        "letters and digits (Mistral).",
    )
    call_extra: dict[str, Any] = Field(
        default_factory=dict,
        description="`extra_content` of the first tool call of an earlier response, if the client did not return it.",
    )
    user_field: Literal["user", "safety_identifier"] | None = Field(
        default="user", description="Field that takes the end user's id; unset: it is left out."
    )
    service_tier: bool = Field(default=False, description="The backend has service tiers.")
    prompt_cache_key: bool = Field(default=False, description="The backend accepts `prompt_cache_key`.")
    cache_breakpoints: bool = Field(
        default=False,
        description="Content parts accept `prompt_cache_breakpoint`; `cache_control` is translated to it.",
    )
    inline_system: Literal["system", "user", "first"] = Field(
        default="system",
        description="Where system messages inside the conversation go: `system`: they stay; `user`: they become user "
        "text in place; `first`: they join the leading one, which defeats the prefix cache whenever one is added.",
    )
    prefill: Literal["trailing", "continue", "prefix", "partial", "reject"] = Field(
        default="trailing",
        description="How a final assistant message is continued: `trailing`: the backend does it by default; "
        "`continue`: with `continue_final_message`; `prefix`, `partial`: with that field set to true in the message; "
        "`reject`: not at all, the request is a 400.",
    )
    tokenizer: Literal["vllm", "llama_cpp"] | None = Field(
        default=None,
        description="Server whose tokenizer endpoint counts prompts: `vllm` or `llama_cpp`; unset: tokens are "
        "estimated.",
    )
    without: tuple[str, ...] = Field(
        default=(), description="Fields of the chat request that the backend rejects, so that they are left out."
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields added to every request to the backend. They take precedence; objects are merged.",
    )

    def but(self, **changes: Any) -> "Profile":  # noqa: ANN401 - any field
        """Return a copy with changed values, validated like the fields."""
        return Profile.model_validate({**dict(self), **changes})
