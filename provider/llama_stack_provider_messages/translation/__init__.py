"""Translations between the Messages API and chat completions. Pure: no I/O, no clock, no randomness.

One folder for each direction; neither imports the other. Shared modules are in this folder: the log of dropped parts
(``dropped.py``), names and ids (``names.py``), field access on loosely typed objects (``fields.py``), base64 data in
requests (``inline_data.py``), the events of a stream (``events.py``), tool call arguments (``tool_arguments.py``),
conventions for system prompts (``system_prompt.py``) and lone surrogates (``surrogates.py``).
"""
