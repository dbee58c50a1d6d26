"""Two conventions of Claude Code for system prompts, which both lanes and both directions share.

The attribution block begins a text of the system prompt. It differs between conversations and, in first-party mode,
between requests. So it defeats the prefix cache of every backend except Anthropic's own (llama.cpp 21793, vllm 36829,
ollama 14918).

Claude Code marks instructions in user text with the tag ``<system-reminder>``. A system message inside the conversation
that the backend does not accept there becomes user text with that tag.
"""

BILLING_HEADER = "x-anthropic-billing-header:"
"""Begins the attribution block."""


def without_billing(text: str) -> str:
    """Return a system prompt text without its first line, if that line is the attribution block."""
    if not text.lstrip().startswith(BILLING_HEADER):
        return text
    _, _, rest = text.lstrip().partition("\n")
    return rest.strip("\n")


def system_reminder(text: str) -> str:
    """Return a system message as user text."""
    return f"<system-reminder>\n{text}\n</system-reminder>"
