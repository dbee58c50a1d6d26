"""Messages request -> chat request; ``request.py`` lists the steps in order.

The conversation: ``context_edits.py`` selects the messages, ``turns.py`` sorts their blocks (``content.py``,
``media.py``, ``thinking.py``) into turns, and ``messages.py`` makes chat messages of the turns. The tools: ``tools.py``
decides which are sent, ``tool_functions.py`` and ``anthropic_tools.py`` describe them. ``strict.py`` has the API's own
checks, ``media_loading.py`` what the caller must load first. Options for the reply are set here and read in ``reply/``;
the features and limits of backends are in ``backend/``. This folder imports from both.
"""
