"""Profiles: how a backend differs from the common form of chat completions; presets.py has the known backends."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Features and limits of one kind of backend. The defaults suit an unknown server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="Field that holds `max_tokens`."
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, description="Larger values of `max_tokens` are lowered to this one."
    )
    context_window: int | None = Field(
        default=None,
        ge=1,
        description="Tokens of prompt and answer together, where the backend refuses a larger `max_tokens` (vLLM): it "
        "is lowered to what the estimated prompt leaves.",
    )
    stream_usage: bool = Field(default=True, description="A stream may be asked for usage with `stream_options`.")
    thinking: Literal["effort", "template", "type", "reasoning", "enable_thinking", "messages", "none"] = Field(
        default="none",
        description="How reasoning is switched: `effort` by `reasoning_effort`, `template` by `chat_template_kwargs`, "
        "`type` by `thinking: {type}` (DeepSeek, GLM, Kimi), `reasoning` by OpenRouter's object, `enable_thinking` by "
        "a field of that name (Qwen), `messages` as in the Messages API, `none` not at all.",
    )
    efforts: tuple[str, ...] = Field(
        default=(), description="Values `reasoning_effort` may have, of `none` to `max`; empty when it is not taken."
    )
    tools_without_thinking: bool = Field(
        default=False,
        description="The model thinks in requests without tools only; with tools `reasoning_effort` has to be `none` "
        "(OpenAI's GPT-5.4 and later).",
    )
    template_efforts: tuple[str, ...] = Field(
        default=(), description="The same for a `reasoning_effort` inside `chat_template_kwargs`."
    )
    budget_field: str | None = Field(
        default=None,
        description="Field that takes `budget_tokens`, with dots inside objects (`reasoning.max_tokens`); none: the "
        "budget becomes an effort.",
    )
    reasoning_field: Literal["reasoning_content", "reasoning", "reasoning_details"] | None = Field(
        default=None, description="Field of assistant messages that takes earlier reasoning back; none: it is left out."
    )
    reasoning_required: bool = Field(
        default=False,
        description="Assistant messages have to hold the reasoning field; a blank stands in where reasoning is lost.",
    )
    inline_thinking: Literal["none", "tagged", "open"] = Field(
        default="none",
        description="Reasoning inside the text of an answer: `tagged` between `<think>` and `</think>` at its "
        "beginning, `open` from the first character up to `</think>`.",
    )
    images: Literal["parts", "reject", "placeholder"] = Field(
        default="parts",
        description="What becomes of images: `parts` the model sees them; `reject` a 400 (in tool results a note); "
        "`placeholder` a note to the model.",
    )
    tool_images: bool = Field(default=False, description="Tool messages may hold image parts.")
    documents: Literal["file", "text", "reject"] = Field(
        default="text",
        description="What becomes of PDF documents: `file` parts, their `text`, or a 400 (in tool results a note).",
    )
    top_k: bool = Field(default=False, description="`top_k` is taken.")
    forced_calls: bool = Field(
        default=True, description="`tool_choice` may name a function, and holds; so does `parallel_tool_calls`."
    )
    call_ids: Literal["any", "short", "nine"] = Field(
        default="any",
        description="Ids of calls: `any`; `short` up to 40 characters (OpenAI); `nine` letters and digits (Mistral).",
    )
    call_extra: dict[str, Any] = Field(
        default_factory=dict, description="`extra_content` for the first call of earlier answers that lost theirs."
    )
    user_field: Literal["user", "safety_identifier"] | None = Field(
        default="user", description="Field for the end user's id; none: it is left out."
    )
    service_tier: bool = Field(default=False, description="`service_tier` means something there.")
    prompt_cache_key: bool = Field(default=False, description="`prompt_cache_key` is taken.")
    cache_breakpoints: bool = Field(
        default=False, description="Content parts may hold `prompt_cache_breakpoint`, which `cache_control` becomes."
    )
    inline_system: Literal["system", "user", "first"] = Field(
        default="system",
        description="Where system messages inside the conversation go: they stay (`system`), become user text where "
        "they stand (`user`), or join the leading one (`first`), which costs the prefix cache whenever one is added.",
    )
    prefill: Literal["trailing", "continue", "prefix", "partial", "reject"] = Field(
        default="trailing",
        description="A final assistant message: `trailing` it is continued anyway; `continue` it is with "
        "`continue_final_message`; `prefix` or `partial` with that field true in the message; `reject` it cannot be.",
    )
    tokenizer: Literal["vllm", "llama_cpp"] | None = Field(
        default=None,
        description="Which server's tokenizer counts prompts, that of `vllm` or of `llama_cpp`; none: estimates.",
    )
    without: tuple[str, ...] = Field(
        default=(), description="Fields of the chat request that the backend refuses, and that are left out."
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields added to every request to the backend. They win; objects are merged with ours.",
    )

    def but(self, **changes: Any) -> "Profile":  # noqa: ANN401 - any field
        """Return a copy with changed values, validated like the fields."""
        return Profile.model_validate({**dict(self), **changes})
