"""Recognizes every backend's error for a prompt that is too long, and returns the wording that clients act on.

Claude Code compacts the conversation on ``prompt is too long`` and lowers ``max_tokens`` on ``input length and
`max_tokens` exceed context limit``; on any other wording it gives up (litellm 36546, omlx 26). Compacting a
conversation without need loses its content, so a message matches only if it says that a limit was exceeded.
"""

import re
from typing import Any

_STATUSES = frozenset({400, 413, 422, 500, 502, 503})
"""422 is used by TGI, 500 by llama.cpp and Ollama, 502 and 503 by gateways for a backend's 400 (LiteLLM)."""

_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded", "model_context_window_exceeded"}
)

_NUMBERED = (
    # OpenAI, DeepSeek, older vLLM, OpenRouter, SGLang: prompt and output separately
    (
        r"maximum context length (?:is|of) (?P<limit>\d+) tokens.*?(?P<prompt>\d+) (?:tokens )?(?:in the messages|in "
        r"your prompt|of text input|from the input messages).*?(?P<output>\d+) (?:tokens )?(?:in|for) the (?:comp|out)"
    ),
    # vLLM: the output limit alone is too large
    r"context length is (?P<limit>\d+) tokens and your request has (?P<prompt>\d+) input tokens \((?P<output>\d+) >",
    # newer vLLM; it counts prompts only up to the limit, hence "at least"
    r"passed (?P<prompt>\d+) input tokens and requested (?P<output>\d+) output tokens.*?length is only (?P<limit>\d+)",
    (
        r"context length is (?P<limit>\d+) tokens.*?requested (?P<output>\d+) output tokens and your prompt contains "
        r"(?:at least )?(?P<prompt>\d+) (?:input )?tokens"
    ),
    # Anthropic
    r"input length and `?max_tokens`? exceed context limit: (?P<prompt>\d+) \+ (?P<output>\d+) > (?P<limit>\d+)",
    # OpenAI, vLLM, OpenRouter
    (
        r"maximum context length is (?P<limit>\d+) tokens.*?(?:resulted in|requested(?: about)?|request has|"
        r"contains at least) (?P<prompt>\d+) (?:input )?tokens"
    ),
    # SGLang; vLLM with images; llama.cpp and its Python server; Anthropic
    r"input \((?P<prompt>\d+) tokens\) is longer than the model's context length \((?P<limit>\d+)",
    r"prompt \(total length (?P<prompt>\d+)\) is too long to fit into the model \(context length (?P<limit>\d+)",
    r"decoder prompt \(length (?P<prompt>\d+)\) is longer than the maximum model length of (?P<limit>\d+)",
    r"request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<limit>\d+) tokens\)",
    r"Requested tokens \((?P<prompt>\d+)\) exceed context window of (?P<limit>\d+)",
    r"prompt is too long: (?P<prompt>\d+) tokens > (?P<limit>\d+) maximum",
    # TGI, Gemini, xAI, newer OpenAI, Mistral
    r"`inputs` must have less than (?P<limit>\d+) tokens\. Given: (?P<prompt>\d+)",
    r"must be <= (?P<limit>\d+)\. Given: (?P<prompt>\d+) `inputs` tokens and (?P<output>\d+) `max_new_tokens`",
    r"input token count \((?P<prompt>\d+)\) exceeds the maximum number of tokens allowed \((?P<limit>\d+)",
    r"maximum prompt length is (?P<limit>\d+) but the request contains (?P<prompt>\d+) tokens",
    r"configured limit of (?P<limit>\d+) tokens\. Your messages resulted in (?P<prompt>\d+) tokens",
    r"Prompt contains (?P<prompt>\d+) tokens.*?with (?P<limit>\d+) maximum context length",
    # backends of gateways: TensorRT-LLM and Poolside, Mistral's older servers, RKLLM, Kimi, Cerebras
    (
        r"(?:prompt|input) length \(?(?P<prompt>\d+)\)? exceeds (?:max_model_len|(?:the )?model's maximum context "
        r"length|the maximum allowed input length of) \(?(?P<limit>\d+)"
    ),
    r"too many tokens in prompt: (?P<prompt>\d+) > (?P<limit>\d+)",
    r"prompt is too long: (?P<prompt>\d+) model maximum context length: (?P<limit>\d+)",
    r"prompt (?:is|has) (?P<prompt>\d+) tokens but the (?:configured|model) context (?:size|window) is (?P<limit>\d+)",
    r"exceeded model token limit: (?P<limit>\d+) \(requested: (?P<prompt>\d+)",
    r"current length is (?P<prompt>\d+) while limit is (?P<limit>\d+)",
)
_UNNUMBERED = (
    r"maximum context length.{0,300}?(?:however you|exceeded)",
    r"(?:too (?:long|large) for|too (?:long|large) to fit).{0,40}?context (?:length|window|size)",
    r"\A(?:the |your )?input is too long(?= please|\s*(?:[.!;]|\Z))",
    r"input is too long for (?:the |this )?(?:requested )?model",
    r"prompt (?:is )?too long",
    (
        r"(?<!not )exceed(?:s|ed)? (?:the |your )?(?:available )?(?:model's )?(?:max(?:imum)? )?context "
        r"(?:size|window|length|limit)"
    ),
    r"context (?:size|window|length) (?:has been |was )?exceeded",
    r"context window exceeds limit",
    r"(?:longer|greater|larger) than the (?:model's )?(?:maximum )?context length",
    r"please reduce the length of the (?:input|messages|prompt)",
    r"range of input length should be \[",
    r"input token count exceeds the maximum number of tokens",
)
_MAX_TEXT_CHARS = 4000
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _NUMBERED)
_UNNUMBERED_PATTERN = re.compile("|".join(_UNNUMBERED), re.IGNORECASE | re.DOTALL)


def overflow_message(status: int, error: dict[str, Any]) -> str | None:
    """Return the message for an error that says the prompt is too long, None for any other error.

    Args:
        status: The HTTP status, or the one in the body; it excludes rate limits and refused keys, whose messages may
            mention lengths, too.
        error: The error's message, type and code.
    """
    if status not in _STATUSES:
        return None
    prompt, limit = error.get("n_prompt_tokens"), error.get("n_ctx")
    if isinstance(prompt, int) and isinstance(limit, int):
        return _sentence(prompt, limit)
    text = error.get("message")
    text = text[:_MAX_TEXT_CHARS].replace(",", "") if isinstance(text, str) else ""
    for pattern in _PATTERNS:
        if found := pattern.search(text):
            numbers = found.groupdict()
            return _sentence(int(numbers["prompt"]), int(numbers["limit"]), int(numbers.get("output") or 0))
    if _UNNUMBERED_PATTERN.search(text) or not _CODES.isdisjoint((str(error.get("code")), str(error.get("type")))):
        return "prompt is too long"
    return None


def _sentence(prompt: int, limit: int, output: int = 0) -> str:
    if output and prompt < limit:
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {limit}, "
            "decrease input length or `max_tokens` and try again"
        )
    return f"prompt is too long: {prompt} tokens > {limit} maximum"
