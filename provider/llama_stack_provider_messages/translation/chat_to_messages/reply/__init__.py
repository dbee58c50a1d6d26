"""Message -> chat completion, stream events -> chunks, errors -> OpenAI's error envelope.

``response.py`` and ``stream.py`` use the same tables, so the chunks of a stream add up to the completion.
"""
