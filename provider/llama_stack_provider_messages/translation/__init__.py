"""Translations between the Messages API and chat completions: pure functions and objects, without I/O, clock or chance.

One folder for each direction; neither imports the other. What both need stands here: what was left out
(``dropped.py``), names and ids (``names.py``), reading fields of loose objects (``fields.py``), events and the Message
they add up to (``events.py``), arguments of tool calls (``tool_arguments.py``), and text that UTF-8 cannot carry
(``surrogates.py``).
"""
