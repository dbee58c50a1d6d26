"""Claude Code's attribution block in the system prompt.

It differs between conversations and, in first-party mode, between requests. So it defeats the prefix cache of every
backend except Anthropic's own (llama.cpp 21793, vllm 36829, ollama 14918).
"""

BILLING_HEADER = "x-anthropic-billing-header:"


def without_billing(text: str) -> str:
    """Return a system prompt text without its first line, if that line is the attribution block."""
    if not text.lstrip().startswith(BILLING_HEADER):
        return text
    _, _, rest = text.lstrip().partition("\n")
    return rest.strip("\n")
