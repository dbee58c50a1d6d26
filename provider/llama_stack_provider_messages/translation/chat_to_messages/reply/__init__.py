"""A Message, or its events -> a chat completion, or its chunks; errors in OpenAI's envelope.

``response.py`` and ``stream.py`` read the same tables, so that the chunks add up to the completion.
"""
