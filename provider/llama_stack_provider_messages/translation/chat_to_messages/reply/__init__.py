"""Message -> chat completion, stream events -> chunks, errors -> OpenAI's error envelope.

``response.py`` translates a whole message and has the options and helpers that ``stream.py`` shares with it;
``finish.py`` translates the end of both. So the chunks of a stream add up to the completion. ``error.py`` is for both.
"""
