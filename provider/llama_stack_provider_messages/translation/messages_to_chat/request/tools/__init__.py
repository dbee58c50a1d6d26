"""The tools of a request: which are offered at the end of the conversation, and their translation to functions."""
